"""The limit of long training on nearly orthogonal samples, without any training [ICLR24, section 3; Frei23]."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Float64, Real
from torch import Tensor

from perturblearn.classifiers import Classifier, TwoLayer
from perturblearn.errors import ConfigError, DataError
from perturblearn.theory.checks import check_finite, check_labels, check_pair, check_slope
from perturblearn.theory.nonnegative import Solution, minimise

Method = Literal["two_direction", "linear"]
METHODS = ("two_direction", "linear")
_MOST_EXACT = 4096
"""Up to so many samples the Gram matrix is taken in float64 and the linear system solved by Cholesky."""
_LEAST_MARGIN = 1e-4
"""Samples that directions of length 1 separate by less than this share of the longest one count as inseparable."""
_PARALLEL = 1e-12


@dataclass(frozen=True, eq=False)
class MarginLimit:
    r"""Two directions that stand for a trained network: f(z) = phi(w_plus . z) - phi(w_minus . z).

    Args:
        method: ``two_direction`` or ``linear``, see `margin_limit`.
        slope: gamma.
        multipliers: mu, (N, 2) float64: of the constraints own . x_n - s other . x_n >= 1 for s = 1 and s = gamma. The
            linear approximation has only the second (lambda of ICLR24).
        boundary_multipliers: lambda, (N,) float64, such that the boundary's normal is sum lambda_n y_n x_n before
            scaling: sum_s (1 + s) mu_ns.
        w_plus, w_minus: the directions (d,), scaled so that the least of y_n f(x_n) is 1 (of the linear approximation
            only where that is above 0 to begin with).
        normal: the boundary's normal w_plus - w_minus, (d,): sign f(z) = sign <normal, z>.
        duality_gap: primal minus dual value over the dual value, 0 at the optimum of separable samples.
        violation: largest violation of the optimality conditions, in units of the margin 1.
        pattern_share: share of samples whose own direction is active and whose other one is not, which the linear
            approximation takes for granted.
        least_margin: least y_n f(x_n) with phi evaluated, before scaling; 1 where the method's assumption holds.
        separates: whether the least margin is above 0, so that directions could be scaled.
        products: products with the Gram matrix that the solver took.
    """

    method: Method
    slope: float
    multipliers: Float64[Tensor, "n 2"]
    boundary_multipliers: Float64[Tensor, "n"]
    w_plus: Float[Tensor, "d"]
    w_minus: Float[Tensor, "d"]
    normal: Float[Tensor, "d"]
    duality_gap: float
    violation: float
    pattern_share: float
    least_margin: float
    separates: bool
    products: int

    @property
    def classifier(self) -> Classifier[TwoLayer]:
        """The limit as a classifier, a two-layer network of two units, usable wherever a trained one is."""
        weight = torch.stack((self.w_plus, self.w_minus))
        training = {
            "limit": self.method,
            "violation": self.violation,
            "duality_gap": self.duality_gap,
            "pattern_share": self.pattern_share,
            "least_margin": self.least_margin,
        }
        return Classifier(TwoLayer(weight, weight.new_tensor([1.0, -1.0]), None, self.slope), training)

    def __repr__(self) -> str:
        return (
            f"MarginLimit({self.method}, {len(self.multipliers)} samples, slope {self.slope:g}, pattern holds on "
            f"{self.pattern_share:.3f}, least margin {self.least_margin:.3g}, duality gap {self.duality_gap:.1e})"
        )


def margin_limit(
    x: Float[Tensor, "n d"],
    y: Real[Tensor, "n"],
    *,
    slope: float,
    method: Method = "two_direction",
    softness: float = 0.0,
    both_classes: bool = True,
    tolerance: float = 1e-7,
    most_products: int = 20_000,
) -> MarginLimit:
    r"""Where long training of a two-layer network without bias is taken to end [ICLR24, section 3; Frei23].

    ``two_direction``: the smallest directions u, v with :math:`own \cdot x_n - s\, other \cdot x_n \ge 1` for s in
    {1, gamma}, own = u and other = v for y_n = +1 and swapped for y_n = -1; the margins with phi evaluated come out at
    1. ``linear``: ICLR24's picture, in which all positive units coincide, all negative ones too, and each is active
    exactly on its class: :math:`K \lambda = 1` with :math:`K_{nk} = y_n y_k (p_n p_k + q_n q_k) \langle x_n, x_k
    \rangle`, (p, q) = (1, gamma) for y = +1 and (gamma, 1) for y = -1, by a linear solve, and by the dual with
    lambda >= 0 where that solution is not positive.

    Samples beyond about 2 d have no such limit. With a softness c above 0, ``two_direction`` lets every constraint be
    missed by some xi, at a price: :math:`|u|^2/2 + |v|^2/2 + \sum_{n,s} \xi_{ns}^2 / (2 c Q_{ns,ns})`. Q is the
    matrix of the dual, whose diagonal grows by a factor of 1 + c. Every set of samples has this soft limit; where two
    directions separate them it goes to the limit above as c goes to 0 [own].

    Args:
        x: samples (N, d), linearly separable by two directions unless softness is above 0; N up to 10,000 is meant.
        y: labels +1 and -1, (N,).
        slope: negative slope gamma, above 0 and below 1.
        method: ``two_direction`` or ``linear``.
        softness: c, 0 or more; of ``two_direction`` alone.
        both_classes: whether samples of one class only are refused; a handful of random targets may all be equal.
        tolerance: largest violation of the optimality conditions, in units of the margin 1.
        most_products: products with the Gram matrix before giving up.

    Returns:
        Directions in the dtype of x, multipliers in float64.

    Raises:
        ConfigError: slope outside (0, 1), an unknown method, or a softness that is negative or not of this method.
        DataError: labels other than +1 and -1 or of one class, samples that are 0, equal or not finite, samples that
            two directions do not separate, or a solution that was not found within ``most_products``.
    """
    check_slope(slope, positive=True)
    if method not in METHODS:
        raise ConfigError(f"method = {method!r}, but the limit knows two_direction and linear; choose one of these")
    if not 0 <= softness < math.inf or (softness and method == "linear"):
        raise ConfigError(
            f"softness = {softness:g}, but it must be a finite number, 0 or more, and 0 for the method linear; choose 0"
        )
    check_pair(x, x)
    check_labels(y, len(x), both_classes=both_classes)
    check_finite(x)
    problem = _Problem(x.detach(), y.to(x.device), slope)
    if method == "linear":
        solution = _solve_linear(problem, tolerance, most_products)
        multipliers = torch.stack((torch.zeros_like(solution.multipliers), solution.multipliers), dim=1)
    else:
        solution = _solve_two_direction(problem, softness, tolerance, most_products)
        multipliers = solution.multipliers.view(2, -1).T.contiguous()
    return _assemble(problem, method, multipliers, solution)


class _Problem:
    """Samples, labels and products with the Gram matrix, with samples scaled to a root mean square length of 1."""

    def __init__(self, x: Tensor, y: Tensor, slope: float) -> None:
        lengths = x.double().norm(dim=1)
        if bool((lengths == 0).any()):
            index = int((lengths == 0).nonzero()[0, 0])
            raise DataError(f"sample {index} is 0, and no direction tells it from anything; remove it")
        self.unit = float(lengths.square().mean().sqrt())
        self.x = x
        self.lengths = lengths / self.unit
        self.positive = y > 0
        self.signs = y.double()
        self.slope = slope
        # Beyond _MOST_EXACT samples steps are taken in float32, and only the gradients that decide in float64.
        # From N = 2 d on, two products with the samples cost less than one with their Gram matrix.
        has_gram = len(x) <= 2 * x.shape[1]
        self.exact = len(x) <= _MOST_EXACT or not has_gram
        self._scaled = (x.double() if self.exact else x.float()) / self.unit
        self.gram = self._scaled @ self._scaled.T if has_gram else None
        self._refuse_parallel()

    def images(self, coefficients: Float64[Tensor, "n k"]) -> Float64[Tensor, "n k"]:
        """<w_i, x_n> for directions w_i = sum_n c_ni x_n, (N, k) to (N, k)."""
        known = coefficients.to(self._scaled.dtype)
        if self.gram is not None:
            return (self.gram @ known).double()
        return (self._scaled @ (self._scaled.T @ known)).double()

    def exact_images(self, coefficients: Float64[Tensor, "n k"]) -> Float64[Tensor, "n k"]:
        """The same in full precision, by the samples themselves where the Gram matrix is rounded."""
        if self.exact:
            return self.images(coefficients)
        directions = self.directions(coefficients)
        blocks = [part.double() @ directions.T for part in self.x.split(1024)]
        return torch.cat(blocks) / self.unit

    def directions(self, coefficients: Float64[Tensor, "n k"]) -> Float64[Tensor, "k d"]:
        """w_i = sum_n c_ni x_n in units of the scaled samples, (k, d) float64."""
        total = self.x.new_zeros(coefficients.shape[1], self.x.shape[1], dtype=torch.float64)
        for part, of_part in zip(self.x.split(1024), coefficients.split(1024), strict=True):
            total += of_part.T @ part.double()
        return total / self.unit

    def coefficients(self, own: Float64[Tensor, "n"], other: Float64[Tensor, "n"]) -> Float64[Tensor, "n 2"]:
        """Coefficients of u and v, (N, 2), from those of each sample's own and other direction."""
        return torch.stack((torch.where(self.positive, own, other), torch.where(self.positive, other, own)), dim=1)

    def own_and_other(self, images: Float64[Tensor, "n 2"]) -> tuple[Float64[Tensor, "n"], Float64[Tensor, "n"]]:
        """<own, x_n> and <other, x_n> from <u, x_n> and <v, x_n>."""
        u, v = images.T
        return torch.where(self.positive, u, v), torch.where(self.positive, v, u)

    def _refuse_parallel(self) -> None:
        """Equal samples make the Gram matrix singular: the multipliers are then not determined."""
        threshold = 1 - (_PARALLEL if self.exact else 1e-5)  # float32 candidates are looked at again in float64
        lengths = self.lengths.to(self._scaled.dtype)
        for start in range(0, len(lengths), 1024):
            rows = slice(start, start + 1024)
            products = self._scaled[rows] @ self._scaled.T if self.gram is None else self.gram[rows]
            cosines = products / lengths[rows, None] / lengths
            diagonal = torch.arange(len(cosines), device=cosines.device)
            cosines[diagonal, diagonal + start] = 0
            for row, column in (cosines >= threshold).nonzero().tolist():
                first, second = self.x[start + row].double(), self.x[column].double()
                if bool(first @ second >= (1 - _PARALLEL) * first.norm() * second.norm()):
                    raise DataError(
                        f"samples {start + row} and {column} are equal or multiples of each other, so the Gram matrix "
                        "is singular and the multipliers are not determined; keep one of them"
                    )


def _solve_two_direction(problem: _Problem, softness: float, tolerance: float, most_products: int) -> Solution:
    slope = problem.slope
    count = len(problem.x)
    squares = problem.lengths.square()
    diagonal = torch.cat((2 * squares, (1 + slope**2) * squares))

    def product(images: Callable[[Tensor], Tensor], multipliers: Tensor) -> Tensor:
        # Q mu without making Q, which is (2 N, 2 N): to directions by coefficients, and back by products with samples.
        first, second = multipliers.view(2, count)
        coefficients = problem.coefficients(first + second, -(first + slope * second))
        own, other = problem.own_and_other(images(coefficients))
        return torch.cat((own - other, own - slope * other)) + softness * diagonal * multipliers

    start = torch.zeros_like(diagonal)
    where = "two directions"
    return _solve(problem, product, (1 + softness) * diagonal, start, tolerance, most_products, where)


def _solve_linear(problem: _Problem, tolerance: float, most_products: int) -> Solution:
    slope = problem.slope

    def product(images: Callable[[Tensor], Tensor], multipliers: Tensor) -> Tensor:
        own, other = problem.own_and_other(images(problem.coefficients(multipliers, -slope * multipliers)))
        return own - slope * other

    diagonal = (1 + slope**2) * problem.lengths.square()
    start = torch.zeros_like(diagonal)
    if problem.exact:
        start = _solve_by_cholesky(problem)
        if bool((start > 0).all()):
            gradient = product(problem.exact_images, start) - 1
            return Solution(start, gradient, float(gradient.abs().max()), 0)
    where = "the linear approximation"
    return _solve(problem, product, diagonal, start.clamp_min(0), tolerance, most_products, where)


def _solve_by_cholesky(problem: _Problem) -> Tensor:
    own = problem.positive.double()
    p, q = (problem.slope + (1 - problem.slope) * part for part in (own, 1 - own))
    factor = None
    if problem.gram is not None:  # samples beyond 2 d, the number of entries of both directions, are dependent
        weights = problem.signs[:, None] * problem.signs * (torch.outer(p, p) + torch.outer(q, q))
        factor, failed = torch.linalg.cholesky_ex(weights * problem.gram)
        pivots = factor.diagonal()
        # Dependent samples leave a pivot at rounding size: the solution would be noise, however small its residual.
        if int(failed) or float(pivots.min()) < 1e-7 * float(pivots.max()):
            factor = None
    if factor is None:
        raise DataError(
            f"the {len(p)} samples in {problem.x.shape[1]} dimensions are linearly dependent, so the linear system "
            "for the multipliers is singular; use fewer samples, or method = 'two_direction'"
        )
    return torch.cholesky_solve(torch.ones_like(p)[:, None], factor)[:, 0]


def _solve(
    problem: _Problem,
    product: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor],
    diagonal: Tensor,
    start: Tensor,
    tolerance: float,
    most_products: int,
    where: str,
) -> Solution:
    # The dual value of separable samples is 1 / (2 margin^2) at most; beyond this it is taken to have no bound.
    largest = 0.5 / (_LEAST_MARGIN * float(problem.lengths.max())) ** 2
    solution = minimise(
        lambda multipliers: product(problem.images, multipliers),
        lambda multipliers: product(problem.exact_images, multipliers),
        diagonal,
        start,
        tolerance=tolerance,
        most_products=most_products,
        unbounded=lambda value: value > largest,
    )
    if solution.violation <= tolerance:
        return solution
    if solution.products >= most_products:
        raise DataError(
            f"the limit was not found within {most_products} products with the Gram matrix (optimality is missed by "
            f"{solution.violation:.1g}, at most {tolerance:.1g} is asked for); use fewer samples or more dimensions, "
            "or raise most_products"
        )
    raise DataError(
        f"{where} cannot separate the {len(problem.x)} samples in {problem.x.shape[1]} dimensions (by more than "
        f"{_LEAST_MARGIN:g} of their length); use fewer samples or more dimensions"
    )


def _assemble(problem: _Problem, method: Method, multipliers: Tensor, solution: Solution) -> MarginLimit:
    slope = problem.slope
    factors = multipliers.new_tensor([1.0, slope])
    own_coefficients, other_coefficients = multipliers.sum(dim=1), -(multipliers @ factors)
    coefficients = problem.coefficients(own_coefficients, other_coefficients)
    own, other = problem.own_and_other(problem.exact_images(coefficients))
    pattern = float(((own > 0) & (other < 0)).double().mean())
    margins = torch.maximum(own, slope * own) - torch.maximum(other, slope * other)
    least = float(margins.min())
    # The QP's own margins: phi is evaluated in two_direction, and assumed to follow the pattern in linear.
    assumed = least if method == "two_direction" else float((own - slope * other).min())
    squares = float((own_coefficients * own + other_coefficients * other).sum())
    dual = float(multipliers.sum()) - squares / 2
    gap = (squares / (2 * assumed**2) - dual) / dual if assumed > 0 else float("inf")
    directions = problem.directions(coefficients) / problem.unit / (least if least > 0 else 1.0)
    w_plus, w_minus = directions.to(problem.x.dtype)
    return MarginLimit(
        method=method,
        slope=slope,
        multipliers=multipliers / problem.unit**2,
        boundary_multipliers=multipliers @ (1 + factors) / problem.unit**2,
        w_plus=w_plus,
        w_minus=w_minus,
        normal=(directions[0] - directions[1]).to(problem.x.dtype),
        duality_gap=gap,
        violation=solution.violation,
        pattern_share=pattern,
        least_margin=least,
        separates=least > 0,
        products=solution.products,
    )
