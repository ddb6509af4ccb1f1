"""How the documentation is built: ``python -m sphinx -W docs build/docs``, without network."""

import sys
from pathlib import Path

import viz_diffusion

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "viz_diffusion"
version = release = viz_diffusion.__version__
language = "en"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "accessible",
    "generated_pages",
    "mathml",
    "offline",
]
exclude_patterns = ["extensions"]
nitpicky = False  # docstrings name types of NumPy and PyTorch, whose indexes would have to be downloaded

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # docstrings give shapes and units, which types do not
autodoc_member_order = "bysource"
napoleon_google_docstring = False

html_theme = "furo"
html_title = "viz_diffusion"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_show_sphinx = False
html_copy_source = False
