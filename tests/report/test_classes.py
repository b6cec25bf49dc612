"""What a result of several classes says, prints and draws."""

from __future__ import annotations

from typing import Any

import pytest

from perturblearn import Result
from perturblearn.config import resolve_config
from perturblearn.report.conclusion import remarks
from perturblearn.report.table import classes_text, title

CLASSES: dict[str, Any] = {
    "names": ["ant", "bee", "cow"],
    "n_heldout": [4, 6, 0],
    "standard_accuracy": [1.0, 0.5, None],
    "perturbation_accuracy": [0.75, 0.0, None],
    "agreement": [0.75, 0.5, None],
    "attack_success": [0.25, None, 1.0],
    "confusion": [[3, 1, 0], [5, 0, 1], [0, 0, 0]],
}
OTHER = {**CLASSES, "perturbation_accuracy": [0.25, 0.5, None], "confusion": [[1, 3, 0], [0, 3, 3], [0, 0, 0]]}


def seed_of(number: int, classes: dict[str, Any]) -> dict[str, Any]:
    measures = {
        "standard_accuracy": 0.9,
        "standard_accuracy_heldout": 0.7,
        "perturbation_accuracy": 0.6,
        "perturbation_accuracy_heldout": 0.45,
        "agreement": 0.5,
        "largest_share": 0.5,
        "linear_probe_heldout": 0.2,
    }
    controls = {
        name: {"accuracy": [0.3], "accuracy_heldout": [0.25 + 0.02 * number]} for name in ("unperturbed", "permuted")
    }
    return {
        "seed": number, "standard_lr": 0.1, "perturbation_lr": 0.1, "measures": measures, "controls": controls,
        "classes": classes, "grid": [],
    }  # fmt: skip


CONFIG = resolve_config(
    {}, {"seeds": 2, "attack.targets": "other", "standard.model.name": "convnet", "perturbation.model.name": "mlp"}
)
RESULT = Result.of(CONFIG, "key", [seed_of(0, CLASSES), seed_of(1, OTHER)], 1.0)


def test_a_line_for_each_class() -> None:
    lines = classes_text([CLASSES, OTHER]).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["ant", "4", "1.000", "0.500", "0.750", "0.250", "ant", "(50%)"],  # 3 + 1 of 8, as many as of bees
        ["bee", "6", "0.500", "0.250", "0.500", "-", "ant", "(42%)"],  # 5 + 0 of 12
        ["cow", "0", "-", "-", "-", "1.000", "-"],
    ]
    assert len({len(line) for line in lines}) == 1
    assert "bee" in str(RESULT)


def test_chance_is_one_third() -> None:
    assert "g gives 45.0 +- 0.0 % of clean held-out inputs" in RESULT.conclusion
    # 0.45 is above a third, and all four draws are below it.
    assert "what it knows of the classes came from the perturbations" in RESULT.conclusion
    low = {**seed_of(0, CLASSES), "measures": {**seed_of(0, CLASSES)["measures"], "perturbation_accuracy_heldout": 0.3}}
    assert "the wrong labels weigh more" in Result.of(CONFIG, "key", [low, low], 1.0).conclusion
    (note,) = [remark for remark in RESULT.remarks if "unperturbed_control_heldout" in remark]
    assert "from 0.333, as expected of targets that contradict the true labels" in note


def test_what_a_careful_reader_should_know() -> None:
    found = " ".join(RESULT.remarks)
    assert "2 draws of each control hardly show how far chance reaches" in found
    assert "A linear classifier trained on the same perturbed set gives 20.0 % of the held-out inputs" in found
    assert "constant" not in found
    same = {**seed_of(0, CLASSES), "measures": {**seed_of(0, CLASSES)["measures"], "largest_share": 0.995}}
    summary = Result.of(CONFIG, "key", [same, same], 1.0).summary
    assert any("g is constant for 2 of 2 seeds" in remark for remark in remarks(summary, [same, same], CONFIG))
    # f at 0.7 is far from one third; at 0.4 it is within a fifth of the way to 1.
    assert "f itself is near chance" not in found


@pytest.mark.parametrize(("accuracy", "is_near"), [(0.45, True), (0.48, False)])
def test_near_chance_is_a_fifth_of_the_way(accuracy: float, is_near: bool) -> None:
    seed = seed_of(0, CLASSES)
    seed["measures"]["standard_accuracy_heldout"] = accuracy
    result = Result.of(CONFIG, "key", [seed, seed], 1.0)
    assert any("f itself is near chance" in remark for remark in result.remarks) is is_near


def test_the_title_names_the_networks() -> None:
    assert "f convnet, g mlp" in title(CONFIG)
    assert "two_layer" not in title(resolve_config())
