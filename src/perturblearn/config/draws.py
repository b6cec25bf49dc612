"""Random points: ranges and choices of keys, drawn together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, cast

from perturblearn.config.axes import DRAWN, Axis, axis_values, is_whole, named_twice, varied_keys
from perturblearn.config.loading import shown_value
from perturblearn.config.values import JSON, Keys
from perturblearn.errors import ConfigError

MOST_POINTS = 100_000
"""Points that a sweep may have; more are a slip of the pen, or a question for several sweeps."""

_DIGITS = 6
"""Significant digits of a drawn number: machines differ in the last ones, which would make other runs of it."""


def random_axes(section: Keys) -> Iterator[Axis]:
    """The axis of the part ``random`` of a section ``[sweep]``, if there is one.

    Raises:
        ConfigError: it has no draws or no keys, or a key is none or has no range and no choices.
    """
    if "random" not in section:
        return
    given = section["random"]
    if not isinstance(given, Mapping):
        raise ConfigError(f"sweep.random = {shown_value(given)}, but it must be a section with draws and keys")
    if "draws" not in given:
        raise ConfigError("sweep.random has no draws; say how many points are drawn, such as draws = 20")
    draws, seed = given["draws"], given.get("seed", 0)
    if not is_whole(draws) or draws < 1:
        raise ConfigError(f"sweep.random.draws = {shown_value(draws)}, but it must be a whole number above 0")
    if draws > MOST_POINTS:
        raise ConfigError(
            f"sweep.random.draws = {draws:,}, but a sweep has at most {MOST_POINTS:,} points; ask for fewer"
        )
    if not is_whole(seed) or seed < 0:
        raise ConfigError(f"sweep.random.seed = {shown_value(seed)}, but it must be a whole number of at least 0")
    keys = {name: value for name, value in given.items() if name not in ("draws", "seed")}
    ranges: dict[str, _Range] = {}
    for name, value in varied_keys(keys, "sweep.random", present=True):
        if name in ranges:
            raise named_twice(name)
        ranges[name] = _range(name, value)
    yield Axis("random", _draw(ranges, draws, seed))


@dataclass(frozen=True)
class _Range:
    """What a key is drawn from: the choices, or the numbers from low to high."""

    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    is_log: bool = False
    is_whole: bool = False

    def at(self, share: float) -> Any:
        """The value at a share of the range in [0, 1), which is uniform in it or, on a log scale, in its logarithm."""
        if self.choices:
            return self.choices[int(share * len(self.choices))]
        high = self.high + 1 if self.is_whole else self.high  # each whole number has a unit of its own
        value = self.low * (high / self.low) ** share if self.is_log else self.low + (high - self.low) * share
        if self.is_whole:
            return min(math.floor(value), int(self.high))
        return min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)


def _range(name: str, given: Any) -> _Range:
    where = f"sweep.random.{name}"
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where} = {shown_value(given)}, but it must say {{ low, high }} or {{ choices }}")
    for word in given:
        if word not in DRAWN:
            raise ConfigError(f"{where} has no {word}; it has {', '.join(DRAWN)}")
    if "choices" in given:
        if len(given) > 1:
            raise ConfigError(f"{where} has choices and a range as well; keep one of them")
        return _Range(tuple(axis_values(name, given["choices"], "sweep.random")))
    for word in ("low", "high"):
        if word not in given:
            raise ConfigError(f"{where} has no {word}; give low and high, or choices")
        value = given[word]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ConfigError(f"{where}.{word} = {shown_value(value)}, but it must be a finite number")
    scale, whole = given.get("scale", "linear"), given.get("whole", name == "seeds")
    if scale not in ("linear", "log"):
        raise ConfigError(f"{where}.scale = {shown_value(scale)}, but it must be linear or log")
    if not isinstance(whole, bool):
        raise ConfigError(f"{where}.whole = {shown_value(whole)}, but it must be true or false")
    low, high = cast("float", given["low"]), cast("float", given["high"])
    if low >= high:
        raise ConfigError(f"{where} has low = {low} and high = {high}, but low must be below high")
    if scale == "log" and low <= 0:
        raise ConfigError(f"{where} has low = {low}, but a log scale begins above 0; raise it, or choose linear")
    if whole and not (is_whole(low) and is_whole(high)):
        raise ConfigError(
            f"{where} has low = {low} and high = {high}, but with whole = true both must be whole numbers"
        )
    return _Range(low=low, high=high, is_log=scale == "log", is_whole=whole)


def _draw(ranges: Mapping[str, _Range], draws: int, seed: int) -> dict[str, list[Any]]:
    """Different points; more draws begin with those of fewer, and each key has draws of its own."""
    generators = {name: Random(f"{seed} {name}") for name in ranges}
    found: dict[str, dict[str, JSON]] = {}
    for _ in range(20 * draws + 1000):  # enough, unless nearly all there are have been drawn
        point = {name: ranges[name].at(generator.random()) for name, generator in generators.items()}
        found.setdefault(repr(point), point)
        if len(found) == draws:
            return {name: [point[name] for point in found.values()] for name in ranges}
    raise ConfigError(
        f"sweep.random.draws = {draws}, but only {len(found)} different points were found; ask for fewer, or use a grid"
    )
