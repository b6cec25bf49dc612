"""Theory beside experiment: the comparison of a run as a table, sentences and figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from perturblearn.config import ExperimentConfig, TwoLayerConfig, config_tree, resolve_config
from perturblearn.errors import StoreError
from perturblearn.experiment import COMPARISONS, Comparison, dump_map, load_map, summarise
from perturblearn.report.decision_maps import draw_map_of
from perturblearn.report.table import title
from perturblearn.store import Artefact, ArtefactStore, separate, versions
from perturblearn.theory import DecisionMap

THEORY_SCHEMA = 1
"""Version of the comparison's JSON form; raised when a key changes its meaning or goes."""
_ROLES = (("standard", "f"), ("perturbation", "g"))
HEADS = ("theory beside experiment", "mean", "std", "n", "what is compared")
_DRAWN = "drawn.safetensors"
"""What the figures are drawn from: the first seed's outputs and cosines, and the decision map."""
_LAZY = 0.1
"""Below this kernel drift and distance from the linearisation a network counts as lazy."""
# Okabe and Ito's palette, which the colour-blind can tell apart.
_POSITIVE, _NEGATIVE, _GREY = "#0072B2", "#D55E00", "#7F7F7F"


@dataclass(frozen=True)
class TheoryComparison:
    """What both papers predict of a run, beside what it measured.

    Args:
        config: the run's configuration.
        key: the run's key.
        comparisons: by seed.
        drawn: the decision map of the first seed.
        folder: where the comparison was written to; None if nowhere.
        versions: of the packages that made it.
    """

    config: ExperimentConfig
    key: str
    comparisons: Mapping[int, Comparison]
    drawn: DecisionMap
    folder: Path | None = None
    versions: Mapping[str, str] = field(default_factory=versions)

    @classmethod
    def load(cls, folder: Path) -> TheoryComparison:
        """The comparison that `write` has written; of seeds after the first its numbers alone.

        Raises:
            StoreError: there is none, it is damaged, or another version wrote it.
        """
        path = folder / "comparison.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["schema"] != THEORY_SCHEMA:
                raise StoreError(
                    f"{path} was written by another version of perturblearn; 'perturblearn theory {folder.parent}' "
                    "writes it anew"
                )
            drawn = load_file(folder / _DRAWN)
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
                folder=folder,
                versions=content["versions"],
            )
        except OSError as error:
            raise StoreError(
                f"cannot read {error.filename or path} ({error.strerror or error}); 'perturblearn theory "
                f"{folder.parent}' writes it"
            ) from None
        except (ValueError, KeyError, TypeError, SafetensorError) as error:
            raise StoreError(
                f"{folder} is damaged ({error!r}); 'perturblearn theory {folder.parent}' writes it anew"
            ) from None

    @property
    def has_bias(self) -> bool:
        """Whether the networks are NeurIPS24's."""
        return isinstance(self.config.standard.model, TwoLayerConfig)

    @property
    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """The table's rows: name, mean, standard deviation, number of seeds, what is compared."""
        return [_cells(name, values) for name, values in self.summary.items()]

    @property
    def summary(self) -> dict[str, dict[str, Any]]:
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
        summary = self.summary

        def mean(name: str) -> float | None:
            return summary[name]["mean"] if name in summary else None

        cosine, chance = mean("cosine_similarity"), mean("cosine_similarity_random")
        sentences = [
            f"Perturbations point along the predicted t_n with a cosine of {cosine:.2f} in size "
            f"(random directions: {chance:.2f})."
        ]
        sentences.append(
            f"The sign of fhat is that of f on {mean('standard_sign_agreement'):.1%} of the held-out inputs, the sign "
            f"of ghat that of g on {mean('perturbation_sign_agreement'):.1%}."
        )
        full = mean("perturbation_sign_agreement_full")
        if full is not None:
            sentences.append(f"With what the paper leaves out of ghat it is {full:.1%}.")
        timed = {name: mean(f"{role}_sign_agreement_time") for role, name in _ROLES}
        if all(share is not None for share in timed.values()):
            shares = " and ".join(f"{name} on {share:.1%}" for name, share in timed.items())
            sentences.append(
                f"Lazy functions at the networks' own training time, starts included, agree with {shares}."
            )
        for role, name in _ROLES:
            drift, distance = mean(f"{role}_kernel_drift"), mean(f"{role}_linearisation_distance")
            if drift is not None and distance is not None:
                regime = "lazy" if max(drift, distance) < _LAZY else "not lazy"
                sentences.append(
                    f"{name} is {regime}: its kernel moved by {drift:.1%}, and it is {distance:.1%} of its way from "
                    "its linearisation."
                )
        factor = mean("training_orthogonality_factor")
        if factor is not None:
            holds = "holds" if factor < 1 else f"is missed by a factor of {factor:.1e}"
            sentences.append(f"The condition of nearly orthogonal training samples {holds}.")
        return " ".join(sentences)

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        return {
            "schema": THEORY_SCHEMA,
            "kind": "theory",
            "name": self.config.name,
            "key": self.key,
            "folder": None if self.folder is None else str(self.folder),
            "conclusion": self.conclusion,
            "notes": self.notes,
            "summary": self.summary,
            "seeds": [{"seed": seed, **of_seed.numbers} for seed, of_seed in self.comparisons.items()],
            "config": config_tree(self.config),
            "versions": dict(self.versions),
        }

    def plot(self) -> Figure:
        """Three panels for the first seed: f against fhat, g against ghat, and the cosines of its perturbations."""
        seed, first = next(iter(self.comparisons.items()))
        figure = Figure(figsize=(10.2, 3.6), layout="constrained")
        panels = figure.subplots(1, 3)
        _scatter(panels[0], first, "fhat", "f", first.numbers["standard_sign_agreement"])
        _scatter(panels[1], first, "ghat", "g", first.numbers["perturbation_sign_agreement"])
        _cosines(panels[2], first)
        figure.suptitle(f"{title(self.config)}; drawn: seed {seed}", fontsize=8)
        return figure

    def plot_map(self) -> Figure:
        """The decision map of the first seed."""
        return draw_map_of(self.drawn, has_bias=self.has_bias, title=title(self.config))

    def write(self, store: ArtefactStore) -> None:
        """Write numbers and pictures into the folder, all at once.

        Raises:
            StoreError: the folder cannot be written.
        """
        assert self.folder is not None
        with store.scratch() as scratch:
            inside = scratch / self.folder.name
            self.write_into(inside)
            self.plot().savefig(inside / "theory.png", dpi=130)
            self.plot_map().savefig(inside / "decision_map.png", dpi=130)
            store.move_into_place(inside, self.folder, replace=True)

    def write_into(self, inside: Path) -> None:
        """Make a folder with ``comparison.json`` and ``drawn.safetensors``, from which figures are drawn."""
        inside.mkdir()
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"
        (inside / "comparison.json").write_text(text, encoding="utf-8")
        first = dict(next(iter(self.comparisons.values())).dump().tensors)
        first["labels_of_outputs"] = first.pop("labels")
        save_file(separate({**dump_map(self.drawn).tensors, **first}), inside / _DRAWN)

    def __str__(self) -> str:
        cells = [HEADS, *self.rows]
        widths = [max(len(line[column]) for line in cells) for column in range(4)]
        lines = [
            "  ".join(
                (line[0].ljust(widths[0]), *(line[column].rjust(widths[column]) for column in (1, 2, 3)), line[4])
            ).rstrip()
            for line in cells
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join((title(self.config), rule, lines[0], rule, *lines[1:], rule, "", self.conclusion, *self.notes))


def _cells(name: str, values: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    known = sum(value is not None for value in values["values"])
    return (name, _number(values["mean"]), _number(values["std"]), str(known), COMPARISONS[name])


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.2e}"


def _scatter(axes: Axes, of_seed: Comparison, predicted: str, network: str, share: float | None) -> None:
    across, up = of_seed.outputs[predicted].double(), of_seed.outputs[network].double()
    across = across / (across.abs().max() or 1)
    for sign, colour in ((1, _POSITIVE), (-1, _NEGATIVE)):
        shown = of_seed.labels == sign
        axes.plot(across[shown], up[shown], "o", color=colour, markersize=2.5, alpha=0.5, markeredgewidth=0)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_xlabel(rf"$\hat {network}$, largest = 1")
    axes.set_ylabel(f"${network}$")
    axes.set_title(f"same sign on {share:.1%} of held-out inputs", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def _cosines(axes: Axes, of_seed: Comparison) -> None:
    axes.hist(of_seed.cosines.double(), bins=torch.linspace(-1, 1, 81).tolist(), color=_POSITIVE, alpha=0.8)
    chance = of_seed.numbers["cosine_similarity_random"] or 0.0
    axes.axvspan(-chance, chance, color=_GREY, alpha=0.4, linewidth=0)
    axes.set_xlabel(r"$y'_n \cos(r_n, t_n)$ (grey: random)")
    axes.set_ylabel("perturbations")
    size = of_seed.numbers["cosine_similarity"]
    axes.set_title(f"perturbations and their prediction: {size:.3f}", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
