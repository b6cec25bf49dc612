"""What lies in JSON values, which have no types of their own."""

from __future__ import annotations

from collections.abc import Mapping

from perturblearn.config import JSON


def number(value: JSON) -> float:
    assert isinstance(value, int | float)
    return value


def text(value: JSON) -> str:
    assert isinstance(value, str)
    return value


def within(value: JSON, *keys: str) -> JSON:
    for key in keys:
        assert isinstance(value, Mapping)
        value = value[key]
    return value
