"""How Sphinx makes the site: `make docs`."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

from sphinx.application import Sphinx

import perturblearn

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "perturblearn"
author = "The perturblearn developers"
project_copyright = "The perturblearn developers"
version = release = version_of("perturblearn")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "docstring_style",
    "mathml",
]
exclude_patterns = ["_build", "reproduction/notes"]
source_suffix = {".md": "markdown"}
highlight_language = "text"
smartquotes_action = "D"  # dashes alone: f' and y'_n are names, no quotations

# The pages are read on code forges too, so headings have the anchors that those give them.
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
# What the top level shows has its entry there and no second one in its room.
autodoc_default_options = {
    "members": True,
    "exclude-members": ", ".join(name for name in perturblearn.__all__ if name[0].isupper()),
    "no-value": True,
}
# "x, z: inputs" is one entry for two arguments, which only the plain form of the list can show.
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_numpy_docstring = False
# A word in backticks is a name of ours; `docstring_style` shows it as code where the reference has no entry for it.
default_role = "py:obj"

nitpicky = True
# There is no network to look names of other projects up, and functions that are handed over have types of their own.
nitpick_ignore = [
    # Types within signatures that nobody else needs to name.
    ("py:class", "perturblearn.classifiers.classifier.AnyNetwork"),
    ("py:class", "perturblearn.training.minibatch.Resumption"),
]
nitpick_ignore_regex = [
    (r"py:class", r"perturblearn\.report\..*"),  # what results are put together from
    (r"py:.*", r"(torch|numpy|np|pandas|matplotlib|pydantic|pydantic_core|duckdb|PIL)\b.*"),
    (r"py:.*", r"(Tensor|Path|Figure|NoneType)"),
    (r"py:.*", r"(collections|os|pathlib|typing|typing_extensions|types|datetime|functools|io)\..*"),
]

html_theme = "furo"
html_title = "perturblearn"
html_show_sphinx = False
html_copy_source = False
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True


def add_pages_below(app: Sphinx, page: str, source: list[str]) -> None:
    """Give the generated overview of reproductions the pages that it links to as pages below it.

    Here and not in the page, which is read on code forges too.
    """
    if page == "reproduction/README":
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\n*\n```\n"


def setup(app: Sphinx) -> None:
    """Register it."""
    app.connect("source-read", add_pages_below)
