"""A figure of a paper: panels, each an experiment with one or two of its settings varied together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from perturblearn.config import ExperimentConfig, resolve_config

_KEYS = {
    "input_dim": ("data.input_dim",),
    "n_samples": ("data.n_samples",),
    "epsilon": ("attack.epsilon",),
    "hidden_dim": ("standard.model.hidden_dim", "perturbation.model.hidden_dim"),
    "slope": ("standard.model.slope", "perturbation.model.slope"),
    "loss": ("standard.loss", "perturbation.loss"),
    "lr": ("standard.lr", "perturbation.lr"),
    "standard_lr": ("standard.lr",),
    "perturbation_lr": ("perturbation.lr",),
    "epochs": ("standard.epochs", "perturbation.epochs"),
    "standard_epochs": ("standard.epochs",),
    "perturbation_epochs": ("perturbation.epochs",),
}
"""What the settings of a figure mean in a configuration; a name without a role stands for both classifiers."""


@dataclass(frozen=True)
class Panel:
    """One panel.

    Args:
        varied: by setting, its values along the panel; settings of one panel go together, value by value.
        fixed: settings of this panel that differ from the figure's.
    """

    varied: Mapping[str, Sequence[Any]]
    fixed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Point:
    """One point of a panel.

    Args:
        panel: the panel's number, counted from 1.
        values: its varied settings.
        config: the experiment.
    """

    panel: int
    values: Mapping[str, Any]
    config: ExperimentConfig


@dataclass(frozen=True)
class Figure:
    """One figure.

    Args:
        name: its name here.
        settings: of all panels: keys of a configuration, or the short names that panels use.
        panels: in the paper's order.
    """

    name: str
    settings: Mapping[str, Any]
    panels: Sequence[Panel]

    def default(self, *, seeds: int | Sequence[int] = 1) -> ExperimentConfig:
        """The experiment from which all panels depart, without controls."""
        return self._config({}, seeds, {})

    def points(self, *, seeds: int | Sequence[int] = 1, overrides: Mapping[str, Any] | None = None) -> Iterator[Point]:
        """Every point as an experiment without controls.

        Args:
            seeds: of each experiment.
            overrides: keys of a configuration that differ from the paper's.
        """
        for number, panel in enumerate(self.panels, start=1):
            for values in zip(*panel.varied.values(), strict=True):
                varied = dict(zip(panel.varied, values, strict=True))
                yield Point(number, varied, self._config({**panel.fixed, **varied}, seeds, overrides or {}))

    def _config(
        self, settings: Mapping[str, Any], seeds: int | Sequence[int], overrides: Mapping[str, Any]
    ) -> ExperimentConfig:
        keys = dict(_dotted({**self.settings, **settings}))
        return resolve_config({}, {**keys, "name": self.name, "seeds": seeds, "controls.draws": 0, **overrides})


def _dotted(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        for key in _KEYS.get(name, (name,)):
            yield key, value
