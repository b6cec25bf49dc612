"""Perturbation classifiers trained without the information under test."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from perturblearn.attacks import norm_of, steepest_step
from perturblearn.config import (
    SOURCE_KEYS,
    AttackConfig,
    ClassifierConfig,
    DescentConfig,
    OneStepConfig,
    RebuildConfig,
)
from perturblearn.data import Dataset, Signature, row_slices
from perturblearn.experiment.learn import TrainingSpec, learn_side_by_side
from perturblearn.experiment.measured import ControlAccuracies
from perturblearn.experiment.measures import accuracy
from perturblearn.experiment.networks import learn_network
from perturblearn.perturbed import PerturbedSet, draw_targets, sources_of, targets_of
from perturblearn.seeding import PublishedControl, PublishedStart, derive_seed
from perturblearn.store import Artefact
from perturblearn.training import Resumption

Report = Callable[[int, int, str], None]
Inputs = tuple[Tensor, tuple[Tensor, Tensor] | None]
"""What a draw is trained on, with its factors where they are known."""


@dataclass(frozen=True, eq=False)
class Control(ABC):
    """A perturbation classifier that differs from g in one thing; each of its draws has its own initialisation.

    Args:
        data: clean data, on which draws are measured.
        seen: the set from which a draw's inputs and labels are made.
        attack: how g's set was made.
        config: how g is made and trained, with one learning rate.
        seed: the run's seed.
        start: where a published script draws the first draw's weights; None for our own draws.
    """

    name: ClassVar[str]
    """What it is called in results."""

    data: Dataset
    seen: PerturbedSet
    attack: AttackConfig
    config: ClassifierConfig
    seed: int
    start: PublishedStart | None = None

    @abstractmethod
    def inputs(self, draw: int) -> Inputs:
        """What a draw is trained on."""

    @abstractmethod
    def labels(self, draw: int) -> Tensor:
        """The labels that a draw is trained with, (n,)."""

    @property
    def section(self) -> ClassifierConfig:
        """How a draw is trained."""
        return self.config

    @property
    def has_own_inputs(self) -> bool:
        """Whether no two draws see the same inputs."""
        return False

    def spec(self, draw: int, *, device: str | None = None) -> TrainingSpec:
        """What to train for a draw.

        Args:
            draw: which, from 0.
            device: where the labels go; None to leave them.
        """
        labels = self.labels(draw) if device is None else self.labels(draw).to(device)
        start = self.start if draw == 0 else None
        role = f"{self.name} control {draw}"
        auxiliary = labels.is_floating_point() and self.seen.is_auxiliary
        return TrainingSpec(self.section, labels, self.seed, role, start, self.data.value_range, auxiliary)

    def label_seed(self, draw: int) -> int:
        """The seed of what a draw's labels need."""
        return derive_seed(self.seed, "control labels", self.name, str(draw))


class Unperturbed(Control):
    """The same sources without the perturbation; where the source is nothing, random directions of the same size.

    The first draw has g's own targets; the others draw theirs anew where the rule is random. ``seen`` is what
    `unperturbed_set` gives, with the same clean samples mixed in.
    """

    name: ClassVar = "unperturbed"

    @property
    def section(self) -> ClassifierConfig:
        """As g, but not in the factors of a perturbed set that it does not see."""
        return without_factors(self.config)

    @property
    def has_own_inputs(self) -> bool:
        """See `Control.has_own_inputs`."""
        return self.attack.is_bare

    def inputs(self, draw: int) -> Inputs:
        """See `Control.inputs`."""
        return (self._directions(draw) if self.attack.is_bare else self.seen.inputs), None

    def labels(self, draw: int) -> Tensor:
        """See `Control.labels`."""
        targets = self.seen.target_labels
        if draw == 0:
            return targets
        if self.attack.rebuilds:  # what is random is which original a source is paired with
            order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(self.label_seed(draw)))
            return targets[order.to(targets.device)]
        drawn = draw_targets(
            self.attack.targets,
            len(targets),
            self.data.label_values,
            seed=self.label_seed(draw),
            labels=self.seen.true_labels,
            given=self.data.given_targets,
        ).to(targets.device)
        return drawn if self.seen.clean is None else torch.where(self.seen.clean, targets, drawn)

    def _directions(self, draw: int) -> Tensor:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "control directions", str(draw)))
        # Drawn in float32 on the CPU whatever follows: the same directions in any precision and on any device.
        random = torch.randn(self.seen.inputs.shape, generator=generator, dtype=torch.float32).to(self.seen.inputs)
        norm = norm_of(self.attack.norm, self.attack.n_pixels(random[0].numel()))
        for part in row_slices(random):
            random[part] = steepest_step(random[part], norm, epsilon=self.attack.epsilon)
        return random


class Permuted(Control):
    """g's perturbed set with its target labels permuted."""

    name: ClassVar = "permuted"

    def inputs(self, draw: int) -> Inputs:
        """See `Control.inputs`."""
        return self.seen.inputs, self.seen.factors

    def labels(self, draw: int) -> Tensor:
        """See `Control.labels`."""
        targets, clean = self.seen.taught, self.seen.clean
        # Clean samples among them keep their labels: only what is under test is destroyed.
        places = torch.arange(len(targets)) if clean is None else (~clean.cpu()).nonzero()[:, 0]
        order = places[torch.randperm(len(places), generator=torch.Generator().manual_seed(self.label_seed(draw)))]
        permuted = targets.clone()
        permuted[places.to(targets.device)] = targets[order.to(targets.device)]
        return permuted


ControlName = Literal["unperturbed", "permuted"]
CONTROLS: dict[ControlName, type[Control]] = {"unperturbed": Unperturbed, "permuted": Permuted}
"""The controls by their names."""


def run_control(
    control: Control, *, draws: int, device: str, resumption: Resumption, report: Report
) -> ControlAccuracies:
    """Accuracy on clean data of classifiers that differ from g in one thing, over several draws.

    Args:
        control: which.
        draws: how many.
        device: where to train.
        resumption: how a deep network's training is kept while it goes on.
        report: called with steps done and in all.
    """
    if control.config.model.is_network:
        return _run_networks(control, draws, device, resumption, report)
    accuracies: list[float] = []
    heldout_accuracies: list[float] = []
    specs = [control.spec(draw, device=device) for draw in range(draws)]
    groups = [(draw, draw + 1) for draw in range(draws)] if control.has_own_inputs else [(0, draws)]
    for start, stop in groups:

        def report_group(done: int, steps: int, note: str, start: int = start, stop: int = stop) -> None:
            report(start * steps + done * (stop - start), draws * steps, note)

        inputs, factors = control.inputs(start)
        trained = dict(learn_side_by_side(specs[start:stop], inputs.to(device), factors=factors, report=report_group))
        for position in range(stop - start):
            classifier = trained[position]
            if isinstance(classifier, Exception):
                raise classifier
            data = control.data
            accuracies.append(accuracy(classifier.outputs(data.inputs), data.labels))
            heldout_accuracies.append(accuracy(classifier.outputs(data.heldout_inputs), data.heldout_labels))
    return ControlAccuracies(tuple(accuracies), tuple(heldout_accuracies))


def _run_networks(
    control: Control, draws: int, device: str, resumption: Resumption, report: Report
) -> ControlAccuracies:
    """Deep networks train one after the other; what a draw has reached is kept."""
    reached: dict[str, list[float]] = {"accuracy": [], "accuracy_heldout": []}
    data = control.data
    signature = Signature.of(data)
    for draw in range(draws):
        drafts = resumption.drafts.within(f"draw {draw}")
        kept = drafts.read("reached")
        if kept is None:

            def report_draw(done: int, steps: int, note: str, draw: int = draw) -> None:
                report(draw * steps + done, draws * steps, f"draw {draw + 1}/{draws}, {note}")

            inputs, _ = control.inputs(draw)
            classifier = learn_network(
                control.spec(draw),
                signature,
                inputs,
                device=device,
                resumption=replace(resumption, drafts=drafts),
                report=report_draw,
            )
            kept = Artefact(
                {
                    "accuracy": accuracy(classifier.outputs(data.inputs), data.labels),
                    "accuracy_heldout": accuracy(classifier.outputs(data.heldout_inputs), data.heldout_labels),
                }
            )
            drafts.write("reached", kept)
        for name, values in reached.items():
            values.append(kept.content[name])
    return ControlAccuracies.from_dict(reached)


def attack_of_control(attack: AttackConfig) -> AttackConfig:
    """What a control that does not see the perturbed set knows of the attack.

    That is what is drawn, and for bare perturbations how large random directions are.
    """
    if attack.rebuilds:
        return RebuildConfig()
    known = (*SOURCE_KEYS, *(("norm", "epsilon", "pixels", "pixel_share") if attack.is_bare else ()))
    keys = {key: getattr(attack, key) for key in known}
    return OneStepConfig.model_validate(
        {"source": attack.source_without_f, "targets": attack.targets_without_f, **keys}
    )


def unperturbed_set(
    data: Dataset, attack: AttackConfig, *, seed: int, published: PublishedControl | None = None
) -> PerturbedSet:
    """The set that g would see if nothing were perturbed: its sources, under its targets.

    Args:
        data: the data set.
        attack: source and targets.
        seed: that of the perturbed set.
        published: where a published script draws sources and targets; None for our own draws.
    """
    by_sources, by_targets = (None, None) if published is None else (published.sources, published.targets)
    sources = sources_of(data, attack, seed=seed, published=by_sources)
    targets = targets_of(data, attack, seed=seed, published=by_targets)
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


def without_factors(section: ClassifierConfig) -> ClassifierConfig:
    """How a classifier is trained on inputs whose factors are not known."""
    if isinstance(section, DescentConfig) and section.form == "low_rank":
        return section.model_copy(update={"form": "auto"})
    return section
