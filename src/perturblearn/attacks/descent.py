"""Descents of the target loss, and the best of their iterates."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from perturblearn.attacks.attack import DEFAULT_STEP, DEFAULT_STEPS, Attack
from perturblearn.attacks.attack_result import AttackResult
from perturblearn.attacks.ball import Ball
from perturblearn.attacks.blocks import Block, blocks
from perturblearn.attacks.context import AttackContext, Iterate
from perturblearn.attacks.frozen import frozen
from perturblearn.attacks.objective import Objective
from perturblearn.attacks.update_rules import UpdateRule, check_step
from perturblearn.errors import ConfigError
from perturblearn.seeding import derive_seed


@dataclass(frozen=True)
class ProjectedDescent(Attack):
    """Gradient steps that never leave the ball, from the sources or from random points of it.

    Per sample the iterate with the strictly lowest target loss is kept, the source included, also where the search
    starts elsewhere.

    Args:
        norm, epsilon: as in `Attack`.
        steps: gradient steps; the loss is evaluated once more.
        step: length of a step, as a multiple of epsilon, above 0; 1/5 in ICLR24.
        random_start: start at a point drawn uniformly from the ball and clipped, in L2 and L-infinity.
        restarts: searches from such points; the best iterate of all counts.
        bfloat16: search with products in bfloat16; losses and success are of a pass in the module's own precision, and
            samples that are no better off by that keep their source.

    Raises:
        ConfigError: a step that is not above 0, or restarts that would all start at the source.
    """

    steps: int = DEFAULT_STEPS
    step: float = DEFAULT_STEP
    random_start: bool = False
    restarts: int = 1
    bfloat16: bool = False

    def __post_init__(self) -> None:
        check_step(self.step)
        if self.restarts > 1 and not self.random_start:
            raise ConfigError(
                f"restarts = {self.restarts} without random_start would search {self.restarts} times from one point; "
                "add random_start = true"
            )

    @property
    def n_steps(self) -> int:
        """Gradient steps of one search."""
        return self.steps

    @abstractmethod
    def update_rule(self, ball: Ball) -> UpdateRule:
        """A step within this ball."""

    def search(self, module: nn.Module, sources: Tensor, targets: Tensor, context: AttackContext) -> AttackResult:
        """The best iterates of all restarts; see `Attack.search`."""
        seeds = [derive_seed(context.seed, "start", str(restart)) for restart in range(self.restarts)]
        # One generator per restart goes through all blocks, so that a sample's start does not depend on their size.
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        results = []
        with frozen(module, context.seed):
            for block in blocks(self, module, sources, targets, context, bfloat16=self.bfloat16):
                best = Best()
                # Otherwise the first iterate is the source itself, and its pass is the one that has to be made anyway.
                if self.random_start or self.bfloat16:
                    best.keep(block.ball.centres, *block.exact.evaluate(block.ball.centres))
                for restart, generator in enumerate(generators):
                    start = block.ball.random_points(generator) if self.random_start else block.ball.centres
                    see = self._observer(best, block, restart, context)
                    descend(block.quick, start, self.update_rule(block.ball), self.n_steps, see, last=block.exact)
                results.append(best.settle(block))
        return AttackResult.joined(results, sources)

    def _observer(
        self, best: Best, block: Block, restart: int, context: AttackContext
    ) -> Callable[[int, Tensor, Tensor, Tensor], None]:
        steps = self.n_steps
        before = (block.number * self.restarts + restart) * steps
        total = block.of * self.restarts * steps

        def see(step: int, points: Tensor, outputs: Tensor, losses: Tensor) -> None:
            best.keep(points, outputs, losses, exact=step == steps or block.quick is block.exact)
            if context.callback is not None:
                context.callback(Iterate(restart, step, block.rows, points.view(-1, *block.shape), losses))
            if step:
                context.report(before + step, total, f"attack step {step}/{steps}")

        return see


def descend(
    objective: Objective,
    start: Tensor,
    update: UpdateRule,
    steps: int,
    see: Callable[[int, Tensor, Tensor, Tensor], None],
    *,
    last: Objective,
) -> None:
    """Minimise a loss.

    Args:
        objective: the loss.
        start: points (b, d).
        update: a step of the descent.
        steps: how many; the loss is evaluated once more, where the last one ends.
        see: called with the steps done, and with points, outputs and losses, before each step and after the last.
        last: the loss after the last step, where no gradient is needed; perhaps more exact.
    """
    points = start
    for step in range(steps):
        # One pass gives the loss of this iterate and the gradient of the next: none is made to judge alone.
        outputs, losses, gradient = objective.differentiate(points)
        see(step, points, outputs, losses)
        points = update(points, gradient)
    see(steps, points, *last.evaluate(points))


class Best:
    """Per sample the iterate with the strictly lowest loss; the first one that is kept is the start.

    In a search in bfloat16 the start and the last iterate are evaluated exactly. Other best iterates are evaluated
    again in the end, and are kept only if they are then still better than the start.
    """

    def __init__(self) -> None:
        self.start: tuple[Tensor, Tensor, Tensor] | None = None

    def keep(self, points: Tensor, outputs: Tensor, losses: Tensor, *, exact: bool = True) -> None:
        """Take the samples' points where they are better; exact are those judged in the network's own precision."""
        if self.start is None:
            self.start = points, outputs, losses
            self.points, self.outputs, self.losses = points.clone(), outputs.clone(), losses.clone()
            self.exact = torch.full_like(losses, exact, dtype=torch.bool)
            return
        better = losses < self.losses
        # Into the tensors that are there: fresh ones in every step would cost more than the comparison.
        torch.where(better, losses, self.losses, out=self.losses)
        torch.where(better[:, None], points, self.points, out=self.points)
        torch.where(_like(better, outputs), outputs, self.outputs, out=self.outputs)
        self.exact = torch.where(better, exact, self.exact)

    def settle(self, block: Block) -> AttackResult:
        """The result, with outputs and losses in the network's own precision.

        These are known already, except after a search in bfloat16 and, rarely, where rounding left a point too far
        from its source.
        """
        if not block.ball.holds(self.points):
            near = block.ball.fit(self.points)
            self.exact &= (near == self.points).all(dim=1)
            self.points = near
        rows = (~self.exact).nonzero()[:, 0]
        if len(rows):
            self._judge(rows, block)
        # NaN are counted on the way and looked at here: asking after every step would wait for the device each time.
        block.quick.check()
        block.exact.check()
        return block.result(self.points, self.outputs, self.losses)

    def _judge(self, rows: Tensor, block: Block) -> None:
        assert self.start is not None
        points = self.points[rows]
        judged = points, *block.exact.of_rows(rows).evaluate(points)
        better = judged[2] < self.start[2][rows]
        for own, new, old in zip((self.points, self.outputs, self.losses), judged, self.start, strict=True):
            own[rows] = torch.where(_like(better, new), new, old[rows])


def _like(rows: Tensor, values: Tensor) -> Tensor:
    return rows if values.ndim == 1 else rows[:, None]
