"""The site that Sphinx makes of these pages, which are plain Markdown and read well without it."""

from __future__ import annotations

import configparser
import pathlib

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_setup = configparser.ConfigParser()
_setup.read(_ROOT / "setup.cfg")

project = "Flask-Health"
author = _setup["metadata"]["author"]
copyright = author
version = release = _setup["metadata"]["version"]

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]  # console blocks with `...` in their output

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]
myst_links_external_new_tab = False

html_theme = "furo"
html_title = f"{project} {version}"
html_copy_source = False
html_show_sphinx = False
html_extra_path = ["health+json.schema.json"]
html_theme_options = {
    "light_css_variables": {
        "font-stack": "system-ui, sans-serif",
        "color-brand-primary": "#1a6b3c",
        "color-brand-content": "#1a6b3c",
    },
    "dark_css_variables": {
        "color-brand-primary": "#6fce97",
        "color-brand-content": "#6fce97",
    },
}
