"""Results side by side."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.commands import TINY, refuse, say

import perturblearn
from perturblearn import Result
from perturblearn.cli.arguments import split_arguments


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    """Two runs that differ in epsilon and in their number of seeds."""
    out, keys = tmp_path_factory.mktemp("runs"), split_arguments(TINY)[1]
    return [
        perturblearn.learn_from_perturbations(
            overrides={**keys, "attack.epsilon": epsilon, "seeds": seeds}, out=out, report=False
        )
        for epsilon, seeds in ((0.3, 1), (3.0, 2))
    ]


def test_settings_that_differ_and_measures_stand_side_by_side(
    runs: list[Result], capsys: pytest.CaptureFixture[str]
) -> None:
    said = say(capsys, "compare", *(run.folder for run in runs))
    lines = {line.split("  ")[0].strip(): line for line in said.out.splitlines()}
    assert (said.code, said.err) == (0, "")
    assert lines["attack.epsilon"].split()[1:] == ["0.3", "3"]
    assert lines["number of seeds"].split()[-2:] == ["1", "2"]
    assert "attack.norm" not in lines, "it is the same in both"
    first, second = (run.summary["agreement"] for run in runs)
    assert first["mean"] is not None
    assert second["mean"] is not None
    assert lines["agreement"].split()[1:] == [
        f"{first['mean']:.3f}", f"{second['mean']:.3f}", "±", f"{second['std']:.3f}",
        f"{second['mean'] - first['mean']:+.3f}",
    ]  # fmt: skip
    assert f"{runs[0].folder.name if runs[0].folder else ''}: {runs[0].conclusion}" in said.out


def test_json_holds_what_the_table_shows(runs: list[Result], capsys: pytest.CaptureFixture[str]) -> None:
    content = say(capsys, "compare", *(run.folder for run in runs), "--json").json
    assert content["settings"] == {"seeds": ["0", "0, 1"], "attack.epsilon": ["0.3", "3"]}
    for name, spans in content["numbers"].items():
        assert [span["low"] for span in spans] == [run.summary[name]["mean"] for run in runs]
    assert {"agreement", "perturbation_accuracy_heldout"} <= set(content["numbers"])


def test_more_than_two_have_no_difference(runs: list[Result]) -> None:
    folders = [run.folder for run in (*runs, runs[0]) if run.folder is not None]
    comparison = perturblearn.compare(*folders)
    assert "difference" not in str(comparison)
    assert "<td>attack.epsilon</td><td>0.3</td><td>3</td><td>0.3</td>" in comparison._repr_html_()


def test_what_cannot_be_compared_is_refused(
    runs: list[Result], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sentence = refuse(capsys, "compare", runs[0].folder)
    assert sentence == "a comparison takes two folders of results or more, not 1; name another"
    assert refuse(capsys, "compare", runs[0].folder, tmp_path).startswith(f"{tmp_path}: holds no result")
