"""The five steps of perturbation learning, each a stage: a pure function of its fields.

Data, a standard classifier f, a perturbed set, a perturbation classifier g that sees nothing else, and measures on
clean data.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from perturblearn.classifiers import Classifier, Identity
from perturblearn.config import AttackConfig, DataConfig, SavingConfig
from perturblearn.data import Dataset, load_dataset
from perturblearn.errors import DataError
from perturblearn.experiment.context import ContextStage
from perturblearn.experiment.draws import start_of_sources
from perturblearn.experiment.linear_shortcut import projected_set, random_directions, shortcut_of
from perturblearn.experiment.measured import LearnerMeasures
from perturblearn.experiment.measures import (
    PerturbationCase,
    measure_generation,
    measure_perturbation,
    measure_standard,
)
from perturblearn.experiment.network_costs import estimate_shard
from perturblearn.experiment.numbers import Numbers, NumbersStage
from perturblearn.experiment.probe import LinearProbe
from perturblearn.experiment.training import DeepTraining, Samples, TwoLayerTraining
from perturblearn.graph import Costly, Estimate, Results, Stage, Stored, aside, optional
from perturblearn.perturbed import PerturbedSet, StoredSet, chosen_by_f, mix, perturb, saved_set, sources_of
from perturblearn.seeding import PublishedDraws, PublishedSources, PublishedTargets, derive_seed
from perturblearn.store import Artefact

Part = Literal["training", "heldout"]
"""The part of the data that sources are taken from."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Data(Stage[Dataset]):
    """The data set.

    Not stored: reading the source is as quick as reading a copy.

    Args:
        options: the configuration without paths.
        fingerprint: hash of the files' content; None for data that are drawn.
        dtype: of the inputs.
        seed: the run's seed where data or their split are drawn.
        draws: by which published script data are drawn; None for our own draws.
        config, data_dir: where the data are found.
        dataset: the data themselves, if they were handed over in Python.
        data_device: where they lie.
    """

    kind = "data"
    options: Mapping[str, Any]
    fingerprint: str | None
    dtype: str
    seed: int | None
    draws: PublishedDraws | None = optional()
    config: DataConfig = aside()
    data_dir: str | Path | None = aside()
    dataset: Dataset | None = aside()
    data_device: str = aside()

    @property
    def label(self) -> str:
        """Words for people."""
        return f"data {self.config.provider}"

    def run(self, result: Results) -> Dataset:
        """Load or draw the data."""
        return self.load()

    def load(self) -> Dataset:
        """The data, without an executor."""
        data = self.dataset
        if data is None:
            data = load_dataset(self.config, seed=self.seed or 0, data_dir=self.data_dir, draws=self.draws)
        return data.to(dtype=getattr(torch, self.dtype), device=self.data_device)


@dataclass(frozen=True, eq=False, kw_only=True)
class WithForeign(Stage[Dataset]):
    """The data set beside inputs of another one, which are perturbed in the place of its own.

    Args:
        foreign: the other data set.
        name: what messages call it.
    """

    kind = "data with foreign inputs"
    data: Stage[Dataset]
    foreign: Stage[Dataset]
    name: str = aside()

    def run(self, result: Results) -> Dataset:
        """Put them side by side."""
        return result(self.data).with_foreign(result(self.foreign), self.name)


@dataclass(frozen=True, eq=False, kw_only=True)
class Standard(TwoLayerTraining):
    """A two-layer standard classifier f, trained on the data with their true labels.

    Args:
        kept: which of the networks that an attack on f is to leave alone, from 0: drawn and trained independently of f;
            None for f itself.
    """

    kind = "standard classifier"
    version = 2
    role = "standard"
    data: Stage[Dataset]
    kept: int | None = optional()

    @property
    def label(self) -> str:
        """Words for people."""
        return super().label if self.kept is None else f"{super().label}, kept network {self.kept + 1}"

    @property
    def network_seed(self) -> int:
        """See `TwoLayerTraining.network_seed`."""
        return self.seed if self.kept is None else derive_seed(self.seed, "kept network", str(self.kept))

    def samples(self, result: Results) -> Samples:
        """Clean inputs and their true labels."""
        data = result(self.data).to(device=self.device)
        if not data.is_binary:
            names = ", ".join(data.class_names[:10])
            raise DataError(
                f"the data have {data.n_classes} classes ({names}), but two-layer classifiers tell two apart; choose "
                f"two, for example --data.classes {data.class_names[0]},{data.class_names[1]}, or a deep network, for "
                "example --standard.model.name mlp --perturbation.model.name mlp"
            )
        return Samples(data.inputs, data.labels, value_range=data.value_range)


@dataclass(frozen=True, eq=False, kw_only=True)
class DeepStandard(DeepTraining):
    """A deep standard classifier f, trained on the data with their true labels, or used as it is.

    Args:
        kept: as in `Standard`.
    """

    kind = "standard network"
    role = "standard"
    data: Stage[Dataset]
    kept: int | None = optional()

    @property
    def label(self) -> str:
        """Words for people."""
        return super().label if self.kept is None else f"{super().label}, kept network {self.kept + 1}"

    @property
    def network_seed(self) -> int:
        """See `TwoLayerTraining.network_seed`."""
        return self.seed if self.kept is None else derive_seed(self.seed, "kept network", str(self.kept))

    def samples(self, result: Results) -> Samples:
        """Clean inputs and their true labels."""
        data = result(self.data)
        return Samples(data.inputs, data.labels)


@dataclass(frozen=True, eq=False, kw_only=True)
class LoadedStandard(Stage[Classifier]):
    """The standard classifier f that a perturbed set on disk was made with.

    Args:
        hash: of its weights.
        stored: the set.
    """

    kind = "stored standard classifier"
    title = "standard classifier of the set"
    hash: str
    stored: StoredSet = aside()

    def run(self, result: Results) -> Classifier:
        """Read it."""
        return Classifier.load(self.stored.standard())


@dataclass(frozen=True, eq=False, kw_only=True)
class Shard(ContextStage[PerturbedSet], Stored[PerturbedSet], Costly[PerturbedSet]):
    """Some of the samples of a perturbed set that takes long to make.

    Args:
        attack: source, targets, and how sources are moved.
        own: identity of the user's own attack; None for all others.
        part: of the data.
        rows: which of the set's samples.
        seed: the run's seed.
        data, standard: the sources and f.
        targets, sources: where a published script draws them; None for our own draws.
        others: networks that the attack is to leave at the true labels; None without any.
        generation: from 2 on, which network is attacked in the place of f; None for f.
        is_whole: whether these are all rows.
    """

    kind = "shard of a perturbed set"
    version = 2
    result_type = PerturbedSet
    is_read_back = True
    attack: AttackConfig
    own: Identity | None
    part: Part
    rows: range
    seed: int
    data: Stage[Dataset]
    standard: Stage[Classifier]
    targets: PublishedTargets | None = optional()
    sources: PublishedSources | None = optional()
    others: tuple[Stage[Classifier], ...] | None = optional()
    generation: int | None = optional()
    is_whole: bool = aside()

    @property
    def label(self) -> str:
        """Words for people."""
        name = _name_of_set(self.part, self.generation)
        return name if self.is_whole else f"{name}, samples {self.rows.start:,} to {self.rows.stop - 1:,}"

    @property
    def unidentified(self) -> tuple[str, ...]:
        """What nothing identifies in the attack."""
        return () if self.own is None else self.own.unidentified

    @property
    def work(self) -> float:
        """A step goes forward and back."""
        outline = self.context.outline()
        steps = self.attack.gradient_steps(outline.signature.input_dim)
        return 2.0 * steps * (1 + self.attack.n_others) * len(self.rows) / outline.n_samples

    def run(self, result: Results) -> PerturbedSet:
        """Move the sources towards their targets."""
        return perturb(
            result(self.standard).to(device=self.device),
            result(self.data),
            self.attack,
            seed=self.seed,
            others=[result(other).to(device=self.device) for other in self.others or ()],
            generation=self.generation or 1,
            heldout=self.part == "heldout",
            rows=self.rows,
            published_sources=self.sources,
            published_targets=self.targets,
            drafts=result.drafts,
            report=result.report,
        )

    @classmethod
    def estimate(cls, group: Sequence[Any]) -> Estimate:
        """What the attack costs."""
        (shard,) = group
        return estimate_shard(shard.context.standard, shard.context.shapes(), len(shard.rows))


@dataclass(frozen=True, eq=False, kw_only=True)
class Perturbed(ContextStage[PerturbedSet]):
    """Sources moved towards their targets by an attack on f.

    Not stored: one gradient step is as quick as reading its result. What takes longer is put together from shards,
    which are stored.

    Args:
        attack: source, targets, and how sources are moved.
        own: identity of the user's own attack; None for all others.
        part: of the data.
        seed: the run's seed.
        made_from: f itself, or the set's shards.
        targets, sources: where a published script draws them; None for our own draws.
        generation: as in `Shard`.
    """

    kind = "perturbed set"
    version = 3
    attack: AttackConfig
    own: Identity | None
    part: Part
    seed: int
    data: Stage[Dataset]
    made_from: Stage[Classifier] | tuple[Shard, ...]
    targets: PublishedTargets | None = optional()
    sources: PublishedSources | None = optional()
    generation: int | None = optional()

    @property
    def label(self) -> str:
        """Words for people."""
        return _name_of_set(self.part, self.generation)

    @property
    def unidentified(self) -> tuple[str, ...]:
        """What nothing identifies in the attack."""
        return () if self.own is None else self.own.unidentified

    def run(self, result: Results) -> PerturbedSet:
        """Move the sources, or join the shards."""
        data, heldout = result(self.data), self.part == "heldout"
        if isinstance(self.made_from, Stage):
            standard = result(self.made_from).to(device=self.device)
            made = perturb(
                standard,
                data,
                self.attack,
                seed=self.seed,
                generation=self.generation or 1,
                heldout=heldout,
                published_sources=self.sources,
                published_targets=self.targets,
                report=result.report,
            )
        else:
            sources = sources_of(data, self.attack, seed=self.seed, heldout=heldout, published=self.sources)
            room = torch.empty_like(sources.inputs, device=self.context.data_device)
            parts = (result(shard) for shard in self.made_from)
            made = replace(PerturbedSet.joined(parts, len(room), inputs=room), sources=sources.inputs)
        return chosen_by_f(made, self.attack, heldout=heldout)


@dataclass(frozen=True, eq=False, kw_only=True)
class LoadedSet(Stage[PerturbedSet]):
    """A perturbed set from disk.

    Args:
        hash: of the set.
        part: of the data.
        stored: the set.
    """

    kind = "stored perturbed set"
    hash: str
    part: Part
    data: Stage[Dataset]
    stored: StoredSet = aside()

    @property
    def label(self) -> str:
        """Words for people."""
        return f"stored {_name_of_set(self.part)}"

    def run(self, result: Results) -> PerturbedSet:
        """Read it."""
        stored = self.stored
        heldout = self.part == "heldout"
        sources = sources_of(
            result(self.data),
            stored.config.attack,
            seed=stored.seed,
            heldout=heldout,
            published=start_of_sources(stored.config, self.part),
        )
        # On the set's own disk, if it can be written to: large sets do not fit into every folder of temporary files.
        beside = stored.folder.parent
        scratch = beside if os.access(beside, os.W_OK) else None
        return replace(StoredSet(stored.folder, self.part).load(scratch=scratch), sources=sources.inputs)


@dataclass(frozen=True, eq=False, kw_only=True)
class Mixed(ContextStage[PerturbedSet]):
    """A perturbed set in which some samples are clean and keep their true labels.

    Args:
        share: of perturbed samples.
        part: of the data.
        seed: the run's seed.
    """

    kind = "mixed set"
    share: float
    part: Part
    seed: int
    data: Stage[Dataset]
    perturbed: Stage[PerturbedSet]

    @property
    def label(self) -> str:
        """Words for people."""
        return f"{self.perturbed.label}, {1 - self.share:.0%} of it clean"

    def run(self, result: Results) -> PerturbedSet:
        """Replace some samples by clean ones."""
        return mix(
            result(self.perturbed).to(self.context.data_device),
            result(self.data),
            self.share,
            seed=derive_seed(self.seed, "mixing", self.part),
            heldout=self.part == "heldout",
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Saved(ContextStage[PerturbedSet]):
    """A perturbed set as files of images hold it.

    Not stored: writing the files is as quick as reading them.

    Args:
        saving: how they are written.
    """

    kind = "saved set"
    saving: SavingConfig
    data: Stage[Dataset]
    standard: Stage[Classifier]
    perturbed: Stage[PerturbedSet]

    @property
    def label(self) -> str:
        """Words for people."""
        return f"{self.perturbed.label}, as {self.saving.words}"

    def run(self, result: Results) -> PerturbedSet:
        """Write and read every image, in memory."""
        standard = result(self.standard).to(device=self.device)
        perturbed = result(self.perturbed).to(self.context.data_device)
        return saved_set(perturbed, result(self.data), self.saving, standard)


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearShortcut(ContextStage[LinearProbe]):
    """The linear classifier of a perturbed set whose directions are projected out.

    Not stored: fitting it is quick.
    """

    kind = "linear shortcut"
    data: Stage[Dataset]
    perturbed: Stage[PerturbedSet]

    def run(self, result: Results) -> LinearProbe:
        """Fit it."""
        return shortcut_of(result(self.perturbed), result(self.data))


@dataclass(frozen=True, eq=False, kw_only=True)
class Projected(ContextStage[PerturbedSet]):
    """A perturbed set without its linear shortcut, or without as many random directions.

    Args:
        seed: of the random directions; None for the shortcut.
    """

    kind = "projected set"
    seed: int | None
    perturbed: Stage[PerturbedSet]
    shortcut: LinearShortcut

    @property
    def label(self) -> str:
        """Words for people."""
        return f"{self.perturbed.label} without {'its linear shortcut' if self.seed is None else 'random directions'}"

    def run(self, result: Results) -> PerturbedSet:
        """Project the inputs."""
        perturbed, span = result(self.perturbed).to(self.context.data_device), result(self.shortcut).directions
        if self.seed is not None:
            span = random_directions(span, seed=self.seed)
        return projected_set(perturbed, span)


@dataclass(frozen=True, eq=False, kw_only=True)
class Perturbation(TwoLayerTraining):
    """A two-layer perturbation classifier g, trained on the perturbed set alone: it never sees a true label.

    Args:
        perturbed: the set.
        data: whose range adversarial training keeps; None for other training, which does not ask for it.
        generation: from 2 on, which it is of the networks that learn from one another; None for g itself.
    """

    kind = "perturbation classifier"
    version = 2
    role = "perturbation"
    perturbed: Stage[PerturbedSet]
    data: Stage[Dataset] | None = optional()
    generation: int | None = optional()

    @property
    def label(self) -> str:
        """Words for people."""
        return _name_of_learner(super().label, self.generation, self.perturbed)

    @property
    def network_seed(self) -> int:
        """See `TwoLayerTraining.network_seed`."""
        return self.seed if self.generation is None else derive_seed(self.seed, "generation", str(self.generation))

    def samples(self, result: Results) -> Samples:
        """Perturbed inputs and their target labels."""
        perturbed = result(self.perturbed).to(self.device)
        if not bool((perturbed.target_labels.abs() == 1).all()):
            raise DataError(
                "the data have more than two classes, but a two-layer perturbation classifier tells two apart; choose "
                "a deep network, for example --perturbation.model.name mlp"
            )
        samples = Samples(perturbed.inputs, perturbed.target_labels, perturbed.factors)
        return samples if self.data is None else replace(samples, value_range=result(self.data).value_range)


@dataclass(frozen=True, eq=False, kw_only=True)
class DeepPerturbation(DeepTraining):
    """A deep perturbation classifier g, trained on the perturbed set alone.

    Of the data it knows shape and scale, and never a true label.

    Args:
        generation: as in `Perturbation`.
    """

    kind = "perturbation network"
    role = "perturbation"
    data: Stage[Dataset]
    perturbed: Stage[PerturbedSet]
    generation: int | None = optional()

    @property
    def label(self) -> str:
        """Words for people."""
        return _name_of_learner(super().label, self.generation, self.perturbed)

    @property
    def network_seed(self) -> int:
        """See `TwoLayerTraining.network_seed`."""
        return self.seed if self.generation is None else derive_seed(self.seed, "generation", str(self.generation))

    def samples(self, result: Results) -> Samples:
        """Perturbed inputs and their target labels."""
        perturbed = result(self.perturbed)
        return Samples(perturbed.inputs, perturbed.taught, are_auxiliary=perturbed.is_auxiliary)


@dataclass(frozen=True, eq=False, kw_only=True)
class StandardMeasures(ContextStage[Numbers], NumbersStage):
    """What f knows of clean data.

    Args:
        taken: names of the measures, so that another one is measured, and not read from before.
    """

    kind = "standard measures"
    title = "measures of f"
    version = 2
    taken: tuple[str, ...]
    data: Stage[Dataset]
    standard: Stage[Classifier]

    def run(self, result: Results) -> Numbers:
        """Measure f."""
        return measure_standard(result(self.standard).to(device=self.device), result(self.data))


@dataclass(frozen=True, eq=False, kw_only=True)
class PerturbationMeasures(ContextStage[LearnerMeasures], Stored[LearnerMeasures]):
    """What g knows of clean data that it never saw.

    Args:
        loss: g's.
        taken: names of the measures, so that another one is measured, and not read from before.
    """

    kind = "perturbation measures"
    title = "measures of g"
    version = 3
    loss: str
    taken: tuple[str, ...]
    data: Stage[Dataset]
    standard: Stage[Classifier]
    perturbed: Stage[PerturbedSet]
    heldout_perturbed: Stage[PerturbedSet]
    perturbation: Stage[Classifier]

    def run(self, result: Results) -> LearnerMeasures:
        """Measure g."""
        case = PerturbationCase(
            standard=result(self.standard).to(device=self.device),
            data=result(self.data),
            perturbation=result(self.perturbation).to(device=self.device),
            perturbed=result(self.perturbed).to(self.context.data_device),
            heldout_perturbed=result(self.heldout_perturbed).to(self.context.data_device),
            loss=self.loss,
        )
        return measure_perturbation(case)

    @classmethod
    def dump(cls, result: LearnerMeasures) -> Artefact:
        """The measures as an artefact."""
        return Artefact(result.to_dict())

    @classmethod
    def load(cls, artefact: Artefact) -> LearnerMeasures:
        """The measures again."""
        return LearnerMeasures.from_dict(artefact.content)


@dataclass(frozen=True, eq=False, kw_only=True)
class GenerationMeasures(ContextStage[Numbers], NumbersStage):
    """What a later generation knows of clean data.

    Args:
        number: of the generation, from 2 on.
        perturbed: what it was trained on.
        perturbation: the network.
    """

    kind = "generation measures"
    number: int
    data: Stage[Dataset]
    standard: Stage[Classifier]
    perturbed: Stage[PerturbedSet]
    perturbation: Stage[Classifier]

    @property
    def label(self) -> str:
        """Words for people."""
        return f"measures of generation {self.number}"

    def run(self, result: Results) -> Numbers:
        """Measure it."""
        f, g = (result(network).to(device=self.device) for network in (self.standard, self.perturbation))
        return measure_generation(self.number, f, g, result(self.data), result(self.perturbed))


def _name_of_set(part: Part, generation: int | None = None) -> str:
    name = "perturbed held-out set" if part == "heldout" else "perturbed set"
    return name if generation is None else f"{name} of generation {generation}"


def _name_of_learner(name: str, generation: int | None, perturbed: Stage[PerturbedSet]) -> str:
    if isinstance(perturbed, Projected):
        return f"{name}, on the {perturbed.label}"
    return name if generation is None else f"{name}, generation {generation}"
