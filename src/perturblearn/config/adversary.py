"""How adversarial training moves inputs before each of its steps."""

# Sections are frozen, which the type checker does not see: a variant may narrow the type of a field.
# pyright: reportIncompatibleVariableOverride=false
from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from perturblearn.config.section import PositiveInt
from perturblearn.config.variants import NamedVariants

_STEP = "length of a step of the inner attack, as a multiple of epsilon"


class AdversaryConfig(NamedVariants):
    """The inner attack of adversarial training: away from the true label, within epsilon."""

    noun: ClassVar = "inner attack"

    norm: Literal["l2", "linf"] = Field(default="l2", description="norm in which training moves inputs")
    epsilon: Annotated[float, Field(ge=0)] = Field(default=1.0, description="how far training moves inputs")
    warmup_epochs: Annotated[int, Field(ge=0)] = Field(
        default=0, description="epochs in which this epsilon rises from 0, for one at which training does not start"
    )

    @classmethod
    def variants(cls) -> tuple[type[AdversaryConfig], ...]:
        """The variants, the default first."""
        return (NoisyStepConfig, PGDAdversaryConfig, RadialPGDAdversaryConfig)

    @property
    def n_steps(self) -> int:
        """Gradient steps before each step of training."""
        return 1


class NoisyStepConfig(AdversaryConfig):
    """One step from noise."""

    name: Literal["n_fgsm"] = Field(
        default="n_fgsm", description="adversarial training by one step from noise, not clipped to epsilon (N-FGSM)"
    )
    step: Annotated[float, Field(gt=0)] = Field(default=1.0, description=_STEP)
    noise: Annotated[float, Field(ge=0)] = Field(
        default=2.0, description="size of the noise, as a multiple of epsilon (0: the fast gradient sign method)"
    )


class PGDAdversaryConfig(AdversaryConfig):
    """Projected gradient descent."""

    name: Literal["pgd"] = Field(default="pgd", description="by projected gradient descent, several times as long")
    steps: PositiveInt = Field(default=10, description="gradient steps before each step of training")
    step: Annotated[float, Field(gt=0)] = Field(default=0.25, description=_STEP)
    random_start: bool = Field(default=True, description="start at a random point within epsilon")

    @property
    def n_steps(self) -> int:
        """See `AdversaryConfig.n_steps`."""
        return self.steps


class RadialPGDAdversaryConfig(PGDAdversaryConfig):
    """Projected gradient descent of ICLR24."""

    name: Literal["radial_pgd"] = Field(default="radial_pgd", description="the same as in ICLR24, rescaled and clipped")
