"""Descents of the target loss, and the best of their iterates."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from perturblearn.attacks.attack import DEFAULT_STEP, DEFAULT_STEPS, Attack
from perturblearn.attacks.attack_result import AttackResult
from perturblearn.attacks.augmented import Copies
from perturblearn.attacks.ball import Ball, sizes_of
from perturblearn.attacks.blocks import Block, blocks
from perturblearn.attacks.context import AttackContext, Iterate
from perturblearn.attacks.frozen import frozen
from perturblearn.attacks.inner import Gradient
from perturblearn.attacks.objective import Objective
from perturblearn.attacks.update_rules import UpdateRule, check_step
from perturblearn.errors import ConfigError
from perturblearn.seeding import derive_seed

FALL = 0.01
"""Share of its size by which a loss must fall from look to look for the search to go on: towards a minimum on the
ball's surface it falls by ever less, but hardly ever by nothing."""

IN_DOUBT = 0.1
"""Share of a sample's largest output by which the loss must have fallen for bfloat16 to be believed that it has: its
products err by a percent or two of the outputs."""


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
        patience: every so many steps, samples whose least loss has fallen by less than 1 % since the last look leave
            the search; None to search for all samples to the end.
        augment: of images: take the mean gradient of so many copies in every step, each flipped or not and shifted by
            up to 2 pixels at random; None for the gradient of the image itself. The losses by which iterates are
            compared are those of the image itself.

    Raises:
        ConfigError: a step that is not above 0, patience or augment below 1, or restarts that would all start at the
            source.
    """

    steps: int = DEFAULT_STEPS
    step: float = DEFAULT_STEP
    random_start: bool = False
    restarts: int = 1
    bfloat16: bool = False
    patience: int | None = None
    augment: int | None = None

    def __post_init__(self) -> None:
        check_step(self.step)
        for key, number in (("patience", self.patience), ("augment", self.augment)):
            if number is not None and number < 1:
                raise ConfigError(f"{key} = {number}, but at least 1 is needed; leave it out for none")
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
        copies = None
        if self.augment is not None and len(sources):
            copies = Copies.of(module, sources, context.value_range, self.augment)
        # One generator per restart and purpose goes through all blocks, so that a sample's draws do not depend on their
        # size.
        starts, moves = (
            [torch.Generator().manual_seed(derive_seed(context.seed, name, str(n))) for n in range(self.restarts)]
            for name in ("start", "augmentation")
        )
        results = []
        networks = module if context.others is None else nn.ModuleList((module, *context.others.modules))
        with frozen(networks, context.seed):
            for block in blocks(self, module, sources, targets, context, bfloat16=self.bfloat16):
                best = Best()
                # Otherwise the first iterate is the source itself, and its pass is the one that has to be made anyway.
                if self.random_start:
                    best.keep(block.ball.centres, *block.quick.evaluate(block.ball.centres))
                for restart in range(self.restarts):
                    centres = block.ball.centres
                    start = block.ball.random_points(starts[restart]) if self.random_start else centres
                    draws = (
                        None
                        if copies is None
                        else copies.draw(len(start), self.n_steps, moves[restart]).to(start.device)
                    )
                    self._descend(_Watch(self, best, block, restart, context), start, copies, draws)
                results.append(best.settle(block))
        return AttackResult.joined(results, sources)

    def last_iterate(
        self,
        gradient: Gradient,
        inputs: Float[Tensor, "n d"],
        value_range: tuple[float, float],
        generator: torch.Generator,
        *,
        share: float = 1.0,
    ) -> Float[Tensor, "n d"]:
        """Where one search ends; see `InnerAttack`.

        Nothing is evaluated besides the steps, which is what training in every step of its own can afford. Restarts,
        patience, copies and products are those of `search`.
        """
        ball = Ball(self.norm, inputs, sizes_of(share * self.epsilon, inputs), value_range)
        points = ball.random_points(generator) if self.random_start else ball.centres
        update = self.update_rule(ball)
        for _ in range(self.n_steps):
            points = update(points, gradient(points))
        return points

    def _descend(self, watch: _Watch, start: Tensor, copies: Copies | None, draws: Tensor | None) -> None:
        """One search over a block, which samples leave whose loss no longer falls."""
        steps, points, block = self.n_steps, start, watch.block
        rows, before = torch.arange(len(start), device=start.device), torch.full_like(start[:, 0], math.inf)
        stride = self.patience or max(steps, 1)
        for first in range(0, steps, stride):
            if first:
                falling = (before - watch.least > FALL * watch.least.abs()).nonzero()[:, 0]
                if len(falling) < len(rows):
                    block.quick.check()
                    rows, points, block = rows[falling], points[falling], block.of_rows(falling)
                    watch.follow(rows, falling)
                if not len(rows):
                    return
            before = watch.least.clone()
            points = descend(
                partial(_differentiate, block.quick, copies, None if draws is None else draws[rows]),
                points,
                self.update_rule(block.ball),
                range(first, min(first + stride, steps)),
                watch,
            )
        watch(steps, points, *block.quick.evaluate(points))
        if block is not watch.block:
            block.quick.check()
            block.exact.check()


class _Watch:
    """The best iterates of a search. An observer, if there is one, is called with each iterate.

    Args:
        attack, context: whose search it is.
        best: of all searches over the block.
        block: of samples.
        restart: which search over them, from 0.
    """

    def __init__(
        self, attack: ProjectedDescent, best: Best, block: Block, restart: int, context: AttackContext
    ) -> None:
        self.block = block
        self._best, self._restart, self._context = best, restart, context
        self._steps = attack.n_steps
        self._before = (block.number * attack.restarts + restart) * self._steps
        self._total = block.of * attack.restarts * self._steps
        self._rows: Tensor | None = None
        self._keeps_least = attack.patience is not None
        self.least = torch.full_like(block.ball.centres[:, 0], math.inf)

    def follow(self, rows: Tensor, among: Tensor) -> None:
        """Go on with these of the block's samples, which are these among those so far."""
        self._rows, self.least = rows, self.least[among]

    def __call__(self, step: int, points: Tensor, outputs: Tensor, losses: Tensor) -> None:
        """Take note of an iterate."""
        block, context = self.block, self._context
        self._best.keep(points, outputs, losses, rows=self._rows)
        if self._keeps_least:
            self.least = torch.minimum(self.least, losses)
        if context.callback is not None:
            rows = block.rows if self._rows is None else block.rows[self._rows]
            context.callback(Iterate(self._restart, step, rows, points.view(-1, *block.shape), losses))
        if step:
            context.report(self._before + step, self._total, f"attack step {step}/{self._steps}")


def _differentiate(
    objective: Objective, copies: Copies | None, draws: Tensor | None, step: int, points: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    if copies is None or draws is None:
        return objective.differentiate(points)
    return copies.differentiate(objective, points, draws[:, step])


def descend(
    differentiate: Callable[[int, Tensor], tuple[Tensor, Tensor, Tensor]],
    start: Tensor,
    update: UpdateRule,
    steps: range,
    see: Callable[[int, Tensor, Tensor, Tensor], None],
) -> Tensor:
    """Minimise a loss.

    Args:
        differentiate: from a step and points to outputs, losses and the gradient of each sample's loss.
        start: points (b, d).
        update: a step of the descent.
        steps: which ones, counted from 0.
        see: called with the steps done, and with points, outputs and losses, before each step.

    Returns:
        Where the last step ends, which nobody has seen yet.
    """
    points = start
    for step in steps:
        # One pass gives the loss of this iterate and the gradient of the next: none is made to judge alone.
        outputs, losses, gradient = differentiate(step, points)
        see(step, points, outputs, losses)
        points = update(points, gradient)
    return points


class Best:
    """Per sample the iterate with the strictly lowest loss; the first one that is kept is the start.

    After a search in bfloat16 the best iterates are evaluated again, and are kept only if they are then still better
    than the start. The start is evaluated again only for samples whose gain is within what bfloat16 may be wrong by.
    """

    def __init__(self) -> None:
        self.start: tuple[Tensor, Tensor, Tensor] | None = None

    def keep(self, points: Tensor, outputs: Tensor, losses: Tensor, *, rows: Tensor | None = None) -> None:
        """Take the samples' points where they are better.

        Args:
            points, outputs, losses: of all samples, or of some.
            rows: which samples these are; None for all.
        """
        if self.start is None:
            self.start = points, outputs, losses
            self.points, self.outputs, self.losses = points.clone(), outputs.clone(), losses.clone()
            return
        if rows is not None:
            better = losses < self.losses[rows]
            owns = self.losses, self.points, self.outputs
            for own, new in zip(owns, (losses, points, outputs), strict=True):
                own[rows] = torch.where(_like(better, new), new, own[rows])
            return
        better = losses < self.losses
        # Into the tensors that are there: fresh ones in every step would cost more than the comparison.
        torch.where(better, losses, self.losses, out=self.losses)
        torch.where(better[:, None], points, self.points, out=self.points)
        torch.where(_like(better, outputs), outputs, self.outputs, out=self.outputs)

    def settle(self, block: Block) -> AttackResult:
        """The result, with outputs and losses in the network's own precision.

        These are known already, except after a search in bfloat16 and, rarely, where rounding left a point too far
        from its source.
        """
        stale = torch.full_like(self.losses, not block.is_exact, dtype=torch.bool)
        if not block.ball.holds(self.points):
            near = block.ball.fit(self.points)
            stale |= (near != self.points).any(dim=1)
            self.points = near
        rows = stale.nonzero()[:, 0]
        if len(rows):
            self._judge(rows, block)
        # NaN are counted on the way and looked at here: asking after every step would wait for the device each time.
        block.quick.check()
        block.exact.check()
        return block.result(self.points, self.outputs, self.losses)

    def _judge(self, rows: Tensor, block: Block) -> None:
        """Evaluate the best iterates of some samples exactly, and go back to the start where they are no better."""
        assert self.start is not None
        start, outputs, losses = (values[rows] for values in self.start)
        points = self.points[rows]
        judged = points, *block.exact.of_rows(rows).evaluate(points)
        # A loss of one's own may have any scale, so all its samples are in doubt.
        scale = math.inf if block.has_own_loss else outputs.reshape(len(rows), -1).abs().amax(dim=1)
        doubtful = ((points != start).any(dim=1) & (judged[2] > losses - IN_DOUBT * scale)).nonzero()[:, 0]
        if len(doubtful):
            first = start[doubtful], *block.exact.of_rows(rows[doubtful]).evaluate(start[doubtful])
            better = judged[2][doubtful] < first[2]
            for new, old in zip(judged, first, strict=True):
                new[doubtful] = torch.where(_like(better, new), new[doubtful], old)
        for own, new in zip((self.points, self.outputs, self.losses), judged, strict=True):
            own[rows] = new


def _like(rows: Tensor, values: Tensor) -> Tensor:
    return rows if values.ndim == 1 else rows[:, None]
