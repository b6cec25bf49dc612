"""The result of a run: numbers, its networks and sets, and their forms for people and programs."""

# Pandas is not typed, nor what lies in JSON.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from perturblearn.classifiers import Classifier
from perturblearn.config import JSON, ExperimentConfig, Keys, config_tree, leaves, resolve_config, to_toml
from perturblearn.errors import StoreError
from perturblearn.experiment import (
    BEATEN_SHARE,
    HELDOUT,
    ControlSummary,
    SeedMeasures,
    Summaries,
    chance_of,
    controls_of,
    numbers_of,
    summarise_seeds,
)
from perturblearn.perturbed import PerturbedSet
from perturblearn.results.data_size import DataSize
from perturblearn.results.drawing import DrawFigure, Style
from perturblearn.results.examples import EXAMPLES, Examples
from perturblearn.results.files import File, Form, csv_text, json_text
from perturblearn.results.finished import Finished
from perturblearn.results.names import size_of
from perturblearn.results.rows import Row, to_frame
from perturblearn.results.shown import report_on
from perturblearn.results.shown_features import FEATURES, ShownFeatures

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

SCHEMA = 2
"""Version of a run's JSON form, which records hold as well."""
STANDARD, PERTURBATION = "standard.safetensors", "perturbation.safetensors"
TRAINING_SET, HELDOUT_SET = "perturbed.safetensors", "perturbed-heldout.safetensors"
"""Files in the folder of a seed."""


@dataclass(frozen=True, repr=False)
class Result(Finished):
    """What a run has measured.

    Args:
        config: the configuration as resolved.
        key: hash of the run's stages.
        seeds: what each seed has measured.
        summary: by measure: ``mean``, ``std``, ``median``, ``values``; see the docs page *Results*.
        size: of the data; None for a result that an older version wrote.
        command: makes it again where ``config.toml`` alone does not: of a run that was learned from a set.
        no_theory: why the papers' predictions could not be put beside it, where that was tried.
    """

    form: ClassVar[Form] = Form("result.json", "run", SCHEMA, "run", "run the experiment again")

    config: ExperimentConfig
    key: str
    seeds: Sequence[SeedMeasures]
    summary: Summaries
    size: DataSize | None = None
    command: str | None = None
    no_theory: str | None = None

    @classmethod
    def of(
        cls,
        config: ExperimentConfig,
        key: str,
        seeds: Sequence[SeedMeasures],
        seconds: float,
        size: DataSize | None = None,
    ) -> Result:
        """A result with the summary of its seeds.

        Args:
            config, key, seeds, size: as in `Result`.
            seconds: time spent in the stages that ran.
        """
        summary = summarise_seeds(seeds, mixed=config.mixing.is_mixed)
        return cls(config, key, seeds, summary, size, seconds=seconds)

    @property
    def conclusion(self) -> str:
        """What the numbers mean, in two sentences."""
        return report_on(self).conclusion

    @property
    def remarks(self) -> list[str]:
        """What a careful reader should know besides: controls off chance, one seed only, a perturbation of 0."""
        return report_on(self).remarks

    @property
    def chance(self) -> float:
        """What guessing reaches, 1/K."""
        return chance_of(self.seeds)

    @property
    def controls(self) -> dict[str, ControlSummary]:
        """The controls on held-out inputs, by their names; none if no draws were asked for."""
        return controls_of(self.summary)

    @property
    def learner(self) -> str:
        """The network g, as the configuration names it."""
        return self.config.perturbation.model.name

    @property
    def has_learned(self) -> bool | None:
        """Whether g beats the draws of every control and, in the mean, chance; None without controls.

        Where nothing is perturbed g is a control itself, and beats the others by accident.
        """
        if not self.controls:
            return None
        if size_of(self.config.attack)[0] == 0:
            return False
        beats_all = all(values["beaten"] >= BEATEN_SHARE for values in self.controls.values())
        return beats_all and self.summary[HELDOUT.perturbation]["mean"] > self.chance

    def standard(self, seed: int | None = None) -> nn.Module:
        """The standard classifier f, at the chosen learning rate.

        Args:
            seed: one of the run's; None for the first.

        Returns:
            The trained network: ``network(inputs)`` gives one output per input for two classes, whose sign is the
            label, and one per class for more.

        Raises:
            ValueError: the run has no such seed.
            StoreError: the run was not written to a folder, or its file is missing or damaged.
            ModelError: the network is the user's own, and is not there any more or is another one now.
        """
        return Classifier.load(self._place(seed) / STANDARD).module

    def perturbation(self, seed: int | None = None) -> nn.Module:
        """The perturbation classifier g, at the chosen learning rate; otherwise as `standard`."""
        return Classifier.load(self._place(seed) / PERTURBATION).module

    def perturbed_set(self, seed: int | None = None, *, heldout: bool = False) -> PerturbedSet:
        """The set that g was trained on.

        Args:
            seed: one of the run's; None for the first.
            heldout: the set that g has not seen, which chooses its learning rate.

        Returns:
            The set; ``perturbed_set[i]`` is its i-th sample, a perturbed input and the label that g is told.

        Raises:
            ValueError: the run has no such seed.
            StoreError: the run was not written to a folder, or its file is missing or damaged.
        """
        return PerturbedSet.load(self._place(seed) / (HELDOUT_SET if heldout else TRAINING_SET))

    def _place(self, seed: int | None) -> Path:
        """The folder of one seed."""
        known = [of_seed.seed for of_seed in self.seeds]
        chosen = known[0] if seed is None else seed
        if chosen not in known:
            raise ValueError(f"seed {chosen} is not one of this run's seeds, which are {', '.join(map(str, known))}")
        if self.folder is None:
            raise StoreError(
                "this result is in memory, without its networks and sets; run the experiment with out=... to keep them"
            )
        return self.folder / f"seed-{chosen}"

    def _content(self) -> dict[str, Any]:
        return {
            "name": self.config.name,
            "key": self.key,
            "command": self.command,
            "no_theory": self.no_theory,
            "conclusion": self.conclusion,
            "remarks": self.remarks,
            **self._numbers(),
            "config": config_tree(self.config),
            "seconds": self.seconds,
        }

    @classmethod
    def _from_dict(cls, content: dict[str, Any], folder: Path) -> Result:
        return cls(
            config=resolve_config(dict(content["config"])),
            key=content["key"],
            **_numbers_in(content),
            command=content.get("command"),
            no_theory=content.get("no_theory"),
            seconds=content["seconds"],
        )

    def as_cell(self, first: ExperimentConfig) -> dict[str, Any]:
        """The result as JSON values within an audit or a matrix.

        Args:
            first: the configuration of the first cell, from which ``changes`` lead to this one.
        """
        return {"key": self.key, "changes": _changes(config_tree(first), config_tree(self.config)), **self._numbers()}

    @classmethod
    def from_cell(cls, cell: Mapping[str, Any], content: Mapping[str, Any]) -> Result:
        """The result that `as_cell` was given, without its folder.

        Args:
            cell: what `as_cell` gave.
            content: the whole file, with the first cell's ``config`` and the ``versions``.

        Raises:
            ConfigError: its configuration is none.
            KeyError: a key is missing.
        """
        config = resolve_config(dict(content["config"]), cell["changes"])
        return cls(config, cell["key"], **_numbers_in(cell), versions=content["versions"])

    def _numbers(self) -> dict[str, Any]:
        return {
            "data_size": None if self.size is None else self.size.to_dict(),
            "summary": {name: dict(values) for name, values in self.summary.items()},
            "seeds": [seed.to_dict() for seed in self.seeds],
        }

    def files(self) -> Iterator[File]:
        """``config.toml`` and ``result.json``; networks, sets and examples are added by `export_run`."""
        yield "config.toml", to_toml(self.config)
        yield self.form.file, json_text(self.to_dict())

    def to_csv(self) -> str:
        """A row per measure in CSV: mean, deviation and median over the seeds, how many values, the interval's ends."""
        rows = [
            (
                *(name, values["mean"], values["std"], values["median"]),
                sum(value is not None for value in values["values"]),
                *values.get("interval", (None, None)),
            )
            for name, values in self.summary.items()
        ]
        return csv_text(("measure", "mean", "std", "median", "n", "low", "high"), rows)

    def figures(self) -> Iterator[tuple[str, DrawFigure]]:
        """Accuracies, examples and, of more than two classes, the confusion of g; features where they were measured."""
        yield "accuracies", lambda _, style: self.plot(style)
        if len(self.seeds[0].classes.names) > 2:
            yield "confusion", lambda _, style: self.plot_confusion(style)
        yield (
            "perturbations",
            lambda folder, style: report_on(self).plot_examples(Examples.load(folder / EXAMPLES), style),
        )
        measures = self.config.measures
        for name, is_asked in zip(FEATURES, (measures.robust_leakage is not None, measures.features), strict=True):
            if is_asked:
                yield name, partial(self._plot_features, name)

    def _plot_features(self, name: str, folder: Path, style: Style | None) -> Figure:
        shown = ShownFeatures.load(folder / f"{name}.safetensors")
        return report_on(self).plot_features(shown, FEATURES[name], style)

    @cached_property
    def rows(self) -> list[Row]:
        """A row per seed: the chosen learning rates, every measure, and the mean of every control."""
        return [{"seed": seed.seed, **numbers_of(seed)} for seed in self.seeds]

    def to_frame(self) -> pandas.DataFrame:
        """One row per seed: the chosen learning rates, every measure, and the mean of every control.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        return to_frame(self.rows).set_index("seed")

    def plot(self, style: Style | None = None) -> Figure:
        """Accuracy of f and g, their agreement and every draw of the controls, seed by seed, as a matplotlib figure.

        Args:
            style: settings of matplotlib by their name, a style file or the name of a style; None for ours.

        Raises:
            ConfigError: the style cannot be used.
        """
        return report_on(self).plot(style)

    def plot_confusion(self, style: Style | None = None) -> Figure:
        """What g takes each class for on the held-out inputs, mean over the seeds; otherwise as `plot`."""
        return report_on(self).plot_confusion(style)

    def __repr__(self) -> str:
        g = self.summary[HELDOUT.perturbation]["mean"]
        return self._describe(repr(self.config.name), f"{len(self.seeds)} seeds", f"accuracy of g {g:.3f}")


def _numbers_in(content: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a `Result` that a run and a cell hold alike."""
    seeds = [SeedMeasures.from_dict(seed) for seed in content["seeds"]]
    size = DataSize.from_dict(content.get("data_size"))
    return {"seeds": seeds, "summary": content["summary"], "size": size}


def _changes(first: Keys, other: Keys) -> dict[str, JSON]:
    """Values by dotted name that make the first tree the other one; None takes a value away."""
    before, after = dict(leaves(first)), dict(leaves(other))
    return {name: after.get(name) for name in {**before, **after} if before.get(name) != after.get(name)}
