"""The interface of every attack."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from perturblearn.attacks.attack_result import AttackResult
from perturblearn.attacks.ball import Norm
from perturblearn.attacks.context import AttackContext
from perturblearn.attacks.gradient import input_gradient

DEFAULT_STEPS = 100
"""Gradient steps of a search unless told otherwise [ICLR24, section 5]."""
DEFAULT_STEP = 0.2
"""Length of such a step as a multiple of epsilon [ICLR24, section 5]."""


@dataclass(frozen=True)
class Attack(ABC):
    """A way of perturbing inputs towards target labels, as a value: equal attacks do the same.

    Args:
        norm: in which the perturbation is bounded.
        epsilon: its largest size, 0 or more; one number, or one per source, (n,).
    """

    norm: Norm
    epsilon: float | Tensor

    is_search: ClassVar[bool] = True
    """Whether it searches among the inputs within bound and range, instead of adding a step of size epsilon."""

    @property
    def n_steps(self) -> int:
        """Gradient steps of one search, as far as they are known beforehand."""
        return DEFAULT_STEPS

    @abstractmethod
    def search(self, module: nn.Module, sources: Tensor, targets: Tensor, context: AttackContext) -> AttackResult:
        """Perturb the sources towards their targets.

        Meanwhile the module is in evaluation mode and its parameters are constants; afterwards it is as before.

        Args:
            module: f, with outputs (n,) or (n, 1) for two classes, or logits (n, K).
            sources: u, (n, ...), float32 or float64.
            targets: y', (n,): +1 or -1, or for logits 0 .. K-1.
            context: range of the inputs, seed, loss, block size, and who is told about the progress.

        Returns:
            The perturbed inputs, and the network's outputs, losses and success there.

        Raises:
            ConfigError: sizes that make no sense, L0 pixels that exceed the coordinates, or sources outside the range.
            DataError: sources that are no floats or not finite, or another number of targets.
            ModelError: outputs or losses of the wrong shape, NaN, or without a gradient; targets that f has no class
                for.
        """

    def for_network(self, module: nn.Module) -> Attack:
        """The same attack, with what it can compute once for this network instead of once for every block."""
        return self

    def has_factors(self, hidden_dim: int, input_dim: int) -> bool:
        """Whether results for a two-layer network of hidden_dim units and input_dim inputs have factors of low rank."""
        return False

    def count_zero_gradients(self, module: nn.Module, sources: Tensor, targets: Tensor, result: AttackResult) -> int:
        """How many samples were not perturbed because the gradient is zero at their source.

        Args:
            module, sources, targets: as they were searched, (n, ...) and (n,).
            result: of that search.
        """
        # A search may also stay where it starts because no iterate is better, so the gradient itself is looked at.
        still = (result.inputs == sources).flatten(1).all(dim=1)
        if not bool(still.any()):
            return 0
        gradient = input_gradient(module, sources[still], targets[still])
        return int((gradient.flatten(1) == 0).all(dim=1).sum())
