"""The smallest perturbation that reaches the target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor, nn

from perturblearn.attacks.attack import DEFAULT_STEP, DEFAULT_STEPS, Attack
from perturblearn.attacks.attack_result import AttackResult
from perturblearn.attacks.ball import Ball, Norm
from perturblearn.attacks.blocks import Block, blocks
from perturblearn.attacks.context import AttackContext, Iterate, SearchOptions, split_options
from perturblearn.attacks.descent import descend
from perturblearn.attacks.frozen import frozen
from perturblearn.attacks.norms import l2_or_linf
from perturblearn.attacks.update_rules import check_step, steepest
from perturblearn.classifiers import is_target

FINER = 0.25
"""Length of steps in bisection: signs a fifth of epsilon long jump over the boundary (on a digits MLP sizes in
L-infinity were 4 % larger with them)."""


@dataclass(frozen=True)
class MinimumNorm(Attack):
    r"""Per source the smallest perturbation found that makes the target the predicted label [own].

    `PGD` at the largest size first. Where it reaches the target, bisection: PGD within half the way between the
    smallest size that was enough and the largest that was not, from the best point so far, projected. In all searches
    the smallest successful iterate counts. Within bisection, which starts near the boundary, steps are a quarter as
    long. A search that fails proves nothing, so the sizes are upper bounds of the smallest one.

    A source whose label is the target already stays, with size 0. Where the target was not reached, success is False,
    and the input is the one of lowest loss at the largest size.

    Args:
        norm: L2 or L-infinity.
        epsilon: largest size allowed, 0 or more; one number, or one per source, (n,).
        steps: gradient steps of the first search, and of each round.
        step: length of a step, as a multiple of epsilon, above 0.
        rounds: of bisection, 0 or more; eight leave 2^-8 of the interval.
        bfloat16: as in `ProjectedDescent`.

    Raises:
        ConfigError: the norm is L0, or a step that is not above 0.
    """

    steps: int = DEFAULT_STEPS
    step: float = DEFAULT_STEP
    rounds: int = 8
    bfloat16: bool = False

    def __post_init__(self) -> None:
        l2_or_linf(self.norm, "minimum_norm")
        check_step(self.step)

    @property
    def n_steps(self) -> int:
        """Gradient steps of one of the searches."""
        return self.steps

    def search(self, module: nn.Module, sources: Tensor, targets: Tensor, context: AttackContext) -> AttackResult:
        """The nearest points found; see `Attack.search`."""
        with frozen(module, context.seed):
            parts = blocks(self, module, sources, targets, context, bfloat16=self.bfloat16)
            results = [self._bisect(block, context) for block in parts]
        return AttackResult.joined(results, sources)

    def _bisect(self, block: Block, context: AttackContext) -> AttackResult:
        ball, steps = block.ball, self.steps
        best = _Nearest(ball, block.exact.targets)
        best.keep(ball.centres, *block.exact.evaluate(ball.centres))
        failed_at = torch.zeros_like(best.sizes)
        total = (self.rounds + 1) * steps
        for number in range(self.rounds + 1):
            # First those whose source is not of the target's label, later those that have something to shorten.
            rows = (best.success & (best.sizes > 0) if number else ~best.success).nonzero()[:, 0]
            if len(rows):
                # In float64: the ball's margins are computed from epsilon as it was given, not as it is rounded.
                sizes = ((failed_at + best.sizes)[rows] / 2).double() if number else ball.epsilon[rows, 0]
                inner = Ball(ball.norm, ball.centres[rows], sizes, ball.value_range)
                nearest = self._descend(block, rows, inner, best.points[rows], number, context)
                best.merge(rows, nearest)
                failed_at[rows] = torch.where(nearest.success, failed_at[rows], sizes.to(failed_at))
            context.report(
                block.number * total + (number + 1) * steps, block.of * total, f"round {number}/{self.rounds}"
            )
        # The inner balls are smaller than this one, but the sizes they were made from are rounded.
        if not ball.holds(best.points):
            best.points = ball.fit(best.points)
            best.outputs, best.losses = block.exact.evaluate(best.points)
        block.exact.check()
        return block.result(best.points, best.outputs, best.losses)

    def _descend(
        self, block: Block, rows: Tensor, ball: Ball, start: Tensor, number: int, context: AttackContext
    ) -> _Nearest:
        """One descent within a ball; its successes hold in the module's own precision."""
        nearest = _Nearest(ball, block.quick.targets[rows])

        def see(step: int, points: Tensor, outputs: Tensor, losses: Tensor) -> None:
            nearest.keep(points, outputs, losses)
            if context.callback is not None:
                context.callback(Iterate(number, step, block.rows[rows], points.view(-1, *block.shape), losses))

        objective = block.quick.of_rows(rows)
        rule = steepest(ball, self.step * FINER if number else self.step)
        start = ball.project(start)
        last = descend(lambda _, points: objective.differentiate(points), start, rule, range(self.steps), see)
        see(self.steps, last, *objective.evaluate(last))
        objective.check()
        if block.quick is block.exact:
            return nearest
        # What bfloat16 takes for a success may be none: only the exact pass decides whether a size was enough.
        checked = _Nearest(ball, nearest.targets)
        checked.keep(nearest.points, *block.exact.of_rows(rows).evaluate(nearest.points))
        return checked


def minimum_norm(
    module: nn.Module,
    sources: Tensor,
    targets: Tensor,
    *,
    norm: Norm | str,
    epsilon: float | Tensor,
    rounds: int = 8,
    **options: Unpack[SearchOptions],
) -> AttackResult:
    """`MinimumNorm` in one call [own].

    Args:
        module, sources, targets: as in `Attack.search`.
        norm: ``l2`` or ``linf``.
        epsilon: largest size allowed, 0 or more; one number, or one per source, (n,).
        rounds: of bisection.
        options: the other arguments of `MinimumNorm`, and those of `AttackContext`.

    Returns:
        The nearest points found; their sizes tell the norms.

    Raises:
        ConfigError, DataError, ModelError: as in `MinimumNorm` and `Attack.search`.
    """
    context, own = split_options(options)
    attack = MinimumNorm(l2_or_linf(norm, "minimum_norm"), epsilon, rounds=rounds, **own)
    return attack.search(module, sources, targets, context)


class _Nearest:
    """Per sample the smallest perturbation that reached the target, or else the point of lowest loss."""

    def __init__(self, ball: Ball, targets: Tensor) -> None:
        self.centres, self.norm, self.targets = ball.centres, ball.norm, targets
        self.points = ball.centres.clone()
        self.losses = torch.full_like(self.points[:, 0], math.inf)
        self.sizes = self.losses.clone()
        self.success = torch.zeros_like(targets, dtype=torch.bool)
        self.outputs = self.losses.clone()

    def keep(self, points: Tensor, outputs: Tensor, losses: Tensor) -> None:
        """Take the samples' points where they are better."""
        if self.outputs.shape != outputs.shape:
            self.outputs = outputs.clone()
        # In the points' own precision: it ranks iterates, and what is reported is measured in float64 in the end.
        sizes = self.norm.sizes(points - self.centres)[:, 0]
        self._take(slice(None), points, outputs, losses, sizes, is_target(outputs, self.targets))

    def merge(self, rows: Tensor, other: _Nearest) -> None:
        """Take the results of a search among some of the samples where they are better."""
        self._take(rows, other.points, other.outputs, other.losses, other.sizes, other.success)

    def _take(
        self, rows: slice | Tensor, points: Tensor, outputs: Tensor, losses: Tensor, sizes: Tensor, success: Tensor
    ) -> None:
        nearer = torch.where(success, sizes < self.sizes[rows], losses < self.losses[rows])
        # A success beats every failure; among equals the smaller size, or else the lower loss.
        better = torch.where(success == self.success[rows], nearer, success)
        for name, new in (
            ("points", points), ("outputs", outputs), ("losses", losses), ("sizes", sizes), ("success", success),
        ):  # fmt: skip
            old = getattr(self, name)
            old[rows] = torch.where(better if new.ndim == 1 else better[:, None], new, old[rows])
