"""The smallest perturbation that reaches the target."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from perturblearn.attacks.ball import Ball
from perturblearn.attacks.descent import Block, Callback, Iterate, Report, blocks, descend
from perturblearn.attacks.found import Found
from perturblearn.attacks.frozen import frozen
from perturblearn.attacks.moves import check_step, steepest
from perturblearn.attacks.norms import ORDERS, check_l2_or_linf, row_norms
from perturblearn.attacks.objective import Loss
from perturblearn.classifiers import is_target

FINER = 0.25
"""Length of steps in bisection: signs a fifth of epsilon long jump over the boundary (on a digits MLP sizes in
L-infinity were 4 % larger with them)."""


def minimum_norm(
    module: nn.Module,
    sources: Tensor,
    targets: Tensor,
    *,
    norm: str,
    epsilon: float | Tensor,
    value_range: tuple[float, float] = (-math.inf, math.inf),
    steps: int = 100,
    step: float = 0.2,
    rounds: int = 8,
    loss: Loss | None = None,
    bfloat16: bool = False,
    block: int | None = None,
    callback: Callback | None = None,
    report: Report = lambda done, steps, note: None,
) -> Found:
    r"""Per source the smallest perturbation found that makes the target the predicted label [own].

    `pgd` at the largest size first. Where it gets to the target, bisection: pgd within half the way between the
    smallest size that was enough and the largest that was not, from the best point so far, projected. In all searches
    the smallest successful iterate counts. Within bisection, which starts near the boundary, steps are a quarter as
    long. A search that fails proves nothing, so the sizes are upper bounds of the smallest one.

    Args:
        norm: ``l2`` or ``linf``.
        epsilon: largest size allowed, 0 or more; one number, or one per source, (n,).
        rounds: of bisection, each of as many steps as the first search, 0 or more; eight leave 2^-8 of the interval.
        module, sources, targets, value_range, steps, step, loss, bfloat16, block, callback, report: as in `radial_pgd`.

    Returns:
        What was found; the sizes tell the norms. A source whose label is the target already stays, with size 0. Where
        the target was not reached, success is False, and the input is the one of lowest loss at the largest size.

    Raises:
        ConfigError, DataError, ModelError: as in `radial_pgd`.
    """
    check_l2_or_linf(norm, "minimum_norm")
    check_step(step)
    results = []
    with frozen(module):
        for part in blocks(
            module, sources, targets, norm=norm, epsilon=epsilon, value_range=value_range, loss=loss,
            bfloat16=bfloat16, block=block,
        ):  # fmt: skip
            results.append(_bisect(part, steps, step, rounds, callback, report))
    return Found.joined(results, sources)


def _bisect(part: Block, steps: int, step: float, rounds: int, callback: Callback | None, report: Report) -> Found:
    ball = part.ball
    best = _Nearest(ball, part.exact.targets)
    best.keep(ball.centres, *part.exact.evaluate(ball.centres))
    failed_at = torch.zeros_like(best.sizes)
    total = (rounds + 1) * steps
    for number in range(rounds + 1):
        rows = (best.success & (best.sizes > 0) if number else ~best.success).nonzero()[:, 0]
        if len(rows):
            sizes = ((failed_at + best.sizes)[rows] / 2).double() if number else ball.epsilon[rows, 0]
            inner = Ball(ball.norm, ball.centres[rows], sizes, ball.value_range)
            start = inner.project(best.points[rows])
            length = step * FINER if number else step
            found = _search(part, rows, inner, start, steps, length, _teller(part, rows, number, callback))
            best.merge(rows, found)
            failed_at[rows] = torch.where(found.success, failed_at[rows], sizes.to(failed_at))
        report(part.number * total + (number + 1) * steps, part.of * total, f"round {number}/{rounds}")
    if not ball.holds(best.points):
        best.points = ball.fit(best.points)
        best.outputs, best.losses = part.exact.evaluate(best.points)
    part.exact.check()
    return part.found(best.points, best.outputs, best.losses)


def _search(
    part: Block,
    rows: Tensor,
    ball: Ball,
    start: Tensor,
    steps: int,
    step: float,
    tell: Callable[[int, Tensor, Tensor], None],
) -> _Nearest:
    """One descent; what it found is true in the module's own precision."""
    nearest = _Nearest(ball, part.quick.targets[rows])

    def see(step: int, points: Tensor, outputs: Tensor, losses: Tensor) -> None:
        nearest.keep(points, outputs, losses)
        tell(step, points, losses)

    objective = part.quick.of_rows(rows)
    descend(objective, start, steepest(ball, step), steps, see, last=objective)
    objective.check()
    if part.quick is part.exact:
        return nearest
    checked = _Nearest(ball, nearest.targets)
    checked.keep(nearest.points, *part.exact.of_rows(rows).evaluate(nearest.points))
    return checked


def _teller(part: Block, rows: Tensor, number: int, callback: Callback | None) -> Callable[[int, Tensor, Tensor], None]:
    def tell(step: int, points: Tensor, losses: Tensor) -> None:
        if callback is not None:
            callback(Iterate(number, step, part.rows[rows], points.view(-1, *part.shape), losses))

    return tell


class _Nearest:
    """Per sample the smallest perturbation that reached the target, or else the point of lowest loss."""

    def __init__(self, ball: Ball, targets: Tensor) -> None:
        self.centres, self.order, self.targets = ball.centres, ORDERS[ball.norm], targets
        self.points = ball.centres.clone()
        self.losses = torch.full_like(self.points[:, 0], math.inf)
        self.sizes = self.losses.clone()
        self.success = torch.zeros_like(targets, dtype=torch.bool)
        self.outputs = self.losses.clone()

    def keep(self, points: Tensor, outputs: Tensor, losses: Tensor) -> None:
        """Take the samples' points where they are better."""
        if self.outputs.shape != outputs.shape:
            self.outputs = outputs.clone()
        sizes = row_norms(points - self.centres, self.order)[:, 0]
        self._take(slice(None), points, outputs, losses, sizes, is_target(outputs, self.targets))

    def merge(self, rows: Tensor, other: _Nearest) -> None:
        """Take what a search among some of the samples found, where it is better."""
        self._take(rows, other.points, other.outputs, other.losses, other.sizes, other.success)

    def _take(
        self, rows: slice | Tensor, points: Tensor, outputs: Tensor, losses: Tensor, sizes: Tensor, success: Tensor
    ) -> None:
        nearer = torch.where(success, sizes < self.sizes[rows], losses < self.losses[rows])
        better = torch.where(success == self.success[rows], nearer, success)
        for name, new in (
            ("points", points), ("outputs", outputs), ("losses", losses), ("sizes", sizes), ("success", success),
        ):  # fmt: skip
            old = getattr(self, name)
            old[rows] = torch.where(better if new.ndim == 1 else better[:, None], new, old[rows])
