"""Configure the documentation: `python -m sphinx -W --keep-going -c docs . build/site`.

The source folder is the whole repository, so that a text and a notebook lie where they are read on
the web as well, and their relative links are true in both places.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent / "_ext"), str(Path(__file__).parents[1])]

from npsrcnn.version import __version__

project = "npsrcnn"
author = "the npsrcnn developers"
copyright = author
version = release = __version__

root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "examples/*",
    "benchmarks/README.md",
    "npsrcnn/weights/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = ["build", ".git", ".venv*", "**.ipynb_checkpoints"]

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_nb",
    "source_links",
]

# Notebooks are run by the tests; here they are shown with the output that they keep.
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "dollarmath", "fieldlist"]
myst_url_schemes = {"http": None, "https": None, "mailto": None, "repository": None}
myst_heading_anchors = 4

autodoc_mock_imports = ["av", "gradio"]  # extras that only their rooms need
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say shapes and units, which types do not
numpydoc_show_class_members = False
default_role = "code"

html_theme = "furo"
html_title = "npsrcnn"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_root"]
html_copy_source = False
