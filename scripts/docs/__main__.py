"""Write each file whose generated parts have changed."""

from scripts.docs.pages import fresh_files

if __name__ == "__main__":
    for path, content in fresh_files().items():
        path.write_text(content)
