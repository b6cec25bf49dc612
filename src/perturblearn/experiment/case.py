"""One seed's classifiers with all that predictions about them need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from perturblearn.classifiers import Classifier, TwoLayer, initialise
from perturblearn.config import (
    ClassifierConfig,
    DescentConfig,
    ExperimentConfig,
    LimitConfig,
    TrainedTwoLayerConfig,
    TwoLayerModelConfig,
)
from perturblearn.data import Dataset
from perturblearn.errors import DataError
from perturblearn.experiment.draws import start_of
from perturblearn.perturbed import PerturbedSet
from perturblearn.seeding import PublishedStart
from perturblearn.theory import GateKernel, MarginLimit, margin_limit, training_time
from perturblearn.training import Plateau

MOST_FOR_LIMIT = 10_000
"""Samples up to which a limit is looked for."""


@dataclass(frozen=True, eq=False)
class Trained:
    """One of a case's classifiers with all that it was trained on.

    Args:
        letter: ``f`` or ``g``.
        role: ``standard`` or ``perturbation``: whose draws initialised it.
        training_set: the set it was trained on, in words.
        config: how it was trained.
        classifier: what came of it.
        inputs, labels: the set, (n, ...) and (n,).
        lr: the learning rate.
        seed: the run's seed.
        published: where a published script draws its first weights; None for our own draws.
    """

    letter: str
    role: str
    training_set: str
    config: ClassifierConfig
    classifier: Classifier
    inputs: Tensor
    labels: Tensor
    lr: float
    seed: int
    published: PublishedStart | None = None

    @property
    def network(self) -> TwoLayer:
        """The classifier's two-layer network; the papers' predictions are for no other."""
        module = self.classifier.module
        assert isinstance(module, TwoLayer)
        return module

    @property
    def model(self) -> TwoLayerModelConfig:
        """Its two-layer network, as configured."""
        assert isinstance(self.config.model, TwoLayerModelConfig)
        return self.config.model

    @property
    def has_start(self) -> bool:
        """Whether there was a network before training; a limit is found without one."""
        return not isinstance(self.config.model, LimitConfig)

    def start(self) -> TwoLayer | None:
        """The two-layer network before training, if there was one."""
        model, input_dim = self.config.model, self.inputs[0].numel()
        if not isinstance(model, TrainedTwoLayerConfig):
            return None
        return initialise(
            model, input_dim, seed=self.seed, role=self.config.starts_as(self.role), start=self.published
        ).to(self.inputs)

    @property
    def descent_time(self) -> float:
        """Training time of full-batch descent, see `training_time`; its plateau rule is followed again."""
        config = self.config
        assert isinstance(config, DescentConfig), "flow and limits have times of their own"
        rates = descent_rates(config, self.lr, self.classifier.losses.tolist())
        return training_time(rates, config.epochs, config.momentum)

    def limit(self) -> MarginLimit | str:
        """Where long training on this set ends, or why theory does not say so."""
        model = self.model
        if model.has_bias:
            return "long training of networks with a bias is not covered"
        if model.slope == 0:
            return "the slope is 0"
        if len(self.inputs) > MOST_FOR_LIMIT:
            return f"it has more than {MOST_FOR_LIMIT:,} samples"
        method = model.method if isinstance(model, LimitConfig) else "two_direction"
        try:
            # One class alone has a limit too: a handful of noise sources may share a target.
            return margin_limit(
                self.inputs.flatten(1), self.labels, slope=model.slope, method=method, both_classes=False
            )
        except DataError as error:
            return str(error)


class Limits(NamedTuple):
    """The limits of long training of f and g where theory has them, and why it has not."""

    f: MarginLimit | None
    g: MarginLimit | None
    notes: list[str]


@dataclass(frozen=True, eq=False)
class Case:
    """One seed's classifiers with all that predictions need.

    Args:
        config: the experiment's configuration.
        seed: the run's seed.
        data: the data set.
        standard, perturbation: f and g.
        perturbed: the set that g was trained on, with its sources.
        standard_lr, perturbation_lr: their learning rates.
    """

    config: ExperimentConfig
    seed: int
    data: Dataset
    standard: Classifier
    perturbation: Classifier
    perturbed: PerturbedSet
    standard_lr: float
    perturbation_lr: float

    @property
    def f(self) -> Trained:
        """The standard classifier with its training set."""
        data, lr = self.data, self.standard_lr
        config, start = self.config.standard, start_of(self.config, "standard")
        return Trained(
            "f", "standard", "training", config, self.standard, data.inputs, data.labels, lr, self.seed, start
        )

    @property
    def g(self) -> Trained:
        """The perturbation classifier with the perturbed set."""
        config, perturbed, lr = self.config.perturbation, self.perturbed, self.perturbation_lr
        inputs, targets = perturbed.inputs, perturbed.target_labels
        start = start_of(self.config, "perturbation")
        return Trained(
            "g", "perturbation", "perturbed", config, self.perturbation, inputs, targets, lr, self.seed, start
        )

    @property
    def inputs(self) -> Tensor:
        """Training inputs x, (N, d)."""
        return self.data.inputs.flatten(1)

    @property
    def heldout(self) -> Tensor:
        """Held-out inputs, (M, d)."""
        return self.data.heldout_inputs.flatten(1)

    @property
    def seen(self) -> Tensor:
        """What g sees, x', (n, d)."""
        return self.perturbed.inputs.flatten(1)

    @property
    def sources(self) -> Tensor:
        """Sources u, (n, d)."""
        assert self.perturbed.sources is not None
        return self.perturbed.sources.flatten(1)

    @property
    def places(self) -> Tensor | None:
        """Where perturbations were taken, if not at the training inputs."""
        return None if self.perturbed.true_labels is not None else self.sources

    @property
    def kernel(self) -> GateKernel:
        """The kernel of f, by which the papers predict g too."""
        return kernel_of(self.f.model)

    def limits(self) -> Limits:
        """Limits of the training set and of the perturbed set."""
        f, g = self.f.limit(), self.g.limit()
        reasons = ((trained.training_set, limit) for trained, limit in ((self.f, f), (self.g, g)))
        notes = [f"No limit of the {name} set: {reason}." for name, reason in reasons if isinstance(reason, str)]
        return Limits(None if isinstance(f, str) else f, None if isinstance(g, str) else g, notes)


def descent_rates(section: DescentConfig, lr: float, losses: Sequence[float]) -> list[float]:
    """The learning rate of every epoch, from the losses that the plateau rule saw."""
    rule = Plateau(lr)
    rates = []
    for loss in losses:
        rates.append(rule.lr)
        if section.schedule == "plateau":
            rule.update(loss)
    return rates


def kernel_of(model: TwoLayerModelConfig, *, trained_bias: bool = False) -> GateKernel:
    """The kernel of a wide two-layer network of this parametrisation.

    Args:
        model: the network.
        trained_bias: whether the trained bias's share is included; NeurIPS24 leaves it out.
    """
    return GateKernel(model.slope, bias=model.has_bias, trained_bias=trained_bias)
