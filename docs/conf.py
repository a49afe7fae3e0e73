"""The book: `make docs` builds it into docs/_build/html. It opens from file:// and needs no network."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

import phosphene  # noqa: E402

project = "phosphene"
author = "the phosphene authors"
copyright = author  # noqa: A001  (Sphinx's name for it)
version = release = phosphene.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
    "mathml",  # from here on ours, in _ext
    "offline",
    "recipe_table",
]
exclude_patterns = ["_build", "_ext"]

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = f"phosphene {release}"
html_static_path = ["_static"]
html_css_files = ["phosphene.css"]
html_copy_source = False
html_show_sphinx = False
