"""Perturbation classifiers trained without the information under test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from perturblearn.attacks import make_norm, steepest_step
from perturblearn.config import AttackConfig, ClassifierConfig
from perturblearn.data import Dataset, Signature, row_slices
from perturblearn.experiment.learn import Lesson, learn_side_by_side
from perturblearn.experiment.measures import accuracy
from perturblearn.experiment.networks import Interruptions, learn_network
from perturblearn.perturbed import PerturbedSet, draw_targets, sources_of, targets_of
from perturblearn.seeding import derive_seed
from perturblearn.store import Artefact

Control = Literal["unperturbed", "permuted"]


def run_control(
    control: Control,
    data: Dataset,
    of_control: PerturbedSet,
    *,
    attack: AttackConfig,
    config: ClassifierConfig,
    lr: float,
    draws: int,
    seed: int,
    device: str,
    interruptions: Interruptions,
    report: Callable[[int, int, str], None],
) -> dict[str, list[float]]:
    """Accuracy on clean data of classifiers that differ from g in one thing, over several draws.

    ``unperturbed``: the same sources without the perturbation; where the source is nothing, random directions of the
    same norm and size. The first draw has g's own targets; the others draw theirs anew where the rule is random.
    ``permuted``: g's perturbed set with its target labels permuted. Every draw has its own initialisation.

    Args:
        control: which.
        data: clean data, on which the draws are measured.
        of_control: for ``permuted`` the set that g was trained on, for ``unperturbed`` what `unperturbed_set` gives,
            either with the same clean samples mixed in.
        attack: how the perturbed set was made.
        config: how g is made and trained.
        lr: g's learning rate.
        draws: how many.
        seed: the run's seed.
        device: where to train.
        interruptions: how a deep network's training is kept while it goes on.
        report: called with steps done and in all.

    Returns:
        ``accuracy`` (on the clean training part) and ``accuracy_heldout``, one value per draw.
    """
    if config.model.is_network:
        labels = [_labels(control, draw, data, of_control, attack, seed) for draw in range(draws)]
        section = control_section(control, config, lr)
        return _run_networks(control, section, labels, data, of_control, attack, seed, device, interruptions, report)
    found: dict[str, list[float]] = {"accuracy": [], "accuracy_heldout": []}
    lessons = [
        Lesson(
            control_section(control, config, lr),
            _labels(control, draw, data, of_control, attack, seed).to(device),
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

        inputs, factors = _inputs(control, start, of_control, attack, seed)
        learned = dict(learn_side_by_side(lessons[start:stop], inputs.to(device), factors=factors, report=told))
        for position in range(stop - start):
            classifier = learned[position]
            if isinstance(classifier, Exception):
                raise classifier
            found["accuracy"].append(accuracy(classifier.outputs(data.inputs), data.labels))
            found["accuracy_heldout"].append(accuracy(classifier.outputs(data.heldout_inputs), data.heldout_labels))
    return found


def _run_networks(
    control: Control,
    section: ClassifierConfig,
    labels: Sequence[Tensor],
    data: Dataset,
    of_control: PerturbedSet,
    attack: AttackConfig,
    seed: int,
    device: str,
    interruptions: Interruptions,
    report: Callable[[int, int, str], None],
) -> dict[str, list[float]]:
    """Deep networks train one after the other; what a draw has reached is kept."""
    found: dict[str, list[float]] = {"accuracy": [], "accuracy_heldout": []}
    signature = Signature.of(data)
    for draw, of_draw in enumerate(labels):
        drafts = interruptions.drafts.within(f"draw {draw}")
        kept = drafts.read("reached")
        if kept is None:

            def told(done: int, steps: int, note: str, draw: int = draw) -> None:
                report(draw * steps + done, len(labels) * steps, f"draw {draw + 1}/{len(labels)}, {note}")

            inputs, _ = _inputs(control, draw, of_control, attack, seed)
            classifier = learn_network(
                section,
                signature,
                inputs,
                of_draw,
                seed=seed,
                role=f"{control} control {draw}",
                device=device,
                dtype=data.inputs.dtype,
                interruptions=replace(interruptions, drafts=drafts),
                report=told,
            )
            reached = {
                "accuracy": accuracy(classifier.outputs(data.inputs), data.labels),
                "accuracy_heldout": accuracy(classifier.outputs(data.heldout_inputs), data.heldout_labels),
            }
            kept = Artefact(reached)
            drafts.write("reached", kept)
        for name, values in found.items():
            values.append(kept.content[name])
    return found


def unperturbed_set(data: Dataset, attack: AttackConfig, *, seed: int) -> PerturbedSet:
    """The set that g would see if nothing were perturbed: its sources, under its targets.

    Args:
        data: the data set.
        attack: source and targets.
        seed: that of the perturbed set.
    """
    sources, targets = sources_of(data, attack, seed=seed), targets_of(data, attack, seed=seed)
    nobody = torch.zeros(len(targets), dtype=torch.bool, device=targets.device)
    return PerturbedSet(
        inputs=sources.inputs,
        target_labels=targets,
        true_labels=sources.labels,
        source_index=sources.index,
        success=nobody,
        redirected=nobody,
        source=attack.source,
        norm=attack.norm,
        epsilon=0.0,
        classifier_hash="",
        zero_gradients=0,
        sources=sources.inputs,
    )


def control_section(control: Control, section: ClassifierConfig, lr: float) -> ClassifierConfig:
    """How a control is trained: as g, but not in the factors of a perturbed set that it does not see."""
    form = "auto" if control == "unperturbed" and section.form == "low_rank" else section.form
    return section.model_copy(update={"lr": (lr,), "form": form})


def _inputs(
    control: Control, draw: int, of_control: PerturbedSet, attack: AttackConfig, seed: int
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    if control == "permuted":
        return of_control.inputs, of_control.factors
    if attack.source == "none":
        return _directions(draw, of_control, attack, seed), None
    return of_control.inputs, None


def _labels(
    control: Control, draw: int, data: Dataset, of_control: PerturbedSet, attack: AttackConfig, seed: int
) -> Tensor:
    targets = of_control.target_labels
    own_seed = derive_seed(seed, "control labels", control, str(draw))
    if control == "permuted":
        # Clean samples among them keep their labels: only what is under test is destroyed.
        places = torch.arange(len(targets)) if of_control.clean is None else (~of_control.clean.cpu()).nonzero()[:, 0]
        order = places[torch.randperm(len(places), generator=torch.Generator().manual_seed(own_seed))]
        permuted = targets.clone()
        permuted[places.to(targets.device)] = targets[order.to(targets.device)]
        return permuted
    if draw == 0:
        return targets
    drawn = draw_targets(
        attack.targets,
        len(targets),
        data.label_values,
        seed=own_seed,
        labels=of_control.true_labels,
        given=data.given_targets,
    ).to(targets.device)
    return drawn if of_control.clean is None else torch.where(of_control.clean, targets, drawn)


def _directions(draw: int, of_control: PerturbedSet, attack: AttackConfig, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(derive_seed(seed, "control directions", str(draw)))
    random = torch.randn(of_control.inputs.shape, generator=generator, dtype=torch.float32).to(of_control.inputs)
    norm = make_norm(attack, random[0].numel())
    for part in row_slices(random):
        random[part] = steepest_step(random[part], norm, epsilon=attack.epsilon)
    return random
