"""Gradient flow in rescaled time: the end of very long training in a hundred steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn.functional import leaky_relu

from perturblearn.classifiers import Classifier, TwoLayer, from_state
from perturblearn.errors import ConfigError, DivergenceError
from perturblearn.training.cost import Group, choose_form
from perturblearn.training.descent import Descent
from perturblearn.training.form import Form, form_words
from perturblearn.training.losses import LOSSES

FLOW_LOSSES = ("exponential", "logistic")
"""Losses whose slope dies out with the margin, so that rescaling time pays."""
_MOST_STEPS = 100
"""Steps an epoch from which on descent itself would be quicker by far."""
_USUAL_STEPS = 200
"""Steps of an ordinary flow, for the choice of its form."""


@dataclass(frozen=True)
class Flow:
    """Gradient flow, up to the time that so many epochs of gradient descent cover.

    Args:
        loss: exponential or logistic.
        lr, epochs, momentum: of the descent whose time is matched.
        step: largest change of a margin in one step.
        target_loss: stop earlier, where the mean loss reaches this; None for the time alone.
        exact_epochs: this many first epochs are done by the descent itself.
    """

    loss: str
    lr: float
    epochs: int
    momentum: float = 0.9
    step: float = 0.1
    target_loss: float | None = None
    exact_epochs: int = 0

    def __post_init__(self) -> None:
        if self.loss not in FLOW_LOSSES:
            raise ConfigError(
                f"the flow follows an exponential or logistic loss, not {self.loss!r}; choose one of these"
            )

    @property
    def time(self) -> float:
        """Time of the epochs that are left to the flow: lr (E - E_0) / (1 - momentum)."""
        return self.lr * max(0, self.epochs - self.exact_epochs) / (1 - self.momentum)

    def train(
        self,
        network: TwoLayer,
        inputs: Float[Tensor, "n ..."],
        labels: Shaped[Tensor, "n"],
        *,
        factors: tuple[Float[Tensor, "n q"], Float[Tensor, "q d"]] | None = None,
        report: Callable[[int, int, str], None] | None = None,
    ) -> Classifier[TwoLayer]:
        r"""Follow the gradient flow of the mean loss, in the time of theory's third object [ICLR24, sections 3 and 5].

        Under the exponential loss descent slows down as the loss L falls: margins grow with the logarithm of time. In
        the time s with ds = L dt they grow evenly, so that 100,000 epochs are about a hundred steps: with A the
        coefficients of the weights' change, :math:`W = W_0 + A^T X`, a step adds :math:`ds\; softmax_n(-y f)_n\, y_n\,
        \phi'_{nj}\, a_j` to :math:`A_{nj}`. A step is as long as no margin changes by more than ``step``; the time dt
        that it covers follows from the loss falling exponentially in s along it.

        As in descent, the cost model chooses where the state lives: preactivations move by the Gram matrix, H += G dA,
        or the weights themselves move, in the coordinates of the inputs' known factors where there are any.

        Args:
            network: as it starts; not changed.
            inputs: (N, ...).
            labels: +1 and -1, (N,).
            factors: C (N, q) and Q (q, d) with orthonormal rows, such that the inputs are C Q, where they are known.
            report: called now and then with the share of the way done, in hundredths, and the loss.

        Returns:
            The classifier; its ``losses`` are those before each step of the flow, after those of the exact epochs.

        Raises:
            DivergenceError: the loss or a weight is no longer finite, or there are far more steps than epochs.
            ConfigError: a loss that has no flow.
        """
        start, exact_losses = network, torch.empty(0, dtype=torch.float64)
        if exact := min(self.exact_epochs, self.epochs):
            descent = Descent(self.loss, self.lr, exact, self.momentum, plateau=False)
            first = descent.train(network, inputs, labels, factors=factors)
            start, exact_losses = first.module, first.losses
        state = _State(start, inputs.flatten(1), labels, self, factors)
        losses = state.run(report or (lambda *_: None))
        trained = from_state(start.state_dict(), start.slope)
        trained.weight.data = state.weights()
        if trained.bias is not None:
            trained.bias.data = trained.bias.data + state.bias_change
        settings = {
            "training": "flow",
            "loss": self.loss,
            "lr": self.lr,
            "epochs": self.epochs,
            "momentum": self.momentum,
            "step": self.step,
            "target_loss": self.target_loss,
            "exact_epochs": exact,
            "steps": len(losses),
            "final_loss": state.loss,
            "form": state.form,
        }
        for tensor in trained.state_dict().values():
            if not bool(torch.isfinite(tensor).all()):
                raise DivergenceError(
                    "the flow left the finite numbers; choose a smaller flow_step, or scale the inputs down"
                )
        return Classifier(
            trained, settings, torch.cat((exact_losses, torch.tensor(losses, dtype=torch.float64))), self.lr
        )


class _State:
    """Preactivations (N, m) and what has been added to weights and biases."""

    def __init__(
        self,
        network: TwoLayer,
        inputs: Tensor,
        labels: Tensor,
        flow: Flow,
        factors: tuple[Tensor, Tensor] | None,
    ) -> None:
        self._flow = flow
        self._labels = labels.to(inputs.dtype)
        self._readout = network.readout.to(inputs.dtype)
        self._slope = network.slope
        self._has_bias = network.bias is not None
        self._start = network.weight.detach()
        self._basis: Tensor | None = None
        self._reduced = inputs
        rank = None if factors is None else factors[0].shape[1]
        steps = [Group(network.hidden_dim, _USUAL_STEPS, identity=False, width=network.hidden_dim)]
        dtype = str(inputs.dtype).removeprefix("torch.")
        self._form: Form = choose_form(len(inputs), inputs.shape[1], steps, known_rank=rank, dtype=dtype).form
        if factors is not None and self._form != "plain":
            self._reduced, self._basis = factors
        self._gram = self._reduced @ self._reduced.T if self._form == "gram" else None
        width = network.hidden_dim
        self._change = inputs.new_zeros(len(inputs) if self._gram is not None else self._reduced.shape[1], width)
        self.bias_change = inputs.new_zeros(width)
        with torch.no_grad():
            hidden = inputs @ self._start.T
            self._hidden = hidden if network.bias is None else hidden + network.bias.detach()
        self.loss = math.nan

    @property
    def form(self) -> str:
        """Which products the steps take."""
        words = form_words(self._form)
        return words if self._basis is None else f"{words} of rank {len(self._basis)}"

    def run(self, report: Callable[[int, int, str], None]) -> list[float]:
        """Steps until the time or the target loss is reached; returns the loss before each."""
        left, losses = self._flow.time, []
        most = _MOST_STEPS * (self._flow.epochs + 100)
        while True:
            margins = self._labels * (leaky_relu(self._hidden, self._slope) @ self._readout)
            # Shares of the loss range over many powers of ten: float32 would lose the samples that matter next.
            exact = margins.double()
            self.loss = float(LOSSES[self._flow.loss](exact).mean())
            if not math.isfinite(self.loss):
                raise DivergenceError(f"the flow left the finite numbers (the loss became {self.loss})")
            target = self._flow.target_loss
            if left <= 0 or (target is not None and self.loss <= target):
                report(100, 100, f"loss {self.loss:.3g}")
                return losses
            losses.append(self.loss)
            length, passed = self._step(exact, left)
            left = 0.0 if passed >= left else left - passed  # never below 0 by rounding
            if not length > 0:  # no unit moves any more: the gradient is 0
                report(100, 100, f"loss {self.loss:.3g}")
                return losses
            if len(losses) > most:
                raise DivergenceError(
                    f"the flow took {len(losses)} steps for the time of {self._flow.epochs} epochs and is not there "
                    "yet; scale the inputs down, or train by descent"
                )
            report(self._share_done(left), 100, f"flow step {len(losses)}, loss {self.loss:.3g}")

    def weights(self) -> Float[Tensor, "m d"]:
        """The weights as they are now, (m, d)."""
        change = self._change.T
        if self._gram is not None:
            change = change @ self._reduced
        return self._start + (change if self._basis is None else change @ self._basis)

    def _step(self, margins: Float[Tensor, "n"], left: float) -> tuple[float, float]:
        """Move; returns the length ds of the step and the time dt that it covers."""
        if self._flow.loss == "exponential":
            logarithms, decay = -margins, torch.ones_like(margins)
        else:
            logarithms, decay = torch.nn.functional.logsigmoid(-margins), torch.sigmoid(margins)
        # By logarithms, since exp(-margin) itself underflows long before the flow ends.
        shares = torch.softmax(logarithms, dim=0)  # of |loss'| over the samples
        rate = float(torch.logsumexp(logarithms, dim=0).exp()) / len(margins)  # ds/dt, mean of |loss'|
        gates = (self._hidden > 0).to(self._hidden.dtype).mul_(1 - self._slope).add_(self._slope)
        signal = (shares * self._labels).to(gates.dtype)[:, None] * gates * self._readout
        change, velocity = self._directions(signal)  # gates are taken as constant along a step
        speeds = (self._labels * ((gates * velocity) @ self._readout)).double()  # of the margins
        fastest = float(speeds.abs().max())
        # No margin moves, or all losses have died out below the smallest number: the flow has ended.
        if fastest == 0 or rate == 0:
            return 0.0, left
        length = self._flow.step / fastest
        falls = float((shares * decay * speeds).sum())  # how fast the logarithm of the rate falls in s
        passed = _time_of(length, rate, falls)
        if passed > left:
            length, passed = _length_of(left, rate, falls), left
        target = self._flow.target_loss
        if target is not None:
            # The loss falls by |loss'| times the margins' speed; near its target that is exponential as well.
            by = rate * float((shares * speeds).sum()) / self.loss
            needed = math.log(self.loss / target) / by if by > 0 else math.inf
            # A little more than needed, so that the target is passed and not approached for ever.
            if needed + length / 50 < length:
                length = needed + length / 50
                passed = _time_of(length, rate, falls)
        self._change.add_(change, alpha=length)
        self._hidden.add_(velocity, alpha=length)
        if self._has_bias:
            self.bias_change.add_(signal.sum(dim=0), alpha=length)
        return length, passed

    def _directions(self, signal: Float[Tensor, "n m"]) -> tuple[Float[Tensor, "size m"], Float[Tensor, "n m"]]:
        """How coefficients (or weights, transposed) and preactivations move per unit of s."""
        if self._gram is not None:
            change = signal
            velocity = self._gram @ signal
        else:
            change = self._reduced.T @ signal
            velocity = self._reduced @ change
        if self._has_bias:
            velocity += signal.sum(dim=0)
        return change, velocity

    def _share_done(self, left: float) -> int:
        # Progress in s, which is even: the logarithm of time.
        total = self._flow.time
        return min(99, int(100 * math.log1p(total - left) / math.log1p(total)))


def _time_of(length: float, rate: float, falls: float) -> float:
    """Time dt of a step ds along which the rate ds/dt falls as exp(-falls s)."""
    exponent = falls * length
    # expm1 overflows at 709; a time of e^700 is longer than any that is left.
    return length / rate if abs(exponent) < 1e-12 else math.expm1(min(exponent, 700.0)) / (rate * falls)


def _length_of(time: float, rate: float, falls: float) -> float:
    """The inverse of `_time_of`."""
    grown = time * rate * falls
    return time * rate if abs(grown) < 1e-12 else math.log1p(grown) / falls
