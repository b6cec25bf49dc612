"""What lies in a folder of results."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.perturbed.sets import write
from tests.report import project
from tests.report.made_sweeps import G, made_sweep
from tests.report.project import put, run, write_project

from perturblearn.config import config_tree, resolve_config
from perturblearn.errors import StoreError
from perturblearn.report.entries import Entries, Entry, Span


def entries_of(folder: Path) -> Entries:
    return Entries.of(folder, page="report.html")


def one(folder: Path, file: str, content: dict[str, Any]) -> Entry:
    """The only entry of a folder with one."""
    put(folder / "one", file, content)
    found = entries_of(folder)
    assert found.unread == []
    (entry,) = found.found
    return entry


def test_every_kind_is_an_entry_the_latest_first(tmp_path: Path) -> None:
    found = entries_of(write_project(tmp_path))
    assert [(entry.folder, entry.kind, entry.name) for entry in found.found] == [
        ("last", "run", "last"),
        ("set", "perturbed set", "tiny"),
        ("transfer", "transfer matrix", "across"),
        ("audit", "audit", "looked-at"),
        ("study", "study", "studies/depth"),
        ("figure", "figure", "paper/figure"),
        ("many", "sweep", "many"),
        ("first", "run", "first"),
    ]
    assert found.found[-1].written == "2023-11-14 22:13:20"
    assert [entry.page for entry in found.found] == ["last/report.html"] + [None] * 7
    assert str(found) == (
        f"{tmp_path}: 2 runs, 1 sweep, 1 figure, 1 study, 1 audit, 1 transfer matrix, 1 perturbed set.\n"
        "3 folders left out; the page says why."
    )


def test_a_run_has_the_numbers_of_its_summary(tmp_path: Path) -> None:
    result = run([0.9, 0.8], attack__epsilon=0.25)
    entry = one(tmp_path, "result.json", result.to_dict())
    assert entry.conclusion == result.conclusion
    assert entry.about == "digits, f mlp, g mlp, L2 ε = 0.25, natural sources, targets uniform, 2 seeds"
    g = entry.numbers["perturbation_accuracy_heldout"]
    assert (g.low, g.high, g.std) == pytest.approx((0.85, 0.85, 0.005**0.5))
    assert entry.numbers["agreement"].low == pytest.approx(0.7)
    assert set(entry.numbers) == {
        "standard_accuracy_heldout", "perturbation_accuracy_heldout", "agreement", "unperturbed_control_heldout",
        "permuted_control_heldout",
    }  # fmt: skip
    assert (entry.seeds, entry.combinations, entry.failed, entry.inside) == (2, 1, 0, None)
    assert entry.settings["attack.epsilon"] == "0.25"
    assert entry.settings["data.name"] == "digits"
    assert "name" not in entry.settings


def test_a_single_seed_has_no_spread(tmp_path: Path) -> None:
    assert one(tmp_path, "result.json", run([0.9]).to_dict()).numbers["perturbation_accuracy_heldout"].std is None


def test_a_sweep_goes_from_its_lowest_to_its_highest_point(tmp_path: Path) -> None:
    entry = one(tmp_path, "sweep.json", project.sweep((0.6, 0.8, None)).to_dict())
    assert entry.numbers["perturbation_accuracy_heldout"] == Span(0.6, 0.8)
    assert (entry.combinations, entry.seeds, entry.failed) == (3, 1, 1)
    assert entry.about == "3 runs at 3 points over attack.epsilon"
    assert entry.conclusion == "g classifies 60.0 to 80.0 % of clean held-out inputs correctly."
    assert entry.settings["attack.epsilon"] == "0.5, 1, 1.5"
    assert entry.settings["data.name"] == "gauss"


def test_a_sweep_of_one_point_has_its_mean_and_spread(tmp_path: Path) -> None:
    made = made_sweep(tmp_path, grid={"attack.epsilon": [0.5]})
    (entry,) = entries_of(tmp_path).found
    (point,) = made.table
    mean, std = point.spread(G).mean, point.spread(G).std
    assert mean is not None
    assert std is not None
    assert std > 0
    assert entry.numbers[G] == Span(mean, mean, std)
    assert entry.conclusion == f"g classifies {100 * mean:.1f} % of clean held-out inputs correctly."


def test_ends_that_print_equal_are_said_once(tmp_path: Path) -> None:
    entry = one(tmp_path, "sweep.json", project.sweep((0.8001, 0.8002)).to_dict())
    assert entry.conclusion == "g classifies 80.0 % of clean held-out inputs correctly."
    assert entry.numbers[G] == Span(0.8001, 0.8002)


def test_a_sweep_without_a_finished_run_says_so(tmp_path: Path) -> None:
    entry = one(tmp_path, "sweep.json", project.sweep((None, None)).to_dict())
    assert entry.conclusion == "No run has finished."
    assert entry.numbers == {}


def test_many_values_of_a_key_are_told_by_their_ends(tmp_path: Path) -> None:
    entry = one(tmp_path, "sweep.json", project.sweep([0.5] * 20).to_dict())
    assert entry.settings["attack.epsilon"] == "0.5 to 10, 20 values"


def test_an_audit_and_a_matrix_go_over_their_cells(tmp_path: Path) -> None:
    entry = one(tmp_path / "a", "audit.json", project.audit().to_dict())
    g = entry.numbers["perturbation_accuracy_heldout"]
    assert (g.low, g.high, g.std) == (0.2, pytest.approx(0.6), None)
    assert entry.about == "mlp: digits, pgd; g beats its controls and chance in 2 of 2 combinations"
    assert entry.conclusion == project.audit().verdict
    assert entry.settings["attack.norm"] == "l2, linf"
    assert entry.settings["perturbation.model.name"] == "mlp, convnet"
    entry = one(tmp_path / "b", "transfer.json", project.transfer().to_dict())
    assert entry.about == "mlp, convnet: digits, pgd"
    assert entry.conclusion.startswith("g beats its controls and chance in 2 of 2 cells.")
    assert (entry.combinations, entry.seeds) == (2, 2)


def test_a_figure_says_how_many_published_points_are_inside(tmp_path: Path) -> None:
    entry = one(tmp_path, "result.json", project.figure(changed={"standard.products": "bfloat16"}).to_dict())
    assert entry.inside == 0.75
    assert entry.conclusion == "3 of 4 readable published points inside our spread."
    assert (entry.combinations, entry.seeds, entry.failed) == (4, 2, 1)
    assert entry.settings == {"scale": "full", "seeds": "0, 1", "standard.products": "bfloat16"}


def test_a_figure_that_is_not_judged_says_what_there_is(tmp_path: Path) -> None:
    rows = [replace(row, published=None, difference=None, verdict="not given") for row in project.figure().rows]
    entry = one(tmp_path / "a", "result.json", project.figure(rows=rows).to_dict())
    assert (entry.inside, entry.conclusion) == (None, "panel 1 (epsilon): no published values")
    entry = one(tmp_path / "b", "result.json", project.figure(panels=[], rows=[]).to_dict())
    assert entry.conclusion == "What it shows."


def test_a_study_says_its_first_sentence(tmp_path: Path) -> None:
    entry = one(tmp_path, "result.json", project.figure(analysis=project.ANALYSIS).to_dict())
    assert (entry.kind, entry.conclusion) == ("study", "Accuracy falls with depth.")


def test_a_set_says_how_often_f_sees_the_target_and_what_was_perturbed(tmp_path: Path) -> None:
    bare = resolve_config(None, {"attack.source": "none", "seeds": [4]})
    write(tmp_path / "bare", config=config_tree(bare))
    write(tmp_path / "natural")
    found = {entry.folder: entry for entry in entries_of(tmp_path).found}
    assert ", bare perturbations, seed " in found["bare"].about
    assert ", natural sources, seed " in found["natural"].about
    assert re.fullmatch(
        r"20 perturbed samples\. f gives \d+\.\d % of those with a wrong target that target\.",
        found["natural"].conclusion,
    )


def test_what_cannot_be_read_is_left_out_with_its_reason(tmp_path: Path) -> None:
    put(tmp_path / "newer", "result.json", {**run().to_dict(), "schema": 99})
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "sweep.json").write_text('{"kind": "swe')
    put(tmp_path / "badname", "result.json", {**run().to_dict(), "config": {"name": "<script>"}})
    found = entries_of(write_project(tmp_path))
    reasons = {unread.folder: unread.reason for unread in found.unread}
    assert set(reasons) == {"badname", "cut", "empty", "foreign", "newer", "torn"}
    assert "foreign/result.json is not a result of perturblearn; " in reasons["foreign"]
    assert reasons["empty"].startswith("holds no result; ")
    assert "damaged" in reasons["torn"]
    assert "damaged" in reasons["cut"]
    assert "newer version" in reasons["newer"]
    assert "'<script>'" in reasons["badname"]
    assert len(found.found) == 8


@pytest.mark.parametrize(
    "content",
    [[], "text", None, {"kind": "run"}, {"kind": ["run"]}, {"kind": "reproduction", "schema": 1, "rows": 3}],
)
@pytest.mark.parametrize("file", ["result.json", "sweep.json", "audit.json", "transfer.json", "manifest.json"])
def test_whatever_a_file_holds_the_others_are_found(tmp_path: Path, file: str, content: Any) -> None:
    put(tmp_path / "odd", file, content)
    put(tmp_path / "good", "result.json", run().to_dict())
    found = entries_of(tmp_path)
    assert [entry.folder for entry in found.found] == ["good"]
    assert [unread.folder for unread in found.unread] == ["odd"]


@pytest.mark.parametrize(
    ("file", "make"),
    [
        ("result.json", run),
        ("result.json", project.figure),
        ("sweep.json", project.sweep),
        ("audit.json", project.audit),
        ("transfer.json", project.transfer),
    ],
)
def test_a_value_of_any_key_may_be_anything(tmp_path: Path, file: str, make: Callable[[], Any]) -> None:
    whole = json.loads(json.dumps(make().to_dict()))
    for key in whole:
        for number, odd in enumerate((None, 3, "text", [], [None], {}, {"": 1}, [{}])):
            put(tmp_path / f"{key}-{number}", file, {**whole, key: odd})
    found = entries_of(tmp_path)
    assert len(found.found) + len(found.unread) == 8 * len(whole)
    assert found.unread
    json.dumps(found.to_dict(), allow_nan=False)


def test_numbers_that_are_none_are_left_out(tmp_path: Path) -> None:
    content = run().to_dict()
    content["summary"]["agreement"]["mean"] = None
    assert "agreement" not in one(tmp_path, "result.json", content).numbers


def test_names_may_be_any_bytes_and_marks(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/a b&\xff\"'<"
    put(Path(os.fsdecode(odd)), "result.json", run().to_dict())
    (Path(os.fsdecode(odd)) / "report.html").touch()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xfe")).mkdir()
    found = entries_of(tmp_path)
    assert [entry.folder for entry in found.found] == ["a b&\ufffd\"'<"]
    assert found.found[0].page == "a%20b%26%FF%22%27%3C/report.html"
    assert [unread.folder for unread in found.unread] == ["\ufffd"]
    json.dumps(found.to_dict()).encode()


def test_as_json_values(tmp_path: Path) -> None:
    content = json.loads(json.dumps(entries_of(write_project(tmp_path)).to_dict(), allow_nan=False))
    assert (content["kind"], content["schema"], content["page"]) == ("index", 1, None)
    assert content["entries"][0]["numbers"]["perturbation_accuracy_heldout"] == {"low": 0.95, "high": 0.95, "std": None}
    assert {unread["folder"] for unread in content["unread"]} == {"empty", "foreign", "torn"}


def test_a_folder_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no folder .*nowhere; name the one that results were written to"):
        entries_of(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot read .*file"):
        entries_of(tmp_path / "file")
    put(tmp_path / "alone", "result.json", run().to_dict())
    with pytest.raises(StoreError, match=r"alone is itself a result .*; name the folder that it lies in"):
        entries_of(tmp_path / "alone")


def test_an_empty_folder_has_nothing_to_show(tmp_path: Path) -> None:
    assert str(entries_of(tmp_path)) == f"{tmp_path}: nothing to show."
