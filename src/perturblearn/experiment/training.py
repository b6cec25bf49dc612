"""Classifiers as stages: two-layer networks, which train side by side, and deep ones, which train alone."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from perturblearn.classifiers import Classifier
from perturblearn.config import ClassifierConfig, DescentConfig
from perturblearn.data import Dataset, Signature
from perturblearn.errors import PerturbLearnError
from perturblearn.experiment.context import Context, ContextStage
from perturblearn.experiment.costs import estimate_classifiers
from perturblearn.experiment.learn import TrainingSpec, learn_side_by_side
from perturblearn.experiment.network_costs import estimate_network, step_operations
from perturblearn.experiment.networks import learn_network, unidentified_in
from perturblearn.graph import AnyStage, Costly, Estimate, Grouped, Results, Stage, Stored, aside, content_key, optional
from perturblearn.seeding import PublishedStart
from perturblearn.training import Resumption

Role = Literal["standard", "perturbation"]
"""f is the standard classifier, g the perturbation classifier."""


@dataclass(frozen=True, eq=False)
class Samples:
    """What a classifier is trained on.

    Args:
        inputs: (n, ...).
        labels: (n,), +1 and -1, or 0 .. K-1; or outputs of f, in floating point.
        factors: C (n, q) and Q (q, d) with orthonormal rows, where the inputs are known to be C Q.
        are_auxiliary: whether labels are auxiliary outputs.
        value_range: of the data, where training may leave them.
    """

    inputs: Tensor
    labels: Tensor
    factors: tuple[Tensor, Tensor] | None = None
    are_auxiliary: bool = False
    value_range: tuple[float, float] = (-math.inf, math.inf)


@dataclass(frozen=True, eq=False, kw_only=True)
class TwoLayerTraining(ContextStage[Classifier], Grouped[Classifier], Costly[Classifier]):
    """A two-layer classifier, trained full batch or taken to its limit.

    Args:
        section: network, loss and training, with one learning rate.
        dtype: of weights and inputs.
        seed: the run's seed.
        start: where a published script draws its first weights; None for our own draws.
    """

    result_type = Classifier
    role: ClassVar[Role]
    section: ClassifierConfig
    dtype: str
    seed: int
    start: PublishedStart | None = optional()

    @abstractmethod
    def samples(self, result: Results) -> Samples:
        """What it is trained on."""

    @property
    def label(self) -> str:
        """Words for people."""
        return f"{self.role} classifier, lr {self.section.lr[0]:g}"

    @property
    def network_seed(self) -> int:
        """The seed of its first weights and of the order of samples: the run's own, unless it is one of several."""
        return self.seed

    @property
    def work(self) -> float:
        """About how many epochs it takes."""
        return self.section.relative_work

    @property
    def step_operations(self) -> float:
        """See `Stage.step_operations`."""
        return step_operations(self.section, self.context.shapes(), on_perturbed=self.role == "perturbation")

    @property
    def together(self) -> str:
        """Classifiers by descent over the same inputs train together; all others alone."""
        section = self.section
        if not isinstance(section, DescentConfig):
            return self.key
        return content_key([self.dtype, section.form, section.products, [source.key for source in self.inputs]])

    @classmethod
    def run_group(
        cls, group: Sequence[Any], wanted: Sequence[int], result: Results
    ) -> Iterator[tuple[int, Classifier | Exception]]:
        """Train them over the inputs that they share."""
        samples = group[0].samples(result)
        specs = [
            TrainingSpec(stage.section, samples.labels, stage.network_seed, cls.role, stage.start, samples.value_range)
            for stage in group
        ]
        for position, found in learn_side_by_side(
            specs, samples.inputs, factors=samples.factors, wanted=wanted, report=result.report
        ):
            yield position, named(group[position], found) if isinstance(found, Exception) else found

    @classmethod
    def estimate(cls, group: Sequence[Any]) -> Estimate:
        """What training them together costs."""
        return estimate_classifiers(
            [stage.section for stage in group],
            [stage.network_seed for stage in group],
            group[0].context.shapes(),
            on_perturbed=cls.role == "perturbation",
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class DeepTraining(ContextStage[Classifier], Stored[Classifier], Costly[Classifier]):
    """A deep classifier, trained by minibatches or taken as it is.

    Args:
        known_as: what fixes it besides data and seed, without paths: its section, the user's code, first weights.
        dtype: of weights and inputs.
        seed: the run's seed.
        section: network, loss and training, with one learning rate, as found on this machine.
    """

    result_type = Classifier
    role: ClassVar[Role]
    known_as: Mapping[str, Any]
    dtype: str
    seed: int
    data: Stage[Dataset]
    section: ClassifierConfig = aside()

    @abstractmethod
    def samples(self, result: Results) -> Samples:
        """What it is trained on."""

    @property
    def label(self) -> str:
        """Words for people."""
        section = self.section
        is_rated = "lr" in type(section).model_fields
        trained = f"lr {section.lr[0]:g}" if is_rated else "fitted" if section.model.is_fitted else "as it is"
        return f"{self.role} classifier, {section.model.name}, {trained}"

    @property
    def unidentified(self) -> tuple[str, ...]:
        """What nothing identifies in the network's code."""
        return unidentified_in(self.known_as)

    @property
    def network_seed(self) -> int:
        """See `TwoLayerTraining.network_seed`."""
        return self.seed

    @property
    def work(self) -> float:
        """About how many epochs of a two-layer network it takes."""
        return self.section.relative_work

    @property
    def step_operations(self) -> float:
        """See `Stage.step_operations`."""
        return step_operations(self.section, self.context.shapes(), on_perturbed=self.role == "perturbation")

    def run(self, result: Results) -> Classifier:
        """Train it."""
        data, samples = result(self.data), self.samples(result)
        try:
            return learn_network(
                TrainingSpec(
                    self.section,
                    samples.labels,
                    self.network_seed,
                    self.role,
                    value_range=data.value_range,
                    learns_auxiliary=samples.are_auxiliary,
                ),
                Signature.of(data),
                samples.inputs,
                device=self.device,
                resumption=resumption(self.context, result),
                report=result.report,
            )
        except PerturbLearnError as error:
            raise named(self, error) from None

    @classmethod
    def estimate(cls, group: Sequence[Any]) -> Estimate:
        """What training it costs."""
        (stage,) = group
        return estimate_network(stage.section, stage.context.shapes(), on_perturbed=cls.role == "perturbation")


def resumption(context: Context, result: Results) -> Resumption:
    """How a long training is kept while it goes on."""
    return Resumption(result.drafts, context.checkpoint_minutes, context.checkpoint_epochs)


def named(stage: AnyStage, error: Exception) -> Exception:
    """An error that says which stage of which seed it is of."""
    return type(error)(f"{stage.label}, seed {stage.drawn_with}: {error}")
