"""Features of a kernel machine: how useful and robust they are, and what of them a perturbation and its g carry."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Real
from torch import Tensor

from perturblearn.errors import ConfigError, DataError
from perturblearn.theory.checks import check_finite, check_labels
from perturblearn.theory.kernel import Kernel, Points

EDGES = (0, 1, 3, 10, 30, 100, 300)
"""Numbers of the features at which bands begin, counted from the largest eigenvalue: 0, 1-2, 3-9, ..., 300 and more."""
_ROWS = 256
"""Rows whose gradients are held at once, of every band."""


def feature_bands(count: int, edges: Sequence[int] = EDGES) -> tuple[range, ...]:
    """Bands of neighbouring features, by eigenvalue.

    Args:
        count: how many features there are; bands beyond are left out.
        edges: where bands begin, from 0 upwards; the last one ends with the last feature. ``range(count)`` makes every
            feature a band.

    Raises:
        ConfigError: edges that do not start at 0 or do not grow.
    """
    if not edges or edges[0] != 0 or any(low >= high for low, high in itertools.pairwise(edges)):
        raise ConfigError(
            f"edges = {list(edges)}, but bands start with feature 0 and each begins after the one before; give growing "
            "numbers from 0 on"
        )
    inside = [edge for edge in edges if edge < count]
    return tuple(range(low, high) for low, high in zip(inside, (*inside[1:], count), strict=True))


@dataclass(frozen=True, eq=False)
class KernelFeatures:
    r"""A function in the span of a kernel as a sum of eigenfeatures, :math:`f = \sum_i f_i` [Tsilivis22].

    The kernel over the training inputs is :math:`\sum_i \lambda_i v_i v_i^T`, and :math:`f_i(z) = \Theta(z, X) v_i
    (v_i^T \alpha)`. Over the training inputs features are orthogonal, elsewhere they are not.

    [Tsilivis22] Tsilivis and Kempe, "What Can the Neural Tangent Kernel Tell Us About Adversarial Robustness?", NeurIPS
    2022.

    Args:
        basis: the eigenvectors.
        coefficients: :math:`v_i^T \alpha`, (n,) float64.
        bands: which features are taken together; see `feature_bands`.
    """

    basis: Eigenbasis
    coefficients: Float[Tensor, "n"]
    bands: tuple[range, ...]

    @property
    def multipliers(self) -> Float[Tensor, "n p"]:
        """Multipliers alpha of every band's part, (n, p); they add up to those of f."""
        parts = [self.basis.vectors[:, band.start : band.stop] @ self.coefficients[band.start : band.stop]
                 for band in self.bands]  # fmt: skip
        return torch.stack(parts, dim=1)

    def values(self, z: Points, *, workspace: int | None = None) -> Float[Tensor, "m p"]:
        """Every band's part of f at z, (m, p) float64; the sum over bands is f.

        Args:
            z: where to evaluate, (m, ...).
            workspace: bytes for a block of rows; it changes nothing beyond rounding.
        """
        basis = self.basis
        return basis.kernel.weighted_sum(z, basis.inputs, self.multipliers, workspace=workspace)

    def gradients(self, z: Points, *, workspace: int | None = None) -> Float[Tensor, "p m *d"]:
        """Gradients of every band's part, (p, m, ...) float64: in closed form where the kernel has one.

        Args:
            z, workspace: as for `values`. All gradients are held at once: give some hundred rows at a time.
        """
        basis = self.basis
        return torch.stack([
            basis.kernel.gradient_sum(z, basis.inputs, of_band.contiguous(), workspace=workspace).double()
            for of_band in self.multipliers.unbind(dim=1)
        ])  # fmt: skip

    def gradient_norms(self, z: Points, *, workspace: int | None = None) -> Float[Tensor, "m p"]:
        """L2 lengths of these gradients, (m, p) float64, in blocks of rows.

        Args:
            z, workspace: as for `values`.
        """
        blocks = (self.gradients(part, workspace=workspace).flatten(2).norm(dim=2).T for part in z.split(_ROWS))
        return torch.cat(list(blocks))


@dataclass(frozen=True, eq=False)
class Eigenbasis:
    """Eigenvectors of a kernel over training inputs, from which features are made.

    Args:
        kernel: the kernel.
        inputs: training inputs X, (n, ...).
        eigenvalues: from the largest down, (n,) float64.
        vectors: v_i in columns, (n, n) float64.
    """

    kernel: Kernel
    inputs: Points
    eigenvalues: Float[Tensor, "n"]
    vectors: Float[Tensor, "n n"]

    def of_multipliers(self, multipliers: Float[Tensor, "n"], bands: tuple[range, ...] | None = None) -> KernelFeatures:
        r"""Features of the kernel machine :math:`\sum_n \alpha_n \Theta(x_n, z)`.

        Args:
            multipliers: alpha, (n,), as `kernel_training` returns them.
            bands: features to be taken together; by default `feature_bands`.

        Raises:
            DataError: not one multiplier for each training input, or values that are not finite.
        """
        self._check(multipliers, "multipliers")
        return self._features(self.vectors.T @ multipliers.double(), bands)

    def of_outputs(self, outputs: Float[Tensor, "n"], bands: tuple[range, ...] | None = None) -> KernelFeatures:
        r"""Features of the kernel machine with these outputs at the training inputs [own].

        Of a network that is no kernel machine, its f - f_0: as much of it as lies in the span of the kernel. The
        coefficients are :math:`v_i^T f(X) / \lambda_i`, and 0 where :math:`\lambda_i` is 0 up to rounding.

        Args:
            outputs: f(X), (n,).
            bands: as for `of_multipliers`.

        Raises:
            DataError: not one output for each training input, or values that are not finite.
        """
        self._check(outputs, "outputs")
        projected = self.vectors.T @ outputs.double()
        least = len(self.inputs) * torch.finfo(torch.float64).eps * self.eigenvalues[0]
        is_free = self.eigenvalues > least
        return self._features(torch.where(is_free, projected / torch.where(is_free, self.eigenvalues, 1.0), 0.0), bands)

    def _features(self, coefficients: Tensor, bands: tuple[range, ...] | None) -> KernelFeatures:
        return KernelFeatures(self, coefficients, feature_bands(len(self.inputs)) if bands is None else bands)

    def _check(self, values: Tensor, name: str) -> None:
        if values.shape != (len(self.inputs),):
            raise DataError(
                f"{name} have shape {tuple(values.shape)} for {len(self.inputs)} training inputs; give one number for "
                "each"
            )
        check_finite(values, name)


def eigenbasis(x: Points, *, kernel: Kernel, workspace: int | None = None) -> Eigenbasis:
    """Eigenvectors of a kernel over its training inputs; the cost grows with n^3 (2,000 inputs: seconds).

    Args:
        x: training inputs (n, ...).
        kernel: any kernel.
        workspace: bytes for a block of the kernel's values.

    Raises:
        DataError: no inputs, or values that are not finite.
    """
    if len(x) == 0:
        raise DataError("x has no rows; give at least one training input")
    check_finite(x)
    values = kernel(x, workspace=workspace).double()
    check_finite(values, "the kernel's matrix")
    # Symmetric up to rounding; the solver reads one half only.
    eigenvalues, vectors = torch.linalg.eigh((values + values.T) / 2)
    return Eigenbasis(kernel, x, eigenvalues.flip(0), vectors.flip(1))


def usefulness(
    values: Float[Tensor, "m p"],
    labels: Real[Tensor, "m"],
    gradient_norms: Float[Tensor, "m p"] | None = None,
    *,
    epsilon: float = 0.0,
) -> Float[Tensor, "p"]:
    r"""How well features tell the classes apart, also under an adversary [Ilyas19; Tsilivis22].

    :math:`E[y f_i - \epsilon \|\nabla f_i\|] / \mathrm{std}(f_i)`: above 0 at epsilon 0 a feature is *useful*, above 0
    at an epsilon it is *robustly useful*, to first order in epsilon.

    [Ilyas19] Ilyas et al., "Adversarial Examples Are Not Bugs, They Are Features", NeurIPS 2019.

    Args:
        values: of each feature, or band, at some inputs, (m, p).
        labels: their true labels +1 and -1, (m,).
        gradient_norms: lengths of its gradients there, (m, p); not needed at epsilon 0.
        epsilon: L2 size of the adversary's perturbations, 0 or more.

    Returns:
        (p,); 0 for a feature that is constant.

    Raises:
        ConfigError: an epsilon below 0, or one above 0 without gradients.
        DataError: labels other than +1 and -1.
    """
    check_labels(labels, len(values), "labels", both_classes=False)
    if not epsilon >= 0:
        raise ConfigError(f"epsilon = {epsilon}, but a perturbation has a size of 0 or more; give that size")
    margins = labels.to(values.dtype)[:, None] * values
    if epsilon:
        if gradient_norms is None:
            raise ConfigError(
                f"epsilon = {epsilon:g} needs the lengths of the features' gradients; give gradient_norms"
            )
        margins = margins - epsilon * gradient_norms
    spread = values.std(dim=0, correction=0)
    return torch.where(spread > 0, margins.mean(dim=0) / torch.where(spread > 0, spread, 1.0), 0.0)


def variance_shares(values: Float[Tensor, "m p"]) -> Float[Tensor, "p"]:
    r"""Share of each band in the variance of f, :math:`\mathrm{cov}(f_B, f) / \mathrm{var}(f)` [own].

    Args:
        values: every band's part of f at some inputs, (m, p).

    Returns:
        (p,); the shares add up to 1, and one below 0 belongs to a band that opposes f there. 0 where f is constant.
    """
    centred = values - values.mean(dim=0)
    total = centred.sum(dim=1)
    variance = total.square().sum()
    return centred.T @ total / variance if variance > 0 else torch.zeros_like(centred[0])


@dataclass(frozen=True, eq=False)
class PerturbationShares:
    """What of perturbations lies along the features of f.

    Args:
        along: per band, the share of their squared length along the gradient of the band's part, (p,), in [0, 1].
            Gradients of bands are nearly orthogonal, not exactly: the shares need not add up to 1.
        outside: the share that lies outside the span of these gradients, in [0, 1].
    """

    along: Float[Tensor, "p"]
    outside: float


def perturbation_shares(
    features: KernelFeatures, points: Points, perturbations: Tensor, *, workspace: int | None = None
) -> PerturbationShares:
    r"""What of perturbations lies along the features of f [own].

    :math:`\sum_n \langle r_n, \nabla f_B(u_n) \rangle^2 / \|\nabla f_B(u_n)\|^2` over :math:`\sum_n \|r_n\|^2`.

    Args:
        features: of f.
        points: where the perturbations were taken, u, (n, ...).
        perturbations: r, shaped as the points.
        workspace: bytes for a block of rows.

    Raises:
        DataError: shapes that differ, values that are not finite, or perturbations that are all 0.
    """
    if points.shape != perturbations.shape:
        raise DataError(
            f"the points have shape {tuple(points.shape)} and the perturbations {tuple(perturbations.shape)}; give one "
            "perturbation for each point"
        )
    check_finite(perturbations, "perturbations")
    squares = perturbations.double().square().sum()
    if not squares > 0:
        raise DataError("all perturbations are 0; give an attack that moves its inputs")
    along = torch.zeros(len(features.bands), dtype=torch.float64, device=points.device)
    inside = 0.0
    for part, moved in zip(points.split(_ROWS), perturbations.flatten(1).double().split(_ROWS), strict=True):
        gradients = features.gradients(part, workspace=workspace).flatten(2).transpose(0, 1)
        lengths = gradients.norm(dim=2, keepdim=True)
        directions = gradients / torch.where(lengths > 0, lengths, 1.0)
        steps = (directions @ moved[:, :, None])[:, :, 0]
        along += steps.square().sum(dim=0)
        # The pseudo-inverse: a band whose gradient vanishes, or follows from others, spans nothing more.
        inverse = torch.linalg.pinv(directions @ directions.transpose(1, 2), hermitian=True)
        inside += float((steps[:, None] @ inverse @ steps[:, :, None]).sum())
    return PerturbationShares(along / squares, max(0.0, 1 - inside / float(squares)))


@dataclass(frozen=True, eq=False)
class BandWeights:
    """How much of each of f's bands a function has.

    Args:
        weights: (p,) float64; f itself has 1 everywhere.
        explained: share of the function's variance that the bands explain, at most 1.
    """

    weights: Float[Tensor, "p"]
    explained: float


def band_weights(values: Float[Tensor, "m p"], outputs: Tensor) -> BandWeights:
    r"""Least-squares weights w of f's bands in another function, :math:`g(z) \approx c + \sum_B w_B f_B(z)` [own].

    The weights are linear in g, so those of parts of g add up.

    Args:
        values: every band's part of f at some inputs, (m, p).
        outputs: the function's at the same inputs, (m,), such as g - g_0.

    Returns:
        The weights; 0 for a band that is constant there.

    Raises:
        DataError: not one output for each row, no more rows than bands, or values that are not finite.
    """
    count, n_bands = values.shape
    if outputs.shape != (count,):
        raise DataError(f"the outputs have shape {tuple(outputs.shape)} for {count} inputs; give one output for each")
    if count <= n_bands:
        raise DataError(f"{count} inputs do not fix the weights of {n_bands} bands; give at least {n_bands + 1} inputs")
    check_finite(values, "values")
    check_finite(outputs, "outputs")
    design, target = values.double(), outputs.double()
    design, target = design - design.mean(dim=0), target - target.mean()
    # Bands differ in size by orders of magnitude; unscaled, the small ones would fall below the solver's tolerance.
    lengths = design.norm(dim=0)
    scaled = design / torch.where(lengths > 0, lengths, 1.0)
    found = torch.linalg.lstsq(scaled.cpu(), target.cpu()[:, None], driver="gelsd").solution[:, 0].to(design.device)
    square = target.square().sum()
    left = (target - scaled @ found).square().sum()
    explained = float(1 - left / square) if square > 0 else 1.0
    return BandWeights(found / torch.where(lengths > 0, lengths, 1.0), explained)
