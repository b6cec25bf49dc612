"""What a run's numbers mean, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from perturblearn.config import ExperimentConfig
from perturblearn.experiment import BEATEN_SHARE, CHANCE, SELECTED_BY

_TARGETS = {
    "uniform": "random labels",
    "other": "labels that are always wrong",
    "next": "labels that are always wrong",
    "given": "the labels that were given",
}
_NEAR_CHANCE = 0.6
"""A standard classifier below this has learned little that carries over to held-out inputs."""
_CONSTANT = 0.01
"""Below this share of one label, g counts as constant."""


def conclude(
    summary: Mapping[str, Mapping[str, Any]], seeds: Sequence[Mapping[str, Any]], config: ExperimentConfig
) -> str:
    """One sentence: how much of the clean data g recognises, and whether its controls do too.

    Held-out data, unless they hold nothing to be learned: where f itself is near chance there (random labels), the
    clean samples that f was trained on, of which g has seen no more than of the others.
    """
    part = "" if _has_nothing_to_generalise(summary) else "_heldout"
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
    if beats_all and reached > CHANCE:
        return "what it knows of the classes came from the perturbations"
    if beats_all:
        return "the perturbations taught it something, but the wrong labels weigh more"
    learned = sum(_has_learned(seed, part) for seed in seeds)
    if learned:
        return f"it learned the classes from the perturbations in {learned} of {len(seeds)} seeds"
    return "this run does not show that it learned the classes from the perturbations"


def _has_nothing_to_generalise(summary: Mapping[str, Mapping[str, Any]]) -> bool:
    return summary["standard_accuracy_heldout"]["mean"] < _NEAR_CHANCE <= summary["standard_accuracy"]["mean"]


def _has_learned(seed: Mapping[str, Any], part: str) -> bool:
    reached = seed["measures"][f"perturbation_accuracy{part}"]
    beats_all = all(
        sum(draw < reached for draw in control[f"accuracy{part}"]) >= BEATEN_SHARE * len(control[f"accuracy{part}"])
        for control in seed["controls"].values()
    )
    return beats_all and reached > CHANCE


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
    if summary["standard_accuracy_heldout"]["mean"] < _NEAR_CHANCE:
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
                f"({values['standard_error']:.4f} each) from {CHANCE:g}{reason}."
            )
    collapsed = [
        str(seed["seed"]) for seed in seeds if not _CONSTANT < seed["measures"]["positive_share"] < 1 - _CONSTANT
    ]
    if collapsed:
        found.append(
            f"Note: g is constant for {len(collapsed)} of {len(seeds)} seeds ({', '.join(collapsed)}): it gives all or "
            f"nearly all held-out inputs one label."
        )
    return found
