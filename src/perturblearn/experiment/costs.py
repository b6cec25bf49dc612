"""What training a group of classifiers costs, from shapes alone: for the plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from perturblearn.attacks import make_attack
from perturblearn.config import ClassifierConfig
from perturblearn.experiment.context import Context
from perturblearn.experiment.controls import Control, control_section
from perturblearn.experiment.learn import FORM_NAMES
from perturblearn.experiment.network_costs import estimate_network
from perturblearn.graph import Estimate
from perturblearn.training import MOST_UNITS, Group, Rates, choose_form, form_cost, is_worth_factorising, measure_rates

_FLOW_STEPS = 200
_LIMIT_STEPS = 50
_BLOCKS = 2**26
"""Bytes for the blocks that checks, attacks and measures go through."""


def estimate_classifiers(
    sections: Sequence[ClassifierConfig], seeds: Sequence[int], context: Context, *, perturbed: bool
) -> Estimate:
    """Cost of classifiers that train over the same inputs.

    Args:
        sections, seeds: of each.
        context: of their stages.
        perturbed: whether the inputs are a perturbed set.
    """
    return _estimate(context, sections, seeds, perturbed=perturbed)


def estimate_control(control: Control, section: ClassifierConfig, draws: int, context: Context) -> Estimate:
    """Cost of a control's draws; draws with inputs of their own cost as much as each alone."""
    if section.model.is_network:
        return estimate_network(section, context, perturbed=True, draws=draws)
    section = control_section(control, section, section.lr[0])
    if control == "permuted":
        return _estimate(context, [section] * draws, range(draws), perturbed=True, control=control)
    if context.attack.source != "none":
        return _estimate(context, [section] * draws, range(draws), perturbed=False, control=control)
    one = _estimate(context, [section], [0], perturbed=False, control=control)
    return replace(
        one,
        operations=draws * one.operations,
        unshared=draws * one.unshared,
        seconds=draws * one.seconds,
        note=f"one by one, each {one.note}",
    )


def relative_work(section: ClassifierConfig) -> float:
    """About how many epochs a classifier costs, for the time left."""
    if section.model.name == "limit":
        return 20.0
    if section.training == "none":
        return 0.0
    if section.model.is_network:
        # A step goes forward, and backward twice: through the weights and through the layers below.
        return 3.0 * section.epochs
    return 200.0 + (section.exact_epochs or 0) if section.training == "flow" else float(section.epochs)


def _estimate(
    context: Context,
    sections: Sequence[ClassifierConfig],
    draws: Sequence[int],
    *,
    perturbed: bool,
    control: Control | None = None,
) -> Estimate:
    """``draws``: which of equal sections are the same network, and which only look alike."""
    outline = context.outline()
    n_samples, input_dim = outline.n_samples, outline.signature.input_dim

    def with_samples(count: int) -> Estimate:
        return _estimate_with(context, sections, draws, count, input_dim, perturbed=perturbed, control=control)

    def fitting(memory: int) -> str:
        low, high = 0, n_samples
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if with_samples(middle).memory <= memory else (low, middle)
        if low < 2:
            return "even two samples would not fit: choose a smaller input_dim or hidden_dim"
        return f"data.n_samples = {low} would fit"

    return replace(with_samples(n_samples), fitting=fitting)


def _estimate_with(
    context: Context,
    sections: Sequence[ClassifierConfig],
    draws: Sequence[int],
    n_samples: int,
    input_dim: int,
    *,
    perturbed: bool,
    control: Control | None,
) -> Estimate:
    attack, model = context.attack, context.standard.model
    of_sources = perturbed or control is not None
    count = (attack.n_sources or n_samples) if of_sources else n_samples
    dtype = context.dtype
    first = sections[0]
    f_units = 2 if model.name == "limit" else model.hidden_dim  # a limit has two directions
    factored = make_attack(attack, input_dim).has_factors(f_units, input_dim)
    rank = f_units if factored and perturbed else None
    jobs: dict[object, tuple[ClassifierConfig, int]] = {}
    counts: Counter[object] = Counter()
    for section, draw in zip(sections, draws, strict=True):
        # Two trainings that differ in their epochs alone are one.
        course = section.model_copy(update={"epochs": 1}).model_dump_json(), draw
        counts[course] += 1
        known = jobs.get(course)
        jobs[course] = (section, max(section.epochs, known[1] if known else 0))
    groups: list[Group] = []
    alike: dict[tuple[int, int, bool], list[int]] = {}
    for course, (section, epochs) in jobs.items():
        identity = section.loss == "identity" and section.training == "descent"
        times = counts[course]
        alike.setdefault((section.model.hidden_dim, _steps(section, epochs), identity), []).append(times)
    for (width, epochs, identity), kept in alike.items():
        together = max(1, MOST_UNITS // width)
        for start in range(0, len(kept), together):
            part = kept[start : start + together]
            groups.append(Group(width * len(part), epochs, identity, width, width * (sum(part) - len(part))))
    bfloat16 = first.products == "bfloat16"
    choice = choose_form(
        count, input_dim, groups, known_rank=rank, dtype=dtype, bfloat16=bfloat16, form=FORM_NAMES[first.form]
    )
    memory = choice.cost.memory
    if (
        rank is None
        and first.form == "auto"
        and dtype == "float32"
        and count >= 2 * input_dim
        and is_worth_factorising(count, input_dim, groups, choice.cost)
    ):
        # Training will look for a lower rank.
        memory = max(memory, form_cost("row space", count, input_dim, groups, bfloat16=bfloat16).memory)
    cost = form_cost(
        choice.form,
        count,
        input_dim,
        groups,
        rank=None if choice.form == "plain" else rank,
        dtype=dtype,
        bfloat16=bfloat16,
        rates=_rates(context.device),
    )
    unshared = sum(
        4.0 * count * input_dim * section.model.hidden_dim * _steps(section, section.epochs) for section in sections
    )
    size = 8 if dtype == "float64" else 4
    # The data, and the perturbed set or the copy from which the data are made.
    held = (n_samples + max(n_samples, count)) * input_dim * size + _BLOCKS
    if factored:
        held += count * f_units * size
    if control == "unperturbed" and attack.source == "none":
        held += count * input_dim * size
    note = "limit" if first.model.name == "limit" else f"{choice.form}, {choice.reason}"
    return Estimate(cost.operations, unshared, held + memory, cost.seconds, note)


def _steps(section: ClassifierConfig, epochs: int) -> int:
    if section.model.name == "limit":
        return _LIMIT_STEPS
    return _FLOW_STEPS + (section.exact_epochs or 0) if section.training == "flow" else epochs


@lru_cache(maxsize=4)
def _rates(device: str) -> Rates:
    return measure_rates(device=device)
