"""From a standard classifier to the set that the perturbation classifier sees."""

from __future__ import annotations

from collections.abc import Callable

from perturblearn.attacks import geometry_inspired, input_gradient, one_step, radial_pgd
from perturblearn.classifiers import Classifier
from perturblearn.config import AttackConfig
from perturblearn.data import Dataset
from perturblearn.graph import derive_seed
from perturblearn.perturbed.perturbed_set import PerturbedSet, is_target
from perturblearn.perturbed.sources import draw_sources
from perturblearn.perturbed.targets import draw_targets

PGD_STEPS = 100
"""Steps of radial_pgd where the configuration does not say [ICLR24, section 5]."""


def perturb(
    standard: Classifier,
    data: Dataset,
    attack: AttackConfig,
    *,
    seed: int,
    heldout: bool = False,
    report: Callable[[int, int, str], None] = lambda done, steps, note: None,
) -> PerturbedSet:
    """Move sources a little towards target labels [NeurIPS24, section 3; ICLR24, section 3].

    Args:
        standard: f, in the precision and on the device of the data.
        data: where natural sources, true labels and the value range come from.
        attack: source, targets, norm and size.
        seed: the run's seed; sources and targets of both parts of the data have generators of their own.
        heldout: perturb the held-out part (fresh noise, fresh targets) instead of the training part.
        report: called with gradient steps done and in all, by an attack that takes many.

    Raises:
        ConfigError: more L0 pixels than coordinates, or uniform noise over data without bounds.
        DataError: targets that the rule needs are missing or do not fit the number of sources.
    """
    part = "heldout" if heldout else "training"
    sources = draw_sources(
        attack.source,
        data,
        heldout=heldout,
        count=None if heldout else attack.n_sources,
        seed=derive_seed(seed, "sources", part),
    )
    targets = draw_targets(
        attack.targets,
        len(sources.inputs),
        data.label_values,
        seed=derive_seed(seed, "targets", part),
        labels=sources.labels,
        given=data.given_targets,
    ).to(sources.inputs.device)
    if attack.name == "radial_pgd":
        inputs = radial_pgd(
            standard.module,
            sources.inputs,
            targets,
            norm=attack.norm,
            epsilon=attack.epsilon,
            value_range=data.value_range,
            steps=attack.steps or PGD_STEPS,
            pixels=attack.pixels,
            report=report,
        )
        steps = inputs - sources.inputs
    else:
        if attack.name == "geometry":
            weight = standard.module.weight.detach()
            steps = geometry_inspired(
                weight[0] - weight[1], targets, norm=attack.norm, epsilon=attack.epsilon, pixels=attack.pixels
            ).view_as(sources.inputs)
        else:
            steps = one_step(
                standard.module, sources.points, targets, norm=attack.norm, epsilon=attack.epsilon, pixels=attack.pixels
            )
        inputs = steps if attack.source == "none" else sources.inputs + steps
    if sources.labels is None:
        redirected = ~is_target(standard.outputs(sources.inputs), targets)
    else:
        redirected = sources.labels != targets
    # A search may also stay where it starts because no iterate is better: there the gradient itself is looked at.
    moves = input_gradient(standard.module, sources.inputs) if attack.name == "radial_pgd" else steps
    unmoved = int((moves.flatten(1) == 0).all(dim=1).sum()) if attack.epsilon > 0 else 0
    return PerturbedSet(
        inputs=inputs,
        target_labels=targets,
        true_labels=sources.labels,
        source_index=sources.index,
        success=is_target(standard.outputs(inputs), targets),
        redirected=redirected,
        source=attack.source,
        norm=attack.norm,
        epsilon=attack.epsilon,
        classifier_hash=standard.hash,
        zero_gradients=unmoved,
        sources=sources.inputs,
    )
