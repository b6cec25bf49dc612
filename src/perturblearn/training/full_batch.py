"""Full-batch gradient descent for two-layer networks, many networks side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from perturblearn.classifiers import Classifier, TwoLayer, from_state
from perturblearn.errors import DivergenceError
from perturblearn.training.losses import LOSSES, MarginLoss
from perturblearn.training.plateau import Plateau
from perturblearn.training.preactivations import LEAST_INPUT_DIM, Preactivations
from perturblearn.training.row_space import is_worth_trying, is_worth_using, may_have_low_rank, row_space


@dataclass(frozen=True)
class Descent:
    """Gradient descent with momentum, for one or many networks.

    Args:
        loss: identity, logistic or exponential.
        lr: learning rate, above 0.
        epochs: full-batch steps.
        momentum: heavy ball: v <- momentum v + gradient, w <- w - lr v.
        plateau: whether the plateau rule cuts the learning rate.
    """

    loss: str
    lr: float
    epochs: int
    momentum: float = 0.9
    plateau: bool = True


def train(
    network: TwoLayer,
    inputs: Tensor,
    labels: Tensor,
    descent: Descent,
    *,
    report: Callable[[int, int, str], None] | None = None,
) -> Classifier:
    """Train one network; see `train_side_by_side`."""
    return train_side_by_side([network], inputs, labels, descent, report=report)[0]


def train_side_by_side(
    networks: Sequence[TwoLayer],
    inputs: Tensor | Sequence[Tensor],
    labels: Tensor,
    descent: Descent,
    *,
    report: Callable[[int, int, str], None] | None = None,
) -> list[Classifier]:
    """Train R networks of equal shape at once, each on its own labels, as wide matrix products.

    The mean of loss(y f(x)) over all samples is minimised in W and b; the readout stays as it is [NeurIPS24,
    section 3]. Networks do not influence one another. The networks that were passed in are not changed.

    Args:
        networks: R networks of equal width, dimension, slope and kind of bias, as they start.
        inputs: one tensor (N, ...) for all networks, or a sequence of R of them, one for each.
        labels: +1 and -1, (N,) for all networks or (R, N).
        descent: loss, learning rate, epochs, momentum, plateau rule.
        report: called now and then with epochs done, epochs in all and the loss.

    Returns:
        The trained classifiers in the order of the networks.

    Raises:
        DivergenceError: a loss, a weight or a bias is no longer finite.
        ValueError: networks that are not alike, or shapes that do not fit together.
    """
    first = networks[0]
    count, width = len(networks), first.hidden_dim
    if len({(network.weight.shape, network.slope, network.bias is None) for network in networks}) > 1:
        raise ValueError("networks must be alike in width, dimension, slope and bias to be trained side by side")
    flat = inputs.flatten(1) if isinstance(inputs, Tensor) else torch.stack([part.flatten(1) for part in inputs])
    n_samples = flat.shape[-2]
    if flat.shape[-1] != first.input_dim or flat.shape[:-2] not in ((), (count,)):
        raise ValueError(
            f"inputs of shape {tuple(flat.shape)} do not fit {count} networks of dimension {first.input_dim}"
        )
    if labels.shape not in ((n_samples,), (count, n_samples)):
        raise ValueError(f"labels of shape {tuple(labels.shape)} do not fit {count} networks and {n_samples} samples")

    weights = torch.stack([network.weight.detach() for network in networks])
    flat, basis = _reduce(flat, count * width, descent.epochs)
    start = weights if basis is None else weights @ basis.T
    state = _State(networks, start, flat, labels.to(flat.dtype).expand(count, n_samples), descent)
    losses = state.run(report or (lambda *_: None))
    if basis is not None:
        weights = weights + (state.weights - start) @ basis
    else:
        weights = state.weights
    settings = {
        "loss": descent.loss,
        "lr": descent.lr,
        "epochs": descent.epochs,
        "momentum": descent.momentum,
        "plateau": descent.plateau,
        "form": "plain" if basis is None else f"row space of rank {basis.shape[0]}",
    }
    trained = []
    for index, network in enumerate(networks):
        result = from_state(network.state_dict(), network.slope)
        result.weight.data = weights[index].clone()
        if result.bias is not None and state.biases is not None:
            result.bias.data = state.biases[index].clone()
        trained.append(Classifier(result, settings, losses[:, index].clone(), state.plateaus[index].lr))
    return trained


def _reduce(inputs: Tensor, hidden_units: int, epochs: int) -> tuple[Tensor, Tensor | None]:
    """Shared float32 inputs of low rank in their row space, with its basis; others as they are, without one."""
    if (
        inputs.ndim == 2
        and inputs.dtype == torch.float32
        and is_worth_trying(inputs.shape[0], inputs.shape[1], hidden_units, epochs)
        and may_have_low_rank(inputs)
    ):
        coefficients, basis = row_space(inputs)
        if is_worth_using(len(basis), inputs.shape[1]):
            return coefficients, basis
    return inputs, None


class _State:
    """Weights, velocities and work space of R networks; hidden activations are laid out as (R, m, N).

    With phi(u) = slope u + (1 - slope) max(u, 0), everything is written in max(u, 0) and its gate (u > 0): the slope's
    share of output and gradient needs no pass over the activations.
    """

    def __init__(
        self, networks: Sequence[TwoLayer], weights: Tensor, inputs: Tensor, labels: Tensor, descent: Descent
    ) -> None:
        self.weights = weights.clone()
        self.biases = None
        if networks[0].bias is not None:
            self.biases = torch.stack([network.bias.detach() for network in networks if network.bias is not None])
        self.plateaus = [Plateau(descent.lr) for _ in networks]
        self._readouts = torch.stack([network.readout for network in networks])
        self._slope = networks[0].slope
        self._inputs = inputs
        self._labels = labels
        self._descent = descent
        self._loss: MarginLoss = LOSSES[descent.loss]
        self._hidden = inputs.new_empty(*weights.shape[:2], inputs.shape[-2])
        self._gradient = torch.zeros_like(self.weights)
        self._bias_gradient = torch.zeros_like(self._readouts)
        self._gates: Tensor | None = None
        self._spare_gates: Tensor | None = None
        self._preactivations: Preactivations | None = None
        self._velocity = torch.zeros_like(self.weights)
        self._bias_velocity = None if self.biases is None else torch.zeros_like(self.biases)

    def run(self, report: Callable[[int, int, str], None]) -> Tensor:
        """All epochs; returns the mean loss before each step, (epochs, R) float64."""
        epochs = self._descent.epochs
        losses = torch.empty(epochs, len(self.plateaus), dtype=torch.float64)
        every = max(1, epochs // 100)
        for epoch in range(epochs):
            rates = [plateau.lr for plateau in self.plateaus]
            losses[epoch] = self._step(rates).cpu()
            for index, loss in enumerate(losses[epoch].tolist()):
                if not math.isfinite(loss):
                    raise _diverged(epoch, epochs, rates[index], f"the loss became {loss}")
                if self._descent.plateau:
                    self.plateaus[index].update(loss)
            if epoch % every == 0:
                report(epoch + 1, epochs, f"loss {losses[epoch].mean():.4g}")
        for what, tensor in (("weight", self.weights), ("bias", self.biases)):
            for index, values in enumerate(() if tensor is None else tensor):
                if not bool(torch.isfinite(values).all()):
                    raise _diverged(epochs - 1, epochs, self.plateaus[index].lr, f"a {what} is not finite")
        return losses

    def _step(self, rates: list[float]) -> Tensor:
        outputs = self._forward()
        margins = self._labels * outputs
        losses = self._loss.value(margins).mean(dim=1, dtype=torch.float64)
        # d loss / d f(x_n), with the 1/N of the mean
        signal = self._loss.derivative(margins).mul_(self._labels).div_(margins.shape[1])
        self._backward(signal)
        if self._preactivations is not None:
            self._preactivations.step(self._descent.momentum, rates)
        rate = self._gradient.new_tensor(rates)
        self._velocity.mul_(self._descent.momentum).add_(self._gradient)
        self.weights.sub_(self._velocity * rate[:, None, None])
        if self.biases is not None and self._bias_velocity is not None:
            self._bias_velocity.mul_(self._descent.momentum).add_(self._bias_gradient)
            self.biases.sub_(self._bias_velocity * rate[:, None])
        return losses

    def _forward(self) -> Tensor:
        """Outputs (R, N); leaves max(w.x + b, 0) in the work space."""
        if self._preactivations is not None:
            torch.clamp_min(self._preactivations.values, 0, out=self._hidden)
        else:
            self._multiply()
        readouts = self._readouts[:, None, :]
        outputs = torch.bmm(readouts, self._hidden)[:, 0]
        if self._slope == 0:
            return outputs
        linear = torch.matmul(readouts @ self.weights, self._inputs.mT)[:, 0]
        if self.biases is not None:
            linear = linear + (self._readouts * self.biases).sum(1, keepdim=True)
        return (1 - self._slope) * outputs + self._slope * linear

    def _multiply(self) -> None:
        count, width, n_samples = self._hidden.shape
        if self._inputs.ndim == 2:
            torch.mm(self.weights.flatten(0, 1), self._inputs.T, out=self._hidden.view(count * width, n_samples))
        else:
            torch.bmm(self.weights, self._inputs.mT, out=self._hidden)
        if self.biases is not None:
            self._hidden.add_(self.biases[:, :, None])
        self._hidden.clamp_min_(0)

    def _backward(self, signal: Tensor) -> None:
        """Gradients of weights and biases from d loss / d f, (R, N), and the activations in the work space."""
        if self._has_constant_signal and self._update_changed_units(signal):
            return
        gated = self._gated(self._hidden.sign_(), signal[:, None, :])
        count, width, n_samples = gated.shape
        if self._inputs.ndim == 2:
            dim = self._inputs.shape[1]
            torch.mm(gated.view(count * width, n_samples), self._inputs, out=self._gradient.view(count * width, dim))
        else:
            torch.bmm(gated, self._inputs, out=self._gradient)
        self._gradient.mul_(self._readouts[:, :, None])
        torch.sum(gated, dim=2, out=self._bias_gradient)
        self._bias_gradient.mul_(self._readouts)

    @property
    def _has_constant_signal(self) -> bool:
        """Whether the loss sends the same signal back every epoch, so that a gradient changes only with its gates."""
        return self._loss.name == "identity"

    def _update_changed_units(self, signal: Tensor) -> bool:
        """Compute anew the gradients of units with a changed gate; False, and nothing done, if those are too many."""
        if self._gates is None:
            self._gates, self._spare_gates = self._hidden > 0, self._hidden > 0
            return False
        gates = torch.gt(self._hidden, 0, out=self._spare_gates)
        changed = torch.ne(gates, self._gates, out=self._gates).any(dim=2)
        self._gates, self._spare_gates = gates, self._gates
        share = int(changed.sum()) / changed.numel()
        # From half the units on, picking them out costs more than it saves.
        if share > 1 / 2:
            self._preactivations = None
            return False
        for network in changed.any(dim=1).nonzero()[:, 0].tolist():
            self._update_units(network, changed[network].nonzero()[:, 0], signal[network])
        if share < 1 / 16 and self._preactivations is None and self._inputs.shape[-1] >= LEAST_INPUT_DIM:
            self._preactivations = self._moving_preactivations()
        return True

    def _update_units(self, network: int, units: Tensor, signal: Tensor) -> None:
        inputs = self._inputs if self._inputs.ndim == 2 else self._inputs[network]
        readouts = self._readouts[network, units]
        gated = self._gated(self._hidden[network, units].sign_(), signal)
        gradient = (gated @ inputs) * readouts[:, None]
        bias_gradient = gated.sum(dim=1) * readouts
        self._gradient[network, units] = gradient
        self._bias_gradient[network, units] = bias_gradient
        if self._preactivations is not None:
            self._preactivations.change_gradient(
                network, units, gradient, None if self.biases is None else bias_gradient
            )

    def _moving_preactivations(self) -> Preactivations:
        biases = None
        if self.biases is not None and self._bias_velocity is not None:
            biases = self.biases, self._bias_velocity, self._bias_gradient
        return Preactivations(self._inputs, self.weights, self._velocity, self._gradient, biases)

    def _gated(self, gates: Tensor, signal: Tensor) -> Tensor:
        """The back-propagated signal without the readout, in the place of the gates (1 or 0)."""
        gates.mul_(signal)
        return gates if self._slope == 0 else gates.mul_(1 - self._slope).add_(signal, alpha=self._slope)


def _diverged(epoch: int, epochs: int, lr: float, what: str) -> DivergenceError:
    return DivergenceError(
        f"training diverged at epoch {epoch + 1} of {epochs} with learning rate {lr:g} ({what}); "
        "choose a smaller learning rate"
    )
