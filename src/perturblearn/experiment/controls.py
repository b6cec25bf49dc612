"""Perturbation classifiers trained without the information under test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from perturblearn.attacks import steepest_step
from perturblearn.config import AttackConfig, ClassifierConfig
from perturblearn.data import Dataset, row_slices
from perturblearn.experiment.learn import Lesson, learn_side_by_side
from perturblearn.experiment.measures import accuracy
from perturblearn.graph import derive_seed
from perturblearn.perturbed import PerturbedSet, draw_targets

Control = Literal["unperturbed", "permuted"]


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
    lessons = [
        Lesson(
            control_section(control, config, lr),
            _labels(control, draw, data, perturbed, attack, seed),
            seed,
            f"{control} control {draw}",
        )
        for draw in range(draws)
    ]
    if control == "unperturbed" and attack.source == "none":
        # Every draw has inputs of its own.
        sets = [(draw, draw + 1) for draw in range(draws)]
    else:
        sets = [(0, draws)]
    for start, stop in sets:

        def told(done: int, steps: int, note: str, start: int = start, stop: int = stop) -> None:
            report(start * steps + done * (stop - start), draws * steps, note)

        inputs, factors = _inputs(control, start, perturbed, attack, seed)
        learned = dict(learn_side_by_side(lessons[start:stop], inputs, factors=factors, report=told))
        for position in range(stop - start):
            classifier = learned[position]
            if isinstance(classifier, Exception):
                raise classifier
            found["accuracy"].append(accuracy(classifier.outputs(data.inputs), data.labels))
            found["accuracy_heldout"].append(accuracy(classifier.outputs(data.heldout_inputs), data.heldout_labels))
    return found


def control_section(control: Control, section: ClassifierConfig, lr: float) -> ClassifierConfig:
    """How a control is trained: as g, but not in the factors of a perturbed set that it does not see."""
    form = "auto" if control == "unperturbed" and section.form == "low_rank" else section.form
    return section.model_copy(update={"lr": (lr,), "form": form})


def _inputs(
    control: Control, draw: int, perturbed: PerturbedSet, attack: AttackConfig, seed: int
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    if control == "permuted":
        return perturbed.inputs, perturbed.factors
    if attack.source == "none":
        return _directions(draw, perturbed, attack, seed), None
    assert perturbed.sources is not None
    return perturbed.sources, None


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
    for part in row_slices(random):
        random[part] = steepest_step(random[part], attack.norm, epsilon=attack.epsilon, pixels=attack.pixels)
    return random
