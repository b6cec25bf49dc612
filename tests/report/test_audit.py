from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.report.cells import cell, run_cell
from tests.report.looking import Tags

from perturblearn import Result
from perturblearn.config import resolve_config
from perturblearn.report.audit import Audit
from perturblearn.store import ArtefactStore


def audit_of(*cells: Result) -> Audit:
    return Audit(cells, "key", "small")


@pytest.fixture(scope="module")
def real() -> Audit:
    """Two sizes that were really run, by one learner."""
    return audit_of(*(run_cell(attack__epsilon=epsilon) for epsilon in (0.5, 2.0)))


# What is learned


def test_the_best_cell_has_the_largest_margin_over_its_better_control() -> None:
    accurate = cell([0.8, 0.8], controls=(0.6, 0.1), epsilon=1.0)
    best = cell([0.6, 0.8], controls=(0.1, 0.2), epsilon=0.5, norm="linf", names=("mlp", "convnet"))
    verdict = audit_of(accurate, best, cell([0.5, 0.5], controls=(0.1, 0.3))).verdict
    assert verdict.startswith(
        "Perturbations of f teach the classes (best of 3 combinations): trained on those of pgd, linf, epsilon 0.5, "
        "g (convnet) gives 70.0 +- 14.1 % of clean held-out inputs their true class over 2 seeds, against f 90.0 %, "
        "chance 10.0 %, unperturbed control 10.0 % (100% of its draws beaten), permuted control 20.0 % (100% of its "
        "draws beaten). In 3 of 3 combinations g beats its controls and chance; "
    )


def test_a_cell_that_beats_its_controls_goes_before_a_larger_margin() -> None:
    lucky = cell([0.9, 0.1], controls=(0.1, 0.2), norm="linf")  # one seed only: half of the draws are beaten
    sure = cell([0.3, 0.3], controls=(0.1, 0.2))
    verdict = audit_of(lucky, sure).verdict
    assert "trained on those of pgd, l2" in verdict
    assert "In 1 of 2 combinations g beats" in verdict


def test_nothing_learned_is_said_plainly() -> None:
    verdict = audit_of(cell([0.1, 0.12], linear=[0.1, 0.1]), cell([0.1, 0.1], linear=[0.1, 0.14])).verdict
    assert verdict.startswith("Nothing was shown to be learned: in no combination does g beat 95% of the draws of each")
    assert "best of 2 combinations: trained on those" in verdict
    assert "In 0 of 2 combinations" in verdict
    assert verdict.endswith("a linear classifier of the same perturbed sets reaches 10.0 to 12.0 %.")


def test_without_controls_nothing_follows() -> None:
    verdict = audit_of(cell([0.9, 0.9], controls=None), cell([0.8, 0.8], controls=None, norm="linf")).verdict
    assert verdict.startswith("Without controls nothing follows (best of 2 combinations): trained on those of pgd, l2")
    assert "No combination has controls to beat" in verdict
    assert "teach" not in verdict


# How much of it is more than linear leakage; chance is 0.1


@pytest.mark.parametrize(
    ("g", "linear", "expected"),
    [
        ([[0.7, 0.7]], [[0.2, 0.3]], "makes 25.0 % of g's gain over chance, so most of what transfers is more than"),
        ([[0.7, 0.7]], [[0.2, 0.41]], "makes 34.2 % of g's gain over chance, so most of what transfers may be linear"),
        ([[0.7, 0.7]], [[0.05, 0.0]], "makes 0.0 % of g's gain over chance, so most of what transfers is more than"),
        ([[0.7, 0.7]], [[0.8, 0.8]], "makes 116.7 % of g's gain over chance, so most of what transfers may be linear"),
        (
            [[0.7, 0.7], [0.5, 0.5]],
            [[0.2, 0.2], [0.4, 0.4]],
            "makes 16.7 to 75.0 % of g's gain over chance (16.7 % in the best), so most of it is more than linear "
            "leakage in 1 of these, and may be that in the others.",
        ),
        (
            [[0.7, 0.7], [0.5, 0.5]],
            [[0.2, 0.2], None],
            "makes 16.7 % of g's gain over chance in the 1 where it was fitted, so most",
        ),
        ([[0.7, 0.7]], [None], "how much leaks to a linear classifier was not measured (controls.linear_probe = true"),
    ],
    ids=["less", "one seed has more", "none", "all", "mixed", "not everywhere", "not measured"],
)
def test_leakage_is_weighed_seed_by_seed(
    g: Sequence[Sequence[float]], linear: Sequence[Sequence[float] | None], expected: str
) -> None:
    cells = [cell(of_one, linear=of_linear) for of_one, of_linear in zip(g, linear, strict=True)]
    assert expected in audit_of(*cells).verdict


# What makes the numbers weaker than they look


def test_numbers_without_weakness_have_no_warnings() -> None:
    assert audit_of(cell([0.5, 0.6]), cell([0.5, 0.6], success=None)).warnings == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # A fifth of the way from 0.1 to 1 is 0.28.
        ({"f": 0.27}, "f itself is near chance on held-out inputs (27.0 %, chance 10.0 %)"),
        ({"g": [0.5]}, "one seed shows no spread"),
        ({"draws": 2}, "a control has 4 draws over all seeds"),
        ({"success": 0.09}, "1 attack of 1 hardly reaches the targets on f (l2, epsilon 1: 9.0 %)"),
    ],
)
def test_each_weakness_is_told(options: dict[str, Any], expected: str) -> None:
    keys: dict[str, Any] = {"g": [0.5, 0.6], **options}
    (warning,) = audit_of(cell(**keys)).warnings
    assert expected in warning
    assert warning.startswith("Note: ")
    assert warning.endswith(".")


@pytest.mark.parametrize("options", [{"f": 0.29}, {"success": 0.1}, {"draws": 3}])
def test_a_weakness_begins_at_its_limit(options: dict[str, Any]) -> None:
    assert audit_of(cell([0.5, 0.6], **options)).warnings == []


def test_no_more_than_three_attacks_are_named() -> None:
    sizes = (0.1, 0.2, 0.3, 0.4, 0.5)
    (warning,) = audit_of(*(cell([0.5, 0.6], success=0.05, epsilon=size) for size in sizes)).warnings
    assert "5 attacks of 5 hardly reach the targets" in warning
    assert "epsilon 0.3: 5.0 % and 2 more)" in warning
    assert "0.4" not in warning


# Forms


def test_the_table_has_a_line_for_every_cell() -> None:
    own = cell([0.5, 0.6], names=("mlp", "mypackage.nets:make_transformer"), linear=[0.2, 0.3])
    lost = cell([0.1, 0.1], norm="linf", epsilon=0.25, success=None)
    bare = cell([0.5], controls=None)
    lines = str(audit_of(own, lost, bare)).splitlines()
    assert [line.split() for line in lines[4:7]] == [
        ["make_transformer", "l2", "1", "0.500", "0.900", "0.550", "+-", "0.071", "0.100", "0.100", "0.250", "yes"],
        ["mlp", "linf", "0.25", "-", "0.900", "0.100", "+-", "0.000", "0.100", "0.100", "-", "no"],
        ["mlp", "l2", "1", "0.500", "0.900", "0.500", "-", "-", "-", "-"],
    ]
    assert len({len(line) for line in lines[4:6]}) <= 2
    assert max(map(len, lines[:10])) <= 120


def test_the_text_ends_with_verdict_and_warnings(real: Audit) -> None:
    lines = str(real).splitlines()
    assert lines[-1 - len(real.warnings) :] == [real.verdict, *real.warnings]
    assert real.warnings  # two draws of a control


def test_the_dict_is_json_and_holds_every_cell(real: Audit) -> None:
    content = real.to_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["kind"] == "audit"
    assert content["model"] == "mlp"
    assert [(entry["learner"], entry["norm"], entry["epsilon"]) for entry in content["cells"]] == [
        ("mlp", "l2", 0.5),
        ("mlp", "l2", 2.0),
    ]
    assert [entry["changes"] for entry in content["cells"]] == [{}, {"attack.epsilon": 2.0}]
    assert [entry["summary"] for entry in content["cells"]] == [found.summary for found in real.cells]


def test_a_folder_gives_back_an_equal_audit(tmp_path: Path, real: Audit) -> None:
    written = real.write(ArtefactStore(tmp_path / ".store"), tmp_path / "audit")
    folder = tmp_path / "audit"
    assert written.folder == folder
    assert Audit.load(folder) == replace(written, cells=list(written.cells))
    assert json.loads((folder / "audit.json").read_text()) == written.to_dict()
    assert (folder / "audit.png").read_bytes().startswith(b"\x89PNG")
    names = sorted(path.name for path in (folder / "cells").iterdir())
    assert names == ["01-mlp-l2-0.5.toml", "02-mlp-l2-2.toml"]
    for name, found in zip(names, real.cells, strict=True):
        assert resolve_config(folder / "cells" / name) == found.config
    assert real.folder is None


def test_the_csv_holds_full_numbers(tmp_path: Path, real: Audit) -> None:
    folder = real.write(ArtefactStore(tmp_path / ".store"), tmp_path / "audit").folder
    assert folder is not None
    with (folder / "table.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    for line, found in zip(lines, real.cells, strict=True):
        for name in ("perturbation_accuracy_heldout", "attack_success", "permuted_control_heldout"):
            assert float(line[name]) == found.summary[name]["mean"]
        assert float(line["perturbation_accuracy_heldout_std"]) == found.summary["perturbation_accuracy_heldout"]["std"]
        assert line["learner"] == "mlp"


def test_file_names_are_plain(tmp_path: Path) -> None:
    own = cell([0.5, 0.6], names=("mlp", "a.nets:make"), name="radial_pgd", norm="l0", pixel_share=0.25)
    other = cell([0.5, 0.6], names=("mlp", "b.nets:make"))
    folder = audit_of(own, other).write(ArtefactStore(tmp_path / ".store"), tmp_path / "audit").folder
    assert folder is not None
    names = sorted(path.name for path in (folder / "cells").iterdir())
    assert names == ["01-a.nets_make-l0-25_px.toml", "02-b.nets_make-l2-1.toml"]


def test_a_frame_has_one_row_per_cell_and_seed(real: Audit) -> None:
    frame = real.to_frame()
    assert frame[["learner", "norm", "epsilon", "seed"]].to_numpy().tolist() == [
        ["mlp", "l2", epsilon, seed] for epsilon in (0.5, 2.0) for seed in (0, 1)
    ]
    values = [value for found in real.cells for value in found.summary["perturbation_accuracy_heldout"]["values"]]
    assert frame["perturbation_accuracy_heldout"].tolist() == values


def test_html_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = "<script>alert('&')</script>"
    monkeypatch.setattr(Audit, "verdict", property(lambda _: hostile))
    monkeypatch.setattr(Audit, "warnings", property(lambda _: [hostile]))
    audit = Audit([cell([0.5, 0.6]), cell([0.4, 0.5], norm="linf")], "key", hostile)
    found = Tags(audit._repr_html_())
    assert "script" not in found.tags
    assert (found.tags.count("tr"), found.tags.count("th"), found.tags.count("td")) == (1 + 2, 10, 2 * 10)
    assert "".join(found.words).count(hostile) == 3  # name, verdict, warning


def test_coordinates_are_no_epsilon() -> None:
    few = cell([0.5, 0.6], name="radial_pgd", norm="l0", pixels=5)
    assert "radial_pgd and pgd, natural sources" in str(audit_of(few, cell([0.5, 0.6])))
    assert "l0, 5 px, g (mlp)" in audit_of(few).verdict


def test_nothing_is_said_to_be_taught_where_nothing_was_perturbed() -> None:
    lucky = cell([0.6, 0.6], controls=(0.1, 0.1), epsilon=0.0)
    assert audit_of(lucky).verdict.startswith("Nothing was shown to be learned")
    assert "no" in str(audit_of(lucky)).splitlines()[4].split()


def test_few_draws_make_the_verdict_careful() -> None:
    few, many = (audit_of(cell([0.6, 0.6], draws=draws)).verdict for draws in (2, 3))
    assert few.startswith("Perturbations of f seem to teach the classes")
    assert many.startswith("Perturbations of f teach the classes")
