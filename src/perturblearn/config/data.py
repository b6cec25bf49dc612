"""Which data an experiment is on."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from perturblearn.config.section import PositiveInt, Section, as_tuple

SYNTHETIC = ("gauss", "shifted_gauss", "correlated", "uniform")
"""Data drawn afresh for every seed."""
BUNDLED = ("digits", "mnist", "fashion_mnist", "cifar10")
"""Real images known by name."""
FROM_PATH = ("folder", "npz")
"""The user's own data, written ``folder:PATH`` or ``npz:PATH``."""
IN_MEMORY = "python"
"""Data handed over as objects in Python."""
PROVIDERS = (*SYNTHETIC, *BUNDLED, *FROM_PATH, IN_MEMORY)


def _as_names(value: Any) -> Any:
    if value is None:
        return None
    names = as_tuple(value)
    if any(isinstance(name, bool) or not isinstance(name, (str, int)) for name in names):
        raise ValueError("give a list of classes, each by name or index")
    return tuple(str(name) for name in names)


class DataConfig(Section):
    """Which data, which part of it, and how it is prepared.

    Keys that make no sense for the chosen data are refused rather than ignored.
    """

    name: str = Field(
        default="digits",
        description="gauss, shifted_gauss, correlated, uniform, digits, mnist, fashion_mnist, cifar10, folder:PATH or "
        "npz:PATH",
    )
    classes: Annotated[tuple[str, ...] | None, BeforeValidator(_as_names)] = Field(
        default=None, description="classes to keep, by name or index, in this order; of two, the first is +1"
    )
    n_samples: PositiveInt | None = Field(
        default=None, description="training samples N; synthetic data: how many to draw (1000), real data: a limit"
    )
    n_heldout: PositiveInt | None = Field(
        default=None, description="held-out samples; synthetic data: how many to draw (1000), real data: a limit"
    )
    heldout_share: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="share held out by a seeded draw where the data have no split of their own (0.2)"
    )
    input_dim: PositiveInt | None = Field(default=None, description="dimension d of synthetic data (100)")
    shift: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="distance of each coordinate's mean from 0 in shifted_gauss (0.3)"
    )
    rho: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        default=None, description="correlated: share of each input's variance that is common to all samples (0)"
    )
    centre: bool | float = Field(
        default=True, description="subtract the data's mean value (true), a given value, or nothing (false)"
    )
    flatten: bool = Field(
        default=True, description="one vector per sample; false keeps images as channels x height x width"
    )
    skip_bad: bool = Field(default=False, description="folder: go on without unreadable images, which are named")

    @property
    def provider(self) -> str:
        """The provider's name, without a path."""
        return self.name.partition(":")[0]

    @property
    def path(self) -> str | None:
        """The path of ``folder:PATH`` and ``npz:PATH``."""
        return self.name.partition(":")[2] or None

    @property
    def is_synthetic(self) -> bool:
        """Whether the data are drawn afresh for every seed."""
        return self.provider in SYNTHETIC

    @field_validator("centre", mode="before")
    @classmethod
    def _shift_by(cls, centre: Any) -> Any:
        if not isinstance(centre, (bool, int, float)) or not math.isfinite(centre):
            raise ValueError("give true, false or a finite number")
        return centre

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        provider, colon, path = name.partition(":")
        if provider in FROM_PATH:
            if not path:
                raise ValueError(f"{provider} needs a path: write {provider}:PATH")
        elif colon or provider not in (*SYNTHETIC, *BUNDLED, IN_MEMORY):
            known = ", ".join((*SYNTHETIC, *BUNDLED, *(f"{kind}:PATH" for kind in FROM_PATH)))
            raise ValueError(f"there is no such data; choose one of {known}")
        return name

    @model_validator(mode="after")
    def _applicable(self) -> DataConfig:
        if self.provider == IN_MEMORY:
            fixed = {
                name
                for name in self.model_fields_set - {"name"}
                if getattr(self, name) != type(self).model_fields[name].default
            }
            if fixed:
                raise ValueError(
                    f"the key {min(fixed)} does not apply to data handed over in Python; prepare them there"
                )
            return self
        real = {"classes": self.classes, "heldout_share": self.heldout_share}
        refused = real if self.is_synthetic else {"input_dim": self.input_dim}
        for key, provider in (("shift", "shifted_gauss"), ("rho", "correlated")):
            if self.provider != provider:
                refused = {**refused, key: getattr(self, key)}
        for key, value in refused.items():
            if value is not None:
                raise ValueError(f"the key {key} does not apply to {self.name}; remove it")
        if self.skip_bad and self.provider != "folder":
            raise ValueError(f"the key skip_bad does not apply to {self.name}, but to folders of images; remove it")
        if self.provider in ("mnist", "fashion_mnist", "cifar10") and self.heldout_share is not None:
            raise ValueError(f"the key heldout_share does not apply to {self.name}, which has a test set; remove it")
        if self.classes is not None:
            if len(self.classes) < 2:
                raise ValueError(f"classes = {list(self.classes)} is one class only; name at least two")
            if len(set(self.classes)) < len(self.classes):
                raise ValueError(f"classes = {list(self.classes)} names a class twice; name each once")
        return self
