"""What a result of several classes says, prints and draws."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.measured import seed_measures

from perturblearn import Result
from perturblearn.config import resolve_config
from perturblearn.experiment import ClassMeasures, SeedMeasures
from perturblearn.report import RunReport, title
from perturblearn.report.run import class_lines

CLASSES = ClassMeasures(
    names=("ant", "bee", "cow"),
    n_heldout=(4, 6, 0),
    standard_accuracy=(1.0, 0.5, None),
    perturbation_accuracy=(0.75, 0.0, None),
    agreement=(0.75, 0.5, None),
    attack_success=(0.25, None, 1.0),
    confusion=((3, 1, 0), (5, 0, 1), (0, 0, 0)),
)
OTHER = replace(CLASSES, perturbation_accuracy=(0.25, 0.5, None), confusion=((1, 3, 0), (0, 3, 3), (0, 0, 0)))


def seed_of(number: int, classes: ClassMeasures, **measured: float) -> SeedMeasures:
    measures = {
        "standard_accuracy": 0.9,
        "standard_accuracy_heldout": 0.7,
        "perturbation_accuracy": 0.6,
        "perturbation_accuracy_heldout": 0.45,
        "agreement": 0.5,
        "largest_share": 0.5,
        "linear_probe_heldout": 0.2,
        **measured,
    }
    controls = {name: ([0.3], [0.25 + 0.02 * number]) for name in ("unperturbed", "permuted")}
    return seed_measures(measures, controls, seed=number, classes=classes)


CONFIG = resolve_config(
    {}, {"seeds": 2, "attack.targets": "other", "standard.model.name": "convnet", "perturbation.model.name": "mlp"}
)
RESULT = Result.of(CONFIG, "key", [seed_of(0, CLASSES), seed_of(1, OTHER)], 1.0)


def test_a_line_for_each_class() -> None:
    lines = class_lines([CLASSES, OTHER])
    assert [list(line) for line in lines[1:]] == [
        ["ant", "4", "1.000", "0.500", "0.750", "0.250", "ant (50 %)"],  # 3 + 1 of 8, as many as of bees
        ["bee", "6", "0.500", "0.250", "0.500", "-", "ant (42 %)"],  # 5 + 0 of 12
        ["cow", "0", "-", "-", "-", "1.000", "-"],
    ]
    assert "bee" in str(RESULT)


def test_chance_is_one_third() -> None:
    assert "g classifies 45.0 ± 0.0 % of clean held-out inputs correctly" in RESULT.conclusion
    # 0.45 is above a third, and all four draws are below it.
    assert "what it knows about the classes came from the perturbations" in RESULT.conclusion
    low = seed_of(0, CLASSES, perturbation_accuracy_heldout=0.3)
    assert "the wrong labels weigh more" in Result.of(CONFIG, "key", [low, low], 1.0).conclusion
    (note,) = [remark for remark in RESULT.remarks if "unperturbed_control_heldout" in remark]
    assert "chance, 0.333, as expected when targets contradict the true labels" in note


def test_what_a_careful_reader_should_know() -> None:
    found = " ".join(RESULT.remarks)
    assert "2 draws of each control are too few to show how far chance reaches" in found
    assert "A linear classifier trained on the same perturbed set classifies 20.0 % of the held-out inputs" in found
    assert "constant" not in found
    same = seed_of(0, CLASSES, largest_share=0.995)
    constant = Result.of(CONFIG, "key", [same, same], 1.0)
    assert any("g is constant for 2 of 2 seeds" in remark for remark in RunReport(constant).remarks)
    # f at 0.7 is far from one third; at 0.4 it is within a fifth of the way to 1.
    assert "f itself is near chance" not in found


MANY = replace(CLASSES, n_heldout=(40, 60, 0))
PAIR = ClassMeasures(
    names=("cat", "dog"),
    n_heldout=(50, 50),
    standard_accuracy=(0.1, 0.2),
    perturbation_accuracy=(0.5, 0.5),
    agreement=(0.5, 0.5),
    attack_success=(0.5, 0.5),
    confusion=((25, 25), (25, 25)),
)


def remarks_of(classes: ClassMeasures, **measured: float) -> str:
    seeds = [seed_of(number, classes, **measured) for number in (0, 1)]
    return " ".join(Result.of(CONFIG, "key", seeds, 1.0).remarks)


@pytest.mark.parametrize(
    ("classes", "measured", "expected"),
    [
        (MANY, {"standard_accuracy_heldout": 0.16}, "far below chance on held-out inputs (16.0 %, chance 33.3 %): it"),
        (MANY, {"standard_accuracy_heldout": 0.0}, "give its outputs in the order of the classes (ant, bee, cow)"),
        (
            PAIR,
            {"standard_accuracy_heldout": 0.15},
            "A positive output stands for cat; swap the classes (data.",
        ),
        (PAIR, {"standard_dead_share": 0.998}, "f is dead for 2 of 2 seeds (0, 1): its output is exactly 0 for 99.8 %"),
        (
            MANY,
            {"standard_dead_share": 1.0},
            "f is dead for 2 of 2 seeds (0, 1): all its outputs are equal for",
        ),
        (
            replace(PAIR, standard_accuracy=(1.0, 0.0)),
            {"standard_accuracy_heldout": 0.5},
            "f is constant for 2 of 2 seeds (0, 1): it gives all or nearly all held-out inputs one label",
        ),
        (
            PAIR,
            {"perturbation_dead_share": 0.998, "positive_share": 0.0},
            "g is dead for 2 of 2 seeds (0, 1): its",
        ),
        (
            PAIR,
            {"perturbation_dead_share": 0.6},
            "60.0 % of held-out inputs, which counts as wrong. Train it at a",
        ),
    ],
)
def test_outputs_that_are_wrong_in_another_way_than_chance(
    classes: ClassMeasures, measured: dict[str, float], expected: str
) -> None:
    found = remarks_of(classes, **measured)
    assert expected in found
    assert "near chance" not in found
    assert "g is constant" not in found
    assert ("standardise" in found) is ("perturbation_dead_share" in measured)


@pytest.mark.parametrize(
    ("classes", "accuracy"),
    [
        (CLASSES, 0.16),  # of 10 held-out inputs: 0.33 - 0.16 is little over one standard error, sqrt(0.22 / 10) = 0.15
        (MANY, 0.17),  # more than half of a third
        (PAIR, 0.3),
    ],
)
def test_chance_itself_falls_below_chance(classes: ClassMeasures, accuracy: float) -> None:
    assert "f itself is near chance" in remarks_of(classes, standard_accuracy_heldout=accuracy)


@pytest.mark.parametrize(("accuracy", "is_near"), [(0.45, True), (0.48, False)])
def test_near_chance_is_a_fifth_of_the_way(accuracy: float, is_near: bool) -> None:
    seed = seed_of(0, CLASSES, standard_accuracy_heldout=accuracy)
    result = Result.of(CONFIG, "key", [seed, seed], 1.0)
    assert any("f itself is near chance" in remark for remark in result.remarks) is is_near


def test_the_title_names_the_networks() -> None:
    assert "f convnet, g mlp" in title(CONFIG)
    assert "two_layer" not in title(resolve_config())
