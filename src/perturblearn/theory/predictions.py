"""What wide networks in lazy training learn, first from data, then from perturbations [NeurIPS24, section 4].

A network that follows its kernel Theta is a sum of kernels over its training inputs. So f is such a sum over x_n with
weights y_n; its gradient t(x), along which perturbations point, is the sum's gradient; and what perturbations teach g
is how the sum over x'_n changes when these inputs move along t_n. All that depends on the architecture is in the
kernel; NeurIPS24's own formulas are those of `GateKernel`. Learning rate and time are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Real
from torch import Tensor

from perturblearn.errors import ConfigError, DataError
from perturblearn.theory.checks import check_finite, check_labels, check_pair, check_same_shape
from perturblearn.theory.kernel import Kernel


def standard_prediction(
    x: Float[Tensor, "n d"],
    y: Real[Tensor, "n"],
    z: Float[Tensor, "m d"],
    *,
    kernel: Kernel,
    workspace: int | None = None,
) -> Float[Tensor, "m"]:
    r"""The wide standard classifier in lazy training, up to a positive factor [NeurIPS24, section 4].

    :math:`\hat f(z) = \frac1N \sum_n y_n \Theta(x_n, z)`, with `GateKernel` the paper's
    :math:`\frac1N \sum_n y_n \Phi(x_n, z) \langle x_n, z \rangle`.

    Args:
        x: training inputs (n, d).
        y: labels +1 and -1, (n,).
        z: where to predict, (m, d).
        kernel: the network's kernel, such as ``GateKernel(slope=0.1)``.
        workspace: bytes for a block of rows of z; it changes nothing beyond rounding.

    Returns:
        (m,), in the dtype of the inputs.

    Raises:
        DataError: labels other than +1 and -1 or of one class, shapes that do not fit, values that are not finite.
    """
    _check(x, y)
    _check_points(x, z, "z")
    # The identity loss's multipliers: +-1/N times the training time, which scales f and moves no sign.
    return kernel.weighted_sum(z, x, y.to(x.dtype), workspace=workspace) / len(x)


def perturbation_direction(
    x: Float[Tensor, "n d"],
    y: Real[Tensor, "n"],
    *,
    kernel: Kernel,
    at: Float[Tensor, "m d"] | None = None,
    workspace: int | None = None,
) -> Float[Tensor, "_ d"]:
    r"""Direction of the wide standard classifier's gradient, so of one-step perturbations [NeurIPS24, section 4].

    :math:`t_n = \frac1N \sum_k y_k \nabla_z \Theta(x_k, z)|_{z = x_n}`, neither normalised nor multiplied by the
    target label. With `GateKernel` it is :math:`\frac1N \sum_k y_k \Phi(x_n, x_k) x_k`, a weighted sum of training
    samples in which the bias has no share.

    Args:
        x: training inputs (n, d).
        y: labels +1 and -1, (n,).
        kernel: f's kernel.
        at: where the gradient is taken, (m, d); by default the training inputs.
        workspace: bytes for a block of rows.

    Returns:
        t, (n, d) or (m, d).

    Raises:
        DataError: labels other than +1 and -1 or of one class, shapes that do not fit, values that are not finite.
    """
    _check(x, y)
    points = x if at is None else at
    _check_points(x, points, "at")
    return kernel.gradient_sum(points, x, y.to(x.dtype), workspace=workspace) / len(x)


def perturbation_prediction(
    x: Float[Tensor, "n d"],
    y: Real[Tensor, "n"],
    perturbed: Float[Tensor, "k d"],
    z: Float[Tensor, "m d"],
    *,
    kernel: Kernel,
    at: Float[Tensor, "k d"] | None = None,
    workspace: int | None = None,
) -> Float[Tensor, "m"]:
    r"""The wide perturbation classifier in lazy training, up to a positive factor [NeurIPS24, section 4].

    :math:`\hat g(z) = \frac1N \sum_n \langle t_n, \nabla_c \Theta(c, z)|_{c = x'_n} \rangle`, with `GateKernel`
    :math:`\frac1N \sum_n \Phi(x'_n, z) \langle t_n, z \rangle`: the target labels cancel. Scenario (a) is
    ``perturbed`` = r_n, scenario (b) is ``perturbed`` = x_n + r_n. `full_perturbation_prediction` has what the paper
    leaves out.

    Args:
        x: inputs that f was trained on, (n, d).
        y: their labels +1 and -1, (n,).
        perturbed: what g is trained on, x', (n, d), or (k, d) where ``at`` is given.
        z: where to predict, (m, d).
        kernel: kernel of f and g.
        at: where the perturbations were taken, (k, d), such as noise sources; by default the training inputs.
        workspace: bytes for a block of rows.

    Returns:
        (m,), in the dtype of the inputs.

    Raises:
        DataError: labels other than +1 and -1 or of one class, shapes that do not fit, values that are not finite.
    """
    check_same_shape(x if at is None else at, perturbed, "perturbed")
    directions = perturbation_direction(x, y, kernel=kernel, at=at, workspace=workspace)
    return predict_from_directions(perturbed, directions, z, kernel=kernel, workspace=workspace)


def predict_from_directions(
    perturbed: Float[Tensor, "n d"],
    directions: Float[Tensor, "n d"],
    z: Float[Tensor, "m d"],
    *,
    kernel: Kernel,
    workspace: int | None = None,
) -> Float[Tensor, "m"]:
    r"""`perturbation_prediction` from known directions t [NeurIPS24, section 4].

    Directions are the expensive part where predictions are wanted in many places z.

    Args:
        perturbed: what g is trained on, x', (n, d).
        directions: t, (n, d), as `perturbation_direction` returns them.
        z: where to predict, (m, d).
        kernel: g's kernel.
        workspace: bytes for a block of rows of z.

    Returns:
        (m,), in the dtype of the inputs.

    Raises:
        DataError: shapes that do not fit, or points that are not finite.
    """
    check_same_shape(perturbed, directions, "directions")
    _check_points(perturbed, z, "z")
    return kernel.directional_sum(z, perturbed, directions, workspace=workspace) / len(perturbed)


def full_perturbation_prediction(
    perturbed: Float[Tensor, "n d"],
    targets: Real[Tensor, "n"],
    directions: Float[Tensor, "n d"],
    z: Float[Tensor, "m d"],
    *,
    kernel: Kernel,
    epsilon: float,
    sources: Float[Tensor, "n d"] | None = None,
    workspace: int | None = None,
) -> Float[Tensor, "m"]:
    r"""The perturbation classifier with what the paper argues away, weighted as training weighs it [own].

    The lazy g of the *predicted* perturbed set :math:`p_n = u_n + \epsilon y'_n t_n / \|t_n\|`, to first order around
    the true one: :math:`\frac1N \sum_n y'_n [\Theta(x'_n, z) + \langle p_n - x'_n, \nabla_c \Theta(x'_n, z)
    \rangle]`. With `GateKernel` it is :math:`\frac1N \sum_n \Phi(x'_n, z) [\epsilon \langle t_n/\|t_n\|, z
    \rangle + y'_n \langle u_n, z \rangle + y'_n]`: the paper's term, the mislabelled samples, and, for a kernel with
    ``trained_bias``, the bias's share.

    Args:
        perturbed: what g is trained on, x', (n, d).
        targets: its labels y', (n,).
        directions: t, (n, d), as `perturbation_direction` returns them.
        z: where to predict, (m, d).
        kernel: g's kernel.
        epsilon: L2 size of the perturbations, above 0.
        sources: u, (n, d); bare perturbations have none.
        workspace: bytes for a block of rows of z.

    Returns:
        (m,), in the dtype of the inputs.

    Raises:
        ConfigError: an epsilon of 0 or less.
        DataError: targets other than +1 and -1, shapes that do not fit, or values that are not finite.
    """
    check_same_shape(perturbed, directions, "directions")
    check_labels(targets, len(perturbed), "targets", both_classes=False)
    if not epsilon > 0:
        raise ConfigError(f"epsilon = {epsilon}, but perturbations have a size above 0; give that size")
    _check_points(perturbed, z, "z")
    signs = targets.to(perturbed.dtype)
    lengths = directions.norm(dim=1, keepdim=True)
    # Where f's gradient vanishes the attack leaves a sample where it is, and so does its prediction.
    predicted = signs[:, None] * (epsilon * directions / torch.where(lengths > 0, lengths, 1.0))
    if sources is not None:
        check_same_shape(perturbed, sources, "sources")
        predicted = sources + predicted
    return kernel.expanded_sum(z, perturbed, signs, predicted, workspace=workspace) / len(perturbed)


@dataclass(frozen=True, eq=False)
class PerturbationTerms:
    """The two terms of what a lazy perturbation classifier learns, g - g_0 = source + perturbation.

    Args:
        source: S, what the wrongly labelled sources teach.
        perturbation: P, what moving them adds.
    """

    source: Float[Tensor, "m *k"]
    perturbation: Float[Tensor, "m *k"]


def perturbation_terms(
    sources: Float[Tensor, "n *d"],
    perturbed: Float[Tensor, "n *d"],
    multipliers: Float[Tensor, "n *k"],
    z: Float[Tensor, "m *d"],
    *,
    kernel: Kernel,
    workspace: int | None = None,
) -> PerturbationTerms:
    r"""What perturbations and their wrongly labelled sources teach a lazy g, for any loss and kernel [own].

    :math:`S(z) = \sum_n \alpha'_n \Theta(u_n, z)` and :math:`P(z) = \sum_n \alpha'_n [\Theta(x'_n, z) - \Theta(u_n,
    z)]`. In P, :math:`\alpha'_n` has the sign of y'_n and so has the perturbation: the wrong labels cancel, whatever
    the kernel. S averages out for random targets, and opposes f for contradicting ones. It is not what the sources
    alone would teach: its multipliers are those of training on x'.

    Args:
        sources: u, (n, ...).
        perturbed: x', (n, ...).
        multipliers: alpha', (n,), or (n, k) for k classes, as `kernel_training` on x' returns them.
        z: where to predict, (m, ...).
        kernel: g's kernel.
        workspace: bytes for a block of rows of z.

    Raises:
        DataError: sources and perturbed inputs of different shape, or values that are not finite.
    """
    if sources.shape != perturbed.shape:
        raise DataError(
            f"the sources have shape {tuple(sources.shape)} and the perturbed inputs {tuple(perturbed.shape)}; give "
            "one source for each perturbed input"
        )
    for name, values in (("sources", sources), ("perturbed", perturbed), ("multipliers", multipliers), ("z", z)):
        check_finite(values, name)
    source = kernel.weighted_sum(z, sources, multipliers, workspace=workspace)
    return PerturbationTerms(source, kernel.weighted_sum(z, perturbed, multipliers, workspace=workspace) - source)


def cosine_similarity(
    x: Float[Tensor, "n d"],
    y: Real[Tensor, "n"],
    perturbations: Float[Tensor, "k d"],
    *,
    kernel: Kernel,
    at: Float[Tensor, "k d"] | None = None,
    workspace: int | None = None,
) -> Float[Tensor, "k"]:
    """Cosine of every perturbation r_n with its prediction t_n, signed [NeurIPS24, section 5].

    The paper publishes the mean of the absolute values. Multiplied by the target labels, +1 means that the perturbation
    points where theory says. A random direction has a mean absolute cosine of `random_cosine`.

    Args:
        x: training inputs (n, d).
        y: labels +1 and -1, (n,).
        perturbations: r, (n, d), or (k, d) where ``at`` is given.
        kernel: f's kernel.
        at: where the perturbations were taken, (k, d); by default the training inputs.
        workspace: bytes for a block of rows.

    Returns:
        (n,) or (k,), in [-1, 1]; 0 where a perturbation is 0.

    Raises:
        DataError: labels other than +1 and -1 or of one class, shapes that do not fit, values that are not finite.
    """
    check_same_shape(x if at is None else at, perturbations, "perturbations")
    directions = perturbation_direction(x, y, kernel=kernel, at=at, workspace=workspace)
    return row_cosines(perturbations, directions)


def row_cosines(first: Float[Tensor, "n d"], second: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
    """Cosine between the rows of two matrices, of whatever size their entries are [own].

    Args:
        first, second: (n, d).

    Returns:
        (n,), in [-1, 1]; 0 where a row is 0.
    """

    def normalised(rows: Tensor) -> Tensor:
        # Scaled first: the squares of entries below 1e-19 would vanish in float32.
        largest = rows.abs().amax(dim=1, keepdim=True)
        rows = rows / torch.where(largest > 0, largest, 1.0)
        lengths = rows.norm(dim=1, keepdim=True)
        return rows / torch.where(lengths > 0, lengths, 1.0)

    # Rounding can take the cosine of parallel rows past 1.
    return (normalised(first) * normalised(second)).sum(dim=1).clamp(-1, 1)


def random_cosine(input_dim: int) -> float:
    """Mean absolute cosine of a random direction with a fixed one in d dimensions, sqrt(2 / (pi d)) for large d."""
    # By logarithms: Gamma itself overflows from d = 343 on. Exactly Gamma(d/2) / (sqrt(pi) Gamma((d + 1)/2)).
    return math.exp(math.lgamma(input_dim / 2) - math.lgamma((input_dim + 1) / 2)) / math.sqrt(math.pi)


def _check(x: Tensor, y: Tensor) -> None:
    check_pair(x, x)
    check_labels(y, len(x))
    check_finite(x)


def _check_points(x: Tensor, points: Tensor, name: str) -> None:
    check_pair(x, points, ("x", name))
    if len(points) == 0:
        raise DataError(f"{name} has no rows; give at least one point")
    check_finite(points, name)
