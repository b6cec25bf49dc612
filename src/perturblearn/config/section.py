"""What all sections of a configuration share."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z0-9_]\w*")
"""The user's own code, ``package.module:name``."""


def as_tuple(value: Any) -> tuple[Any, ...]:
    """A list's values, or a single value as a list of one."""
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def none_for(default: Any) -> BeforeValidator:
    """For a field whose default is None: a value that asks for what is done anyway is None too.

    Args:
        default: that value.
    """

    def validated(value: Any) -> Any:
        # True equals 1, but is no number.
        is_default = value == default and isinstance(value, bool) == isinstance(default, bool)
        return None if is_default else value

    return BeforeValidator(validated)


# Larger numbers than any computer has room for would overflow somewhere, or be counted up to for hours.
PositiveInt = Annotated[int, Field(ge=1, le=10**9)]
LearningRates = Annotated[tuple[Annotated[float, Field(gt=0)], ...], BeforeValidator(as_tuple), Field(min_length=1)]


class Section(BaseModel):
    """A frozen part of the configuration that refuses unknown keys."""

    # Built when they are first used: families then have all their variants, and parts of a larger section are never
    # built by themselves.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True, defer_build=True
    )
