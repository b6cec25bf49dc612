"""The samples of an attack, in blocks that a pass through the network takes at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from perturblearn.attacks.attack import Attack
from perturblearn.attacks.attack_result import AttackResult
from perturblearn.attacks.ball import Ball, check_sources, sizes_of
from perturblearn.attacks.context import AttackContext
from perturblearn.attacks.objective import (
    Loss,
    Objective,
    away_from_odds,
    bfloat16_call,
    name_of_network,
    odds_loss,
    target_loss,
)
from perturblearn.attacks.slices import pass_slices
from perturblearn.classifiers import folded, is_target
from perturblearn.errors import ConfigError


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
        has_own_loss: whether it is another than `target_loss` of one network.
    """

    rows: Tensor
    number: int
    of: int
    shape: torch.Size
    ball: Ball
    exact: Objective
    quick: Objective
    has_own_loss: bool

    @property
    def is_exact(self) -> bool:
        """Whether the search is in the network's own precision."""
        return self.quick is self.exact

    def of_rows(self, rows: Tensor) -> Block:
        """Some of the block's samples."""
        exact = self.exact.of_rows(rows)
        return replace(
            self,
            rows=self.rows[rows],
            ball=self.ball.of_rows(rows),
            exact=exact,
            quick=exact if self.is_exact else self.quick.of_rows(rows),
        )

    def result(self, points: Tensor, outputs: Tensor, losses: Tensor) -> AttackResult:
        """The result, of points (b, d) inside the ball."""
        return AttackResult(
            inputs=points.view(-1, *self.shape),
            outputs=outputs,
            losses=losses,
            success=is_target(outputs, self.exact.targets),
            sizes=self.ball.sizes(points)[:, 0].to(points.dtype),
        )


def blocks(
    attack: Attack,
    module: nn.Module,
    sources: Tensor,
    targets: Tensor,
    context: AttackContext,
    *,
    bfloat16: bool = False,
) -> Iterator[Block]:
    """The samples of an attack in blocks; all are checked before the first.

    Args:
        attack: whose norm and epsilon bound the perturbations.
        module, sources, targets, context: as in `Attack.search`.
        bfloat16: search with products in bfloat16, and with batch normalisation folded into convolutions.

    Raises:
        ConfigError, DataError: as in `Attack.search`.
    """
    check_sources(sources, targets, context.value_range)
    if len(sources) == 0:
        return
    attack.norm.check(sources[0].numel())
    sizes = sizes_of(attack.norm.budget(attack.epsilon), sources)
    if bfloat16 and sources.dtype != torch.float32:
        raise ConfigError(
            f"a search in bfloat16 needs float32 inputs, but these are {sources.dtype}; leave bfloat16 out"
        )
    networks = [module, *(context.others.modules if context.others else ())]
    # Only where an exact pass verifies what it finds: folding changes outputs by rounding.
    short = [bfloat16_call(folded(network)) for network in networks] if bfloat16 else None
    names = [name_of_network(network) for network in networks]
    slices = list(pass_slices(sources, context.block))
    kept = None if context.others is None else context.others.labels
    keeps_odds = context.others is not None and kept is None
    losses = context.loss or (odds_loss if keeps_odds else target_loss), away_from_odds if keeps_odds else target_loss
    for number, part in enumerate(slices):
        labels = [targets, *([targets if kept is None else kept] * (len(networks) - 1))]
        labels = [column[part].to(sources.device).long() for column in labels]
        exact = _objective(networks, names, labels, sources.shape[1:], losses)
        yield Block(
            rows=torch.arange(part.start, part.stop, device=sources.device),
            number=number,
            of=len(slices),
            shape=sources.shape[1:],
            ball=Ball(attack.norm, sources[part], sizes[part], context.value_range),
            exact=exact,
            quick=exact if short is None else _objective(short, names, labels, sources.shape[1:], losses),
            has_own_loss=context.loss is not None or context.others is not None,
        )


def _objective(
    calls: Collection[Callable[[Tensor], Tensor]],
    names: Collection[str],
    labels: Collection[Tensor],
    shape: torch.Size,
    losses: tuple[Loss, Loss],
) -> Objective:
    """The objective of some samples: the first network's loss, and that of the others at labels of their own."""
    # Collections, as type checks in the tests look at random items of sequences, and a network may draw here.
    first, *others = zip(calls, names, labels, strict=True)
    loss, loss_of_others = losses
    kept = [Objective(*other, shape, loss_of_others) for other in others]
    return Objective(*first, shape, loss, kept)
