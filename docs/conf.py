"""The site: Sphinx reads the pages of this folder, and the docstrings. `make docs` builds it into build/docs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE / "_site")]

from syncws._base.version import __version__  # noqa: E402

project = "syncws"
author = "the authors of syncws"
copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "links",  # these stand in _site
    "landing",
    "reference",
]
exclude_patterns = ["_site"]
root_doc = "index"
nitpicky = True
suppress_warnings = ["myst.header"]  # a page may leave out a level of headings, as GitHub lets it

# Markdown as GitHub reads it: a heading has GitHub's anchor.
myst_heading_anchors = 6
myst_enable_extensions = ["strikethrough", "tasklist"]

# Docstrings are reStructuredText with Google's sections; `one` in single backticks is a name.
default_role = "py:obj"
add_module_names = False
python_use_unqualified_type_names = True
maximum_signature_line_length = 100
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_typehints = "both"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"syncws {__version__}"
html_logo = html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0f6e84", "color-brand-content": "#0f6e84"},
    "dark_css_variables": {"color-brand-primary": "#5cc8dc", "color-brand-content": "#5cc8dc"},
}
highlight_language = "text"  # a block that names no language is a shell's, or what a program prints
pygments_style = "tango"
pygments_dark_style = "monokai"

# What a reader copies is the code, without the prompts of a shell or of Python.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def setup(app: Any) -> None:
    from pygments.lexers.special import TextLexer

    for name in ("acl", "haproxy"):  # fences that GitHub shows as they are, or colours, and Pygments does not know
        app.add_lexer(name, TextLexer)
