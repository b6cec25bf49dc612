"""Many experiments from one file: a configuration with axes along which its keys are varied."""

from __future__ import annotations

import difflib
import itertools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tomli_w

from perturblearn.config.axes import Axis, grid_axes, named_twice, zip_axes
from perturblearn.config.draws import MOST_POINTS, random_axes
from perturblearn.config.experiment import ExperimentConfig
from perturblearn.config.loading import SWEEP, given_tree, resolve_config, set_key, shown_value
from perturblearn.config.values import JSON, Keys
from perturblearn.errors import ConfigError

Keep = Literal["measures", "weights", "all"]
KEEPS: tuple[Keep, ...] = ("measures", "weights", "all")
"""What can be kept of a run: its numbers, the weights of f and g too, or perturbed sets as well."""
_SECTIONS = ("keep", "grid", "zip", "random")


@dataclass(frozen=True)
class Sweep:
    """Experiments that differ in some of their keys: every combination of the places on all axes.

    Args:
        tree: the file as given, with what was overridden.
        base: what all points share, as nested values.
        axes: along which keys vary; none if only seeds do.
        keep: one of `KEEPS`.
    """

    tree: Keys
    base: Keys
    axes: tuple[Axis, ...]
    keep: Keep

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.base["name"])

    def points(self) -> list[tuple[dict[str, JSON], ExperimentConfig]]:
        """Every point: what is varied there, by dotted key, and the experiment. The first axis varies slowest.

        Raises:
            ConfigError: a point is no experiment, or the same as another one.
        """
        seen: dict[ExperimentConfig, Keys] = {}
        points = []
        for steps in itertools.product(*(tuple(axis.steps()) for axis in self.axes)):
            values = {name: value for step in steps for name, value in step.items()}
            config = self._config(values)
            if config in seen:
                raise ConfigError(
                    f"the points {describe(seen[config])} and {describe(values)} are the same experiment; name each "
                    "once"
                )
            seen[config] = values
            points.append((values, config))
        return points

    def to_toml(self) -> str:
        """The sweep as a TOML file that gives it back."""
        return tomli_w.dumps(self.tree)

    def _config(self, values: Keys) -> ExperimentConfig:
        settings = {name: [value] if name == "seeds" else value for name, value in values.items()}
        try:
            return resolve_config(self.base, settings)
        except ConfigError as error:
            if not values or str(error) == _sentence_without_axes(self.base):
                raise
            raise ConfigError(f"at the point {describe(values)}: {error}") from None


def resolve_sweep(sweep: Keys | str | os.PathLike[str], overrides: Keys | None = None) -> Sweep:
    """A sweep from a file or a mapping: an experiment's keys, and a section ``[sweep]`` with axes.

    Args:
        sweep: path of a TOML file, or nested mapping.
        overrides: values by dotted name, of the experiment or, as ``sweep.keep``, of the section.

    Raises:
        ConfigError: the file cannot be read, or an axis is no axis. What is wrong with an experiment is said when the
            points are asked for.
    """
    tree = given_tree(sweep)
    for name, value in (overrides or {}).items():
        set_key(tree, name, value)
    if SWEEP not in tree:
        named = "this configuration" if isinstance(sweep, Mapping) else str(Path(sweep))
        raise ConfigError(f"{named} has no section [{SWEEP}]; add one that says what varies, or use 'perturblearn run'")
    section = tree[SWEEP]
    if not isinstance(section, Mapping):
        raise ConfigError(f"{SWEEP} = {shown_value(section)}, but it must be a section with grid, zip or random")
    for name in section:
        if name not in _SECTIONS:
            close = difflib.get_close_matches(name, _SECTIONS, n=1, cutoff=0.6)
            known = f"did you mean {close[0]}?" if close else f"it has {', '.join(_SECTIONS)}"
            raise ConfigError(f"[{SWEEP}] has no {name}; {known}")
    keep = section.get("keep", "measures")
    if keep not in KEEPS:
        raise ConfigError(f"sweep.keep = {shown_value(keep)}, but it must be one of {', '.join(KEEPS)}")
    axes = [*grid_axes(section), *zip_axes(section), *random_axes(section)]
    if not axes:
        raise ConfigError(
            f"[{SWEEP}] has no axes; name keys with their values in sweep.grid, sweep.zip or sweep.random"
        )
    _refuse_repeated(axes, overrides or {})
    base = {"name": "sweep", **{name: value for name, value in tree.items() if name != SWEEP}}
    if any("seeds" in axis.settings for axis in axes):
        if "seeds" in base:
            raise ConfigError("seeds is given, and an axis of [sweep] varies it too; keep one of them")
        plain = next((axis for axis in axes if axis.kind == "grid" and "seeds" in axis.settings), None)
        if plain is not None:  # seeds that every point has: its own seeds
            base["seeds"] = list(plain.settings["seeds"])
            axes.remove(plain)
    count = math.prod(map(len, axes))
    if count > MOST_POINTS:
        raise ConfigError(f"the axes make {count:,} points, but a sweep has at most {MOST_POINTS:,}; shorten them")
    return Sweep(tree, base, tuple(axes), keep)


def describe(values: Keys) -> str:
    """A point for a sentence: the keys that are set there, of those that are varied."""
    given = {name: value for name, value in values.items() if value is not None}
    if values and not given:
        return f"{' and '.join(values)} unset"
    return ", ".join(f"{name} = {_in_a_sentence(value)}" for name, value in given.items())


def _in_a_sentence(value: JSON) -> str:
    return str(value).lower() if isinstance(value, bool) else shown_value(value)


def _sentence_without_axes(base: Keys) -> str | None:
    """What is wrong with an experiment before anything is varied."""
    try:
        resolve_config(base)
    except ConfigError as error:
        return str(error)
    return None


def _refuse_repeated(axes: Sequence[Axis], overrides: Keys) -> None:
    seen: set[str] = set()
    for axis in axes:
        for name in axis.settings:
            if name in seen:
                raise named_twice(name)
            if name in overrides:
                raise ConfigError(f"{name} is given, but the sweep varies it; leave it out, or take it off its axis")
            seen.add(name)
