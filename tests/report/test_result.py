from __future__ import annotations

import csv
import io
import json
import math
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.report.looking import Tags

from perturblearn import Result, StoreError
from perturblearn.experiment import MEASURES, Measure
from perturblearn.report import RunReport
from perturblearn.report.run import HEADS
from perturblearn.results import SCHEMA

MAXIMA = [name for name in MEASURES if name.endswith("_max")]


def test_the_dict_is_json_and_the_content_of_the_file(tiny_result: Result) -> None:
    content = tiny_result.to_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert tiny_result.folder is not None
    assert json.loads((tiny_result.folder / "result.json").read_text()) == content


def test_a_folder_gives_back_an_equal_result(tiny_result: Result) -> None:
    assert tiny_result.folder is not None
    for folder in (tiny_result.folder, str(tiny_result.folder)):
        assert Result.load(folder) == tiny_result


def test_the_summary_sums_up_the_seeds(tiny_result: Result) -> None:
    for name, values in tiny_result.summary.items():
        if "_control" in name:
            control, _, part = name.partition("_control")
            expected = [
                value for seed in tiny_result.seeds for value in getattr(seed.controls[control], f"accuracy{part}")
            ]
            assert len(expected) == 2 * 2  # seeds x draws
        else:
            expected = [seed.measures[name] for seed in tiny_result.seeds]
        assert values["values"] == expected
        known = [value for value in expected if value is not None]
        assert values["mean"] == pytest.approx(sum(known) / len(known), rel=1e-12)  # one rounding per addition
        assert values["median"] == statistics.median(known)
        mean = sum(known) / len(known)
        variance = sum((value - mean) ** 2 for value in known) / (len(known) - 1)
        assert values["std"] == pytest.approx(math.sqrt(variance), rel=1e-9, abs=1e-15)
    # What only searches, more than two classes, deep or dead networks, or data with groups have, or who asks.
    others = {"perturbation_size", "kept_share", "largest_share", "linear_probe", "linear_probe_heldout"}
    others |= {"standard_dead_share", "perturbation_dead_share"}
    others |= {"standard_robust_accuracy", "perturbation_robust_accuracy"}
    others |= {"standard_accuracy_worst_group", "perturbation_accuracy_worst_group"}
    asked = ("attribution", "robust_linear", "linear_shortcut", "bottleneck", "generation")
    others |= {name for name in MEASURES if name.startswith(asked)}
    assert set(tiny_result.summary) == set(MEASURES) - others


def test_the_text_holds_every_measure_and_the_sentence(tiny_result: Result) -> None:
    lines = str(tiny_result).splitlines()
    cells = [line.split("  ")[0].strip() for line in lines]
    for name, values in tiny_result.summary.items():
        same = name in MAXIMA and values["values"] == tiny_result.summary[name.removesuffix("_max")]["values"]
        assert cells.count(name) == (not same)
        if not same:
            numbers = lines[cells.index(name)].split()[1:5]
            assert numbers[:3] == [f"{values[number]:.4f}" for number in ("mean", "std", "median")]
            assert numbers[3] == str(len(values["values"]))
    assert tiny_result.conclusion in lines
    assert all(f"- {remark}" in lines for remark in tiny_result.remarks)
    assert all(head in lines[2] for head in HEADS)


def test_robustness_is_told_beside_the_accuracies(run_tiny: Callable[..., Result]) -> None:
    keys = {"seeds": [7], "controls.draws": 0, "measures.cosine_similarity": False}
    keys |= {"standard.training": "adversarial", "standard.adversary.epsilon": 0.1}
    result = run_tiny(overrides={**keys, "measures.robust_accuracy": True, "measures.robust_epsilon": 0.01})
    lines = str(result).splitlines()
    assert ", f adversarial two_layer, g two_layer," in lines[0]
    cells = [line.split("  ")[0].strip() for line in lines]
    for role in ("standard", "perturbation"):
        name = f"{role}_robust_accuracy"
        assert cells.index(name) == cells.index(f"{role}_accuracy_heldout") + 1
        clean, robust = (result.summary[each] for each in (f"{role}_accuracy_heldout", name))
        assert robust["mean"] <= clean["mean"]
        assert "interval" in robust
    f, g = (100 * result.summary[f"{role}_robust_accuracy"]["mean"] for role in ("standard", "perturbation"))
    told = (
        "Where PGD of 20 steps moves held-out inputs away from their labels (L2 ε = 0.01), f still classifies "
        f"{f:.1f} % of them correctly, g {g:.1f} %."
    )
    assert told in result.remarks


def test_one_seed_has_no_spread_and_says_so(run_tiny: Callable[..., Result]) -> None:
    result = run_tiny(overrides={"seeds": [7], "controls.draws": 0})
    assert {values["std"] for values in result.summary.values()} == {None}
    assert any("One seed shows no spread" in remark for remark in result.remarks)
    assert "Without controls nothing follows" in result.conclusion
    assert not any("control" in name for name in result.summary)
    json.dumps(result.to_dict(), allow_nan=False)
    result.plot()
    assert result.folder is None


def test_a_frame_has_one_row_per_seed(tiny_result: Result) -> None:
    frame = tiny_result.to_frame()
    assert list(frame.index) == [0, 1]
    for name, values in tiny_result.summary.items():
        assert frame[name].to_numpy().mean() == pytest.approx(values["mean"], rel=1e-12)
    assert set(frame["perturbation_lr"]) <= {0.5, 0.1}


def test_a_frame_without_pandas_says_what_to_install(tiny_result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install perturblearn\[pandas\]"):
        tiny_result.to_frame()


def test_html_holds_the_table_and_runs_nothing(tiny_result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = "<script>alert('&')</script>"
    monkeypatch.setitem(MEASURES, "agreement", Measure("agreement", hostile))
    config = tiny_result.config
    named = replace(tiny_result, config=config.model_copy(update={"name": hostile}))
    monkeypatch.setattr(RunReport, "conclusion", property(lambda _: hostile))
    monkeypatch.setattr(RunReport, "remarks", property(lambda _: [hostile]))
    found = Tags(named._repr_html_())
    assert "script" not in found.tags
    assert found.tags.count("tr") == 1 + len(RunReport(named).rows)
    assert "".join(found.words).count(hostile) == 4  # name, sentence, remark, and the measure's words


def write_result(folder: Path, content: str | bytes) -> Path:
    folder.mkdir()
    (folder / "result.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


@pytest.mark.parametrize("make", [lambda _: None, Path.touch, Path.mkdir], ids=["nothing", "file", "empty"])
def test_a_folder_without_a_result(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "run")
    with pytest.raises(StoreError, match=r"cannot read .*result\.json \(.*\); name the folder of a finished run$"):
        Result.load(tmp_path / "run")


DAMAGED: list[tuple[str, Callable[[dict[str, Any]], str | bytes]]] = [
    ("empty", lambda _: ""),
    ("half", lambda content: json.dumps(content)[:-20]),
    ("list", lambda _: "[1]"),
    ("null", lambda _: "null"),
    ("bytes", lambda content: json.dumps(content).encode().replace(b"tiny", b"\xff\xfe")),
    ("no schema", lambda content: json.dumps({key: content[key] for key in content if key != "schema"})),
    ("no seeds", lambda content: json.dumps({key: content[key] for key in content if key != "seeds"})),
    ("odd schema", lambda content: json.dumps({**content, "schema": "one"})),
    ("config", lambda content: json.dumps({**content, "config": {"seeds": 0}})),
    ("config is a path", lambda content: json.dumps({**content, "config": "experiment.toml"})),
    ("no config", lambda content: json.dumps({**content, "config": None})),
]


@pytest.mark.parametrize(("damage"), [damage for _, damage in DAMAGED], ids=[name for name, _ in DAMAGED])
def test_a_damaged_result_is_told(tmp_path: Path, tiny_result: Result, damage: Callable[..., str | bytes]) -> None:
    folder = write_result(tmp_path / "run", damage(tiny_result.to_dict()))
    with pytest.raises(StoreError, match=r"result\.json is damaged .*run the experiment again with --force$"):
        Result.load(folder)


def test_a_newer_result_is_told_from_damage(tmp_path: Path, tiny_result: Result) -> None:
    folder = write_result(tmp_path / "run", json.dumps({**tiny_result.to_dict(), "schema": SCHEMA + 1}))
    with pytest.raises(StoreError, match=r"newer version of perturblearn; update it to read this run$"):
        Result.load(folder)


def test_keys_that_a_later_version_adds_are_no_damage(tmp_path: Path, tiny_result: Result) -> None:
    folder = write_result(tmp_path / "run", json.dumps({**tiny_result.to_dict(), "new": 1}))
    assert Result.load(folder) == replace(tiny_result, folder=folder)


def test_a_table_in_latex_is_the_printed_one(tiny_result: Result) -> None:
    lines = tiny_result.to_latex().splitlines()
    rows = [line for line in lines if line.endswith("\\\\")]
    cells = [
        [cell.replace("\\", "").replace("--", "–") for cell in row.removesuffix("\\\\").split(" & ")] for row in rows
    ]
    assert [[cell.strip() for cell in row] for row in cells] == [
        list(HEADS), *(list(row) for row in RunReport(tiny_result).rows),
    ]  # fmt: skip
    assert "N = 40, d = 10, 30 held-out inputs" in lines[2]


def test_a_table_in_csv_has_every_number_in_full(tiny_result: Result) -> None:
    rows = {row["measure"]: row for row in csv.DictReader(io.StringIO(tiny_result.to_csv()))}
    assert set(rows) == set(tiny_result.summary)
    g = tiny_result.summary["perturbation_accuracy_heldout"]
    row = rows["perturbation_accuracy_heldout"]
    assert [float(row[name]) for name in ("mean", "std", "low", "high")] == [
        g["mean"],
        g["std"],
        *g.get("interval", []),
    ]
