"""What training a group of two-layer classifiers costs, from shapes alone: for the plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from perturblearn.config import (
    AdversarialTwoLayerConfig,
    ClassifierConfig,
    DescentConfig,
    FullBatchConfig,
    LimitClassifierConfig,
)
from perturblearn.experiment.controls import Control, Permuted, without_factors
from perturblearn.experiment.shapes import Shapes
from perturblearn.graph import Estimate
from perturblearn.training import (
    MOST_UNITS,
    Choice,
    Group,
    Rates,
    choose_form,
    form_cost,
    form_words,
    is_worth_factorising,
    measure_rates,
)

_LIMIT_STEPS = 50
"""Iterations of a limit's solver, about."""
_BLOCKS = 2**26
"""Bytes for the blocks that checks, attacks and measures go through."""


def estimate_classifiers(
    sections: Sequence[ClassifierConfig], seeds: Sequence[int | None], shapes: Shapes, *, on_perturbed: bool
) -> Estimate:
    """Cost of classifiers that train over the same inputs.

    Args:
        sections: how each is trained, with one learning rate.
        seeds: of each; equal sections of equal seeds are one network.
        shapes: of the experiment.
        on_perturbed: whether they see the perturbed set, instead of the data.
    """
    return _fitting(_Work(tuple(sections), tuple(seeds), on_set=on_perturbed, in_factors=on_perturbed), shapes)


def estimate_control(control: type[Control], section: ClassifierConfig, draws: int, shapes: Shapes) -> Estimate:
    """Cost of a two-layer control's draws; draws with inputs of their own cost as much as each alone.

    Args:
        control: which.
        section: how g is trained, with one learning rate.
        draws: how many.
        shapes: of the experiment.
    """
    if control is Permuted:
        return _fitting(_Work((section,) * draws, tuple(range(draws)), on_set=True, in_factors=True), shapes)
    section = without_factors(section)
    if not shapes.attack.is_bare:
        return _fitting(_Work((section,) * draws, tuple(range(draws)), on_set=True), shapes)
    one = _fitting(_Work((section,), (0,), on_set=True, has_directions=True), shapes)
    return replace(
        one,
        operations=draws * one.operations,
        unshared=draws * one.unshared,
        seconds=draws * one.seconds,
        note=f"one by one, each {one.note}",
    )


@dataclass(frozen=True)
class _Work:
    """Classifiers that train over the same inputs.

    Args:
        sections: how each is trained.
        draws: which of equal sections are the same network, and which only look alike.
        on_set: whether the inputs are as many as those of the perturbed set.
        in_factors: whether the inputs come in factors where the perturbed set does.
        has_directions: whether they are drawn for these classifiers alone, beside everything else in memory.
    """

    sections: tuple[ClassifierConfig, ...]
    draws: tuple[int | None, ...]
    on_set: bool
    in_factors: bool = False
    has_directions: bool = False

    def groups(self) -> list[Group]:
        """The networks as they train side by side."""
        jobs: dict[object, tuple[ClassifierConfig, int]] = {}
        counts: Counter[object] = Counter()
        for section, draw in zip(self.sections, self.draws, strict=True):
            # Two trainings that differ in their epochs alone are one.
            training = (section.at_any_time if isinstance(section, DescentConfig) else section), draw
            counts[training] += 1
            longest = jobs[training][1] if training in jobs else 0
            jobs[training] = (section, max(_steps(section), longest))
        alike: dict[tuple[int, int, bool], list[int]] = {}
        for training, (section, steps) in jobs.items():
            # From flip to flip alone there is something to gain, and not where every product is rounded.
            identity = isinstance(section, DescentConfig) and section.loss == "identity" and not section.is_float16
            alike.setdefault((_width(section), steps, identity), []).append(counts[training])
        groups: list[Group] = []
        for (width, steps, identity), kept in alike.items():
            together = max(1, MOST_UNITS // width)
            for start in range(0, len(kept), together):
                part = kept[start : start + together]
                groups.append(Group(width * len(part), steps, identity, width, width * (sum(part) - len(part))))
        return groups

    def count(self, shapes: Shapes) -> int:
        """Samples that they are trained on."""
        return shapes.n_perturbed if self.on_set else shapes.n_samples


def _fitting(work: _Work, shapes: Shapes) -> Estimate:
    """The estimate, with what to say where it exceeds the memory."""

    def fitting(memory: int) -> str:
        low, high = 0, shapes.n_samples
        while high - low > 1:
            middle = (low + high) // 2
            fits = _estimate(work, shapes.with_samples(middle)).memory <= memory
            low, high = (middle, high) if fits else (low, middle)
        if low < 2:
            return "even two samples would not fit: choose a smaller input_dim or hidden_dim"
        return f"data.n_samples = {low} would fit"

    return replace(_estimate(work, shapes), fitting=fitting)


def _estimate(work: _Work, shapes: Shapes) -> Estimate:
    count, input_dim, size = work.count(shapes), shapes.input_dim, shapes.number_bytes
    rank = shapes.known_rank if work.in_factors else None
    groups = work.groups()
    first = work.sections[0]
    choice = _choose(first, groups, count, rank, shapes)
    memory = choice.cost.memory
    if (
        rank is None
        and isinstance(first, DescentConfig)
        and first.form == "auto"
        and not first.is_float16
        and shapes.dtype == "float32"
        and count >= 2 * input_dim
        and is_worth_factorising(count, input_dim, groups, choice.cost)
    ):
        # Training will look for a lower rank.
        row_space = form_cost("row_space", count, input_dim, groups, bfloat16=first.is_bfloat16)
        memory = max(memory, row_space.memory)
    cost = form_cost(
        choice.form,
        count,
        input_dim,
        groups,
        rank=None if choice.form == "plain" else rank,
        dtype=shapes.dtype,
        bfloat16=first.is_bfloat16,
        rates=_rates(shapes.device),
    )
    unshared = sum(4.0 * count * input_dim * _width(section) * _steps(section) for section in work.sections)
    # The data, and the perturbed set or the copy from which the data are made.
    held = (shapes.n_samples + max(shapes.n_samples, count)) * input_dim * size + _BLOCKS
    if shapes.known_rank is not None:
        held += count * shapes.known_rank * size
    if work.has_directions:
        held += count * input_dim * size
    note = f"{form_words(choice.form)}, {choice.reason}"
    if isinstance(first, LimitClassifierConfig):
        note = "limit"
    elif isinstance(first, AdversarialTwoLayerConfig):
        note = f"plain, {first.epochs} epochs of 1 + {first.adversary.n_steps} passes forward and back"
        # Activations and their gradients, of all samples at once; the moved inputs.
        memory += (3 * _width(first) + 4 * input_dim) * count * size
    return Estimate(cost.operations, unshared, held + memory, cost.seconds, note)


def _choose(section: ClassifierConfig, groups: Sequence[Group], count: int, rank: int | None, shapes: Shapes) -> Choice:
    form = section.form if isinstance(section, DescentConfig) and section.form != "auto" else None
    if isinstance(section, AdversarialTwoLayerConfig) or (isinstance(section, DescentConfig) and section.is_float16):
        form = "plain"
    return choose_form(
        count,
        shapes.input_dim,
        groups,
        known_rank=rank,
        dtype=shapes.dtype,
        bfloat16=section.is_bfloat16,
        form=form,
    )


def _steps(section: ClassifierConfig) -> int:
    return section.steps if isinstance(section, FullBatchConfig) else _LIMIT_STEPS


def _width(section: ClassifierConfig) -> int:
    # A limit's solver works on all samples in about the way that a network of the usual width does.
    return section.model.hidden_dim if isinstance(section, FullBatchConfig) else 100


@lru_cache(maxsize=4)
def _rates(device: str) -> Rates:
    return measure_rates(device=device)
