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

from perturblearn import Audit, Result
from perturblearn.config import resolve_config
from perturblearn.report import AuditReport
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
    audit = audit_of(accurate, best, cell([0.5, 0.5], controls=(0.1, 0.3)))
    assert audit.verdict == (
        "Yes, this model's perturbations teach its classes. A ConvNet trained only on inputs perturbed towards random "
        "classes (L∞, ε = 0.5; the best of 3 combinations) classifies 70.0 ± 14.1 % of clean held-out inputs correctly "
        "(2 seeds, 40 inputs); f 90.0 %, chance 10.0 %, unperturbed control 10.0 %, permuted control 20.0 %. What a "
        "linear classifier of the same set reaches was not measured; set controls.linear_probe = true."
    )
    assert AuditReport(audit).details == [
        "g beats its controls and chance in 3 of 3 combinations: more than 95 % of the draws of each."
    ]


def test_a_cell_that_beats_its_controls_goes_before_a_larger_margin() -> None:
    lucky = cell([0.9, 0.1], controls=(0.1, 0.2), norm="linf")  # one seed only: half of the draws are beaten
    sure = cell([0.3, 0.3], controls=(0.1, 0.2))
    audit = audit_of(lucky, sure)
    assert "(L2, ε = 1; the best of 2 combinations)" in audit.verdict
    assert "in 1 of 2 combinations" in AuditReport(audit).details[0]


def test_nothing_learned_is_said_plainly() -> None:
    audit = audit_of(cell([0.1, 0.12], linear=[0.1, 0.14]), cell([0.1, 0.1], linear=[0.1, 0.1]))
    assert audit.verdict.startswith("No, this audit does not show that this model's perturbations teach its classes. ")
    assert audit.verdict.endswith("A linear classifier trained on the same set reaches 12.0 %.")
    assert "in 0 of 2 combinations" in AuditReport(audit).details[0]


def test_without_controls_nothing_follows() -> None:
    audit = audit_of(cell([0.9, 0.9], controls=None), cell([0.8, 0.8], controls=None, norm="linf"))
    assert audit.verdict.startswith(
        "Without controls, this audit cannot tell whether this model's perturbations teach its classes. An MLP"
    )
    assert "Yes" not in audit.verdict
    assert AuditReport(audit).details == []


@pytest.mark.parametrize(
    ("attack", "what"),
    [
        (
            {"name": "one_step", "source": "none", "targets": "other"},
            "trained only on perturbations towards wrong classes (L2, ε = 1)",
        ),
        ({"source": "gauss"}, "trained only on noise perturbed towards random classes (L2, ε = 1)"),
        ({"source": "data:mnist"}, "trained only on inputs of mnist perturbed towards random classes (L2, ε = 1)"),
        (
            {"source": "noisy", "signal_to_noise": 1.0, "targets": "predicted"},
            "trained only on inputs under noise perturbed towards f's answers (L2, ε = 1)",
        ),
        ({"name": "radial_pgd", "norm": "l0", "pixels": 5}, "towards random classes (L0, 5 coordinates)"),
        ({"name": "radial_pgd", "norm": "l0", "pixel_share": 0.25}, "(L0, 25 % of the coordinates)"),
    ],
)
def test_the_verdict_says_what_g_has_seen(attack: dict[str, Any], what: str) -> None:
    assert what in audit_of(cell([0.5, 0.6], **attack)).verdict


# How much of it is more than linear leakage; chance is 0.1


@pytest.mark.parametrize(
    ("g", "linear", "of_best", "share", "more"),
    [
        ([[0.7, 0.7]], [[0.2, 0.3]], "25.0 %: most of the effect is more than one linear pattern", "25.0 %", "1 of 1"),
        ([[0.7, 0.7]], [[0.2, 0.41]], "30.5 %: most of the effect may be one linear", "34.2 %", "0 of 1"),
        ([[0.7, 0.7]], [[0.05, 0.0]], "2.5 %: most of the effect is more than one linear", "0.0 %", "1 of 1"),
        ([[0.7, 0.7]], [[0.8, 0.8]], "80.0 %: most of the effect may be one linear", "116.7 %", "0 of 1"),
        (
            [[0.7, 0.7], [0.5, 0.5]], [[0.2, 0.2], [0.4, 0.4]],
            "20.0 %: most of the effect is more than one linear", "16.7 to 75.0 %", "1 of 2",
        ),
        ([[0.7, 0.7], [0.5, 0.5]], [[0.2, 0.2], None], "20.0 %: most of the effect is more than", "16.7 %", "1 of 1"),
        ([[0.7, 0.7]], [None], "was not measured; set controls.linear_probe = true.", None, None),
    ],
    ids=["less", "one seed has more", "none", "all", "mixed", "not everywhere", "not measured"],
)  # fmt: skip
def test_leakage_is_weighed_seed_by_seed(
    g: Sequence[Sequence[float]],
    linear: Sequence[Sequence[float] | None],
    of_best: str,
    share: str | None,
    more: str | None,
) -> None:
    audit = audit_of(*(cell(of_one, linear=of_linear) for of_one, of_linear in zip(g, linear, strict=True)))
    assert of_best in audit.verdict
    details = AuditReport(audit).details[1:]
    assert len(details) == (share is not None)
    if share is not None:
        assert details[0].startswith(f"A linear classifier reaches {share} of g's gain over chance there; it is less")
        assert f"in every seed in {more} combination" in details[0]


# What makes the numbers weaker than they look


def test_numbers_without_weakness_have_no_warnings() -> None:
    assert audit_of(cell([0.5, 0.6]), cell([0.5, 0.6], success=None)).warnings == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # A fifth of the way from 0.1 to 1 is 0.28.
        ({"f": 0.27}, "f itself is near chance on held-out inputs (27.0 %, chance 10.0 %)"),
        ({"g": [0.5]}, "One seed shows no spread"),
        ({"draws": 2}, "A control has 4 draws over all seeds"),
        ({"success": 0.09}, "1 attack of 1 hardly reaches the targets on f (L2, ε = 1: 9.0 %)"),
    ],
)
def test_each_weakness_is_told(options: dict[str, Any], expected: str) -> None:
    keys: dict[str, Any] = {"g": [0.5, 0.6], **options}
    (warning,) = audit_of(cell(**keys)).warnings
    assert expected in warning
    assert warning.endswith(".")


def test_an_f_with_swapped_classes_has_learned_something() -> None:
    swapped = cell([0.5, 0.6], f=0.0)
    # Of 40 inputs in all, 0 is within 3 standard errors of 0.1: 3 sqrt(0.09 / 40) = 0.14; of 400 it is not.
    seeds = [replace(seed, classes=replace(seed.classes, n_heldout=(40,) * 10)) for seed in swapped.seeds]
    assert "near chance" in " ".join(audit_of(swapped).warnings)
    (warning,) = audit_of(replace(swapped, seeds=seeds)).warnings
    assert "f itself is far below chance on held-out inputs (0.0 %, chance 10.0 %): it seems to tell" in warning


@pytest.mark.parametrize("options", [{"f": 0.29}, {"success": 0.1}, {"draws": 3}])
def test_a_weakness_begins_at_its_limit(options: dict[str, Any]) -> None:
    assert audit_of(cell([0.5, 0.6], **options)).warnings == []


def test_no_more_than_three_attacks_are_named() -> None:
    sizes = (0.1, 0.2, 0.3, 0.4, 0.5)
    (warning,) = audit_of(*(cell([0.5, 0.6], success=0.05, epsilon=size) for size in sizes)).warnings
    assert "5 attacks of 5 hardly reach the targets" in warning
    assert "ε = 0.3: 5.0 % and 2 more)" in warning
    assert "0.4" not in warning


# Forms


def test_the_table_has_a_line_for_every_cell() -> None:
    own = cell([0.5, 0.6], names=("mlp", "mypackage.nets:make_transformer"), linear=[0.2, 0.3])
    lost = cell([0.1, 0.1], norm="linf", epsilon=0.25, success=None)
    bare = cell([0.5], controls=None)
    lines = str(audit_of(own, lost, bare)).splitlines()
    assert [line.split() for line in lines[4:7]] == [
        [
            "make_transformer",
            "l2",
            "1",
            "0.500",
            "0.900",
            "0.550",
            "±",
            "0.071",
            "0.40–0.69",
            "0.100",
            "0.100",
            "0.250",
            "yes",
        ],
        ["mlp", "linf", "0.25", "-", "0.900", "0.100", "±", "0.000", "0.04–0.23", "0.100", "0.100", "-", "no"],
        ["mlp", "l2", "1", "0.500", "0.900", "0.500", "0.35–0.65", "-", "-", "-", "-"],
    ]
    assert len({len(line) for line in lines[4:6]}) <= 2
    assert max(map(len, lines[:10])) <= 120


def test_the_text_ends_with_verdict_and_warnings(real: Audit) -> None:
    lines = str(real).splitlines()
    told = [f"- {line}" for line in (*AuditReport(real).details, *real.warnings)]
    assert lines[-1 - len(told) :] == [real.verdict, *told]
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
    monkeypatch.setattr(AuditReport, "verdict", property(lambda _: hostile))
    monkeypatch.setattr(AuditReport, "warnings", property(lambda _: [hostile]))
    audit = Audit([cell([0.5, 0.6]), cell([0.4, 0.5], norm="linf")], "key", hostile)
    found = Tags(audit._repr_html_())
    assert "script" not in found.tags
    assert (found.tags.count("tr"), found.tags.count("th"), found.tags.count("td")) == (1 + 2, 11, 2 * 11)
    assert "".join(found.words).count(hostile) == 3  # name, verdict, warning


def test_coordinates_are_no_epsilon() -> None:
    few = cell([0.5, 0.6], name="radial_pgd", norm="l0", pixels=5)
    audit = audit_of(few, cell([0.5, 0.6]))
    assert "radial_pgd and pgd, natural sources" in str(audit)
    assert "An MLP trained only on" in audit_of(few).verdict


def test_nothing_is_said_to_be_taught_where_nothing_was_perturbed() -> None:
    lucky = cell([0.6, 0.6], controls=(0.1, 0.1), epsilon=0.0)
    assert audit_of(lucky).verdict.startswith("No, this audit does not show")
    assert "no" in str(audit_of(lucky)).splitlines()[4].split()


def test_few_draws_make_the_verdict_careful() -> None:
    few, many = (audit_of(cell([0.6, 0.6], draws=draws)).verdict for draws in (2, 3))
    assert few.startswith("Probably, this model's perturbations teach its classes.")
    assert many.startswith("Yes, this model's perturbations teach its classes.")
