"""Conversion of this project's docstrings to the form that Sphinx expects."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from pydantic import BaseModel
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

_SECTION = re.compile(r"[A-Z][a-z]+:")
_HIDDEN = "\ue000"
_RAISED = re.compile(r"(\s+)((?:\w+, )+\w+)(: .*)")


def part_errors(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Split entries ``ConfigError, DataError: ...`` into one per error, so that each becomes a link."""
    section = ""
    parted: list[str] = []
    for line in lines:
        if _SECTION.fullmatch(line.strip()):
            section = line.strip()
        entry = _RAISED.fullmatch(line) if section == "Raises:" else None
        if entry is None:
            parted.append(line)
        else:
            parted += [f"{entry[1]}{error}{entry[3]}" for error in entry[2].split(", ")]
    lines[:] = parted


def hide_colon(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Keep "What is learned: and how much" of a property a sentence; napoleon would take its first half for a type."""
    if what in ("attribute", "data", "property") and lines:
        lines[0] = lines[0].replace(":", _HIDDEN)


def show_colon(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Undo `hide_colon` once napoleon is done."""
    lines[:] = [line.replace(_HIDDEN, ":") for line in lines]


def readable_signature(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Show sections of a configuration without their fields, which the table of all keys explains.

    Of data classes, defaults that are made anew every time are shown as such.
    """
    if isinstance(obj, type) and issubclass(obj, BaseModel):
        return "(**keys)", None
    return signature and signature.replace("<factory>", "..."), returned


def show_as_code(
    app: Sphinx, environment: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Node | None:
    """A word in backticks that has no entry in the reference, such as an argument's name, is shown as code.

    `docstrings.py` has checked that a name with this spelling exists. What has a role of its own, and types of
    arguments, stay references that have to lead somewhere.
    """
    is_word = isinstance(content, nodes.literal)  # text in signatures is plain
    if is_word and node.get("refdomain") == "py" and node.get("reftype") == "obj":
        return nodes.literal("", content.astext(), classes=["code"])
    return None


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the functions above."""
    # Before napoleon, which has the default priority of 500.
    app.connect("autodoc-process-docstring", part_errors, priority=400)
    app.connect("autodoc-process-docstring", hide_colon, priority=400)
    app.connect("autodoc-process-docstring", show_colon, priority=600)
    app.connect("autodoc-process-signature", readable_signature)
    app.connect("missing-reference", show_as_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
