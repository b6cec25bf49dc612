"""What the stages of an experiment need that is no part of their identity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from perturblearn.config import AttackConfig, ClassifierConfig, ModelConfig, TwoLayerModelConfig
from perturblearn.data import Outline
from perturblearn.graph import ResultT_co, Stage, aside


@dataclass(frozen=True)
class Shapes:
    """What an estimate has to know of an experiment besides how a classifier is trained.

    Args:
        outline: how large the data are.
        attack: how the perturbed set is made.
        standard: f's network.
        dtype: precision of training, float32 or float64.
        device: where.
    """

    outline: Outline
    attack: AttackConfig
    standard: ModelConfig
    dtype: str
    device: str

    @property
    def n_samples(self) -> int:
        """Training samples N."""
        return self.outline.n_samples

    @property
    def n_perturbed(self) -> int:
        """Samples of the perturbed set."""
        return self.attack.n_sources or self.n_samples

    @property
    def input_dim(self) -> int:
        """Coordinates d of an input."""
        return self.outline.signature.input_dim

    @property
    def number_bytes(self) -> int:
        """Bytes of a number."""
        return 8 if self.dtype == "float64" else 4

    @property
    def known_rank(self) -> int | None:
        """The rank of the perturbed set's known factors, if it has any."""
        if not isinstance(self.standard, TwoLayerModelConfig):
            return None
        units = self.standard.units
        return units if self.attack.has_known_factors and units < self.input_dim else None

    def with_samples(self, count: int) -> Shapes:
        """The same with another number of training samples."""
        return replace(self, outline=replace(self.outline, n_samples=count))


@dataclass(frozen=True)
class Context:
    """Where an experiment runs, and what its stages need to know to estimate their cost.

    Args:
        device: where networks are trained and attacked.
        data_device: where data and perturbed sets lie.
        checkpoint_minutes, checkpoint_epochs: how often a long training is kept while it goes on.
        outline: how large the data are; real data are read when it is called.
        dtype: of inputs and weights.
        standard, attack: how f is made and attacked.
    """

    device: str
    data_device: str
    checkpoint_minutes: float
    checkpoint_epochs: int | None
    outline: Callable[[], Outline]
    dtype: str
    standard: ClassifierConfig
    attack: AttackConfig

    def shapes(self) -> Shapes:
        """What estimates have to know; real data are read for it."""
        return Shapes(self.outline(), self.attack, self.standard.model, self.dtype, self.device)


@dataclass(frozen=True, eq=False, kw_only=True)
class ContextStage(Stage[ResultT_co]):
    """A stage of an experiment.

    Args:
        context: where it runs.
    """

    context: Context = aside()

    @property
    def device(self) -> str:
        """Where it computes."""
        return self.context.device
