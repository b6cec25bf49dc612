"""One attack at several sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from perturblearn.attacks.found import Found


def at_sizes(
    search: Callable[..., Found],
    module: nn.Module,
    sources: Tensor,
    targets: Tensor,
    *,
    epsilons: Sequence[float],
    **options: Any,
) -> list[Found]:
    """What an attack finds at each of several sizes, as for a curve of success against epsilon [own].

        curve = at_sizes(pgd, f, x, targets, epsilons=(0.1, 0.2), norm="l2")
        shares = [float(found.success.float().mean()) for found in curve]

    Args:
        search: `radial_pgd`, `pgd`, `minimum_norm`, ``partial(run_attack, attack)``, or another function of module,
            sources and targets with a keyword ``epsilon``. Each size is a search of its own: what it finds is what a
            call with that size alone finds.
        module, sources, targets: as in `radial_pgd`.
        epsilons: the sizes.
        options: the attack's other arguments.

    Returns:
        One result per size, in their order.
    """
    return [search(module, sources, targets, epsilon=epsilon, **options) for epsilon in epsilons]
