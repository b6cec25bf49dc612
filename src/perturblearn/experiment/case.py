"""One seed's classifiers with all that predictions about them need."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from perturblearn.classifiers import Classifier, TwoLayer
from perturblearn.config import ClassifierConfig, ExperimentConfig, LimitConfig, TwoLayerModelConfig
from perturblearn.data import Dataset
from perturblearn.errors import DataError
from perturblearn.perturbed import PerturbedSet
from perturblearn.theory import MarginLimit, margin_limit

MOST_FOR_LIMIT = 10_000
"""Samples up to which a limit is looked for."""


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

    def of(self, role: str) -> TwoLayer:
        """The two-layer network of f (``standard``) or of g; predictions know no other."""
        module = (self.standard if role == "standard" else self.perturbation).module
        assert isinstance(module, TwoLayer)
        return module

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
    def slope(self) -> float:
        """F's negative slope."""
        return self.model("standard").slope

    @property
    def has_bias(self) -> bool:
        """Whether f's units have a bias."""
        return self.model("standard").has_bias

    def section(self, role: str) -> ClassifierConfig:
        """The configuration of the ``standard`` or of the ``perturbation`` classifier."""
        return self.config.standard if role == "standard" else self.config.perturbation

    def model(self, role: str) -> TwoLayerModelConfig:
        """The two-layer network of the ``standard`` or of the ``perturbation`` classifier, as configured."""
        model = self.section(role).model
        assert isinstance(model, TwoLayerModelConfig)
        return model

    def limits(self) -> tuple[MarginLimit | None, MarginLimit | None, list[str]]:
        """Limits of the training set and of the perturbed set where the theory has them, and why it has not."""
        limits: list[MarginLimit | None] = []
        notes: list[str] = []
        sets = (
            ("standard", self.inputs, self.data.labels, "training"),
            ("perturbation", self.seen, self.perturbed.target_labels, "perturbed"),
        )
        for role, inputs, labels, name in sets:
            model = self.model(role)
            limit = None
            if model.has_bias:
                notes.append(f"No limit of the {name} set: long training of networks with a bias is not covered.")
            elif model.slope == 0:
                notes.append(f"No limit of the {name} set: the slope is 0.")
            elif len(inputs) > MOST_FOR_LIMIT:
                notes.append(f"No limit of the {name} set: it has more than {MOST_FOR_LIMIT:,} samples.")
            else:
                method = model.method if isinstance(model, LimitConfig) else "two_direction"
                try:
                    limit = margin_limit(inputs, labels, slope=model.slope, method=method, both_classes=False)
                except DataError as error:
                    notes.append(f"No limit of the {name} set: {error}.")
            limits.append(limit)
        return limits[0], limits[1], notes
