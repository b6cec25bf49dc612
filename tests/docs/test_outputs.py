"""Output that a page shows is what its command prints, or the page names the command that printed it."""

from __future__ import annotations

import re
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from tests.conftest import draw_one_pixel
from tests.docs.pages import Block, blocks, commands, pages, python_blocks, text_of
from tests.docs.printing import assert_printed

from perturblearn.cli import main

LANGUAGES = ("sh", "console", "text", "python", "toml", "{eval-rst}", "{toctree}")
NO_OUTPUT = ("4 N d m T\n", "data --> standard classifier")
"""How text blocks begin that show a formula and a drawing."""
NEAR = 14
"""Lines above an output in which its command is looked for."""


@pytest.mark.parametrize("page", pages())
def test_a_block_says_what_it_is_written_in(page: str) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES, block.place
    fences = re.findall(r"^ *```", text_of(page), re.MULTILINE)
    assert len(fences) == 2 * len(blocks(page))
    # Code in an indented block would escape these tests.
    assert not re.search(r"\n\n {4}(?:perturblearn|make|python|import) ", re.sub(r"(?s)```.*?```", "", text_of(page)))


def outputs() -> list[Block]:
    """Blocks of output that no block of Python has printed."""
    found = []
    for page in pages():
        of_python = {shown for _, shown in python_blocks(page)}
        of_page = [block for block in blocks(page) if block.language in ("text", "console")]
        found += [block for block in of_page if block.text not in of_python and not block.text.startswith(NO_OUTPUT)]
    return found


@pytest.mark.parametrize("output", outputs(), ids=lambda output: output.place)
def test_an_output_names_its_command(output: Block) -> None:
    above = text_of(output.page).splitlines()[max(0, output.line - 1 - NEAR) : output.line]
    named = re.search(r"(?:^|`|\$ )(?:perturblearn|make|python|OMP_NUM_THREADS)\b", "\n".join(above), re.MULTILINE)
    assert named or output.text.startswith("$ "), output.place


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of `make demo`, and what it prints."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        draw_one_pixel(patch)
        return folder, printed_by("run --name demo", folder)


def printed_by(line: str, folder: Path) -> str:
    """What a command prints in a folder."""
    with chdir(folder), redirect_stdout(StringIO()) as printed:
        assert main(line.split()) == 0
    return printed.getvalue()


def without_time(printed: str) -> str:
    return re.sub(r"ran in [\d.]+ (?:s|min)", "ran", printed).strip()


@pytest.mark.parametrize("page", ["README.md", "docs/start.md"])
def test_the_demo_prints_what_is_shown(page: str, demo: tuple[Path, str]) -> None:
    (shown,) = (block.text for block in blocks(page) if block.text.startswith("demo: "))
    assert_printed(without_time(demo[1]), without_time(shown), page)
    assert re.findall(r"demo-\w+", demo[1]) == re.findall(r"demo-\w+", shown)


@pytest.mark.long  # the demo, which comes first in the start, is quicker
def test_the_start_s_other_commands_print_what_is_shown(demo: tuple[Path, str], undrawn_pictures: None) -> None:
    folder, _ = demo
    bare, theory = (
        next(block.text for block in blocks("docs/start.md") if block.text.startswith(beginning))
        for beginning in ("Trained on nothing but", "cosine_similarity ")
    )
    run, compare = (
        next(
            " ".join(each.words[1:])
            for each in commands("docs/start.md")
            if "perturblearn" in each.words[0] and word in each.words
        )
        for word in ("bare", "theory")
    )
    (sentence,) = (
        found
        for found in printed_by(f"{run} --no-report", folder).splitlines()
        if found.startswith("Trained on nothing")
    )
    assert_printed(sentence, bare.strip(), "docs/start.md")
    compared = printed_by(compare, folder).splitlines()
    for shown in theory.splitlines():
        (found,) = (found for found in compared if found.split()[:1] == shown.split()[:1])
        assert_printed(found, shown, "docs/start.md")


def test_an_output_is_the_same_wherever_it_is_shown() -> None:
    """The audit of the example takes minutes: its page has the whole output, others a part of it."""
    whole = next(block.text for block in blocks("docs/own_model.md") if block.text.startswith("audit: "))
    for page in ("README.md", "docs/start.md"):
        lines = next(
            block.text for block in blocks(page) if "perturbations teach its classes" in block.text
        ).splitlines()
        assert [line for line in lines if line and line not in whole.splitlines()] == []
