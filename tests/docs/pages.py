"""The pages of the documentation, notebooks among them, and what stands in them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
GENERATED = "docs/reproduction"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Args:
        page: its page, from the root.
        line: where it begins, counted from 1.
        language: what it is written in.
        text: what it holds, without the indentation of a list that it belongs to.
    """

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command that a page names, in a block or within a sentence."""

    place: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.place}: {shlex.join(self.words)}"


def pages() -> list[str]:
    """Every page, the readme first."""
    files = (path for kind in ("*.md", "*.ipynb") for path in (ROOT / "docs").rglob(kind))
    found = sorted(path.relative_to(ROOT).as_posix() for path in files)
    return ["README.md", *(page for page in found if not page.startswith(("docs/_build", f"{GENERATED}/notes")))]


def text_of(page: str) -> str:
    """What there is to read on a page; of a notebook, what stands between its code (`tests/docs/test_course.py`)."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if not page.endswith(".ipynb"):
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = []
    text = text_of(page)
    for match in re.finditer(r"^( *)```(\S*)\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE):
        indentation, language, inside = match.groups()
        inside = re.sub(f"^{indentation}", "", inside, flags=re.MULTILINE)
        found.append(Block(page, text[: match.start()].count("\n") + 1, language, inside))
    return found


def python_blocks(page: str) -> list[tuple[Block, str]]:
    """Every block of Python with the output that follows it, "" if none does."""
    found = blocks(page)
    pairs = []
    for place, block in enumerate(found):
        if block.language == "python":
            end = block.line + block.text.count("\n") + 1
            following = found[place + 1] if place + 1 < len(found) else block
            is_output = following.language == "text" and following.line == end + 2
            pairs.append((block, following.text if is_output else ""))
    return pairs


def commands(page: str) -> Iterator[Command]:
    """The commands of a page: lines of shell blocks, those after a prompt, and those within sentences."""
    for block in blocks(page):
        if block.language in ("sh", "console"):
            lines = block.text.replace("\\\n", " ").splitlines()
            if block.language == "console":
                lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
            for line in lines:
                yield Command(block.place, tuple(shlex.split(line, comments=True)))
    outside = re.sub(r"^( *)```.*?^\1```$", lambda cut: "\n" * cut[0].count("\n"), text_of(page), flags=re.S | re.M)
    for match in re.finditer(r"(?<!`)`((?:perturblearn|make|python|torchrun|pip) [^`]+)`(?!`)", outside):
        line = " ".join(match[1].split())
        yield Command(f"{page}:{outside[: match.start()].count(chr(10)) + 1}", tuple(shlex.split(line)))
