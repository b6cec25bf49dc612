"""How many of the samples that g is trained on are perturbed."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from perturblearn.config.section import Section


class MixingConfig(Section):
    """Clean samples among the perturbed ones of g's training set."""

    perturbed_share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0,
        description="share of perturbed samples among clean ones in g's training set; the others are clean with their "
        "true labels",
    )

    @property
    def is_mixed(self) -> bool:
        """Whether g sees clean samples with their true labels."""
        return self.perturbed_share < 1
