"""Descents of the target loss: blocks of samples, the iterates, and the best of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from perturblearn.attacks.ball import Ball, check_sources, sizes_of
from perturblearn.attacks.found import Found
from perturblearn.attacks.frozen import frozen
from perturblearn.attacks.moves import Move
from perturblearn.attacks.norms import check_norm, check_pixels
from perturblearn.attacks.objective import Loss, Objective, bfloat16_call, name_of_network, target_loss
from perturblearn.attacks.slices import pass_slices
from perturblearn.classifiers import is_target
from perturblearn.errors import ConfigError
from perturblearn.seeding import derive_seed

Report = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Iterate:
    """Where a search stands, as its callback sees it.

    Args:
        search: which search over these samples: of several restarts, or rounds of bisection, from 0.
        step: gradient steps done, 0 at the start.
        rows: which of the sources these are, (b,) int64.
        inputs: where they are now, (b, ...); not to be changed.
        losses: the target loss there, (b,).
    """

    search: int
    step: int
    rows: Tensor
    inputs: Tensor
    losses: Tensor


Callback = Callable[[Iterate], None]


@dataclass(frozen=True, eq=False)
class Block:
    """Some of the samples.

    Args:
        rows: which, (b,) int64.
        number, of: which block this is.
        shape: of one input.
        ball: what the perturbed inputs may be.
        exact: the target loss in the network's own precision.
        quick: the one that is searched; the same, or its copy in bfloat16.
    """

    rows: Tensor
    number: int
    of: int
    shape: torch.Size
    ball: Ball
    exact: Objective
    quick: Objective

    def found(self, points: Tensor, outputs: Tensor, losses: Tensor) -> Found:
        """The result, of points (b, d) inside the ball."""
        return Found(
            inputs=points.view(-1, *self.shape),
            outputs=outputs,
            losses=losses,
            success=is_target(outputs, self.exact.targets),
            sizes=self.ball.sizes(points)[:, 0].to(points.dtype),
        )


def blocks(
    module: nn.Module,
    sources: Tensor,
    targets: Tensor,
    *,
    norm: str,
    epsilon: float | Tensor,
    pixels: int | None = None,
    value_range: tuple[float, float],
    loss: Loss | None,
    bfloat16: bool = False,
    block: int | None,
) -> Iterator[Block]:
    """The samples of an attack in blocks, checked as a whole first."""
    check_norm(norm)
    check_sources(sources, targets, value_range)
    if len(sources) == 0:
        return
    if norm == "l0":
        epsilon = check_pixels(pixels, sources[0].numel())
    sizes = sizes_of(epsilon, sources)
    if bfloat16 and sources.dtype != torch.float32:
        raise ConfigError(
            f"a search in bfloat16 needs float32 inputs, but these are {sources.dtype}; leave bfloat16 out"
        )
    short = bfloat16_call(module) if bfloat16 else None
    slices = list(pass_slices(sources, block))
    for number, part in enumerate(slices):
        labels = targets[part].to(sources.device).long()
        rest = name_of_network(module), labels, sources.shape[1:], loss or target_loss
        exact = Objective(module, *rest)
        yield Block(
            rows=torch.arange(part.start, part.stop, device=sources.device),
            number=number,
            of=len(slices),
            shape=sources.shape[1:],
            ball=Ball(norm, sources[part], sizes[part], value_range),
            exact=exact,
            quick=exact if short is None else Objective(short, *rest),
        )


def descend(
    objective: Objective,
    start: Tensor,
    move: Move,
    steps: int,
    see: Callable[[int, Tensor, Tensor, Tensor], None],
    *,
    last: Objective,
) -> None:
    """Go down the loss.

    Args:
        objective: the loss.
        start: points (b, d).
        move: a step of the descent.
        steps: how many; the loss is evaluated once more, where the last one ends.
        see: called with the steps done, and with points, outputs and losses, before each step and after the last.
        last: the loss after the last step, where no gradient is needed; perhaps more exact.
    """
    points = start
    for step in range(steps):
        outputs, losses, gradient = objective.differentiate(points)
        see(step, points, outputs, losses)
        points = move(points, gradient)
    see(steps, points, *last.evaluate(points))


class Best:
    """Per sample the iterate with the strictly lowest loss; the first one that is kept is the start.

    In a search in bfloat16 the start and the last iterate are evaluated exactly. What else is best is evaluated again
    in the end, and is kept if it is then still better than the start.
    """

    def __init__(self) -> None:
        self.start: tuple[Tensor, Tensor, Tensor] | None = None

    def keep(self, points: Tensor, outputs: Tensor, losses: Tensor, *, exact: bool = True) -> None:
        """Take the samples' points where they are better; exact are those that the network's own precision judged."""
        if self.start is None:
            self.start = points, outputs, losses
            self.points, self.outputs, self.losses = points.clone(), outputs.clone(), losses.clone()
            self.exact = torch.full_like(losses, exact, dtype=torch.bool)
            return
        better = losses < self.losses
        torch.where(better, losses, self.losses, out=self.losses)
        torch.where(better[:, None], points, self.points, out=self.points)
        torch.where(_like(better, outputs), outputs, self.outputs, out=self.outputs)
        self.exact = torch.where(better, exact, self.exact)

    def settle(self, block: Block) -> Found:
        """The result, with what the network's own precision makes of it.

        That is known already, but after a search in bfloat16 or, rarely, where rounding has left a point too far away.
        """
        if not block.ball.holds(self.points):
            near = block.ball.fit(self.points)
            self.exact &= (near == self.points).all(dim=1)
            self.points = near
        rows = (~self.exact).nonzero()[:, 0]
        if len(rows):
            self._judge(rows, block)
        block.quick.check()
        block.exact.check()
        return block.found(self.points, self.outputs, self.losses)

    def _judge(self, rows: Tensor, block: Block) -> None:
        assert self.start is not None
        points = self.points[rows]
        judged = points, *block.exact.of_rows(rows).evaluate(points)
        better = judged[2] < self.start[2][rows]
        for own, new, old in zip((self.points, self.outputs, self.losses), judged, self.start, strict=True):
            own[rows] = torch.where(_like(better, new), new, old[rows])


def search(
    module: nn.Module,
    sources: Tensor,
    targets: Tensor,
    *,
    norm: str,
    epsilon: float | Tensor,
    value_range: tuple[float, float],
    move_in: Callable[[Ball], Move],
    steps: int,
    pixels: int | None,
    loss: Loss | None,
    random_start: bool,
    restarts: int,
    seed: int,
    bfloat16: bool,
    block: int | None,
    callback: Callback | None,
    report: Report,
) -> Found:
    """Descents from the sources or from random points; see `radial_pgd` and `pgd` for the arguments."""
    if restarts > 1 and not random_start:
        raise ConfigError(
            f"restarts = {restarts} without random_start would search {restarts} times from one point; add "
            "random_start = true"
        )
    generators = [torch.Generator().manual_seed(derive_seed(seed, "start", str(each))) for each in range(restarts)]
    results = []
    with frozen(module):
        for part in blocks(
            module, sources, targets, norm=norm, epsilon=epsilon, pixels=pixels, value_range=value_range, loss=loss,
            bfloat16=bfloat16, block=block,
        ):  # fmt: skip
            best = Best()
            if random_start or bfloat16:
                best.keep(part.ball.centres, *part.exact.evaluate(part.ball.centres))
            for number, generator in enumerate(generators):
                start = part.ball.random_points(generator) if random_start else part.ball.centres
                see = _watch(best, part, number, steps, restarts, callback, report)
                descend(part.quick, start, move_in(part.ball), steps, see, last=part.exact)
            results.append(best.settle(part))
    return Found.joined(results, sources)


def _watch(
    best: Best, block: Block, number: int, steps: int, restarts: int, callback: Callback | None, report: Report
) -> Callable[[int, Tensor, Tensor, Tensor], None]:
    before = (block.number * restarts + number) * steps
    total = block.of * restarts * steps

    def see(step: int, points: Tensor, outputs: Tensor, losses: Tensor) -> None:
        best.keep(points, outputs, losses, exact=step == steps or block.quick is block.exact)
        if callback is not None:
            callback(Iterate(number, step, block.rows, points.view(-1, *block.shape), losses))
        if step:
            report(before + step, total, f"attack step {step}/{steps}")

    return see


def _like(rows: Tensor, values: Tensor) -> Tensor:
    return rows if values.ndim == 1 else rows[:, None]
