"""The target loss, and its gradient in the inputs."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from perturblearn.classifiers import Network
from perturblearn.errors import ModelError

Loss = Callable[[Tensor, Tensor], Tensor]
"""From outputs (n,) or (n, K) and targets (n,) to losses (n,), which an attack minimises."""


def target_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss that attacks minimise unless another is given, per sample [own].

    Args:
        outputs: f(x), (n,), with targets +1 and -1: minus the margin, -y' f(x). Its direction, and the order of inputs
            by it, are those of any loss that falls with the margin, and nothing overflows. Logits (n, K), with targets
            0 .. K-1: the cross-entropy.
        targets: y', (n,) int64.

    Returns:
        (n,), in the outputs' precision.
    """
    if outputs.ndim == 1:
        return -targets * outputs
    return cross_entropy(outputs, targets, reduction="none")


def away_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Minus the target loss: what a search minimises that moves inputs away from the targets [own].

    Args:
        outputs, targets: as in `target_loss`.

    Returns:
        (n,), in the outputs' precision.
    """
    return -target_loss(outputs, targets)


def odds_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Minus the log odds of the target, per sample [own]; unlike a cross-entropy it never saturates.

    Args:
        outputs, targets: as in `target_loss`, which this is for outputs (n,), whose log odds they are.

    Returns:
        (n,), in the outputs' precision.
    """
    if outputs.ndim == 1:
        return target_loss(outputs, targets)
    column = targets[:, None]
    others = outputs.scatter(1, column, -torch.inf).logsumexp(dim=1)
    return others - outputs.gather(1, column)[:, 0]


def away_from_odds(outputs: Tensor, targets: Tensor) -> Tensor:
    """Minus `odds_loss`, which kept networks minimise beside it: what all share cancels [own].

    Args:
        outputs, targets: as in `target_loss`.

    Returns:
        (n,), in the outputs' precision.
    """
    return -odds_loss(outputs, targets)


class Objective:
    """The target loss of some samples, with the checks that a user's network and loss need.

    Args:
        call: from inputs (n, ...) to outputs.
        name: the network's, for messages.
        targets: y', (n,) int64.
        shape: of one input.
        loss: of outputs and targets, per sample.
        others: objectives of other networks; the mean of their losses is added.
    """

    def __init__(
        self,
        call: Callable[[Tensor], Tensor],
        name: str,
        targets: Tensor,
        shape: torch.Size,
        loss: Loss,
        others: Collection[Objective] = (),
    ) -> None:
        self._call, self._name, self._targets, self._shape, self._loss = call, name, targets, shape, loss
        self._others = others
        self._missing: Tensor | None = None

    @property
    def targets(self) -> Tensor:
        """y', (n,)."""
        return self._targets

    def of_rows(self, rows: Tensor) -> Objective:
        """The same for some of the samples."""
        others = [other.of_rows(rows) for other in self._others]
        return Objective(self._call, self._name, self._targets[rows], self._shape, self._loss, others)

    def evaluate(self, points: Float[Tensor, "n d"]) -> tuple[Tensor, Float[Tensor, " n"]]:
        """Outputs and losses (n,) at points (n, d).

        Raises:
            ModelError: see `outputs_of`; NaN in the first outputs; losses of another shape.
        """
        with torch.no_grad():
            return self._pass(points)

    def differentiate(self, points: Float[Tensor, "n d"]) -> tuple[Tensor, Float[Tensor, " n"], Float[Tensor, "n d"]]:
        """Outputs, losses and the gradient of each sample's loss at points (n, d).

        Raises:
            ModelError: as in `evaluate`; outputs that do not depend on the inputs.
        """
        leaf = points.detach().requires_grad_()
        # The caller may be under no_grad, as everything around an attack usually is.
        with torch.enable_grad():
            outputs, losses = self._pass(leaf)
            if not losses.requires_grad:
                raise ModelError(
                    f"the loss at the outputs of {self._name} has no gradient in its inputs, which this attack "
                    "follows; compute both from the inputs with torch operations, without detaching"
                )
            # Samples do not depend on each other in evaluation mode, so the sum's gradient is each sample's own.
            (gradient,) = torch.autograd.grad(losses.sum(), leaf)
        return outputs.detach(), losses.detach(), gradient

    def check(self) -> None:
        """Refuse NaN counted since the first pass; called once, because reading the count waits for the device.

        Raises:
            ModelError: there were some.
        """
        missing = 0 if self._missing is None else int(self._missing)
        if missing:
            raise ModelError(
                f"{missing} outputs or losses of {self._name} became NaN during the search, although none was at the "
                "sources; its outputs, the loss or their gradient overflow: search in float32 or float64, or with "
                "another loss"
            )

    def _pass(self, points: Tensor) -> tuple[Tensor, Tensor]:
        # A copy: a network that works on its inputs in place would move the points, beyond any bound.
        inputs = points.view(-1, *self._shape).clone()
        outputs = outputs_of(self._call(inputs), len(points), self._name).to(points.dtype)
        first = self._missing is None
        # Checked in words at the sources alone; later passes only count, so that no step waits for the device.
        if first:
            check_targets(outputs, self._targets, self._name)
            check_numbers(outputs, self._name)
        losses = self._loss(outputs, self._targets)
        if not isinstance(losses, Tensor) or losses.shape != self._targets.shape:
            shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise ModelError(
                f"the loss returned {shape} for {len(points)} samples, but an attack needs one number for each; "
                "return a tensor of shape (n,), not their mean"
            )
        if self._others:
            losses = losses + torch.stack([other._pass(points)[1] for other in self._others]).mean(dim=0)
        missing = losses.detach().isnan().sum() + outputs.detach().isnan().sum()
        self._missing = missing if self._missing is None else self._missing + missing
        return outputs, losses


def name_of_network(module: nn.Module) -> str:
    """What a network is called in messages: by its configuration, or by its class."""
    return f"the network {module.config.name}" if isinstance(module, Network) else type(module).__name__


def outputs_of(outputs: object, count: int, name: str) -> Tensor:
    """Outputs as (n,) or logits (n, K); a column (n, 1) is the former.

    Raises:
        ModelError: they are neither.
    """
    if isinstance(outputs, Tensor) and len(outputs.shape) in (1, 2) and len(outputs) == count:
        if outputs.ndim == 1:
            return outputs
        if outputs.shape[1] >= 1:
            return outputs[:, 0] if outputs.shape[1] == 1 else outputs
    shape = f"outputs of shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
    raise ModelError(
        f"{name} returned {shape} for {count} inputs, but attacks need (n,) or (n, 1) for two classes, or logits "
        "(n, K) of K classes; return these"
    )


def check_targets(outputs: Tensor, targets: Tensor, name: str) -> None:
    """Refuse targets that the outputs, (n,) or (n, K), have no class for.

    Raises:
        ModelError: there are some.
    """
    least, largest = (int(bound) for bound in targets.aminmax())
    if outputs.ndim == 1:
        if not bool((targets.abs() == 1).all()):
            raise ModelError(
                f"{name} has one output per input, so targets must be +1 or -1, but they run from {least} to "
                f"{largest}; give such targets, or a network with one logit per class"
            )
    elif least < 0 or largest >= outputs.shape[1]:
        raise ModelError(
            f"{name} has {outputs.shape[1]} outputs per input, so targets must lie between 0 and "
            f"{outputs.shape[1] - 1}, but they run from {least} to {largest}; give such targets, or a network with "
            "one logit per class"
        )


def check_numbers(outputs: Tensor, name: str) -> None:
    """Refuse outputs that are not numbers.

    Raises:
        ModelError: some are NaN.
    """
    missing = int(outputs.detach().isnan().sum())
    if missing:
        raise ModelError(
            f"{missing} of {outputs.numel()} outputs of {name} are NaN; look for NaN in its weights, or for an "
            "operation that overflows on these inputs"
        )


def bfloat16_call(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """Passes of a module with its products in bfloat16.

    Kernels and matrices are copied once in bfloat16 and autocast does the rest, so that the module is not touched, and
    what it computes in float32 itself fits. On a convolutional network this is as fast as a bfloat16 copy of the whole
    module.
    """
    # Images keep their layout: with channels last a mean over pixels, whose gradient has them first, would cost more
    # than the convolutions gain.
    weights = {
        name: parameter.detach().bfloat16() if parameter.ndim > 1 and parameter.dtype == torch.float32 else parameter
        for name, parameter in module.named_parameters()
    }

    def call(inputs: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, torch.bfloat16):
            return functional_call(module, weights, (inputs,))

    return call
