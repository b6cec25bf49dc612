"""One attack at several sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from perturblearn.attacks.attack import Attack
from perturblearn.attacks.attack_result import AttackResult
from perturblearn.attacks.context import AttackContext


def over_epsilons(
    attack: Attack,
    module: nn.Module,
    sources: Tensor,
    targets: Tensor,
    *,
    epsilons: Sequence[float],
    context: AttackContext,
) -> list[AttackResult]:
    """The results of an attack at each of several sizes, as for a curve of success against epsilon [own].

        curve = over_epsilons(PGD(L2(), 0), f, x, targets, epsilons=(0.1, 0.2), context=AttackContext((0, 1)))
        rates = [float(result.success.float().mean()) for result in curve]

    Args:
        attack: every size is a search of its own by this attack, with that epsilon.
        module, sources, targets, context: as in `Attack.search`.
        epsilons: the sizes.

    Returns:
        One result per size, in their order.
    """
    return [replace(attack, epsilon=epsilon).search(module, sources, targets, context) for epsilon in epsilons]
