"""Small problems, and how two trained networks are compared."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.training.reference import relative, train_plainly
from torch import Tensor

from perturblearn.classifiers import Classifier, TwoLayer, initialise
from perturblearn.config import TrainedTwoLayerConfig
from perturblearn.training import FORMS, Descent, Form, Job, train_side_by_side

LOSS_NAMES = ["identity", "logistic", "exponential"]
KINDS = ["two_layer", "one_hidden"]


def network(
    dim: int,
    *,
    width: int = 8,
    name: str = "two_layer",
    slope: float = 0.0,
    role: str = "f",
    dtype: Any = torch.float64,
) -> TwoLayer:
    config = TrainedTwoLayerConfig.model_validate({"name": name, "hidden_dim": width, "slope": slope})
    return initialise(config, dim, seed=0, role=role).to(dtype)


def problem(n_samples: int, dim: int, seed: int = 0, *, rank: int | None = None) -> tuple[Tensor, Tensor]:
    """Gauss inputs in float64, of low rank where asked for, with labels that lean on the first coordinate."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n_samples, rank or dim, generator=generator, dtype=torch.float64)
    if rank is not None:
        inputs = inputs @ torch.randn(rank, dim, generator=generator, dtype=torch.float64) / rank**0.5
    noise = torch.randn(n_samples, generator=generator, dtype=torch.float64)
    return inputs, torch.where(inputs[:, 0] + noise > 0, 1, -1)


def signs(number: int) -> Tensor:
    return torch.where(torch.rand(number, generator=torch.Generator().manual_seed(1)) < 0.5, 1, -1)


def factors_of(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """C and Q with orthonormal rows; coefficients of what the inputs do not span are zero but for rounding."""
    left, lengths, right = torch.linalg.svd(inputs, full_matrices=False)
    return left * lengths, right


def ways(loss: str) -> list[tuple[Form, bool]]:
    """Every form, under the identity loss from flip to flip and by dense products."""
    return [(form, incremental) for form in FORMS for incremental in ([True, False] if loss == "identity" else [True])]


def train_in(job: Job, inputs: Tensor, form: Form, *, incremental: bool = True) -> dict[int, Classifier[TwoLayer]]:
    """The classifiers of one job, trained alone in a given form."""
    factors = factors_of(inputs.flatten(1)) if form == "low_rank" else None
    ((_, outcome),) = train_side_by_side([job], inputs, factors=factors, form=form, incremental=incremental)
    assert outcome.error is None
    return outcome.classifiers


def assert_close(found: TwoLayer, expected: TwoLayer, start: TwoLayer) -> None:
    """Weights and biases agree to 1e-9 of how far they have moved, or to the last digits of where they started.

    An epoch adds some dozens of roundings of 1e-16, and 50 of them with momentum sum to below 1e-12 of the weights'
    change, unless the descent itself drives neighbours apart; 1e-9 leaves it a factor of 1000 for that. A wrong gate,
    sign, rate or velocity shows in the first digits. 1e-14 is for weights that do not move: some dozen roundings.
    """
    before, after = start.state_dict(), expected.state_dict()
    for name, tensor in found.state_dict().items():
        error = float((tensor - after[name]).norm())
        assert error <= 1e-9 * float((after[name] - before[name]).norm()) + 1e-14 * float(before[name].norm()), name
    assert torch.equal(found.readout, start.readout)


def assert_as_plain(start: TwoLayer, inputs: Tensor, labels: Tensor, descent: Descent) -> float:
    """Weights, biases, losses and rate of every form agree with autograd's; returns the rate that was left."""
    expected, losses, lr = train_plainly(start, inputs, labels, descent)
    for form, incremental in ways(descent.loss):
        job = Job(start, labels, descent)
        (found,) = train_in(job, inputs, form, incremental=incremental).values()
        assert_close(found.module, expected, start)
        assert found.losses.tolist() == pytest.approx(losses, rel=1e-9, abs=1e-12)
        assert found.final_lr == lr
    return lr


def assert_same(found: Classifier[TwoLayer], expected: Classifier[TwoLayer]) -> None:
    """The same products in other blocks, or the same motion in other jumps: float64 rounding over some 50 epochs."""
    for name, tensor in found.module.state_dict().items():
        other = expected.module.state_dict()[name]
        assert tensor.dtype == other.dtype
        if bool(other.any()):
            assert relative(tensor, other) < 1e-12, name
        else:
            assert torch.equal(tensor, other)
    assert found.losses.tolist() == pytest.approx(expected.losses.tolist(), rel=1e-11, abs=1e-13)
    assert found.final_lr == expected.final_lr
