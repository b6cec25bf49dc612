"""What the stages of an experiment need that is no part of their identity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from perturblearn.config import AttackConfig, ClassifierConfig
from perturblearn.data import Outline
from perturblearn.experiment.network_costs import step_operations
from perturblearn.experiment.shapes import Shapes
from perturblearn.graph import ResultT_co, Stage, aside


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

    @property
    def step_operations(self) -> float:
        """See `Stage.step_operations`: that of f, on which most work of an experiment is done."""
        return step_operations(self.context.standard, self.context.shapes(), on_perturbed=False)
