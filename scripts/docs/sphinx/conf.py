"""How Sphinx builds the site. ``scripts.docs.site`` prepares its pages."""

from __future__ import annotations

from airflow_provider_winsms import __version__

project = "airflow-provider-winsms"
author = "The airflow-provider-winsms developers"
copyright = author  # noqa: A001 - Sphinx's own name
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
html_theme = "furo"
html_title = project
html_logo = html_favicon = "logo.svg"
html_static_path = ["_static"]
html_copy_source = False
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    # What the classes of this package need, and no DAG author does.
    "exclude-members": "clock, hook_of, joint_checks, parameter_checks, template_fields, text_fields",
}
# Names of other packages, in annotations.
autodoc_preserve_defaults = True
# Markdown names one language that Pygments has by another name.
suppress_warnings = ["misc.highlighting_failure"]
linkcheck_timeout = 30
linkcheck_anchors = False
