"""From a standard classifier to the set that the perturbation classifier sees."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from perturblearn.attacks import geometry_inspired, input_gradient, one_step, one_step_factors, radial_pgd
from perturblearn.classifiers import Classifier, TwoLayer
from perturblearn.config import AttackConfig
from perturblearn.data import Dataset, row_slices
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
    factors: tuple[Tensor | None, Tensor | None] = (None, None)
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
        # A search may also stay where it starts because no iterate is better: there the gradient itself is looked at.
        unmoved = _zero_rows(input_gradient(standard.module, sources.inputs))
    else:
        if attack.name == "geometry":
            weight = standard.module.weight.detach()
            steps = geometry_inspired(
                weight[0] - weight[1], targets, norm=attack.norm, epsilon=attack.epsilon, pixels=attack.pixels
            ).view_as(sources.inputs)
        elif has_factors(attack, standard.module.hidden_dim, standard.module.input_dim):
            coefficients, basis = factors = _factors(standard.module, sources.points, targets, attack.epsilon)
            steps = (coefficients @ basis).view_as(sources.inputs)
        else:
            steps = one_step(
                standard.module, sources.points, targets, norm=attack.norm, epsilon=attack.epsilon, pixels=attack.pixels
            )
        unmoved = _zero_rows(steps)
        inputs = steps if attack.source == "none" else steps.add_(sources.inputs)
    if sources.labels is None:
        redirected = ~is_target(standard.outputs(sources.inputs), targets)
    else:
        redirected = sources.labels != targets
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
        zero_gradients=unmoved if attack.epsilon > 0 else 0,
        sources=sources.inputs,
        coefficients=factors[0],
        basis=factors[1],
    )


def has_factors(attack: AttackConfig, hidden_dim: int, input_dim: int) -> bool:
    """Whether a perturbed set comes as factors of low rank: bare one-step perturbations in L2 of a narrow network."""
    return attack.name == "one_step" and attack.norm == "l2" and attack.source == "none" and hidden_dim < input_dim


def _factors(module: TwoLayer, points: Tensor, targets: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    bias = None if module.bias is None else module.bias.detach()
    return one_step_factors(
        module.weight.detach(), module.readout, bias, module.slope, points.flatten(1), targets, epsilon=epsilon
    )


def _zero_rows(rows: Tensor) -> int:
    return sum(int((rows[part].flatten(1) == 0).all(dim=1).sum()) for part in row_slices(rows))
