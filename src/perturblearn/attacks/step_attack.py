"""Attacks that add one step of size epsilon, whatever becomes of range and loss."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from perturblearn.attacks.attack import Attack
from perturblearn.attacks.attack_result import AttackResult
from perturblearn.attacks.context import AttackContext
from perturblearn.attacks.frozen import frozen
from perturblearn.attacks.objective import check_numbers, name_of_network, outputs_of, target_loss
from perturblearn.classifiers import is_target, rows_per_pass


@dataclass(frozen=True)
class StepAttack(Attack):
    """A step of size epsilon from each source, neither clipped into the range nor judged.

    Args:
        norm, epsilon: as in `Attack`; the step has exactly this size, up to rounding.
        bare: return the perturbations alone, x' = r, instead of x' = u + r.
    """

    epsilon: float
    bare: bool = field(default=False, kw_only=True)
    is_search: ClassVar[bool] = False

    @property
    def n_steps(self) -> int:
        """One."""
        return 1

    @abstractmethod
    def perturbations(self, module: nn.Module, points: Tensor, targets: Tensor, block: int | None = None) -> Tensor:
        """The steps r at some points, shaped as these; 0 where there is no direction.

        Args:
            module: f.
            points: where f is looked at, (n, ...).
            targets: y', (n,).
            block: points at a time; it changes nothing beyond rounding.

        Raises:
            ConfigError: L0 pixels that exceed the coordinates.
            ModelError: as in `input_gradient`.
        """

    def search(self, module: nn.Module, sources: Tensor, targets: Tensor, context: AttackContext) -> AttackResult:
        """The sources moved by their steps, or the bare steps; see `Attack.search`."""
        sources = sources.detach()
        steps = self.perturbations(module, sources, targets, context.block)
        return self.result(module, sources, targets, steps, context)

    def result(
        self, module: nn.Module, sources: Tensor, targets: Tensor, steps: Tensor, context: AttackContext
    ) -> AttackResult:
        """The result of these steps, which may be overwritten."""
        # Of the steps and in float64: x' - u is rounded, and squares of tiny steps would vanish in float32.
        sizes = self.norm.sizes(steps.flatten(1).double())[:, 0].to(steps.dtype)
        # In place, to hold one copy of large inputs instead of two.
        inputs = steps if self.bare else steps.add_(sources)
        name, rows = name_of_network(module), context.block or rows_per_pass(module)
        with frozen(module, context.seed), torch.no_grad():
            passes = [outputs_of(module(part.clone()), len(part), name) for part in inputs.split(rows) if len(part)]
        outputs = torch.cat(passes) if passes else sizes
        check_numbers(outputs, name)
        losses = (context.loss or target_loss)(outputs, targets)
        return AttackResult(inputs, outputs, losses, is_target(outputs, targets), sizes)

    def count_zero_gradients(self, module: nn.Module, sources: Tensor, targets: Tensor, result: AttackResult) -> int:
        """How many steps are zero: a step has size epsilon unless the gradient is zero."""
        return int((result.sizes == 0).sum())
