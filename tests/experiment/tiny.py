"""Small data and networks for tests of whole experiments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from perturblearn.api import UserObjects, make_experiment
from perturblearn.data import Dataset
from perturblearn.experiment import Experiment
from perturblearn.graph import Plan
from perturblearn.perturbed import PerturbedSet
from perturblearn.store import Artefact

DIM, N, M = 12, 90, 45
MLP: dict[str, Any] = {"model.name": "mlp", "model.hidden_dim": 16, "epochs": 3, "lr": 0.05, "batch_size": 32}
DEEP: dict[str, Any] = {
    "seeds": [2],
    "attack.name": "pgd",
    "attack.epsilon": 0.6,
    "attack.steps": 3,
    "attack.targets": "other",
    "controls.draws": 2,
    **{f"{role}.{key}": value for role in ("standard", "perturbation") for key, value in MLP.items()},
}
TWO_LAYER: dict[str, Any] = {
    "seeds": [2],
    "dtype": "float64",
    "attack.epsilon": 0.6,
    "controls.draws": 2,
    **{f"{role}.epochs": 20 for role in ("standard", "perturbation")},
    **{f"{role}.model.hidden_dim": 8 for role in ("standard", "perturbation")},
}


def blobs(n_classes: int = 3) -> Dataset:
    """Classes that differ in the mean of their inputs, which lie in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor([1, -1] if n_classes == 2 else list(range(n_classes)))
    means = torch.rand(n_classes, DIM, generator=generator)

    def part(count: int) -> tuple[Tensor, Tensor]:
        classes = torch.arange(count) % n_classes
        noise = 0.25 * torch.randn(count, DIM, generator=generator)
        return (means[classes] + noise).clamp(0, 1), values[classes]

    names = tuple("abcdefgh"[:n_classes])
    return Dataset(*part(N), *part(M), value_range=(0.0, 1.0), class_names=names)


def experiment_of(keys: Mapping[str, Any], data: Dataset) -> Experiment:
    return make_experiment({}, UserObjects(data=data), overrides=keys)


def names_of(plan: Plan) -> list[str]:
    """Kinds of what will run, once for every stage."""
    return [stage.kind for stage in plan.to_run]


def same_artefact(one: Artefact, other: Artefact) -> None:
    """Equal to the bit."""
    assert one.content == other.content
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        assert tensor.dtype == other.tensors[name].dtype
        assert torch.equal(tensor, other.tensors[name]), name


def same_set(one: PerturbedSet, other: PerturbedSet, *, but: frozenset[str] = frozenset()) -> None:
    """Equal to the bit, but for some of what sets hold."""
    for name in {field.name for field in fields(one)} - but:
        first, second = getattr(one, name), getattr(other, name)
        if isinstance(first, Tensor):
            assert isinstance(second, Tensor), name
            assert torch.equal(first, second), name
        else:
            assert first == second, name
