"""Configuration of Sphinx for `make docs`."""

from __future__ import annotations

import ast
import sys
from importlib import import_module
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
    "notebooks",
]
exclude_patterns = ["_build", "reproduction/notes"]
source_suffix = {".md": "markdown", ".ipynb": "markdown"}  # notebooks become Markdown when they are read
highlight_language = "text"
smartquotes_action = "D"  # only dashes: f' and y'_n are names, not quotations

# The pages are read on code hosting sites too, so headings have the same anchors as there.
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
# Names of the top level have their entry there, and no second one in their room.
autodoc_default_options = {
    "members": True,
    "exclude-members": ", ".join(name for name in perturblearn.__all__ if name[0].isupper()),
    "no-value": True,
}
# "x, z: inputs" is one entry for two arguments, which only the plain form of the list can show.
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_numpy_docstring = False
# A word in backticks is one of our names; `docstring_style` shows it as code if the reference has no entry for it.
default_role = "py:obj"

nitpicky = True
# Names of other projects cannot be looked up offline, and functions passed as arguments have types of their own.
nitpick_ignore = [
    # Types within signatures that users do not need by name.
    ("py:class", "perturblearn.classifiers.classifier.AnyNetwork"),
    ("py:class", "perturblearn.classifiers.copying.SomeModule"),
    ("py:class", "perturblearn.classifiers.folding.SomeModule"),
    ("py:class", "perturblearn.experiment.case.Limits"),
    ("py:class", "perturblearn.experiment.case.Trained"),
    ("py:class", "perturblearn.store.files.Built"),
    ("py:class", "perturblearn.training.distributed.Team"),
    ("py:class", "perturblearn.training.minibatch.Resumption"),
    ("py:class", "perturblearn.training.minibatch.Task"),
]
nitpick_ignore_regex = [
    (r"py:class", r"perturblearn\.(report|results)\..*"),  # parts of results
    (r"py:class", r"perturblearn\.experiment\.(checks|context|controls|steps)\..*"),  # stages
    (r"py:class", r"perturblearn\.attacks\.(ball|context)\..*"),
    (
        r"py:.*",
        r"(perturblearn\.graph\.stage\.ResultT(_co)?|AnyNetwork|Ball|Context|DrawFigure|Float|Part|Values)",
    ),
    (r"py:.*", r"(torch|jaxtyping|numpy|np|pandas|matplotlib|pydantic|pydantic_core|duckdb|PIL)\b.*"),
    (r"py:.*", r"(Tensor|Path|Figure|NoneType)"),
    (r"py:.*", r"(collections|os|pathlib|typing|typing_extensions|types|datetime|functools|io)\..*"),
]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = "perturblearn"
html_show_sphinx = False
html_copy_source = False
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True


def import_types(module: str) -> None:
    """Give a module the names of ours that it imports for type checkers alone, so that its signatures lead to them."""
    made = import_module(module)
    for block in ast.parse(Path(str(made.__file__)).read_text(encoding="utf-8")).body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            for each in block.body:
                if isinstance(each, ast.ImportFrom) and (each.module or "").startswith("perturblearn."):
                    for alias in each.names:
                        setattr(made, alias.name, getattr(import_module(str(each.module)), alias.name))


for name in ("api.clean", "api.index", "api.reproduce", "results.points", "results.reproduction"):
    import_types(f"perturblearn.{name}")


def add_pages_below(app: Sphinx, page: str, source: list[str]) -> None:
    """Add the pages of a folder as subpages of its overview.

    This is done here and not in the page, because the page is read on code hosting sites too.
    """
    if page in ("course/README", "reproduction/README"):
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\n*\n```\n"


def setup(app: Sphinx) -> None:
    """Register the function above."""
    app.connect("source-read", add_pages_below)
