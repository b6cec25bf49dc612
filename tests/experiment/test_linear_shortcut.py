"""What is left without the linear shortcut, where all of it is known to be linear, or none of it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.experiment.made_up import CHANCE, linear, made_up, parity
from tests.experiment.tiny import DEEP, TWO_LAYER, blobs, experiment_of

from perturblearn.api import UserObjects, make_experiment
from perturblearn.data import Dataset
from perturblearn.experiment.linear_shortcut import projected_set, random_directions, shortcut_of
from perturblearn.experiment.steps import Projected
from perturblearn.perturbed import PerturbedSet
from perturblearn.store import ArtefactStore

pytestmark = pytest.mark.usefixtures("one_thread")

ASKED = {"measures.linear_shortcut": True}


NETWORK = {"model.name": "mlp", "model.hidden_dim": 64, "epochs": 12, "lr": 0.1, "batch_size": 50}
KEYS: dict[str, Any] = {
    "seeds": [0], "attack.epsilon": 8.0, "attack.targets": "given", "controls.draws": 0, "controls.linear_probe": False,
    "measures.attribution": False, **ASKED,
    **{f"{role}.{key}": value for role in ("standard", "perturbation") for key, value in NETWORK.items()},
}  # fmt: skip


def measured(attack: Any, **keys: Any) -> dict[str, float]:
    experiment = make_experiment({}, UserObjects(data=made_up(), attack=attack), overrides={**KEYS, **keys})
    (seed,) = experiment.measures(experiment.run())
    return {name.removeprefix("linear_shortcut_"): float(value or 0) for name, value in seed.measures.items()}


def test_of_one_linear_direction_nothing_is_left() -> None:
    found = measured(linear)
    assert found["directions"] == 1
    assert found["share"] == pytest.approx(1, abs=1e-4)
    assert found["heldout"] > 0.95
    assert found["random_heldout"] > 0.95
    chance = pytest.approx(0.5, abs=CHANCE)  # held-out labels are drawn independently of what is left
    assert found["rest_heldout"] == chance
    assert found["rest_linear_heldout"] < 0.5 + CHANCE  # 0 if its weights are exactly 0, as it then says neither


def test_what_no_linear_classifier_sees_is_left() -> None:
    found = measured(parity)
    assert found["rest_heldout"] > 0.9
    assert found["random_heldout"] > 0.9


def made(n_classes: int) -> tuple[PerturbedSet, Dataset]:
    """Blobs whose inputs themselves hold the labels."""
    data = blobs(n_classes)
    rows = torch.arange(len(data.inputs))
    nobody = torch.zeros(len(rows), dtype=torch.bool)
    return PerturbedSet(
        data.inputs, data.labels, data.labels, rows, nobody, nobody, "natural", "l2", 1.0, "", 0, sources=data.inputs
    ), data


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_directions_are_an_orthonormal_basis_of_the_weights(n_classes: int) -> None:
    perturbed, data = made(n_classes)
    probe = shortcut_of(perturbed, data)
    span = probe.directions
    assert span.shape == (n_classes - 1, data.input_dim)
    assert torch.allclose(span @ span.T, torch.eye(n_classes - 1, dtype=torch.float64), atol=1e-12)
    # Without its directions the classifier cannot tell inputs apart, but for the rounding of float32.
    left = projected_set(perturbed, span)
    outputs = probe(left.inputs)
    decided = outputs if n_classes == 2 else outputs - outputs.mean(dim=1, keepdim=True)
    assert float(decided.std(dim=0).max()) < 1e-4 * float(probe(perturbed.inputs).std())
    assert torch.allclose(left.inputs.mean(dim=0), perturbed.inputs.mean(dim=0), atol=1e-5)


def test_random_directions_are_as_many_and_drawn_by_seed() -> None:
    perturbed, data = made(5)
    span = shortcut_of(perturbed, data).directions
    one, other = (random_directions(span, seed=seed) for seed in (0, 1))
    assert one.shape == span.shape
    assert torch.allclose(one @ one.T, torch.eye(4, dtype=torch.float64), atol=1e-12)
    assert torch.equal(one, random_directions(span, seed=0))
    assert not torch.allclose(one.T @ one, other.T @ other)


@pytest.mark.parametrize(
    ("keys", "n_classes"),
    [
        (DEEP, 3),
        (TWO_LAYER, 2),
        (TWO_LAYER | {"attack.source": "none", "perturbation.form": "low_rank", "standard.model.hidden_dim": 4}, 2),
        (DEEP | {"perturbation.lr": [0.05, 0.1]}, 3),
    ],
    ids=["deep", "two layers", "in factors", "two rates"],
)
def test_g_is_trained_as_before_on_what_is_left(keys: dict[str, Any], n_classes: int) -> None:
    plain, asked = (experiment_of(keys | more, blobs(n_classes)) for more in ({}, ASKED))
    (before, after), executor = (next(iter(each.seeds.values())) for each in (plain, asked)), asked.run()
    assert before.branches[0].learners[-1].perturbation == after.branches[0].learners[-1].perturbation
    stage = after.without_shortcut
    assert stage is not None
    assert before.without_shortcut is None
    column = executor.result(after.selection).perturbation
    g, learned = after.branches[0].learners[column].perturbation, stage.learned_rest[0][column]
    rest = executor.result(stage.rest[0])
    span = executor.result(stage.shortcut[0]).directions
    centred = rest.inputs.flatten(1).double() - rest.inputs.flatten(1).double().mean(dim=0)
    assert float((centred @ span.T).abs().max()) < 1e-4 * float(rest.inputs.abs().max())
    assert learned.drawn_with == g.drawn_with
    (measures,) = asked.measures(executor)
    assert measures.measures["linear_shortcut_directions"] == n_classes - 1


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    store, data = ArtefactStore(tmp_path), blobs()
    experiment_of(DEEP, data).run(store)
    asked = experiment_of(DEEP | ASKED, data)
    labels = [stage.label for stage in asked.plan(store).to_run]
    assert "perturbation classifier, mlp, lr 0.05, on the perturbed set without its linear shortcut" in labels
    assert "perturbation classifier, mlp, lr 0.05, on the perturbed set without random directions" in labels
    assert not any(label == "perturbation classifier, mlp, lr 0.05" for label in labels)
    asked.run(store)
    assert asked.plan(store).to_run == ()
    assert not any(isinstance(stage, Projected) for stage in experiment_of(DEEP, data).plan().to_run)
