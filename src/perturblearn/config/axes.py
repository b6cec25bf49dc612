"""Axes along which keys of a configuration vary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeGuard

from perturblearn.config.keys import fields, suggest_key
from perturblearn.config.loading import SWEEP, shown_value
from perturblearn.config.values import JSON, Keys
from perturblearn.errors import ConfigError

DRAWN = ("low", "high", "scale", "whole", "choices")
"""What can be said of a key that is drawn."""


@dataclass(frozen=True)
class Axis:
    """Keys that are varied together, value by value.

    Args:
        kind: grid, zip or random.
        settings: by dotted key, its values; as many of each.
    """

    kind: Literal["grid", "zip", "random"]
    settings: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.settings.values())))

    def steps(self) -> Iterator[dict[str, JSON]]:
        """What is set, one place on the axis after the other."""
        for values in zip(*self.settings.values(), strict=True):
            yield dict(zip(self.settings, values, strict=True))

    def __str__(self) -> str:
        count = f"{len(self):,} draw" if self.kind == "random" else f"{len(self):,} value"
        return f"{self.kind} {', '.join(self.settings)}: {count}{'s' * (len(self) != 1)}"


def grid_axes(section: Keys) -> Iterator[Axis]:
    """An axis for each key in the part ``grid`` of a section ``[sweep]``.

    Raises:
        ConfigError: the part is empty, or one of its keys is none or has no list of values.
    """
    for name, values in varied_keys(section.get("grid", {}), "sweep.grid", present="grid" in section):
        yield Axis("grid", {name: axis_values(name, values, "sweep.grid")})


def zip_axes(section: Keys) -> Iterator[Axis]:
    """An axis for each part ``zip`` of a section ``[sweep]``.

    Raises:
        ConfigError: a part is empty, its lists have different lengths, or one of its keys is none or has no list.
    """
    given = section.get("zip", [])
    groups = [given] if isinstance(given, Mapping) else given
    if not isinstance(groups, Sequence) or isinstance(groups, str) or ("zip" in section and not groups):
        raise ConfigError(f"sweep.zip = {shown_value(given)}, but it must be a section, or several [[sweep.zip]]")
    for group in groups:
        varied = varied_keys(group, "sweep.zip", present=True)
        settings: dict[str, Sequence[Any]] = {}
        for name, values in varied:
            if name in settings:
                raise named_twice(name)
            settings[name] = axis_values(name, values, "sweep.zip")
        lengths = {len(values) for values in settings.values()}
        if len(lengths) > 1:
            counts = ", ".join(f"{name} {len(values)}" for name, values in settings.items())
            raise ConfigError(f"sweep.zip goes through its lists together, but they have different lengths: {counts}")
        yield Axis("zip", settings)


def varied_keys(tree: Any, where: str, *, present: bool) -> list[tuple[str, Any]]:
    """Keys of a configuration with what is said of them, from nested tables or dotted names.

    Raises:
        ConfigError: there are none though the section is there, or one is no key.
    """
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{where} = {shown_value(tree)}, but it must be a section that names keys")
    found = list(_leaves(tree, ""))
    if present and not found:
        raise ConfigError(f'{where} is empty; name the keys that vary, such as "attack.epsilon", or leave it out')
    for name, _ in found:
        if name == "name":
            raise ConfigError(f"{where} varies name, but a sweep has one name for all its runs; leave it out")
        if name not in _known():
            below = next((key for key in _known() if key.startswith(f"{name}.")), None)
            if below is not None:
                raise ConfigError(f"{where} varies {name}, which is a section; vary its keys, such as {below}")
            raise ConfigError(f"{where} varies {name}, but there is no such key; {suggest_key(name)}")
    return found


def _leaves(tree: Keys, prefix: str) -> Iterator[tuple[str, JSON]]:
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value and key not in _known() and not any(word in value for word in DRAWN):
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value


@cache
def _known() -> tuple[str, ...]:
    return tuple(name for name, _ in fields())


def axis_values(name: str, values: Any, where: str) -> list[Any]:
    """The values of a key along an axis; None for an empty text, where the key is left out, as TOML has no null.

    Raises:
        ConfigError: they are no list, there are none, or they are seeds and one of them is none.
    """
    if not isinstance(values, (list, tuple)):
        raise ConfigError(f"{where} has {name} = {shown_value(values)}, but an axis is a list of values; write [...]")
    if not values:
        raise ConfigError(f"{where} has no values for {name}; give at least one, or leave it out")
    if name == "seeds":
        for value in values:
            if not is_whole(value):
                raise ConfigError(f"{where} has {shown_value(value)} among the seeds, but each must be a whole number")
    return [None if value == "" else value for value in values]


def named_twice(name: str) -> ConfigError:
    """The error for a key that several axes vary."""
    return ConfigError(f"{name} is varied twice in [{SWEEP}]; name it on one axis, once")


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number, and neither true nor false."""
    return isinstance(value, int) and not isinstance(value, bool)
