"""Inputs of low rank: their row space, and training in it against training in the open."""

from __future__ import annotations

import pytest
import torch
from tests.training.reference import relative, train_plainly
from torch import Tensor

from perturblearn.attacks import one_step
from perturblearn.classifiers import Classifier, TwoLayer, from_state, initialise
from perturblearn.config import ModelConfig
from perturblearn.training import Descent, train, train_side_by_side
from perturblearn.training.row_space import is_worth_trying, is_worth_using, may_have_low_rank, row_space


def low_rank(n_samples: int, dim: int, rank: int, *, seed: int = 0) -> Tensor:
    """Float32 inputs that are products of Gauss matrices through `rank` dimensions, rounded to float32."""
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(n_samples, rank, generator=generator, dtype=torch.float64)
    right = torch.randn(rank, dim, generator=generator, dtype=torch.float64)
    return (left @ right).float()


def network(dim: int, *, width: int = 100, slope: float = 0.0, role: str = "f", name: str = "two_layer") -> TwoLayer:
    config = ModelConfig.model_validate({"name": name, "hidden_dim": width, "slope": slope})
    return initialise(config, dim, seed=0, role=role)


def signs(number: int) -> Tensor:
    return torch.where(torch.rand(number, generator=torch.Generator().manual_seed(1)) < 0.5, 1, -1)


@pytest.mark.parametrize(
    ("n_samples", "dim", "rank"),
    [(60, 20, 5), (20, 60, 5), (60, 20, 20), (20, 60, 20), (30, 30, 1), (40, 300, 39), (1, 7, 1), (7, 1, 1)],
)
@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
def test_row_space(n_samples: int, dim: int, rank: int, scale: float) -> None:
    inputs = low_rank(n_samples, dim, rank) * scale
    coefficients, basis = row_space(inputs)
    assert coefficients.dtype == basis.dtype == torch.float32
    assert coefficients.shape == (n_samples, rank)
    assert basis.shape == (rank, dim)
    C, Q = coefficients.double(), basis.double()
    # Q is orthonormal in float64 up to the threshold's share (an eigenvector of the larger side is divided by its
    # singular value, at least 4.8e-7 of the largest, which turns 1e-16 into at most 5e-10); rounding its entries to
    # float32 then moves products by at most 2 u |q|^2 = 1.2e-7.
    assert float((Q @ Q.T - torch.eye(rank)).abs().max()) < 1.5e-7
    # What is dropped is below 4 eps of the largest singular value each; rounding of C and Q adds 2 u of |X|.
    error = torch.linalg.matrix_norm(C @ Q - inputs.double())
    assert float(error) < 6 * torch.finfo(torch.float32).eps * float(torch.linalg.matrix_norm(inputs.double()))


def test_rank_against_svd() -> None:
    """Singular values from 1 down to 1e-9: those above 4 eps = 4.8e-7 of the largest count."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, 10, generator=generator, dtype=torch.float64)).Q for n in (40, 30))
    # Rounding to float32 moves entries, of size 1/sqrt(40 * 30) at most on average, by 2^-25 of themselves: its own
    # singular values are below 1e-8.
    values = torch.logspace(0, -9, 10, dtype=torch.float64)
    for inputs in ((left * values) @ right.T, right * values @ left.T):
        coefficients, _ = row_space(inputs.float())
        # 1, 0.1, ..., 1e-6 are kept; 1e-7 and less are not.
        assert coefficients.shape[1] == 7


def test_zero_rows_and_nothing_but_zeros() -> None:
    inputs = low_rank(30, 12, 3)
    inputs[::2] = 0
    coefficients, basis = row_space(inputs)
    assert basis.shape == (3, 12)
    # The row of a zero input is a product with zeros.
    assert not bool(coefficients[::2].any())
    coefficients, basis = row_space(torch.zeros(5, 4))
    assert (coefficients.shape, basis.shape) == ((5, 0), (0, 4))
    coefficients, basis = row_space(torch.zeros(4, 5))
    assert (coefficients.shape, basis.shape) == ((4, 0), (0, 5))


@pytest.mark.parametrize(
    ("n_samples", "dim", "rank", "expected"),
    [(10, 100, 10, True), (200, 100, 20, True), (200, 100, 50, True), (200, 100, 51, False), (200, 100, 100, False)],
)
def test_the_cheap_look(n_samples: int, dim: int, rank: int, expected: bool) -> None:
    """d/2 + 1 rows of Gauss inputs are dependent exactly if the rank is at most d/2."""
    assert may_have_low_rank(low_rank(n_samples, dim, rank)) == expected


def test_when_it_is_worth_it() -> None:
    assert is_worth_using(50, 100)
    assert not is_worth_using(51, 100)
    # 1000 x 100: factorisation 4 N d^2 + 20 d^3 = 6e7, an epoch of one unit 4 N d = 4e5; 8 * 6e7 = 1200 epoch units.
    assert not is_worth_trying(1000, 100, 100, 12)
    assert is_worth_trying(1000, 100, 100, 13)
    # The smaller side counts: transposed, the same arithmetic.
    assert not is_worth_trying(100, 1000, 100, 12)
    assert is_worth_trying(100, 1000, 100, 13)


def difference_in_float32(
    trained: Classifier, start: TwoLayer, inputs: Tensor, labels: Tensor, descent: Descent
) -> float:
    """Relative distance of the change of W from the plain float64 descent on the same float32 numbers."""
    exact = from_state({name: tensor.double() for name, tensor in start.state_dict().items()}, start.slope)
    plain, _, _ = train_plainly(exact, inputs.double(), labels, descent)
    return relative(trained.module.weight.double() - start.weight.double(), plain.weight - exact.weight)


@pytest.mark.parametrize("loss", ["identity", "logistic", "exponential"])
@pytest.mark.parametrize("slope", [0.0, 0.3])
@pytest.mark.parametrize(("n_samples", "dim", "rank"), [(200, 60, 7), (60, 200, 7), (30, 200, 30)])
def test_training_in_the_row_space(loss: str, slope: float, n_samples: int, dim: int, rank: int) -> None:
    inputs, labels = low_rank(n_samples, dim, rank) / rank**0.5, signs(n_samples)
    start = network(dim, slope=slope)
    descent = Descent(loss, 0.05, 20)
    trained = train(start, inputs, labels, descent)
    assert trained.training["form"] == f"row space of rank {rank}"
    # Preactivations carry float32 errors of about 1e-6. Of n_samples * 100 of them, at density 0.4, 1e-6 * 0.4 of the
    # gates are wrong an epoch, 0.2 gates in all 20 epochs, and each is 1 of n_samples terms in 1 of 100 rows of the
    # gradient: 1e-3 of it at the very most. Without a wrong gate the error stays near 20 * 1e-6.
    assert difference_in_float32(trained, start, inputs, labels, descent) < 1e-3
    # The part of W orthogonal to the inputs has not moved: only W + (change) Q is rounded.
    _, basis = row_space(inputs)
    change = trained.module.weight.detach().double() - start.weight.detach().double()
    outside = change - change @ basis.double().T @ basis.double()
    # One float32 rounding of W (entries below 1) and of the basis times the change.
    assert float(outside.abs().max()) < 2**-24 + 1e-6 * float(change.abs().max())


def test_side_by_side_in_the_row_space() -> None:
    inputs, labels = low_rank(60, 200, 7), signs(60)
    starts = [network(200, role="f", width=50), network(200, role="g", width=50)]
    descent = Descent("logistic", 0.01, 20)
    trained = train_side_by_side(starts, inputs, torch.stack((labels, -labels)), descent)
    for start, own, classifier in zip(starts, (labels, -labels), trained, strict=True):
        assert classifier.training["form"] == "row space of rank 7"
        # As above.
        assert difference_in_float32(classifier, start, inputs, own, descent) < 1e-3


def test_when_training_stays_in_the_open() -> None:
    labels = signs(60)
    low, full = low_rank(60, 200, 7), low_rank(60, 20, 20)
    long, short = Descent("logistic", 0.1, 20), Descent("logistic", 0.1, 1)

    def form(inputs: Tensor, descent: Descent) -> str:
        return train(network(inputs.shape[1]).to(inputs), inputs, labels, descent).training["form"]

    assert form(low, long) == "row space of rank 7"
    assert form(low.double(), long) == "plain"  # float64 is for numbers to the last digit
    assert form(low, short) == "plain"  # too short to pay
    assert form(full, long) == "plain"  # full rank
    sequence = train_side_by_side([network(200)], [low], labels, long)
    assert sequence[0].training["form"] == "plain"  # inputs of its own


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_that_are_all_zero(dtype: torch.dtype) -> None:
    """What a bare perturbation of size 0 is: only the bias learns."""
    inputs, labels = torch.zeros(40, 30, dtype=dtype), signs(40)
    start = network(30).to(dtype)
    descent = Descent("logistic", 0.1, 60)
    trained = train(start, inputs, labels, descent)
    assert trained.training["form"] == ("row space of rank 0" if dtype == torch.float32 else "plain")
    assert torch.equal(trained.module.weight, start.weight)
    expected, losses, _ = train_plainly(start, inputs, labels, descent)
    # 60 epochs of rounding in the last digit.
    assert trained.losses.tolist() == pytest.approx(losses, rel=60 * torch.finfo(dtype).eps)
    assert trained.module.bias is not None
    assert expected.bias is not None
    assert torch.allclose(trained.module.bias, expected.bias, rtol=0, atol=600 * torch.finfo(dtype).eps)


def test_bare_perturbations_have_the_rank_of_the_hidden_layer() -> None:
    """A gradient of f is a combination of the rows of W, so bare L2 steps span at most hidden_dim dimensions."""
    width, dim = 12, 80
    points = torch.randn(100, dim, generator=torch.Generator().manual_seed(0))
    steps = one_step(network(dim, width=width), points, signs(100), norm="l2", epsilon=0.5)
    _, basis = row_space(steps)
    assert len(basis) <= width
    # The sign of a gradient has full rank.
    _, basis = row_space(one_step(network(dim, width=width), points, signs(100), norm="linf", epsilon=0.5))
    assert len(basis) > width
