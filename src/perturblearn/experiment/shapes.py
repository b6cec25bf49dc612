"""How large an experiment is, for what is counted before it runs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from perturblearn.config import AttackConfig, ModelConfig, TwoLayerModelConfig
from perturblearn.data import Outline


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
