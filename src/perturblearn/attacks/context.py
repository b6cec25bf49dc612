"""What a search is told besides the network, the samples and the attack itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypedDict

from torch import Tensor, nn

from perturblearn.attacks.objective import Loss

Report = Callable[[int, int, str], None]
"""Called with the steps done, the steps in all, and a note."""


@dataclass(frozen=True, eq=False)
class Iterate:
    """The state of a search, as its callback sees it.

    Args:
        search: which search over these samples, from 0: the restart, or the round of bisection.
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


def silent(done: int, steps: int, note: str) -> None:
    """Report nothing of steps done and in all, nor the note."""


@dataclass(frozen=True, eq=False)
class Others:
    """Networks that a search is to leave as they are, while it fools another one [own].

    With labels, the mean of their target losses at these is added to what the search minimises. Without, the search
    minimises the mean log odds of the target in these networks minus those in the one that is attacked.

    Args:
        modules: at least one; their inputs and outputs are like those of the network that is attacked.
        labels: true labels of the sources, (n,); None to keep the odds of the target instead.
    """

    modules: tuple[nn.Module, ...]
    labels: Tensor | None = None


@dataclass(frozen=True, eq=False)
class AttackContext:
    """How a search is carried out; nothing here says which perturbations are allowed but the range.

    Args:
        value_range: least and largest value of an input; infinite bounds do not clip. Sources that rounding left
            outside are clipped first.
        seed: of all random draws; neither the block size nor the device changes them.
        loss: what is minimised, from outputs, (n,) or (n, K), and targets to one number per sample; None for
            `target_loss`, or `odds_loss` beside others whose odds are kept.
        block: samples at a time, None for what suits their shape and device. It changes nothing beyond rounding.
        callback: called with every `Iterate` of a search that this package does itself.
        report: called now and then with gradient steps done and in all.
        originals: inputs whose features a rebuilding attack gives the sources, (n, ...); None for all other attacks.
        others: networks that a projected descent is to leave as they are; None for all other attacks.
    """

    value_range: tuple[float, float] = (-math.inf, math.inf)
    seed: int = 0
    loss: Loss | None = None
    block: int | None = None
    callback: Callback | None = None
    report: Report = silent
    originals: Tensor | None = None
    others: Others | None = None


class SearchOptions(TypedDict, total=False):
    """Keyword arguments of the functions: the fields of `AttackContext` but its last two, and what searches share."""

    value_range: tuple[float, float]
    seed: int
    loss: Loss | None
    block: int | None
    callback: Callback | None
    report: Report
    steps: int
    step: float
    bfloat16: bool
    random_start: bool
    restarts: int
    patience: int | None
    augment: int | None


def split_options(options: Mapping[str, Any]) -> tuple[AttackContext, dict[str, Any]]:
    """Keyword arguments of one of the functions as a context, and what is left for the attack itself."""
    names = {field.name for field in fields(AttackContext)} - {"originals", "others"}
    context = {name: value for name, value in options.items() if name in names}
    return AttackContext(**context), {name: value for name, value in options.items() if name not in names}
