"""What a run's numbers mean, in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from perturblearn.config import AttackConfig, ExperimentConfig, PGDConfig
from perturblearn.experiment import (
    BEATEN_SHARE,
    HELDOUT,
    SELECTED_BY,
    TRAINING,
    AccuracyNames,
    ControlSummary,
    SeedMeasures,
    controls_of,
)
from perturblearn.report.attribution import attribution_remarks
from perturblearn.report.features import feature_remarks
from perturblearn.report.words import (
    NORMS,
    TARGETS,
    percent,
    percent_range,
    percent_with_spread,
    plural,
    seen_text,
)
from perturblearn.results import Result

_NEAR_CHANCE = 0.2
"""Up to this share of the way from chance to 1, f has learned little that carries over to held-out inputs."""
FEW_DRAWS = 5
"""Draws of a control over all seeds below which its distribution is not known."""
_FAR_BELOW = 0.5
"""Below this share of chance, and 3 standard errors below it, f cannot merely have learned nothing."""
_NAMED_CLASSES = 5
"""Classes that a sentence names at most."""
_CONSTANT = 0.01
"""Below this share of one label, g counts as constant."""


def ask(config: ExperimentConfig, names: Sequence[str]) -> str:
    """What a run asks, in one sentence.

    Args:
        config: of the run.
        names: of the classes.
    """
    if config.mixing.perturbed_share == 0:
        return "How well does a network do that is trained on clean inputs alone?"
    kinds = " and ".join(names) if len(names) == 2 else f"{len(names)} classes"
    labels = TARGETS[config.attack.targets].labels
    if config.mixing.is_mixed:
        return f"What do perturbed inputs with {labels}, among clean ones, teach a network about {kinds}?"
    seen = _seen(config.attack)
    return f"Can a network trained only on {seen} with {labels} classify clean inputs ({kinds})?"


def _seen(attack: AttackConfig) -> str:
    """What g is trained on."""
    what = seen_text(attack)
    return what if attack.is_bare or attack.rebuilds or attack.epsilon == 0 else f"perturbed {what}"


def conclude(result: Result) -> str:
    """How much of the clean data g classifies correctly, and whether its controls do too.

    Held-out data, unless they hold nothing to be learned: where f itself is near chance there (random labels), the
    clean samples that f was trained on, of which g has seen no more than of the others. A g that was trained on clean
    samples too has seen more of them, so for it held-out data alone count.
    """
    config, part = result.config, told_part(result)
    inputs = "clean held-out inputs" if part.is_heldout else "the clean samples of f"
    reached = (
        f"Trained on {_training_set(config)}, g classifies {percent_with_spread(result.summary[part.perturbation])} of "
        f"{inputs} correctly (f: {percent(result.summary[part.standard]['mean'])} %)."
    )
    if config.mixing.perturbed_share == 0:
        return f"{reached} Nothing was perturbed, so g is just a classifier of clean data."
    controls = controls_of(result.summary, part)
    if not controls:
        return f"{reached} Without controls nothing follows from that."
    beaten = " and ".join(f"{100 * values['beaten']:.0f} % of the {name}" for name, values in controls.items())
    if config.attack.epsilon == 0 and not config.attack.asks_f:
        verdict = "nothing was perturbed, so this is a control itself"
    elif config.mixing.is_mixed or config.attack.keeps_labels:
        verdict = _verdict_on_mixed(result.seeds)
    else:
        verdict = _verdict(result, controls, part)
    return f"{reached} It beats {beaten} control draws: {verdict}."


def told_part(result: Result) -> AccuracyNames:
    """The inputs whose accuracies `conclude` tells of: held-out ones, or the clean samples of f."""
    on_heldout, on_training = (result.summary[part.standard]["mean"] for part in (HELDOUT, TRAINING))
    has_nothing_to_generalise = on_heldout < near_chance(result.chance) <= on_training
    return TRAINING if has_nothing_to_generalise and not result.config.mixing.is_mixed else HELDOUT


def _training_set(config: ExperimentConfig) -> str:
    labels = TARGETS[config.attack.targets].labels
    share = config.mixing.perturbed_share
    if share == 0:
        return "clean inputs with their true labels alone"
    if share < 1:
        return f"{100 * share:g} % perturbed inputs with {labels} among clean ones with their true labels"
    if config.attack.is_bare:
        return f"nothing but perturbations with {labels}"
    files = f", saved as {config.saving.words}," if config.saving.is_saved else "," * config.attack.rebuilds
    return f"{_seen(config.attack)}{files} with {labels}"


def _verdict_on_mixed(seeds: Sequence[SeedMeasures]) -> str:
    """What perturbing did beyond the labels: the unperturbed control has such labels, and the same clean samples.

    It may go either way: what g sees of the target's class draws it to a wrong label, or teaches it that class.
    """
    pairs = [
        (seed.measures[HELDOUT.perturbation], draw)
        for seed in seeds
        for draw in seed.controls["unperturbed"].accuracy_heldout
    ]
    if sum(reached > draw for reached, draw in pairs) >= BEATEN_SHARE * len(pairs):
        return "compared with the same labels on unperturbed inputs, the perturbations helped"
    if sum(reached < draw for reached, draw in pairs) >= BEATEN_SHARE * len(pairs):
        return "compared with the same labels on unperturbed inputs, the perturbations did harm"
    return "this run does not show that the perturbations did more than the same labels on unperturbed inputs"


def _verdict(result: Result, controls: dict[str, ControlSummary], part: AccuracyNames) -> str:
    attack = result.config.attack
    taught_by = "rebuilt features" if attack.rebuilds else "perturbations"
    if attack.asks_f:
        of_f = "outputs of f" if attack.is_soft else "answers of f"
        taught_by = of_f if attack.epsilon == 0 else f"{of_f} and the perturbations"
    beats_all = all(values["beaten"] >= BEATEN_SHARE for values in controls.values())
    if beats_all and result.summary[part.perturbation]["mean"] > result.chance:
        return f"what it knows about the classes came from the {taught_by}"
    if beats_all:
        return f"the {taught_by} taught it something, but the wrong labels weigh more"
    learned = sum(_has_learned(seed, part, result.chance) for seed in result.seeds)
    if learned:
        return f"it learned the classes from the {taught_by} in {learned} of {len(result.seeds)} seeds"
    return f"this run does not show that it learned the classes from the {taught_by}"


def weak_standard(result: Result) -> str | None:
    """What is wrong with an f that does not classify held-out inputs correctly, and what to do; None for any other.

    Near chance it is None as well: what follows from that depends on who asks.
    """
    accuracy, chance = result.summary[HELDOUT.standard]["mean"], result.chance
    seeds, names = result.seeds, list(result.seeds[0].classes.names)
    dead = [seed for seed in seeds if is_dead(seed, "standard")]
    if dead:
        shares = percent_range([seed.measures["standard_dead_share"] or 0.0 for seed in dead])
        return (
            f"f is dead for {_seeds(dead, seeds)}: {_outputs(names)} {shares} % of held-out inputs, so nothing follows"
        )
    n_heldout = min(sum(seed.classes.n_heldout) for seed in seeds)
    error = math.sqrt(chance * (1 - chance) / n_heldout)
    if accuracy < _FAR_BELOW * chance and chance - accuracy > 3 * error:
        shares = f"({percent(accuracy)} %, chance {percent(chance)} %)"
        start = f"f itself is far below chance on held-out inputs {shares}"
        if len(names) > 2:
            order = ", ".join(names[:_NAMED_CLASSES]) + ", ..." * (len(names) > _NAMED_CLASSES)
            return (
                f"{start}: it seems to tell the classes apart but to call them by other names; give its outputs in the "
                f"order of the classes ({order})"
            )
        return (
            f"{start}: its two classes, or the sign of its output, seem to be swapped. A positive output stands for "
            f"{names[0]}; swap the classes (data.classes = {names[1]},{names[0]}, or the labels of data given in "
            "Python), or change the sign of its output"
        )
    constant = [seed for seed in seeds if _is_one_class(seed.classes.standard_accuracy)]
    if constant:
        return f"f is constant for {_seeds(constant, seeds)}: it gives all or nearly all held-out inputs one label"
    return None


def is_dead(seed: SeedMeasures, role: str) -> bool:
    """Whether the outputs of f (``standard``) or g (``perturbation``) say nothing of most held-out inputs."""
    return f"{role}_dead_share" in seed.measures


def _outputs(names: Sequence[str]) -> str:
    return "its output is exactly 0 for" if len(names) == 2 else "all its outputs are equal for"


def _is_one_class(accuracies: Sequence[float | None]) -> bool:
    """Whether these accuracies, class by class, are those of a classifier that says one class of everything."""
    known = sorted(accuracy for accuracy in accuracies if accuracy is not None)
    return len(known) > 1 and known[-1] > 1 - _CONSTANT and known[-2] < _CONSTANT


def _seeds(some: Sequence[SeedMeasures], seeds: Sequence[SeedMeasures]) -> str:
    return f"{len(some)} of {plural(len(seeds), 'seed')} ({', '.join(str(seed.seed) for seed in some)})"


def near_chance(chance: float) -> float:
    """The accuracy on held-out inputs below which f has learned little that carries over to them."""
    return chance + _NEAR_CHANCE * (1 - chance)


def _has_learned(seed: SeedMeasures, part: AccuracyNames, chance: float) -> bool:
    reached = seed.measures[part.perturbation]
    beats_all = all(
        sum(draw < reached for draw in control.on(part)) >= BEATEN_SHARE * len(control.on(part))
        for control in seed.controls.values()
    )
    return beats_all and reached > chance


def _robustness(result: Result) -> str:
    attack = result.config.robust_attack
    how = f"PGD of {plural(attack.steps, 'step')}" if isinstance(attack, PGDConfig) else attack.name
    of_f, of_g = (
        percent_with_spread(result.summary[f"{role}_robust_accuracy"]) for role in ("standard", "perturbation")
    )
    return (
        f"Where {how} moves held-out inputs away from their labels ({NORMS[attack.norm]} ε = {attack.epsilon:g}), f "
        f"still classifies {of_f} of them correctly, g {of_g}."
    )


def _robust_linear(result: Result) -> Iterator[str]:
    """What leaked of robust linear features."""
    summary, epsilon = result.summary, result.config.measures.robust_leakage
    if epsilon is None or "robust_linear_heldout" not in summary:
        return
    reached, permuted, best, with_g, without = (
        percent(summary[name]["mean"])
        for name in (
            "robust_linear_heldout",
            "robust_linear_permuted_heldout",
            "robust_linear_permuted_best_heldout",
            "robust_linear_g_heldout",
            "robust_linear_g_without_heldout",
        )
    )
    unperturbed = summary.get("robust_linear_unperturbed_heldout")
    beside = "" if unperturbed is None else f", {percent(unperturbed['mean'])} % on the unperturbed sources"
    yield (
        f"A linear classifier of the perturbed set that has only linear features robust at L2 ε = {epsilon:g} "
        f"classifies {reached} % of held-out inputs correctly ({permuted} %, at best {best} %, with permuted "
        f"targets{beside}). More than the controls is a lower bound of the leakage of robust features (Goh 2019)."
    )
    yield (
        f"{percent(summary['robust_linear_share']['mean'])} % of the perturbations' squared length lies in these "
        f"features. g classifies {with_g} % of held-out inputs correctly of which only they are left, and {without} % "
        "without them."
    )


def _linear_shortcut(result: Result) -> Iterator[str]:
    """What is left to learn without the linear shortcut."""
    if "linear_shortcut_heldout" not in result.summary:
        return
    reached, rest, random, again = (
        percent(result.summary[f"linear_shortcut_{name}"]["mean"])
        for name in ("heldout", "rest_heldout", "random_heldout", "rest_linear_heldout")
    )
    count = round(result.summary["linear_shortcut_directions"]["mean"])
    yield (
        f"Without the {plural(count, 'direction')} that a linear classifier of the set looks at (it classifies "
        f"{reached} % of held-out inputs correctly), g learns {rest} %; without as many random ones {random} %. "
        f"A linear classifier of what is left still reaches {again} %."
    )


def _bottleneck(result: Result) -> Iterator[str]:
    """Which units of f bear noise, what perturbations move of them, and what g has of either kind."""
    summary, beta = result.summary, result.config.measures.bottleneck
    if beta is None or "bottleneck_robust_units" not in summary:
        return
    told = {
        name: percent(summary[f"bottleneck_{name}"]["mean"])
        for name in (
            "noisy_heldout", "robust_units", "robust_share", "robust_variance", "robust_heldout", "robust_agreement",
            "non_robust_heldout", "non_robust_agreement",
        )
    }  # fmt: skip
    yield (
        f"Where a nat that passes a layer of f costs {beta:g}, f still classifies {told['noisy_heldout']} % of "
        f"held-out inputs correctly, and {told['robust_units']} % of the layer's units bear noise larger than their "
        f"own deviation (Kim et al. 2021). {told['robust_share']} % of what the perturbations change of the layer, "
        f"squared, lies in them, and {told['robust_variance']} % of what clean inputs make of it."
    )
    yield (
        f"With these units alone f classifies {told['robust_heldout']} % of held-out inputs correctly, and g agrees "
        f"with it on {told['robust_agreement']} %; with the other units alone {told['non_robust_heldout']} % and "
        f"{told['non_robust_agreement']} %."
    )


def _is_constant(seed: SeedMeasures) -> bool:
    if "largest_share" in seed.measures:
        return seed.measures["largest_share"] > 1 - _CONSTANT
    return not _CONSTANT < seed.measures["positive_share"] < 1 - _CONSTANT


def remarks(result: Result) -> Iterator[str]:
    """What a careful reader should know besides the table."""
    config, seeds, mixed = result.config, result.seeds, result.config.mixing.is_mixed
    if len(seeds) == 1:
        yield "One seed shows no spread and can be lucky; run --seeds 5 or more."
    grids = (
        ("standard", config.standard.lr, [seed.standard_lr for seed in seeds]),
        ("perturbation", config.perturbation.lr, [seed.perturbation_lr for seed in seeds]),
    )
    for role, rates, chosen in grids:
        if len(rates) > 1:
            counts = Counter(chosen)
            told = ", ".join(f"{lr:g} for {counts[lr]}" for lr in rates if counts[lr])
            yield f"Learning rate of the {role} classifier: {told} of {len(seeds)} seeds ({SELECTED_BY[role]})."
    if mixed:
        yield (
            "g and its controls have seen clean samples with their true labels. So perturbation_accuracy counts what "
            "they were told; perturbation_accuracy_heldout does not."
        )
    if config.attack.rebuilds:
        yield (
            "Rebuilt inputs keep the true labels of their originals, so g does not learn from wrong labels here: it "
            "shows how far f's features generalise. The unperturbed control has the inputs at which rebuilding starts."
        )
    if config.generations > 1:
        names = [HELDOUT.perturbation, *(f"generation_{n}_accuracy_heldout" for n in range(2, config.generations + 1))]
        told = ", ".join(percent_with_spread(result.summary[name]) for name in names)
        yield f"From generation to generation, beginning with g, networks classify {told} of held-out inputs correctly."
    weak = weak_standard(result)
    if weak is not None:
        yield f"{weak}."
    elif result.summary[HELDOUT.standard]["mean"] < near_chance(result.chance):
        told = (
            "neither accuracy nor agreement there shows what g learned"
            if mixed
            else "agreement with f there, and accuracy on f's training samples, show what g learned"
        )
        yield f"f itself is near chance on held-out inputs, so {told}."
    for control, values in result.controls.items():
        if values["at_chance"] is False:
            expected = ", as expected when targets contradict the true labels"
            reason = expected if config.attack.contradicts_labels else ""
            yield (
                f"The mean of {HELDOUT.controls[control]}, {values['mean']:.4f}, is more than 3 standard errors "
                f"(of {values['standard_error']:.4f}) from chance, {result.chance:.3g}{reason}."
            )
    draws = max((len(values["values"]) for values in result.controls.values()), default=FEW_DRAWS)
    if draws < FEW_DRAWS:
        yield (
            f"{plural(draws, 'draw')} of each control {'is' if draws == 1 else 'are'} too few to show how far chance "
            "reaches; raise controls.draws if time allows."
        )
    if HELDOUT.linear_probe in result.summary:
        kind, leak = ("mixed", "") if mixed else ("perturbed", ": this much leaks without any deep feature")
        reached = percent(result.summary[HELDOUT.linear_probe]["mean"])
        yield (
            f"A linear classifier trained on the same {kind} set classifies {reached} % of the held-out inputs "
            f"correctly{leak}."
        )
    if "standard_robust_accuracy" in result.summary:
        yield _robustness(result)
    yield from _robust_linear(result)
    yield from _linear_shortcut(result)
    yield from _bottleneck(result)
    yield from attribution_remarks(result)
    yield from feature_remarks(result)
    dead = [seed for seed in seeds if is_dead(seed, "perturbation")]
    if dead:
        shares = percent_range([seed.measures["perturbation_dead_share"] or 0.0 for seed in dead])
        scale = "" if config.data.is_standardised else ", or standardise the features (data.standardise = true)"
        yield (
            f"g is dead for {_seeds(dead, seeds)}: {_outputs(seeds[0].classes.names)} {shares} % of held-out inputs, "
            f"which counts as wrong. Train it at a lower learning rate{scale}."
        )
    constant = [seed for seed in seeds if _is_constant(seed) and seed not in dead]
    if constant:
        yield f"g is constant for {_seeds(constant, seeds)}: it gives all or nearly all held-out inputs one label."
