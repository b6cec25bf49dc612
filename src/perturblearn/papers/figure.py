"""A figure of a paper: panels, each an experiment with one or two of its settings varied together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from perturblearn.config import JSON, ExperimentConfig, Keys, resolve_config

Settings = Keys
"""What a figure sets, by the short names that its panels use or by keys of a configuration."""
Scale = Literal["quick", "modern", "full"]
SCALES: tuple[Scale, ...] = ("quick", "modern", "full")
"""All scales; `modern` is that of figures of deep networks alone."""

_KEYS = {
    "input_dim": ("data.input_dim",),
    "n_samples": ("data.n_samples",),
    "n_adv": ("attack.n_sources",),
    "epsilon": ("attack.epsilon",),
    "pixel_share": ("attack.pixel_share",),
    "hidden_dim": ("standard.model.hidden_dim", "perturbation.model.hidden_dim"),
    "slope": ("standard.model.slope", "perturbation.model.slope"),
    "depth": ("standard.model.depth", "perturbation.model.depth"),
    "width": ("standard.model.width", "perturbation.model.width"),
    "rho": ("data.rho",),
    "loss": ("standard.loss", "perturbation.loss"),
    "lr": ("standard.lr", "perturbation.lr"),
    "standard_lr": ("standard.lr",),
    "perturbation_lr": ("perturbation.lr",),
    "epochs": ("standard.epochs", "perturbation.epochs"),
    "standard_epochs": ("standard.epochs",),
    "perturbation_epochs": ("perturbation.epochs",),
    **dict.fromkeys(
        (
            "units", "perturbations", "share", "steps", "pixels", "rate", "slow_rate", "noise_samples", "noise_epochs",
            "targets", "set", "adversary",
        ),
        (),
    ),
}  # fmt: skip
"""What the settings of a figure mean in a configuration; a name without a role stands for both classifiers.

Those without a key say nothing by themselves: a figure's ways translate them.
"""


_WORDS = {
    "input_dim": "input dimension d", "n_samples": "training samples N", "n_adv": "perturbed samples N'",
    "epsilon": "perturbation size ε", "pixel_share": "share of coordinates changed", "hidden_dim": "width m",
    "slope": "negative slope γ", "depth": "hidden layers",
    "width": "channels, as a multiple of the usual", "rho": "correlation ρ", "lr": "learning rate",
    "standard_lr": "learning rate of f", "perturbation_lr": "learning rate of g", "epochs": "training time",
    "standard_epochs": "training time of f", "perturbation_epochs": "training time of g", "share": "share of the noise",
    "noise_epochs": "training time on noise", "rate": "learning rate", "slow_rate": "slower learning rate of g",
    "steps": "attack steps", "pixels": "changed pixels", "data.n_heldout": "held-out samples", "data.name": "data",
    "model.name": "network", "set": "data set", "adversary": "adversarial strength of f, L2",
}  # fmt: skip
"""Settings in words."""
_LETTERS = {
    "input_dim": "d",
    "n_samples": "N",
    "n_adv": "N'",
    "epsilon": "ε",
    "hidden_dim": "m",
    "slope": "γ",
    "rho": "ρ",
}
"""Settings whose letter is enough where they are fixed."""
_NETWORKS = {"standard": "f", "perturbation": "g"}


def label_of(setting: str) -> str:
    """What an axis along a setting is called: the setting in words, with its unit.

    Args:
        setting: its short name in a figure.
    """
    return f"{_in_words(setting)}, epochs" if setting.endswith("epochs") else _in_words(setting)


def _in_words(setting: str) -> str:
    section, _, key = setting.partition(".")
    if section in _NETWORKS:
        return f"{_in_words(key)} of {_NETWORKS[section]}"
    short = setting.removeprefix("data.")
    return _WORDS.get(setting, _WORDS.get(short, short.rpartition(".")[2].replace("_", " ")))


_COMPUTING = ("products", "form", "device", "checkpoint_minutes", "checkpoint_epochs")
"""Keys that say how something is computed, not what."""


def number(settings: Settings, name: str) -> float:
    """A setting that is a number."""
    value = settings[name]
    assert isinstance(value, (int, float)), f"{name} = {value!r} is no number"
    return value


def whole(settings: Settings, name: str) -> int:
    """A setting that is a whole number."""
    value = settings[name]
    assert isinstance(value, int), f"{name} = {value!r} is no whole number"
    return value


def word(settings: Settings, name: str) -> str:
    """A setting that is a word."""
    value = settings[name]
    assert isinstance(value, str), f"{name} = {value!r} is no word"
    return value


@dataclass(frozen=True)
class Panel:
    """One panel.

    Args:
        varied: by setting, its values along the panel; settings of one panel go together, value by value, and the first
            is the panel's axis. Of a picture nothing is varied: it is one experiment.
        fixed: settings of this panel that differ from the figure's.
        log_x: whether the axis is logarithmic.
        title: what tells this panel from the others; None for its axis and what is fixed.
        limits: of a decision map, the least and largest coordinate; None for limits that show nearly all samples.
        places: of a panel with fewer points than the paper's: where these stand in the paper's, counted from 0.
        seed: of the published points, where it differs from the figure's.
    """

    varied: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    fixed: Settings = field(default_factory=dict)
    log_x: bool = False
    title: str | None = None
    limits: tuple[float, float] | None = None
    places: Sequence[int] | None = None
    seed: int | None = None

    @property
    def x(self) -> str | None:
        """The setting along the axis."""
        return next(iter(self.varied), None)

    @property
    def points(self) -> list[tuple[int, dict[str, JSON]]]:
        """Every point's place in the paper's panel, and its varied settings."""
        values = [dict(zip(self.varied, values, strict=True)) for values in zip(*self.varied.values(), strict=True)]
        values = values if self.varied else [{}]
        return list(zip(range(len(values)) if self.places is None else self.places, values, strict=True))

    @property
    def name(self) -> str:
        """Its axis and what is fixed, or its title, in a few words."""
        if self.title is not None:
            return self.title
        axis = _in_words(str(self.x))
        # The time and the rate of one network: its name once is enough.
        network = axis[-5:] if axis.endswith((" of f", " of g")) else ""
        fixed = (_as_text(name, value, network) for name, value in self.fixed.items())
        return ", ".join((axis, *fixed))

    def with_points(self, points: Sequence[tuple[int, Settings]]) -> Panel:
        """The panel with these points instead of its own."""
        varied = {name: [values[name] for _, values in points] for name in self.varied}
        return replace(self, varied=varied, places=[place for place, _ in points])


@dataclass(frozen=True)
class FigurePoint:
    """One point of a panel.

    Args:
        panel: the panel's number, counted from 1.
        place: where the point stands in the paper's panel, counted from 0.
        way: how it is computed, one of the figure's ways.
        values: its varied settings.
        config: the experiment.
    """

    panel: int
    place: int
    way: str
    values: Settings
    config: ExperimentConfig


@dataclass(frozen=True)
class Smaller:
    """A smaller problem of the same kind, with fewer points.

    Args:
        divided: settings that are divided, and by what.
        settings: settings that are replaced, in the figure and in its panels.
        least: smallest value of a varied setting that is kept, after the division.
        most: likewise the largest, which fixed settings do not exceed either.
        points: at most so many points a panel.
    """

    divided: Mapping[str, float] = field(default_factory=dict)
    settings: Settings = field(default_factory=dict)
    least: Mapping[str, float] = field(default_factory=dict)
    most: Mapping[str, float] = field(default_factory=dict)
    points: int = 5

    @property
    def is_smaller(self) -> bool:
        """Whether the problem is another than the paper's, and not only the number of points."""
        return bool(self.divided or self.settings)

    def of(self, settings: Settings) -> dict[str, JSON]:
        """Settings of the smaller problem."""
        return {name: self.settings.get(name, self._reduced(name, value)) for name, value in settings.items()}

    def panel(self, panel: Panel) -> Panel:
        """A panel of the smaller problem, without points that have become equal to another."""
        found: dict[tuple[Any, ...], tuple[int, Settings]] = {}
        for place, values in panel.points:
            smaller = {name: self._divided(name, value) for name, value in values.items()}
            if all(number(smaller, name) >= least for name, least in self.least.items() if name in smaller) and _within(
                smaller, self.most
            ):
                found[tuple(smaller.values())] = place, smaller
        return replace(panel.with_points(_thinned(list(found.values()), self.points)), fixed=self.of(panel.fixed))

    def describe(self, settings: Settings) -> str:
        """What is smaller, in one line; empty where nothing is."""
        by: dict[str, list[str]] = {}
        for name, divisor in self.divided.items():
            how = f"divided by {divisor:.3g}" if divisor > 1 else f"multiplied by {1 / divisor:.3g}"
            by.setdefault(how, []).append(_in_words(name))
        parts = [f"{' and '.join(filter(None, (', '.join(names[:-1]), names[-1])))} {how}" for how, names in by.items()]
        said: dict[str, str] = {}
        for name, value in self.settings.items():
            if value != settings.get(name):
                instead = f" instead of {_number(settings[name])}" if name in settings else ""
                said[name] = f"= {_number(value)}{instead}"
        for name, text in said.items():
            section, _, key = name.partition(".")
            is_alike = section in _NETWORKS and said.get(f"standard.{key}") == said.get(f"perturbation.{key}")
            if not is_alike:
                parts.append(f"{_in_words(name)} {text}")
            elif section == "standard":  # what changes alike for f and g is said once
                parts.append(f"{_in_words(key)} {text}")
        most = (f"{_in_words(name)} up to {_number(value)}" for name, value in self.most.items())
        return ", ".join(dict.fromkeys((*parts, *most)))  # products of training and of the attack read alike

    def _reduced(self, name: str, value: Any) -> Any:
        divided = self._divided(name, value)
        return min(divided, self.most[name]) if name in self.most else divided

    def _divided(self, name: str, value: Any) -> Any:
        divisor = self.divided.get(name)
        if divisor is None or value is None:
            return value
        return max(1, round(value / divisor)) if isinstance(value, int) else round(value / divisor, 6)


@dataclass(frozen=True)
class Figure:
    """One figure.

    Args:
        name: paper and figure, such as ``neurips2024/shifted_gauss_a``.
        settings: of all panels: keys of a configuration, or the short names that panels use.
        panels: in the paper's order.
        caption: what it shows, in one sentence.
        draws: what a panel is: curves, a map of both classifiers' decisions, or pictures of perturbed inputs.
        measures: what is plotted: the published name, and the measure of a run that it is compared with.
        ways: by name, further settings that may depend on the point's own; a figure with several ways has a curve for
            each.
        laws: predictions of the first measure by name, from a point's settings; None where one says nothing.
        control_draws: draws of both controls in the default setting, which every reproduction runs besides.
        quick: the smaller problem of the scale ``quick``.
        modern: all data by today's networks and recipes, for the scale ``modern``; None where there is no such scale.
        full_takes: how long the scale ``full`` takes for one seed on two cores, in words.
        smaller: what is smaller than in the paper, or different at the scale ``modern``, in one line; or empty.
        is_modern: whether it is run at the scale ``modern``.
        changed: keys of a configuration that somebody has set otherwise than the paper, for all points.
        seed: of the published points, where the draws of the paper's script can be made again; None where not.
        at_seed: keys of the runs at that seed, unless somebody has set them: what brings them closer to the published.
    """

    name: str
    settings: Settings
    panels: Sequence[Panel]
    caption: str = ""
    draws: Literal["curves", "decision maps", "perturbations"] = "curves"
    measures: Mapping[str, str] = field(default_factory=dict)
    ways: Mapping[str, Callable[[Settings], Settings]] = field(default_factory=lambda: {"": lambda _: {}})
    laws: Mapping[str, Callable[[Settings], float | None]] = field(default_factory=dict)
    control_draws: int = 5
    quick: Smaller = field(default_factory=Smaller)
    modern: Smaller | None = None
    full_takes: str = ""
    smaller: str = ""
    is_modern: bool = False
    changed: Settings = field(default_factory=dict)
    seed: int | None = None
    at_seed: Settings = field(default_factory=dict)

    @property
    def script(self) -> str:
        """The paper whose script drew the published points."""
        return self.name.partition("/")[0]

    def published_seed(self, panel: int) -> int | None:
        """The seed of a panel's published points; None where their draws cannot be made again, or are of no use.

        Args:
            panel: the panel's number, counted from 1.
        """
        if self.seed is None or not self.is_the_paper_s:
            return None
        own = self.panels[panel - 1].seed
        return self.seed if own is None else own

    @property
    def is_the_paper_s(self) -> bool:
        """Whether the problem is that of the paper, however it is computed."""
        return not self.smaller and all(name.rpartition(".")[2] in _COMPUTING for name in self.changed)

    def is_varied(self, key: str) -> bool:
        """Whether a key of a configuration differs between points."""
        return key in {
            name for panel in self.panels for setting in panel.varied for name in _KEYS.get(setting, (setting,))
        }

    def with_keys(self, keys: Settings) -> Figure:
        """The figure with these keys of a configuration in the place of the paper's, at all points."""
        return replace(self, changed={**self.changed, **keys})

    @property
    def scales(self) -> tuple[Scale, ...]:
        """The scales at which it can be run."""
        return tuple(scale for scale in SCALES if scale != "modern" or self.modern is not None)

    def at(self, scale: Scale) -> Figure:
        """The figure as it is run at one of its scales."""
        if scale == "full":
            return self
        other = self.quick if scale == "quick" else self.modern
        assert other is not None, f"{self.name} has no scale {scale}"
        settings = {**other.of(self.settings), **other.settings}
        panels = [other.panel(panel) for panel in self.panels]
        smaller = other.describe(self.settings) if other.is_smaller else ""
        return replace(self, settings=settings, panels=panels, smaller=smaller, is_modern=scale == "modern")

    def up_to(self, most: Mapping[str, float]) -> Figure:
        """The figure without points whose varied settings exceed these, and with settings that do not either."""

        def kept(panel: Panel) -> Panel:
            return panel.with_points([point for point in panel.points if _within(point[1], most)])

        settings = {
            name: type(value)(min(value, most[name]))
            for name, value in self.settings.items()
            if name in most and isinstance(value, (int, float))
        }
        return replace(self, settings={**self.settings, **settings}, panels=[kept(panel) for panel in self.panels])

    def default(
        self,
        *,
        panel: int = 1,
        seeds: int | Sequence[int] = 1,
        way: str | None = None,
        overrides: Settings | None = None,
    ) -> ExperimentConfig:
        """The experiment from which a panel departs.

        Args:
            panel: the panel's number, counted from 1.
            seeds: of the experiment.
            way: how it is computed; None for the first.
            overrides: keys of a configuration that differ from the paper's.
        """
        return self._config(self.panels[panel - 1].fixed, seeds, self._way(way), overrides or {})

    def settings_at(self, point: FigurePoint) -> dict[str, JSON]:
        """A point's settings, the figure's and its panel's included, by their short names."""
        return {**self.settings, **self.panels[point.panel - 1].fixed, **point.values}

    def points(
        self,
        *,
        seeds: int | Sequence[int] = 1,
        way: str | None = None,
        panels: Sequence[int] | None = None,
        overrides: Settings | None = None,
    ) -> Iterator[FigurePoint]:
        """Every point as an experiment.

        Args:
            seeds: of each experiment.
            way: how points are computed; None for the first.
            panels: numbers of panels, counted from 1; None for all.
            overrides: keys of a configuration that differ from the paper's.
        """
        way = self._way(way)
        for number, panel in enumerate(self.panels, start=1):
            for place, values in panel.points if panels is None or number in panels else ():
                config = self._config({**panel.fixed, **values}, seeds, way, overrides or {})
                yield FigurePoint(number, place, way, values, config)

    def _way(self, way: str | None) -> str:
        return next(iter(self.ways)) if way is None else way

    def _config(
        self, settings: Settings, seeds: int | Sequence[int], way: str, overrides: Settings
    ) -> ExperimentConfig:
        own = {**self.settings, **settings}
        keys = {"controls.draws": 0, **dict(_dotted({**own, **self.ways[way](own)}))}
        return resolve_config(
            {}, {**keys, "name": self.name.replace("/", "-"), "seeds": seeds, **self.changed, **overrides}
        )


def _within(values: Settings, most: Mapping[str, float]) -> bool:
    return all(number(values, name) <= limit for name, limit in most.items() if name in values)


def _thinned(points: Sequence[tuple[int, Settings]], count: int) -> list[tuple[int, Settings]]:
    """At most so many of them, evenly spread, the first and the last included."""
    if len(points) <= count:
        return list(points)
    return [points[round(index * (len(points) - 1) / (count - 1))] for index in range(count)]


def _dotted(settings: Settings) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        for key in _KEYS.get(name, (name,)):
            yield key, value


def _as_text(name: str, value: Any, network: str) -> str:
    if isinstance(value, str):
        return f"{value} sources" if name == "attack.source" else value
    if name in _LETTERS:
        return f"{_LETTERS[name]} = {_number(value)}"
    return f"{_in_words(name).removesuffix(network)} {_number(value)}"


def _number(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(_number(part) for part in value) or "nothing"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
