"""Perturbation classifiers trained without the information under test."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from perturblearn.attacks import steepest_step
from perturblearn.config import AttackConfig, ClassifierConfig
from perturblearn.data import Dataset
from perturblearn.experiment.learn import learn_side_by_side
from perturblearn.experiment.measures import accuracy
from perturblearn.graph import derive_seed
from perturblearn.perturbed import PerturbedSet, draw_targets

Control = Literal["unperturbed", "permuted"]
_STACK_BYTES = 2**30
"""Draws train side by side as long as their activations, and inputs of their own, fit in this."""


def run_control(
    control: Control,
    data: Dataset,
    perturbed: PerturbedSet,
    *,
    attack: AttackConfig,
    config: ClassifierConfig,
    lr: float,
    draws: int,
    seed: int,
    report: Callable[[int, int, str], None],
) -> dict[str, list[float]]:
    """Accuracy on clean data of classifiers that differ from g in one thing, over several draws.

    ``unperturbed``: the same sources without the perturbation; where the source is nothing, random directions of the
    same norm and size. The first draw has g's own targets; the others draw theirs anew where the rule is random.
    ``permuted``: g's perturbed set with its target labels permuted. Every draw has its own initialisation.

    Returns:
        ``accuracy`` (on the clean training part) and ``accuracy_heldout``, one value per draw.
    """
    found: dict[str, list[float]] = {"accuracy": [], "accuracy_heldout": []}
    own_inputs = control == "unperturbed" and attack.source == "none"
    # The trainer keeps the activations and at most three arrays of their size.
    numbers = 4 * len(perturbed) * config.model.hidden_dim + (perturbed.inputs.numel() if own_inputs else 0)
    together = max(1, _STACK_BYTES // (numbers * perturbed.inputs.element_size()))
    for start in range(0, draws, together):
        group = range(start, min(draws, start + together))
        labels = torch.stack([_labels(control, draw, data, perturbed, attack, seed) for draw in group])
        inputs: Tensor | list[Tensor] = perturbed.inputs
        if own_inputs:
            inputs = [_directions(draw, perturbed, attack, seed) for draw in group]
        elif control == "unperturbed":
            assert perturbed.sources is not None
            inputs = perturbed.sources
        trained = learn_side_by_side(
            config,
            inputs,
            labels,
            lr=lr,
            seed=seed,
            roles=[f"{control} control {draw}" for draw in group],
            report=partial(_report_group, report, start=start, size=len(group), draws=draws),
        )
        for classifier in trained:
            found["accuracy"].append(accuracy(classifier.outputs(data.inputs), data.labels))
            found["accuracy_heldout"].append(accuracy(classifier.outputs(data.heldout_inputs), data.heldout_labels))
    return found


def _report_group(
    report: Callable[[int, int, str], None], done: int, steps: int, note: str, *, start: int, size: int, draws: int
) -> None:
    report(start * steps + done * size, draws * steps, note)


def _labels(
    control: Control, draw: int, data: Dataset, perturbed: PerturbedSet, attack: AttackConfig, seed: int
) -> Tensor:
    targets = perturbed.target_labels
    own_seed = derive_seed(seed, "control labels", control, str(draw))
    if control == "permuted":
        order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(own_seed))
        return targets[order.to(targets.device)]
    if draw == 0:
        return targets
    return draw_targets(
        attack.targets,
        len(targets),
        data.label_values,
        seed=own_seed,
        labels=perturbed.true_labels,
        given=data.given_targets,
    ).to(targets.device)


def _directions(draw: int, perturbed: PerturbedSet, attack: AttackConfig, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(derive_seed(seed, "control directions", str(draw)))
    random = torch.randn(perturbed.inputs.shape, generator=generator, dtype=torch.float32).to(perturbed.inputs)
    return steepest_step(random, attack.norm, epsilon=attack.epsilon, pixels=attack.pixels)
