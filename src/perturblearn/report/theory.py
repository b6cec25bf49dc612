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

from perturblearn.config import ExperimentConfig, config_tree
from perturblearn.experiment import COMPARISONS, Comparison, summarise
from perturblearn.report.decision_maps import draw_map_of
from perturblearn.report.table import title
from perturblearn.store import ArtefactStore, versions
from perturblearn.theory import DecisionMap

THEORY_SCHEMA = 1
"""Version of the comparison's JSON form; raised when a key changes its meaning or goes."""
_ROLES = (("standard", "f"), ("perturbation", "g"))
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
        has_bias = self.config.standard.model.name == "two_layer"
        return draw_map_of(self.drawn, has_bias=has_bias, title=title(self.config))

    def write(self, store: ArtefactStore) -> None:
        """Write ``comparison.json``, ``theory.png`` and ``decision_map.png`` into the folder, all at once.

        Raises:
            StoreError: the folder cannot be written.
        """
        assert self.folder is not None
        with store.scratch() as scratch:
            inside = scratch / self.folder.name
            inside.mkdir()
            text = json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"
            (inside / "comparison.json").write_text(text, encoding="utf-8")
            self.plot().savefig(inside / "theory.png", dpi=130)
            self.plot_map().savefig(inside / "decision_map.png", dpi=130)
            store.move_into_place(inside, self.folder, replace=True)

    def __str__(self) -> str:
        heads = ("theory beside experiment", "mean", "std", "n", "what is compared")
        cells = [heads, *(_cells(name, values) for name, values in self.summary.items())]
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
