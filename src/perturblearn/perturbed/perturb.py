"""From a standard classifier to the set that the perturbation classifier sees."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from perturblearn.attacks import geometry_inspired, input_gradient, one_step, one_step_factors
from perturblearn.classifiers import Classifier, TwoLayer, is_target
from perturblearn.config import AttackConfig
from perturblearn.data import Dataset, row_slices
from perturblearn.errors import ConfigError
from perturblearn.graph import derive_seed
from perturblearn.perturbed.perturbed_set import PerturbedSet
from perturblearn.perturbed.search import search
from perturblearn.perturbed.sources import draw_sources
from perturblearn.perturbed.targets import draw_targets
from perturblearn.store import Drafts

HELDOUT_SOURCES = 1000
"""Held-out sources of an attack that searches, at most: they choose g's learning rate, which needs no more."""


def perturb(
    standard: Classifier,
    data: Dataset,
    attack: AttackConfig,
    *,
    seed: int,
    heldout: bool = False,
    drafts: Drafts | None = None,
    report: Callable[[int, int, str], None] = lambda done, steps, note: None,
) -> PerturbedSet:
    """Move sources a little towards target labels [NeurIPS24, section 3; ICLR24, section 3].

    Args:
        standard: f, in the precision of the data.
        data: where natural sources, true labels and the value range come from.
        attack: source, targets, norm and size.
        seed: the run's seed; sources and targets of both parts of the data have generators of their own.
        heldout: perturb the held-out part (fresh noise, fresh targets) instead of the training part; an attack that
            searches takes `HELDOUT_SOURCES` of it at most.
        drafts: keeps what an attack that searches has finished, for when it is interrupted.
        report: called with gradient steps done and in all, by an attack that takes many.

    Raises:
        ConfigError: more L0 pixels than coordinates, or uniform noise over data without bounds.
        DataError: targets that the rule needs are missing or do not fit the number of sources.
        ModelError: the network or the attack does not do what is asked of it.
    """
    part = "heldout" if heldout else "training"
    most = min(data.n_heldout, HELDOUT_SOURCES) if attack.is_search else None
    sources = draw_sources(
        attack.source,
        data,
        heldout=heldout,
        count=most if heldout else attack.n_sources,
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
    pixels = pixels_of(attack, data.input_dim)
    factors: tuple[Tensor | None, Tensor | None] = (None, None)
    sizes = None
    if attack.is_search:
        found = search(
            standard,
            sources.inputs,
            targets,
            attack,
            pixels=pixels,
            value_range=data.value_range,
            seed=derive_seed(seed, "search", part),
            drafts=drafts or Drafts(),
            report=report,
        )
        inputs, success, sizes = found.inputs, found.success, found.sizes
        # A search may also stay where it starts because no iterate is better: there the gradient itself is looked at.
        still = (inputs == sources.inputs).flatten(1).all(dim=1)
        unmoved = _zero_gradients(standard, sources.inputs[still], targets[still])
    else:
        if attack.name == "geometry":
            assert isinstance(standard.module, TwoLayer), "a limit is a two-layer network"
            weight = standard.module.weight.detach()
            steps = geometry_inspired(
                weight[0] - weight[1], targets, norm=attack.norm, epsilon=attack.epsilon, pixels=pixels
            ).view_as(sources.inputs)
        elif isinstance(standard.module, TwoLayer) and has_factors(
            attack, standard.module.hidden_dim, standard.module.input_dim
        ):
            coefficients, basis = factors = _factors(standard.module, sources.points, targets, attack.epsilon)
            steps = (coefficients @ basis).view_as(sources.inputs)
        else:
            steps = one_step(
                standard.module, sources.points, targets, norm=attack.norm, epsilon=attack.epsilon, pixels=pixels
            )
        unmoved = sum(int((steps[rows].flatten(1) == 0).all(dim=1).sum()) for rows in row_slices(steps))
        inputs = steps if attack.source == "none" else steps.add_(sources.inputs)
        success = is_target(standard.outputs(inputs), targets)
    if sources.labels is None:
        redirected = ~is_target(standard.outputs(sources.inputs), targets)
    else:
        redirected = sources.labels != targets
    return PerturbedSet(
        inputs=inputs,
        target_labels=targets,
        true_labels=sources.labels,
        source_index=sources.index,
        success=success,
        redirected=redirected,
        source=attack.source,
        norm=attack.norm,
        epsilon=attack.epsilon,
        classifier_hash=standard.hash,
        zero_gradients=unmoved if attack.epsilon > 0 else 0,
        sizes=sizes,
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


def pixels_of(attack: AttackConfig, input_dim: int) -> int | None:
    """Coordinates that an L0 perturbation changes, given as a number or as a share; None for other norms."""
    if attack.pixel_share is None:
        return attack.pixels
    pixels = int(attack.pixel_share * input_dim)
    if pixels == 0:
        raise ConfigError(
            f"attack.pixel_share = {attack.pixel_share:g} of {input_dim} coordinates is less than one of them; choose "
            f"at least {1 / input_dim:.2g}"
        )
    return pixels


def _zero_gradients(standard: Classifier, points: Tensor, targets: Tensor) -> int:
    if len(points) == 0:
        return 0
    gradient = input_gradient(standard.module, points.to(standard.device), targets.to(standard.device))
    return int((gradient.flatten(1) == 0).all(dim=1).sum())
