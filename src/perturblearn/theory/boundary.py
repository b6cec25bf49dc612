"""The boundary that is learned from geometry-inspired perturbations, term by term [ICLR24, section 4]."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from jaxtyping import Float, Float64, Real
from torch import Tensor

from perturblearn.attacks import Norm, steepest_step
from perturblearn.errors import ConfigError, DataError
from perturblearn.theory.checks import check_labels, check_pair, check_same_shape


@dataclass(frozen=True, eq=False)
class BoundaryTerms:
    """f'_bdy at test points as the sum of what the sources and what the perturbations contribute.

    Args:
        sources: sum_n lambda'_n y'_n <u_n, z>, (M,): the sources with their wrong labels.
        perturbations: P(z), (M,): in L2 the standard boundary itself, times epsilon sum lambda' / ||q||.
    """

    sources: Float64[Tensor, "m"]
    perturbations: Float64[Tensor, "m"]

    @property
    def total(self) -> Tensor:
        """f'_bdy(z), (M,); its sign is the perturbation classifier's."""
        return self.sources + self.perturbations

    @property
    def dominated(self) -> Tensor:
        """Where the perturbations' term is the larger of the two, so that g follows it whatever the sources, (M,)."""
        return self.perturbations.abs() > self.sources.abs()

    @property
    def dominated_share(self) -> float:
        """Share of points where the perturbations' term dominates."""
        return float(self.dominated.double().mean())


def boundary_terms(
    multipliers: Float[Tensor, "n"],
    targets: Real[Tensor, "n"],
    sources: Float[Tensor, "n d"],
    normal: Float[Tensor, "d"],
    z: Float[Tensor, "m d"],
    *,
    epsilon: float,
    norm: Norm | str = "l2",
    pixels: int | None = None,
) -> BoundaryTerms:
    r"""The two terms of :math:`f'_{bdy}(z) = \sum_n \lambda'_n y'_n \langle u_n, z \rangle + P(z)` [ICLR24, section 4].

    :math:`P(z) = \epsilon \sum \lambda'_n \langle \hat q, z \rangle` with :math:`\hat q = q/\|q\|` in L2,
    :math:`sign(q)` in L-infinity, and :math:`q_D/\|q_D\|` in L0, q_D being q on its largest entries.

    Args:
        multipliers: lambda' of the perturbed set, (N,): `MarginLimit.boundary_multipliers`.
        targets: y', (N,).
        sources: u, (N, d).
        normal: q, (d,): the standard boundary's normal, of any length.
        z: test points (M, d).
        epsilon: size of the perturbations, 0 or more.
        norm: ``l2``, ``linf`` or ``l0``.
        pixels: entries of q_D.

    Raises:
        ConfigError: unknown norm, or pixels missing or too many.
        DataError: shapes that do not fit, or targets other than +1 and -1.
    """
    check_pair(sources, z, ("sources", "z"))
    check_same_shape(sources[:1], normal[None], "normal")
    check_labels(targets, len(sources), "targets", both_classes=False)
    if multipliers.shape != targets.shape:
        raise DataError(f"multipliers has shape {tuple(multipliers.shape)} for {len(targets)} targets; give one each")
    # float64: the two terms may cancel, and the sign of what is left is the prediction.
    weights = multipliers.double()
    # P(z) is the attack's own step on a linear f with gradient q; so the norms are defined in one place.
    step = steepest_step(normal[None].double(), norm, epsilon=epsilon, pixels=pixels)[0]
    learned = (weights * targets.double())[None] @ sources.double()
    exact = z.double()
    return BoundaryTerms(exact @ learned[0], float(weights.sum()) * (exact @ step))


def expected_perturbation_accuracy(
    *, epsilon: float, n_sources: int, n_samples: int, input_dim: int, data: str
) -> float:
    r"""Size law: accuracy of g on f's samples, :math:`\Phi_N(\epsilon \sqrt{N_{adv} d / N} / R)`.

    For L2 perturbations of noise sources, N and N_adv well below d; it overestimates when either reaches d. Phi_N is
    the normal distribution function, R the length of a sample: R^2 = d/3 for uniform noise, d for Gaussian noise.

    Args:
        epsilon: L2 size of the perturbations.
        n_sources: noise sources N_adv.
        n_samples: samples N that f was trained on.
        input_dim: dimension d.
        data: ``uniform`` or ``gauss``.

    Raises:
        ConfigError: other data.
    """
    squares = {"uniform": input_dim / 3, "gauss": float(input_dim)}
    if data not in squares:
        raise ConfigError(f"data = {data!r}, but the size law is known for uniform and gauss; choose one of these")
    return NormalDist().cdf(epsilon * math.sqrt(n_sources * input_dim / n_samples / squares[data]))


def expected_pattern_share(*, slope: float, n_samples: int, input_dim: int) -> float:
    r"""Share of samples on which the linear approximation's pattern holds, for random samples with N well below d.

    About :math:`\Phi_N(\gamma \sqrt{2 d / N})`, Phi_N being the normal distribution function.

    A direction is gamma lambda R^2 below 0 on a sample of the other class, while the N/2 samples of its own class
    push it either way by lambda R^2 sqrt(N / (2 d)): the pattern needs gamma above about 2 sqrt(N / (2 d)) [own].

    Args:
        slope: negative slope gamma, in [0, 1).
        n_samples: N.
        input_dim: d.

    Returns:
        A share in [0, 1].
    """
    return NormalDist().cdf(slope * math.sqrt(2 * input_dim / n_samples))
