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
FEW_DRAWS = 5
"""Draws of a control over all seeds below which its distribution is not known."""
_CONSTANT = 0.01
"""Below this share of one label, g counts as constant."""


def ask(config: ExperimentConfig, names: Sequence[str]) -> str:
    """What a run asks, in one sentence.

    Args:
        config: of the run.
        names: of the classes.
    """
    if config.mixing.perturbed_share == 0:
        return "What does a network reach that is trained on clean inputs alone?"
    kinds = " and ".join(names) if len(names) == 2 else f"{len(names)} classes"
    labels = _TARGETS[config.attack.targets]
    if config.mixing.is_mixed:
        return f"What do perturbed inputs under {labels}, among clean ones, teach a network of clean inputs ({kinds})?"
    seen = {"none": "adversarial perturbations", "natural": "perturbed inputs"}.get(
        config.attack.source, "perturbed noise"
    )
    return f"Trained on nothing but {seen} under {labels}, does a network recognise clean inputs ({kinds})?"


def conclude(
    summary: Mapping[str, Mapping[str, Any]], seeds: Sequence[Mapping[str, Any]], config: ExperimentConfig
) -> str:
    """One sentence: how much of the clean data g recognises, and whether its controls do too.

    Held-out data, unless they hold nothing to be learned: where f itself is near chance there (random labels), the
    clean samples that f was trained on, of which g has seen no more than of the others. A g that was trained on clean
    samples too has seen more of them, so for it held-out data alone count.
    """
    mixed = config.mixing.is_mixed
    part = told_part(summary, seeds, config)
    g = summary[f"perturbation_accuracy{part}"]
    f = summary[f"standard_accuracy{part}"]["mean"]
    spread = "" if g["std"] is None else f" +- {100 * g['std']:.1f}"
    reached = (
        f"Trained on {_training_set(config)}, g gives {100 * g['mean']:.1f}{spread} % of "
        f"{'clean held-out inputs' if part else 'the clean samples of f'} their true class (f: {100 * f:.1f} %)"
    )
    if config.mixing.perturbed_share == 0:
        return f"{reached}: nothing was perturbed, so g is a classifier of clean data and no more."
    suffix = f"_control{part}"
    controls = {name.removesuffix(suffix): values for name, values in summary.items() if name.endswith(suffix)}
    if not controls:
        return f"{reached}; without controls nothing follows from that."
    beaten = " and ".join(f"{values['beaten']:.0%} of the {name}" for name, values in controls.items())
    if mixed:
        verdict = _verdict_on_mixed(seeds, config)
    else:
        verdict = _verdict(g["mean"], controls, seeds, config, part)
    return f"{reached} and beats {beaten} control draws: {verdict}."


def told_part(
    summary: Mapping[str, Mapping[str, Any]], seeds: Sequence[Mapping[str, Any]], config: ExperimentConfig
) -> str:
    """The end of the names of measures that `conclude` tells of: ``_heldout``, or nothing for f's clean samples."""
    near = near_chance(chance_of(seeds))
    return "" if not config.mixing.is_mixed and _has_nothing_to_generalise(summary, near) else "_heldout"


def _training_set(config: ExperimentConfig) -> str:
    labels = _TARGETS[config.attack.targets]
    share = config.mixing.perturbed_share
    if share == 0:
        return "clean inputs alone, under their true labels"
    if share < 1:
        return f"{100 * share:g} % perturbed inputs under {labels} among clean ones under their true labels"
    return f"{'nothing but perturbations' if config.attack.is_bare else 'perturbed inputs'} under {labels}"


def _verdict_on_mixed(seeds: Sequence[Mapping[str, Any]], config: ExperimentConfig) -> str:
    """What perturbing did beyond the wrong labels: the unperturbed control has the same clean samples and such labels.

    It may go either way: what g sees of the target's class draws it to a wrong label, or teaches it that class.
    """
    if config.attack.epsilon == 0:
        return "nothing was perturbed, so this is a control itself"
    pairs = [
        (seed["measures"]["perturbation_accuracy_heldout"], draw)
        for seed in seeds
        for draw in seed["controls"]["unperturbed"]["accuracy_heldout"]
    ]
    if sum(reached > draw for reached, draw in pairs) >= BEATEN_SHARE * len(pairs):
        return "compared with such labels on unperturbed sources, the perturbations helped"
    if sum(reached < draw for reached, draw in pairs) >= BEATEN_SHARE * len(pairs):
        return "compared with such labels on unperturbed sources, the perturbations did harm"
    return "this run does not show that the perturbations did more than such labels on unperturbed sources"


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


def near_chance(chance: float) -> float:
    """The accuracy on held-out inputs below which f has learned little that carries over to them."""
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
    mixed = config.mixing.is_mixed
    if len(seeds) == 1:
        found.append("Note: one seed shows no spread, and a single seed can be lucky; give --seeds 5 or more.")
    for stage, rates in (("standard", config.standard.lr), ("perturbation", config.perturbation.lr)):
        if len(rates) > 1:
            counts = Counter(seed[f"{stage}_lr"] for seed in seeds)
            chosen = ", ".join(f"{lr:g} for {counts[lr]}" for lr in rates if counts[lr])
            found.append(
                f"Learning rate of the {stage} classifier: {chosen} of {len(seeds)} seeds ({SELECTED_BY[stage]})."
            )
    if mixed:
        found.append(
            "Note: g and its controls have seen clean samples under their true labels, so perturbation_accuracy counts "
            "what they were told as well; perturbation_accuracy_heldout does not."
        )
    if summary["standard_accuracy_heldout"]["mean"] < near_chance(chance_of(seeds)):
        told = (
            "neither accuracy nor agreement there tells what g learned"
            if mixed
            else "agreement with f there, and accuracy on the samples that f was trained on, tell what g learned"
        )
        found.append(f"Note: f itself is near chance on held-out inputs, so {told}.")
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
    if draws and max(draws) < FEW_DRAWS:
        found.append(
            f"Note: {max(draws)} draw{'s' * (max(draws) > 1)} of each control hardly show{'s' * (max(draws) == 1)} how "
            "far chance reaches; raise controls.draws where time allows."
        )
    probe = summary.get("linear_probe_heldout")
    if probe is not None:
        kind, leak = ("mixed", "") if mixed else ("perturbed", ": so much leaks without any deep feature")
        found.append(
            f"A linear classifier trained on the same {kind} set gives {100 * probe['mean']:.1f} % of the held-out "
            f"inputs their true class{leak}."
        )
    collapsed = [str(seed["seed"]) for seed in seeds if _is_constant(seed["measures"])]
    if collapsed:
        found.append(
            f"Note: g is constant for {len(collapsed)} of {len(seeds)} seeds ({', '.join(collapsed)}): it gives all or "
            f"nearly all held-out inputs one label."
        )
    return found
