"""Figures as files: formats, styles, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from cycler import cycler
from tests.report import project

from perturblearn.errors import ConfigError, StoreError
from perturblearn.report.charts.palette import COLOURS
from perturblearn.results import FigureOptions, Style, settings_of

AUDIT = project.audit("an audit")
STARTS = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


def test_figures_are_written_in_each_format_and_equal_ones_are_equal_files(tmp_path: Path) -> None:
    audit = AUDIT.in_folder(tmp_path)
    written = audit.save_figures(formats=tuple(STARTS))
    assert [path.name for path in written] == ["audit.png", "audit.pdf", "audit.svg"]
    content = {path.suffix[1:]: path.read_bytes() for path in written}
    assert all(content[name].startswith(start) for name, start in STARTS.items())
    assert b"/FontType3" not in content["pdf"]
    assert b"/Type3" not in content["pdf"]
    with mpl.rc_context({"pdf.fonttype": 3, "savefig.dpi": 10}):
        again = audit.save_figures(formats=tuple(STARTS))
    assert {path.suffix[1:]: path.read_bytes() for path in again} == content


def test_only_missing_figures_are_drawn_unless_a_style_is_asked_for(tmp_path: Path) -> None:
    audit = AUDIT.in_folder(tmp_path)
    (tmp_path / "audit.png").write_bytes(b"drawn before")
    audit.complete_figures(FigureOptions(("png", "svg")))
    assert (tmp_path / "audit.png").read_bytes() == b"drawn before"
    assert (tmp_path / "audit.svg").is_file()
    audit.complete_figures(FigureOptions(("png",), {"font.size": 7}))
    assert (tmp_path / "audit.png").read_bytes().startswith(STARTS["png"])


def test_a_result_in_memory_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"make it with out=\.\.\., or save what plot\(\) returns"):
        AUDIT.save_figures(tmp_path)


def test_a_style_sets_letters_and_width_and_leaves_colours(tmp_path: Path) -> None:
    file = tmp_path / "paper.mplstyle"
    file.write_text("# a column\nfont.family: serif\naxes.labelsize: 6  # small\nfigure.figsize: 3.25, 2\n")
    own, styled = AUDIT.plot(), AUDIT.plot(file)
    assert styled.get_figwidth() == 3.25 < own.get_figwidth()
    label = styled.axes[0].xaxis.label
    assert (label.get_fontsize(), label.get_fontfamily()) == (6, ["serif"])
    assert own.axes[0].xaxis.label.get_fontsize() == 9
    for figure in (own, styled, AUDIT.plot({"axes.prop_cycle": cycler(color=["red"])})):
        colours = {str(line.get_color()) for line in figure.axes[0].get_lines()}
        assert colours <= {light for light, _ in COLOURS.values()}


@pytest.mark.parametrize(
    ("style", "told"),
    [
        (
            "absent",
            "style = 'absent', but there is no such file, and matplotlib has no style of that name; name a style",
        ),
        ({"font.sise": 8}, r"the style cannot be used \('?font\.sise"),
        ({"font.size": "large"}, r"the style cannot be used \(Key font\.size"),
        ({"text.usetex": True}, "the style sets text.usetex, which figures cannot follow; leave it out"),
    ],
)
def test_a_style_that_cannot_be_used_is_refused(style: Style, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        settings_of(style)


def test_a_line_of_a_style_file_that_is_no_setting_is_named(tmp_path: Path) -> None:
    file = tmp_path / "paper.mplstyle"
    file.write_text("font.size: 8\nfont.sise: 8\n")
    told = f"the style {file} sets 'font.sise', which is no setting of matplotlib; correct it"
    with pytest.raises(ConfigError, match=re.escape(told)):
        settings_of(file)


@pytest.mark.parametrize(
    ("formats", "told"),
    [
        (("gif",), "format = 'gif', but figures are written as png, pdf, svg; choose of these"),
        (("pdf", "pdf"), "format = pdf, pdf, but it must name each format once"),
    ],
)
def test_a_format_that_is_none_is_refused(formats: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        FigureOptions(formats)
