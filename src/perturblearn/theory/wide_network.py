"""What wide two-layer networks in lazy training learn, first from data, then from perturbations [NeurIPS24, section 4].

Everything here is one operation, the average of vectors v_n weighted by the gate kernel, (1/N) sum_n Phi(z, c_n) v_n:
with c_n = x_n and v_n = y_n x_n it is the direction t(z) of f's gradient, and fhat(z) = <t(z), z>; with c_n = x'_n and
v_n = t_n it is that of g's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from perturblearn.errors import ConfigError, DataError
from perturblearn.theory.checks import check_finite, check_labels, check_pair, check_same_shape, check_slope
from perturblearn.theory.gate_kernel import row_blocks, unit_directions, weighted_sums


def standard_prediction(
    x: Tensor,
    y: Tensor,
    z: Tensor,
    *,
    slope: float,
    trained_bias: bool = False,
    bias: bool = True,
    input_dim: int | None = None,
    workspace: int | None = None,
) -> Tensor:
    r"""The wide standard classifier in lazy training, up to a positive factor [NeurIPS24, section 4].

    :math:`\hat f(z) = \frac1N \sum_n y_n \Phi(x_n, z) \langle x_n, z \rangle`

    Args:
        x: training inputs (N, d).
        y: labels +1 and -1, (N,).
        z: where to predict, (M, d).
        slope: negative slope gamma, in [0, 1).
        trained_bias: add the trained bias's share: every :math:`\langle x_n, z \rangle` becomes
            :math:`\langle x_n, z \rangle + 1`. The paper leaves it out.
        bias: whether units have a bias at all; see `gate_kernel`.
        input_dim: d, where x and z are coordinates in fewer dimensions with the same inner products (see
            `DecisionPlane.reduce`); by default the number of their columns.
        workspace: bytes for a block of rows of z.

    Returns:
        (M,), in the dtype of the inputs.

    Raises:
        ConfigError: slope outside [0, 1).
        DataError: labels other than +1 and -1 or of one class, shapes that do not fit, values that are not finite.
    """
    _check(x, y, slope)
    _check_points(x, z, "z")
    signs = y.to(x.dtype)
    return predict_from_directions(
        x,
        signs[:, None] * x,
        z,
        slope=slope,
        offsets=signs if trained_bias else None,
        bias=bias,
        input_dim=input_dim,
        workspace=workspace,
    )


def perturbation_direction(
    x: Tensor,
    y: Tensor,
    *,
    slope: float,
    at: Tensor | None = None,
    bias: bool = True,
    workspace: int | None = None,
) -> Tensor:
    r"""Direction of the wide standard classifier's gradient, so of one-step perturbations [NeurIPS24, section 4].

    :math:`t_n = \frac1N \sum_k y_k \Phi(x_n, x_k) x_k`, a weighted sum of training samples, neither normalised nor
    multiplied by the target label. The bias has no share in it.

    Args:
        x: training inputs (N, d).
        y: labels +1 and -1, (N,).
        slope: negative slope gamma, in [0, 1).
        at: where the gradient is taken, (M, d); by default the training inputs.
        bias: whether units have a bias; see `gate_kernel`.
        workspace: bytes for a block of rows.

    Returns:
        t, (N, d) or (M, d).

    Raises:
        ConfigError: slope outside [0, 1).
        DataError: labels other than +1 and -1 or of one class, shapes that do not fit, values that are not finite.
    """
    _check(x, y, slope)
    points = x if at is None else at
    _check_points(x, points, "at")
    centres = unit_directions(x, bias=bias)
    vectors = y.to(x.dtype)[:, None] * x
    blocks = row_blocks(points, len(x), workspace)
    return torch.cat([weighted_sums(part, centres, vectors, slope, bias=bias) for part in blocks]) / len(x)


def perturbation_prediction(
    x: Tensor,
    y: Tensor,
    perturbed: Tensor,
    z: Tensor,
    *,
    slope: float,
    targets: Tensor | None = None,
    epsilon: float | None = None,
    sources: Tensor | None = None,
    trained_bias: bool = False,
    at: Tensor | None = None,
    bias: bool = True,
    workspace: int | None = None,
) -> Tensor:
    r"""The wide perturbation classifier in lazy training, up to a positive factor [NeurIPS24, section 4].

    :math:`\hat g(z) = \frac1N \sum_n \Phi(x'_n, z) \langle t_n, z \rangle`: the target labels cancel. Scenario (a) is
    ``perturbed`` = r_n, scenario (b) is ``perturbed`` = x_n + r_n.

    What the paper argues away needs the perturbations' size. With ``targets`` and ``epsilon`` the prediction is
    :math:`\frac1N \sum_n \Phi(x'_n, z) [\epsilon \langle t_n/\|t_n\|, z \rangle + y'_n \langle u_n, z \rangle +
    y'_n]`, the second term only with ``sources`` u_n (the mislabelled samples), the third with ``trained_bias``.

    Args:
        x: inputs that f was trained on, (N, d).
        y: their labels +1 and -1, (N,).
        perturbed: what g is trained on, x', (N, d), or (M', d) where ``at`` is given.
        z: where to predict, (M, d).
        slope: negative slope gamma, in [0, 1).
        targets: y', (N,): weigh the terms as training does, instead of the paper's bare t_n.
        epsilon: L2 size of the perturbations, above 0; goes with ``targets``.
        sources: u, (N, d), for the mislabelled-sample term; goes with ``targets``.
        trained_bias: add the trained bias's share; goes with ``targets``.
        at: where the perturbations were taken, (M', d), such as noise sources; by default the training inputs.
        bias: whether units have a bias; see `gate_kernel`.
        workspace: bytes for a block of rows.

    Returns:
        (M,), in the dtype of the inputs.

    Raises:
        ConfigError: slope outside [0, 1), a term asked for without targets and epsilon, or an epsilon of 0 or less.
        DataError: labels other than +1 and -1 or of one class, shapes that do not fit, values that are not finite.
    """
    check_same_shape(x if at is None else at, perturbed, "perturbed")
    if (targets is None) != (epsilon is None) or (targets is None and (trained_bias or sources is not None)):
        raise ConfigError(
            "the mislabelled samples and the trained bias are weighed against perturbations of a given size; "
            "give both targets and epsilon, or neither sources nor trained_bias"
        )
    directions = perturbation_direction(x, y, slope=slope, at=at, bias=bias, workspace=workspace)
    offsets = None
    if targets is not None and epsilon is not None:
        check_labels(targets, len(perturbed), "targets", both_classes=False)
        if not epsilon > 0:
            raise ConfigError(f"epsilon = {epsilon}, but perturbations have a size above 0; give that size")
        signs = targets.to(x.dtype)
        lengths = directions.norm(dim=1, keepdim=True)
        directions = epsilon * directions / torch.where(lengths > 0, lengths, 1.0)
        if sources is not None:
            check_same_shape(perturbed, sources, "sources")
            directions = directions + signs[:, None] * sources
        offsets = signs if trained_bias else None
    return predict_from_directions(
        perturbed, directions, z, slope=slope, offsets=offsets, bias=bias, workspace=workspace
    )


def predict_from_directions(
    centres: Tensor,
    directions: Tensor,
    z: Tensor,
    *,
    slope: float,
    offsets: Tensor | None = None,
    bias: bool = True,
    input_dim: int | None = None,
    workspace: int | None = None,
) -> Tensor:
    r"""A wide network's output :math:`\frac1N \sum_n \Phi(c_n, z) (\langle v_n, z \rangle + o_n)`.

    The common form of both predictions [NeurIPS24, section 4]: :math:`\hat g` for c = x' and v = t, which are expensive
    where they are taken anew for every z.

    Args:
        centres: c, (N, d).
        directions: v, (N, d).
        z: where to predict, (M, d).
        slope: negative slope gamma, in [0, 1).
        offsets: o, (N,); none by default.
        bias, input_dim, workspace: as for `standard_prediction`.

    Returns:
        (M,), in the dtype of the inputs.

    Raises:
        ConfigError: slope outside [0, 1).
        DataError: shapes that do not fit.
    """
    check_slope(slope)
    _check_points(centres, z, "z")
    gates = unit_directions(centres, bias=bias, input_dim=input_dim)
    vectors = directions if offsets is None else torch.cat((directions, offsets[:, None]), dim=1)

    def predict(part: Tensor) -> Tensor:
        sums = weighted_sums(part, gates, vectors, slope, bias=bias, input_dim=input_dim)
        predicted = (sums[:, : part.shape[1]] * part).sum(dim=1)
        return predicted if offsets is None else predicted + sums[:, -1]

    return torch.cat([predict(part) for part in row_blocks(z, len(centres), workspace)]) / len(centres)


def cosine_similarity(
    x: Tensor,
    y: Tensor,
    perturbations: Tensor,
    *,
    slope: float,
    at: Tensor | None = None,
    bias: bool = True,
    workspace: int | None = None,
) -> Tensor:
    """Cosine of every perturbation r_n with its prediction t_n, signed [NeurIPS24, section 5].

    The paper publishes the mean of the absolute values. Multiplied by the target labels, +1 means that the perturbation
    points where theory says. A random direction has a mean absolute cosine of `random_cosine`.

    Args:
        x: training inputs (N, d).
        y: labels +1 and -1, (N,).
        perturbations: r, (N, d), or (M, d) where ``at`` is given.
        slope: negative slope gamma, in [0, 1).
        at: where the perturbations were taken, (M, d); by default the training inputs.
        bias: whether units have a bias; see `gate_kernel`.
        workspace: bytes for a block of rows.

    Returns:
        (N,) or (M,), in [-1, 1]; 0 where a perturbation is 0.

    Raises:
        ConfigError: slope outside [0, 1).
        DataError: labels other than +1 and -1 or of one class, shapes that do not fit, values that are not finite.
    """
    check_same_shape(x if at is None else at, perturbations, "perturbations")
    directions = perturbation_direction(x, y, slope=slope, at=at, bias=bias, workspace=workspace)
    return row_cosines(perturbations, directions)


def row_cosines(first: Tensor, second: Tensor) -> Tensor:
    """Cosine between the rows of two matrices, of whatever size their entries are [own].

    Args:
        first, second: (N, d).

    Returns:
        (N,), in [-1, 1]; 0 where a row is 0.
    """

    def normalised(rows: Tensor) -> Tensor:
        # Scaled first: the squares of entries below 1e-19 would vanish in float32.
        largest = rows.abs().amax(dim=1, keepdim=True)
        rows = rows / torch.where(largest > 0, largest, 1.0)
        lengths = rows.norm(dim=1, keepdim=True)
        return rows / torch.where(lengths > 0, lengths, 1.0)

    return (normalised(first) * normalised(second)).sum(dim=1).clamp(-1, 1)


def random_cosine(input_dim: int) -> float:
    """Mean absolute cosine of a random direction with a fixed one in d dimensions, sqrt(2 / (pi d)) for large d."""
    # Exactly Gamma(d/2) / (sqrt(pi) Gamma((d + 1)/2)).
    return math.exp(math.lgamma(input_dim / 2) - math.lgamma((input_dim + 1) / 2)) / math.sqrt(math.pi)


def _check(x: Tensor, y: Tensor, slope: float) -> None:
    check_slope(slope)
    check_pair(x, x)
    check_labels(y, len(x))
    check_finite(x)


def _check_points(x: Tensor, points: Tensor, name: str) -> None:
    check_pair(x, points, ("x", name))
    if len(points) == 0:
        raise DataError(f"{name} has no rows; give at least one point")
    check_finite(points, name)
