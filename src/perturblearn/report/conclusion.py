"""What a run's numbers mean, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from perturblearn.config import ExperimentConfig
from perturblearn.experiment import BEATEN_SHARE, SELECTED_BY, chance_of

_TARGETS = {
    "uniform": "random labels",
    "other": "labels that are always wrong",
    "next": "labels that are always wrong",
    "given": "the labels that were given",
}
_NEAR_CHANCE = 0.2
"""Up to this share of the way from chance to 1, f has learned little that carries over to held-out inputs."""
_FEW_DRAWS = 5
"""Draws of a control over all seeds below which its distribution is not known."""
_CONSTANT = 0.01
"""Below this share of one label, g counts as constant."""


def conclude(
    summary: Mapping[str, Mapping[str, Any]], seeds: Sequence[Mapping[str, Any]], config: ExperimentConfig
) -> str:
    """One sentence: how much of the clean data g recognises, and whether its controls do too.

    Held-out data, unless they hold nothing to be learned: where f itself is near chance there (random labels), the
    clean samples that f was trained on, of which g has seen no more than of the others.
    """
    near = _near(chance_of(seeds))
    part = "" if _has_nothing_to_generalise(summary, near) else "_heldout"
    g = summary[f"perturbation_accuracy{part}"]
    f = summary[f"standard_accuracy{part}"]["mean"]
    spread = "" if g["std"] is None else f" +- {100 * g['std']:.1f}"
    source = "nothing but perturbations" if config.attack.source == "none" else "perturbed inputs"
    reached = (
        f"Trained on {source} under {_TARGETS[config.attack.targets]}, g gives {100 * g['mean']:.1f}{spread} % of "
        f"{'clean held-out inputs' if part else 'the clean samples of f'} their true class (f: {100 * f:.1f} %)"
    )
    suffix = f"_control{part}"
    controls = {name.removesuffix(suffix): values for name, values in summary.items() if name.endswith(suffix)}
    if not controls:
        return f"{reached}; without controls nothing follows from that."
    beaten = " and ".join(f"{values['beaten']:.0%} of the {name}" for name, values in controls.items())
    return f"{reached} and beats {beaten} control draws: {_verdict(g['mean'], controls, seeds, config, part)}."


def _verdict(
    reached: float,
    controls: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[Mapping[str, Any]],
    config: ExperimentConfig,
    part: str,
) -> str:
    if config.attack.epsilon == 0:
        return "nothing was perturbed, so this is a control itself"
    beats_all = all(values["beaten"] >= BEATEN_SHARE for values in controls.values())
    if beats_all and reached > chance_of(seeds):
        return "what it knows of the classes came from the perturbations"
    if beats_all:
        return "the perturbations taught it something, but the wrong labels weigh more"
    learned = sum(_has_learned(seed, part, chance_of(seeds)) for seed in seeds)
    if learned:
        return f"it learned the classes from the perturbations in {learned} of {len(seeds)} seeds"
    return "this run does not show that it learned the classes from the perturbations"


def _near(chance: float) -> float:
    return chance + _NEAR_CHANCE * (1 - chance)


def _has_nothing_to_generalise(summary: Mapping[str, Mapping[str, Any]], near: float) -> bool:
    return summary["standard_accuracy_heldout"]["mean"] < near <= summary["standard_accuracy"]["mean"]


def _has_learned(seed: Mapping[str, Any], part: str, chance: float) -> bool:
    reached = seed["measures"][f"perturbation_accuracy{part}"]
    beats_all = all(
        sum(draw < reached for draw in control[f"accuracy{part}"]) >= BEATEN_SHARE * len(control[f"accuracy{part}"])
        for control in seed["controls"].values()
    )
    return beats_all and reached > chance


def _is_constant(measures: Mapping[str, Any]) -> bool:
    if "largest_share" in measures:
        return measures["largest_share"] > 1 - _CONSTANT
    return not _CONSTANT < measures["positive_share"] < 1 - _CONSTANT


def remarks(
    summary: Mapping[str, Mapping[str, Any]], seeds: Sequence[Mapping[str, Any]], config: ExperimentConfig
) -> list[str]:
    """What a careful reader should know besides the table."""
    found = []
    if len(seeds) == 1:
        found.append("Note: one seed shows no spread, and a single seed can be lucky; give --seeds 5 or more.")
    for stage, rates in (("standard", config.standard.lr), ("perturbation", config.perturbation.lr)):
        if len(rates) > 1:
            counts = Counter(seed[f"{stage}_lr"] for seed in seeds)
            chosen = ", ".join(f"{lr:g} for {counts[lr]}" for lr in rates if counts[lr])
            found.append(
                f"Learning rate of the {stage} classifier: {chosen} of {len(seeds)} seeds ({SELECTED_BY[stage]})."
            )
    if summary["standard_accuracy_heldout"]["mean"] < _near(chance_of(seeds)):
        found.append(
            "Note: f itself is near chance on held-out inputs, so agreement with f there, and accuracy on the samples "
            "that f was trained on, tell what g learned."
        )
    for name in ("unperturbed_control_heldout", "permuted_control_heldout"):
        values = summary.get(name)
        if values is not None and values["at_chance"] is False:
            expected = config.attack.targets in ("other", "next")
            reason = ", as expected of targets that contradict the true labels" if expected else ""
            found.append(
                f"Note: the mean of {name}, {values['mean']:.4f}, is more than 3 standard errors "
                f"({values['standard_error']:.4f} each) from {chance_of(seeds):.3g}{reason}."
            )
    draws = {len(values["values"]) for values in summary.values() if "draws_per_seed" in values}
    if draws and max(draws) < _FEW_DRAWS:
        found.append(
            f"Note: {max(draws)} draw{'s' * (max(draws) > 1)} of each control hardly show{'s' * (max(draws) == 1)} how "
            "far chance reaches; raise controls.draws where time allows."
        )
    probe = summary.get("linear_probe_heldout")
    if probe is not None:
        found.append(
            f"A linear classifier trained on the same perturbed set gives {100 * probe['mean']:.1f} % of the held-out "
            "inputs their true class: so much leaks without any deep feature."
        )
    collapsed = [str(seed["seed"]) for seed in seeds if _is_constant(seed["measures"])]
    if collapsed:
        found.append(
            f"Note: g is constant for {len(collapsed)} of {len(seeds)} seeds ({', '.join(collapsed)}): it gives all or "
            f"nearly all held-out inputs one label."
        )
    return found
