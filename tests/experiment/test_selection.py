"""The choice of learning rates, by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from perturblearn.experiment import SELECTED_BY, Selected, select


def f(heldout: float, training: float = 0.0) -> dict[str, float]:
    return {"standard_accuracy": training, "standard_accuracy_heldout": heldout}


def g(loss: float, accuracy: float = 0.0, heldout: float = 0.0, agreement: float = 0.0) -> dict[str, float | None]:
    return {
        "perturbed_loss": -loss,
        "perturbed_loss_heldout": loss,
        "perturbation_accuracy": accuracy,
        "perturbation_accuracy_heldout": heldout,
        "agreement": agreement,
        "attack_success": None,
    }


@pytest.mark.parametrize(
    ("standards", "losses", "row", "column"),
    [
        ([0.5], [[1.0]], 0, 0),
        ([0.5, 0.9, 0.7], [[0.0, 0.0], [3.0, 2.0], [0.0, 0.0]], 1, 1),  # g's rate is chosen for the chosen f alone
        ([0.9, 0.9], [[2.0, 1.0], [0.0, 0.5]], 0, 1),  # the first of equals
        ([0.5], [[1.0, 0.5, 0.5]], 0, 1),
        ([0.5], [[-1.0, -2.0]], 0, 1),  # the identity loss is negative
    ],
)
def test_rates(standards: Sequence[float], losses: list[list[float]], row: int, column: int) -> None:
    # What could mislead: the best training accuracy of f, and the best accuracies of g, are elsewhere.
    best_elsewhere = [f(heldout, training=0.0 if index == row else 1.0) for index, heldout in enumerate(standards)]
    grid = [
        [g(loss, *([0.1] * 3 if (i, j) == (row, column) else [0.9] * 3)) for j, loss in enumerate(of_row)]
        for i, of_row in enumerate(losses)
    ]
    chosen = select(best_elsewhere, grid)
    assert (chosen.standard, chosen.perturbation) == (row, column)


def test_maxima_of_each_measure_over_all_pairs() -> None:
    chosen = select(
        [f(0.8, training=0.6), f(0.7, training=0.9)],
        [[g(1.0, 0.1, 0.9, 0.3), g(2.0, 0.8, 0.2, 0.1)], [g(0.0, 0.4, 0.5, 0.6), g(9.0, 0.7, 0.1, 0.5)]],
    )
    assert chosen == Selected(
        0,
        0,
        {
            "standard_accuracy_max": 0.9,
            "standard_accuracy_heldout_max": 0.8,
            "perturbation_accuracy_max": 0.8,
            "perturbation_accuracy_heldout_max": 0.9,
            "agreement_max": 0.6,
        },
    )


def test_the_rules_are_said_in_words() -> None:
    assert set(SELECTED_BY) == {"standard", "perturbation"}
