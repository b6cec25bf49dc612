"""Features of kernel machines, on random ones and on one with a robust and a non-robust feature by construction."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from tests.theory.reference import normal
from torch import Tensor, nn
from typing_extensions import override

from perturblearn.errors import ConfigError, DataError
from perturblearn.theory import (
    DeepKernel,
    EmpiricalKernel,
    GateKernel,
    Kernel,
    KernelFeatures,
    band_weights,
    eigenbasis,
    feature_bands,
    kernel_training,
    perturbation_shares,
    perturbation_terms,
    usefulness,
    variance_shares,
)
from perturblearn.training import LOSSES

X, Z = normal(14, 5, seed=0), normal(9, 5, seed=1)
ALPHA = normal(14, seed=2)
EVERY = tuple(range(place, place + 1) for place in range(14))
BANDS = feature_bands(14)


@dataclass(frozen=True)
class LinearKernel(Kernel):
    """The kernel of a linear model: its features are principal components."""

    @override
    def __call__(self, x: Tensor, z: Tensor | None = None, *, workspace: int | None = None) -> Tensor:
        return x @ (x if z is None else z).T


def empirical() -> EmpiricalKernel:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 1)).double()
    return EmpiricalKernel(network)


KERNELS = {
    "gate": GateKernel(0.1, trained_bias=True),
    "deep": DeepKernel(2, 0.1, sigma_b=0.3),
    "empirical": empirical(),
    "sum": 2.0 * GateKernel(0.1) + DeepKernel(1, sigma_b=0.1),
}


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_features_add_up_to_f(kernel: Kernel) -> None:
    features = eigenbasis(X, kernel=kernel).of_multipliers(ALPHA, EVERY)
    assert torch.allclose(features.values(Z).sum(dim=1), kernel(Z, X) @ ALPHA, rtol=1e-11, atol=1e-11)
    assert torch.allclose(features.multipliers.sum(dim=1), ALPHA, rtol=1e-12)
    in_bands = eigenbasis(X, kernel=kernel).of_multipliers(ALPHA)
    assert [band.start for band in in_bands.bands] == [0, 1, 3, 10]
    assert torch.allclose(in_bands.values(Z).sum(dim=1), features.values(Z).sum(dim=1), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_each_feature_is_its_eigenvector_s(kernel: Kernel) -> None:
    basis = eigenbasis(X, kernel=kernel)
    matrix = kernel(X)
    assert (basis.eigenvalues.diff() <= 1e-12 * basis.eigenvalues[0]).all()
    for place in (0, 3, 13):
        vector = basis.vectors[:, place]
        assert torch.allclose(matrix @ vector, basis.eigenvalues[place] * vector, atol=1e-12 * float(matrix.norm()))
        # Tsilivis22's formula as it stands.
        expected = kernel(Z, X) @ vector * (vector @ ALPHA)
        assert torch.allclose(basis.of_multipliers(ALPHA, EVERY).values(Z)[:, place], expected, atol=1e-11)


def test_gradients_are_those_of_automatic_differentiation() -> None:
    features = eigenbasis(X, kernel=KERNELS["deep"]).of_multipliers(ALPHA)
    points = Z.clone().requires_grad_()
    values = features.values(points)
    found = features.gradients(Z)
    for place in range(len(features.bands)):
        (expected,) = torch.autograd.grad(values[:, place].sum(), points, retain_graph=True)
        assert torch.allclose(found[place], expected, rtol=1e-9, atol=1e-9 * float(expected.norm()))
    assert torch.allclose(features.gradient_norms(Z), found.norm(dim=2).T, rtol=1e-14)


def test_gradients_of_the_gate_kernel_hold_gates_fixed() -> None:
    kernel = GateKernel(0.1, trained_bias=True)
    features = eigenbasis(X, kernel=kernel).of_multipliers(ALPHA)
    expected = torch.einsum("mn,np,nd->pmd", kernel.gates(Z, X), features.multipliers, X)
    assert torch.allclose(features.gradients(Z), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_outputs_at_the_training_inputs_fix_the_features(kernel: Kernel) -> None:
    basis = eigenbasis(X, kernel=kernel)
    by_outputs, by_multipliers = basis.of_outputs(kernel(X) @ ALPHA), basis.of_multipliers(ALPHA)
    # Divisions by the smallest eigenvalue lose as many digits as it is smaller than the largest.
    lost = float(basis.eigenvalues[0] / basis.eigenvalues[-1])
    assert torch.allclose(by_outputs.values(Z), by_multipliers.values(Z), rtol=0, atol=1e-13 * max(lost, 10.0) * 100)


def test_a_feature_without_an_eigenvalue_has_no_part() -> None:
    twice = torch.cat((X, X))
    basis = eigenbasis(twice, kernel=LinearKernel())
    features = basis.of_outputs(twice @ torch.arange(5.0, dtype=torch.float64))
    assert features.coefficients[5:].abs().max() == 0
    assert torch.allclose(features.values(Z).sum(dim=1), Z @ torch.arange(5.0, dtype=torch.float64), rtol=1e-11)


def test_blocks_change_nothing() -> None:
    points, moved = normal(36, 5, seed=4), normal(36, 5, seed=5)
    for kernel in (KERNELS["gate"], KERNELS["deep"]):
        basis = eigenbasis(X, kernel=kernel)
        assert torch.allclose(eigenbasis(X, kernel=kernel, workspace=1000).eigenvalues, basis.eigenvalues, rtol=1e-10)
        features = basis.of_multipliers(ALPHA)
        assert torch.allclose(features.values(points), features.values(points, workspace=1000), rtol=1e-10, atol=1e-10)
        norms = features.gradients(points).norm(dim=2).T
        assert torch.allclose(features.gradient_norms(points, workspace=1000), norms, rtol=1e-10, atol=1e-10)
        whole = perturbation_shares(features, points, moved)
        parts = [perturbation_shares(features, points[rows], moved[rows]) for rows in torch.arange(36).split(9)]
        sizes = torch.stack([part.square().sum() for part in moved.split(9)]) / moved.square().sum()
        along = torch.stack([part.along for part in parts]) * sizes[:, None]
        assert torch.allclose(whole.along, along.sum(dim=0), rtol=1e-10)
        assert whole.outside == pytest.approx(sum(float(s) * p.outside for s, p in zip(sizes, parts, strict=True)))


def test_f_has_weight_one_of_each_of_its_bands() -> None:
    features = eigenbasis(X, kernel=KERNELS["deep"]).of_multipliers(ALPHA)
    values = features.values(Z)
    found = band_weights(values, values.sum(dim=1) + 3.0)
    assert torch.allclose(found.weights, torch.ones(4, dtype=torch.float64), rtol=1e-9)
    assert found.explained == pytest.approx(1.0, abs=1e-12)
    # Parts of a function have weights that add up to its own.
    first, second = normal(9, seed=6), normal(9, seed=7)
    total = band_weights(values, first + second).weights
    parts = band_weights(values, first).weights + band_weights(values, second).weights
    assert torch.allclose(total, parts, rtol=1e-9)
    assert band_weights(values, first).explained < 0.999


def test_shares_of_variance_add_up_to_one() -> None:
    values = eigenbasis(X, kernel=KERNELS["deep"]).of_multipliers(ALPHA).values(Z)
    shares = variance_shares(values)
    total = values.sum(dim=1)
    assert float(shares.sum()) == pytest.approx(1.0, abs=1e-12)
    covariance = torch.cov(torch.stack((values[:, 1], total)))
    assert float(shares[1]) == pytest.approx(float(covariance[0, 1] / covariance[1, 1]), rel=1e-10)
    assert torch.equal(variance_shares(torch.ones(3, 2)), torch.zeros(2))


def test_what_of_a_perturbation_lies_along_a_band() -> None:
    features = eigenbasis(X, kernel=KERNELS["deep"]).of_multipliers(ALPHA)
    gradients = features.gradients(Z)
    along_one = perturbation_shares(features, Z, 0.3 * gradients[2])
    assert float(along_one.along[2]) == pytest.approx(1.0, abs=1e-12)
    assert along_one.outside == pytest.approx(0.0, abs=1e-9)
    # A bare gradient of f lies in their span; what is orthogonal to all of them lies outside.
    assert perturbation_shares(features, Z, gradients.sum(dim=0)).outside == pytest.approx(0.0, abs=1e-9)
    span = torch.linalg.qr(gradients.permute(1, 2, 0)).Q
    moved = normal(9, 5, seed=8)
    moved -= (span @ span.transpose(1, 2) @ moved[:, :, None])[:, :, 0]
    found = perturbation_shares(features, Z, moved)
    assert found.outside == pytest.approx(1.0, abs=1e-9)
    assert float(found.along.max()) < 1e-20


ROBUST, NON_ROBUST = 0, 1


def two_features(count: int = 400) -> tuple[Tensor, Tensor, Tensor]:
    """Labels written far apart along the first axis, one in five of them wrong, and close together along the second.

    Targets are right as often as wrong, whichever the label and whatever stands on the first axis.
    """
    y = torch.ones(count, dtype=torch.float64)
    y[::2] = -1
    written, targets = y.clone(), y.clone()
    written[torch.arange(count) // 2 % 5 == 0] *= -1
    targets[: count // 2] *= -1
    x = torch.stack((3 * written, 0.2 * y), dim=1)
    return x + torch.tensor([0.5, 0.02], dtype=torch.float64) * normal(count, 2, seed=9), y, targets


def machine(inputs: Tensor, labels: Tensor, time: float) -> Tensor:
    start = torch.zeros(len(labels), dtype=torch.float64)
    derivative = LOSSES["logistic"].derivative
    return kernel_training(inputs, labels, start, kernel=LinearKernel(), time=time, derivative=derivative)


def f_of_two_features() -> tuple[KernelFeatures, Tensor, Tensor, Tensor]:
    x, y, targets = two_features()
    bands = (range(1), range(1, 400))
    # Trained for so long that both features have a share.
    return eigenbasis(x, kernel=LinearKernel()).of_multipliers(machine(x, y, 30.0), bands), x, y, targets


def test_usefulness_tells_a_robust_feature_from_one_that_is_not() -> None:
    features, x, y, _ = f_of_two_features()
    values, norms = features.values(x), features.gradient_norms(x)
    assert (usefulness(values, y) > 0.5).all()
    at_one = usefulness(values, y, norms, epsilon=1.0)
    assert at_one[ROBUST] > 0.2
    assert at_one[NON_ROBUST] < -4
    # Each part is linear, f_i(x) = <w_i, x>, and its gradient is w_i.
    weights = x.T @ features.multipliers
    parts = x @ weights
    expected = ((y[:, None] * parts).mean(dim=0) - weights.norm(dim=0)) / parts.std(dim=0, correction=0)
    assert torch.allclose(at_one, expected, rtol=1e-9)


def test_bare_perturbations_teach_both_features_and_perturbed_inputs_the_one_that_is_not_robust() -> None:
    features, x, _, targets = f_of_two_features()
    moves = features.gradients(x).sum(dim=0)
    moves = targets[:, None] * moves / moves.norm(dim=1, keepdim=True)
    values = features.values(x)
    time = 30.0
    bare = LinearKernel().weighted_sum(x, moves, machine(moves, targets, time))
    weights = band_weights(values, bare).weights
    assert float(weights[ROBUST] / weights[NON_ROBUST]) == pytest.approx(1.0, abs=1e-6)
    perturbed = x + moves
    terms = perturbation_terms(x, perturbed, machine(perturbed, targets, time), x, kernel=LinearKernel())
    whole = band_weights(values, terms.source + terms.perturbation).weights
    assert abs(float(whole[ROBUST] / whole[NON_ROBUST])) < 0.1
    # The perturbations teach both, as before; their wrongly labelled sources take the robust one away.
    of_moves, of_sources = (band_weights(values, term).weights for term in (terms.perturbation, terms.source))
    assert float(of_moves[ROBUST] / of_moves[NON_ROBUST]) == pytest.approx(1.0, abs=1e-6)
    assert float(of_sources[ROBUST] / of_moves[ROBUST]) < -0.9
    assert abs(float(of_sources[NON_ROBUST] / of_moves[NON_ROBUST])) < 0.1


def test_bands_hold_every_feature_once() -> None:
    assert [(band.start, band.stop) for band in feature_bands(40)] == [(0, 1), (1, 3), (3, 10), (10, 30), (30, 40)]
    assert feature_bands(2) == (range(1), range(1, 2))
    assert feature_bands(3, range(3)) == (range(1), range(1, 2), range(2, 3))


def test_a_constant_feature_is_not_useful() -> None:
    values = torch.tensor([[2.0, 1.0], [2.0, -1.0]])
    assert torch.equal(usefulness(values, torch.tensor([1, -1])), torch.tensor([0.0, 1.0]))
    found = band_weights(torch.tensor([[2.0, 1.0], [2.0, -1.0], [2.0, 3.0]]), torch.tensor([1.0, -1.0, 3.0]))
    assert found.weights.tolist() == pytest.approx([0.0, 1.0])


def test_bad_input_is_told_in_one_sentence() -> None:
    basis = eigenbasis(X, kernel=LinearKernel())
    features = basis.of_multipliers(ALPHA)
    values, labels = features.values(Z), torch.ones(9)
    for error, sentence, call in (
        (ConfigError, "edges = \\[1, 3\\], but bands start with feature 0", lambda: feature_bands(5, (1, 3))),
        (ConfigError, "edges = \\[0, 3, 3\\], but", lambda: feature_bands(5, (0, 3, 3))),
        (DataError, "x has no rows", lambda: eigenbasis(X[:0], kernel=LinearKernel())),
        (DataError, "NaN or infinite", lambda: eigenbasis(X / 0, kernel=LinearKernel())),
        (DataError, "multipliers have shape \\(3,\\) for 14 training inputs", lambda: basis.of_multipliers(ALPHA[:3])),
        (DataError, "outputs have shape \\(3,\\) for 14 training inputs", lambda: basis.of_outputs(ALPHA[:3])),
        (DataError, "outputs holds NaN", lambda: basis.of_outputs(ALPHA / 0)),
        (ConfigError, "epsilon = -1, but", lambda: usefulness(values, labels, epsilon=-1)),
        (ConfigError, "epsilon = 1 needs the lengths", lambda: usefulness(values, labels, epsilon=1.0)),
        (DataError, "labels holds the label 0", lambda: usefulness(values, 0 * labels)),
        (
            DataError,
            "shape \\(9, 5\\) and the perturbations \\(8, 5\\)",
            lambda: perturbation_shares(features, Z, Z[1:]),
        ),
        (DataError, "all perturbations are 0", lambda: perturbation_shares(features, Z, 0 * Z)),
        (DataError, "shape \\(8,\\) for 9 inputs", lambda: band_weights(values, labels[1:])),
        (DataError, "4 inputs do not fix the weights of 4 bands", lambda: band_weights(values[:4], labels[:4])),
    ):
        with pytest.raises(error, match=sentence):
            call()


@pytest.mark.long
def test_two_thousand_training_inputs() -> None:
    x = normal(2000, 100, seed=0)
    features = eigenbasis(x, kernel=GateKernel(0.0, trained_bias=True)).of_multipliers(normal(2000, seed=1))
    assert torch.allclose(features.gradients(x[:200]).sum(dim=0),
                          features.basis.kernel.gradient_sum(x[:200], x, features.multipliers.sum(dim=1)),
                          rtol=1e-8, atol=1e-8)  # fmt: skip
