"""Rules that take out recipients, move times or refuse a send."""
