"""What all sections of a configuration share."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z0-9_]\w*")
"""The user's own code, ``package.module:name``."""


def as_tuple(value: Any) -> Any:
    """A single value as a list of one."""
    if isinstance(value, (list, tuple)):
        return tuple(value)
    return (value,)


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
