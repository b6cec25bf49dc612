"""Inputs of low rank: their row space, and training in it against training in the open."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.training.problems import KINDS, LOSS_NAMES, factors_of, network, problem, signs
from tests.training.reference import relative, train_plainly
from tests.values import text
from torch import Tensor

from perturblearn.attacks import one_step
from perturblearn.classifiers import Classifier, TwoLayer, from_state
from perturblearn.training import Descent, Job, train_side_by_side
from perturblearn.training.row_space import row_space


def low_rank(n_samples: int, dim: int, rank: int, *, dtype: Any = torch.float32) -> Tensor:
    """Products of Gauss matrices through `rank` dimensions, rounded to the precision."""
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(n_samples, rank, generator=generator, dtype=torch.float64)
    right = torch.randn(rank, dim, generator=generator, dtype=torch.float64)
    return (left @ right).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("n_samples", "dim", "rank"),
    [(60, 20, 5), (20, 60, 5), (60, 20, 20), (20, 60, 20), (30, 30, 1), (40, 300, 39), (1, 7, 1), (7, 1, 1), (1, 1, 1)],
)
@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
def test_row_space(dtype: torch.dtype, n_samples: int, dim: int, rank: int, scale: float) -> None:
    inputs = low_rank(n_samples, dim, rank, dtype=dtype) * scale
    coefficients, basis = row_space(inputs)
    assert coefficients.dtype == basis.dtype == dtype
    assert coefficients.shape == (n_samples, rank)
    assert basis.shape == (rank, dim)
    C, Q = coefficients.double(), basis.double()
    eps = torch.finfo(dtype).eps
    # Q is orthonormal in float64 up to the threshold's share (an eigenvector of the larger side is divided by its
    # singular value, at least 4.8e-7 of the largest, which turns 1e-16 into at most 5e-10); rounding its entries to
    # float32 then moves products by at most 2 u |q|^2 = 1.2e-7. In float64 all is orthonormal to some dozen roundings.
    orthonormal = 1.5e-7 if dtype == torch.float32 else 100 * eps
    assert float((Q @ Q.T - torch.eye(rank)).abs().max()) < orthonormal
    # What is dropped is below 4 eps of the largest singular value each; rounding of C and Q adds 2 u of |X|, and in
    # float64 the decomposition itself some dozen more.
    error = torch.linalg.matrix_norm(C @ Q - inputs.double())
    roundings = 6 if dtype == torch.float32 else 100
    assert float(error) < roundings * eps * float(torch.linalg.matrix_norm(inputs.double()))


@pytest.mark.parametrize(("dtype", "kept"), [(torch.float32, 7), (torch.float64, 15)])
def test_rank_against_svd(dtype: torch.dtype, kept: int) -> None:
    """Singular values 1, 0.1, ..., 1e-19: those above 4 eps of the largest count, 4.8e-7 and 8.9e-16."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, 20, generator=generator, dtype=torch.float64)).Q for n in (40, 30))
    values = torch.logspace(0, -19, 20, dtype=torch.float64)
    if dtype == torch.float64:
        # A product would round at 1e-16; between 1e-14 and zeros there is room for that.
        values[15:] = 0
    # Rounding to float32 moves entries, of size 1/sqrt(40 * 30) at most on average, by 2^-25 of themselves: its own
    # singular values are below 1e-8.
    for inputs in ((left * values) @ right.T, right * values @ left.T):
        coefficients, _ = row_space(inputs.to(dtype))
        assert coefficients.shape[1] == kept


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_rows_and_nothing_but_zeros(dtype: torch.dtype) -> None:
    inputs = low_rank(30, 12, 3, dtype=dtype)
    inputs[::2] = 0
    coefficients, basis = row_space(inputs)
    assert basis.shape == (3, 12)
    # In float32 the row of a zero input is a product with zeros; a singular value decomposition rounds.
    assert float(coefficients[::2].abs().max()) <= (0 if dtype == torch.float32 else 1e-14)
    coefficients, basis = row_space(torch.zeros(5, 4, dtype=dtype))
    assert (coefficients.shape, basis.shape) == ((5, 0), (0, 4))
    coefficients, basis = row_space(torch.zeros(4, 5, dtype=dtype))
    assert (coefficients.shape, basis.shape) == ((4, 0), (0, 5))


def test_repeated_samples_share_their_coordinates() -> None:
    inputs = torch.cat([low_rank(10, 30, 10)] * 3)
    coefficients, basis = row_space(inputs)
    assert len(basis) == 10
    # Equal but for one float32 rounding.
    assert torch.allclose(coefficients[:10], coefficients[20:], rtol=0, atol=1e-5)


def test_columns_are_summed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more rows than a block has."""
    inputs = low_rank(8192 + 5, 4, 3)
    coefficients, basis = row_space(inputs)
    assert len(basis) == 3
    # As in the first test.
    error = torch.linalg.matrix_norm(coefficients.double() @ basis.double() - inputs.double())
    assert float(error) < 6 * torch.finfo(torch.float32).eps * float(torch.linalg.matrix_norm(inputs.double()))


def difference_in_float32(
    trained: Classifier[TwoLayer], start: TwoLayer, inputs: Tensor, labels: Tensor, descent: Descent
) -> float:
    """Relative distance of the change of W from the plain float64 descent on the same float32 numbers."""
    exact = from_state({name: tensor.double() for name, tensor in start.state_dict().items()}, start.slope)
    plain, _, _ = train_plainly(exact, inputs.double(), labels, descent)
    return relative(trained.module.weight.double() - start.weight.double(), plain.weight - exact.weight)


@pytest.mark.parametrize("loss", LOSS_NAMES)
@pytest.mark.parametrize("slope", [0.0, 0.3])
@pytest.mark.parametrize(
    ("n_samples", "dim", "rank", "asked"), [(400, 60, 7, False), (60, 200, 7, True), (30, 200, 30, True)]
)
def test_training_in_the_row_space(loss: str, slope: float, n_samples: int, dim: int, rank: int, asked: bool) -> None:
    """By itself where there are twice as many float32 samples as dimensions and training is long; else where asked."""
    inputs, labels = low_rank(n_samples, dim, rank) / rank**0.5, signs(n_samples)
    start = network(dim, width=100, slope=slope, dtype=torch.float32)
    descent = Descent(loss, 0.05, 20)
    trained = descent.train(start, inputs, labels, form="row_space" if asked else None)
    assert trained.training["form"] == f"row space of rank {rank}"
    reason = trained.training["form_chosen"]
    assert reason == "asked for" if asked else text(reason).startswith(f"rank {rank}: ")
    # Preactivations carry float32 errors of about 1e-6. Of n_samples * 100 of them, at density 0.4, 1e-6 * 0.4 of the
    # gates are wrong an epoch, 0.3 gates in all 20 epochs, and each is 1 of n_samples terms in 1 of 100 rows of the
    # gradient: 1e-3 of it at the very most. Without a wrong gate the error stays near 20 * 1e-6.
    assert difference_in_float32(trained, start, inputs, labels, descent) < 1e-3
    plain = descent.train(start, inputs, labels, form="plain")
    change = (plain.module.weight - start.weight).detach()
    assert relative(trained.module.weight - start.weight, change) < 1e-3
    # The part of W orthogonal to the inputs has not moved: only W + (change) Q is rounded.
    _, basis = row_space(inputs)
    change = trained.module.weight.detach().double() - start.weight.detach().double()
    outside = change - change @ basis.double().T @ basis.double()
    # One float32 rounding of W (entries below 1) and of the basis times the change.
    assert float(outside.abs().max()) < 2**-24 + 1e-6 * float(change.abs().max())


@pytest.mark.parametrize("loss", ["identity", "logistic"])
def test_side_by_side_in_the_row_space(loss: str) -> None:
    inputs, labels = low_rank(400, 60, 7), signs(400)
    starts = [network(60, role=role, width=50, dtype=torch.float32) for role in ("f", "g")]
    descent = Descent(loss, 0.01, 20)
    jobs = [Job(start, own, descent) for start, own in zip(starts, (labels, -labels), strict=True)]
    for index, outcome in train_side_by_side(jobs, inputs):
        found = outcome.after(20)
        assert found.training["form"] == "row space of rank 7"
        # As above.
        assert difference_in_float32(found, starts[index], inputs, jobs[index].labels, descent) < 1e-3


def test_when_training_stays_in_the_open() -> None:
    long, short = Descent("logistic", 0.1, 20), Descent("logistic", 0.1, 1)

    def form(inputs: Tensor, descent: Descent, *, factors: tuple[Tensor, Tensor] | None = None) -> str:
        start = network(inputs.shape[1], width=50).to(inputs)
        return text(descent.train(start, inputs, signs(len(inputs)), factors=factors).training["form"])

    low = low_rank(400, 60, 7)
    assert form(low, long) == "row space of rank 7"
    assert form(low.double(), long) == "plain"  # float64 is for numbers to the last digit
    assert form(low, short) == "plain"  # too short to pay
    assert form(low[:119], long) in ("plain", "Gram")  # fewer samples than twice the dimensions
    assert form(low_rank(400, 60, 60), long) == "plain"  # full rank
    coordinates, basis = factors_of(low)
    assert form(low, long, factors=(coordinates[:, :7], basis[:7])) == "low rank of rank 7"  # known already


@pytest.mark.parametrize("name", KINDS)
def test_zeros_in_float32(name: str) -> None:
    """What a bare perturbation of size 0 is: only the bias learns."""
    inputs, labels = torch.zeros(400, 30), signs(400)
    start = network(30, width=50, name=name, dtype=torch.float32)
    descent = Descent("logistic", 0.1, 60)
    trained = descent.train(start, inputs, labels)
    assert trained.training["form"] == "row space of rank 0"
    assert torch.equal(trained.module.weight, start.weight)
    expected, losses, _ = train_plainly(start, inputs, labels, descent)
    # 60 epochs of rounding in the last digit, sums of 400 terms among them.
    eps = torch.finfo(torch.float32).eps
    assert trained.losses.tolist() == pytest.approx(losses, rel=60 * eps)
    if trained.module.bias is not None and expected.bias is not None:
        assert torch.allclose(trained.module.bias, expected.bias, rtol=0, atol=600 * eps)


def test_bare_perturbations_have_the_rank_of_the_hidden_layer() -> None:
    """A gradient of f is a combination of the rows of W, so bare L2 steps span at most hidden_dim dimensions."""
    width, dim = 12, 80
    points = problem(100, dim)[0].float()
    start = network(dim, width=width, dtype=torch.float32)
    _, basis = row_space(one_step(start, points, signs(100), norm="l2", epsilon=0.5))
    assert len(basis) <= width
    # The sign of a gradient has full rank.
    _, basis = row_space(one_step(start, points, signs(100), norm="linf", epsilon=0.5))
    assert len(basis) > width
