"""Theory beside experiment: what both papers predict of a run, and what it measured."""

# Safetensors is not typed.
# pyright: reportUnknownVariableType=false
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from perturblearn.config import ExperimentConfig, TwoLayerConfig, config_tree, resolve_config
from perturblearn.experiment import COMPARISONS, Comparison, Summary, dump_map, load_map, summarise
from perturblearn.results.data_size import DataSize
from perturblearn.results.drawing import DrawFigure, Style
from perturblearn.results.files import File, Form, csv_text, json_text
from perturblearn.results.finished import Finished
from perturblearn.results.shown import report_on
from perturblearn.store import Artefact, write_tensors
from perturblearn.theory import DecisionMap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DRAWN = "drawn.safetensors"
"""What the figures are drawn from: the first seed's outputs and cosines, and the decision map."""


@dataclass(frozen=True, repr=False)
class TheoryComparison(Finished):
    """What both papers predict of a run, beside what it measured.

    Args:
        config: the run's configuration.
        key: the run's key.
        comparisons: by seed; of one that was read from a folder, seeds after the first hold their numbers alone.
        drawn: the decision map of the first seed.
        size: of the data; None for a comparison that an older version wrote.
    """

    form: ClassVar[Form] = Form(
        "comparison.json", "theory", 1, "comparison with theory", "compare the run with theory again"
    )

    config: ExperimentConfig
    key: str
    comparisons: Mapping[int, Comparison]
    drawn: DecisionMap
    size: DataSize | None = None

    @property
    def has_bias(self) -> bool:
        """Whether the networks are NeurIPS24's."""
        return isinstance(self.config.standard.model, TwoLayerConfig)

    @property
    def summary(self) -> dict[str, Summary]:
        """By number: mean, std, median and values over the seeds; numbers that apply to no seed are left out."""
        values = {name: [of_seed.numbers[name] for of_seed in self.comparisons.values()] for name in COMPARISONS}
        return {name: summarise(known) for name, known in values.items() if any(value is not None for value in known)}

    @property
    def notes(self) -> list[str]:
        """Why some numbers are missing, each reason once."""
        return list(dict.fromkeys(note for of_seed in self.comparisons.values() for note in of_seed.notes))

    @property
    def conclusion(self) -> str:
        """How well the predictions hold, in sentences."""
        return report_on(self).conclusion

    def _content(self) -> dict[str, Any]:
        return {
            "name": self.config.name,
            "key": self.key,
            "conclusion": self.conclusion,
            "notes": self.notes,
            "data_size": None if self.size is None else self.size.to_dict(),
            "summary": self.summary,
            "seeds": [{"seed": seed, **of_seed.numbers} for seed, of_seed in self.comparisons.items()],
            "config": config_tree(self.config),
        }

    @classmethod
    def _from_dict(cls, content: dict[str, Any], folder: Path) -> TheoryComparison:
        try:
            drawn = load_file(folder / _DRAWN)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{_DRAWN} cannot be read: {error}") from None
        outputs = {name: drawn.pop(name) for name in list(drawn) if name.startswith("outputs.")}
        first = {"labels": drawn.pop("labels_of_outputs"), "cosines": drawn.pop("cosines"), **outputs}
        none = {"labels": torch.empty(0), "cosines": torch.empty(0)}
        comparisons = {
            seed["seed"]: Comparison.load(
                Artefact(
                    {"numbers": {name: seed[name] for name in COMPARISONS}, "notes": content["notes"]},
                    none if number else first,
                )
            )
            for number, seed in enumerate(content["seeds"])
        }
        return cls(
            config=resolve_config(dict(content["config"])),
            key=content["key"],
            comparisons=comparisons,
            drawn=load_map(Artefact({}, drawn)),
            size=DataSize.from_dict(content.get("data_size")),
        )

    def plot(self, style: Style | None = None) -> Figure:
        """Three panels for the first seed: f against f̂, g against ĝ, and the cosines of its perturbations.

        Args:
            style: as for `Result.plot`.

        Raises:
            ConfigError: the style cannot be used.
        """
        return report_on(self).plot(style)

    def plot_map(self, style: Style | None = None) -> Figure:
        """The decision map of the first seed; otherwise as `plot`."""
        return report_on(self).plot_map(style)

    def to_csv(self) -> str:
        """A row per number in CSV: mean and deviation over the seeds, and how many of these have it."""
        rows = [
            (name, values["mean"], values["std"], sum(value is not None for value in values["values"]))
            for name, values in self.summary.items()
        ]
        return csv_text(("number", "mean", "std", "n"), rows)

    def figures(self) -> Iterator[tuple[str, DrawFigure]]:
        """Outputs over their predictions, and the decision map."""
        yield "theory", lambda _, style: self.plot(style)
        yield "decision_map", lambda _, style: self.plot_map(style)

    def files(self) -> Iterator[File]:
        """``comparison.json`` and ``drawn.safetensors``, from which pictures are drawn."""
        yield self.form.file, json_text(self.to_dict())
        first = dict(next(iter(self.comparisons.values())).dump().tensors)
        first["labels_of_outputs"] = first.pop("labels")
        yield _DRAWN, partial(write_tensors, {**dump_map(self.drawn).tensors, **first})

    def __repr__(self) -> str:
        return self._describe(repr(self.config.name), f"{len(self.comparisons)} seeds")
