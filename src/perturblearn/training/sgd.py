"""A network in training by minibatches: one step, one epoch's end, and the way to a draft and back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from perturblearn.attacks import frozen
from perturblearn.classifiers import Network, TwoLayer, copied
from perturblearn.errors import ModelError
from perturblearn.store import Artefact
from perturblearn.training.adversary import Adversary
from perturblearn.training.losses import LOSSES
from perturblearn.training.moving_average import MovingAverage
from perturblearn.training.schedule import Schedule
from perturblearn.training.soft import SoftLoss


class Sgd:
    """Stochastic gradient descent with momentum, and what it knows between two steps.

    Args:
        network: as it starts; a copy is trained.
        loss: identity, logistic or exponential.
        schedule: its learning rates.
        epochs: passes over the samples.
        steps_per_epoch: batches of one pass.
        momentum: 0 for none.
        nesterov: whether the step looks ahead along the velocity.
        weight_decay: lambda of the penalty lambda/2 ||w||^2 on all parameters.
        label_smoothing: share of every label that is spread evenly over all classes.
        ema_decay: of the moving average of the weights that is kept; 0 for the weights themselves.
        bfloat16: products in bfloat16; weights, sums and losses keep their precision.
        device: where to train.
        soft: the loss where labels are outputs of another network.
    """

    def __init__(
        self,
        network: TwoLayer | Network,
        loss: str,
        schedule: Schedule,
        *,
        epochs: int,
        steps_per_epoch: int,
        momentum: float,
        nesterov: bool,
        weight_decay: float,
        label_smoothing: float,
        ema_decay: float,
        bfloat16: bool,
        device: torch.device,
        soft: SoftLoss,
    ) -> None:
        self.module = copied(network, type(network).__name__).to(device).train()
        self.parameters = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        self._velocities = [torch.zeros_like(parameter, requires_grad=False) for parameter in self.parameters]
        self._average = MovingAverage(self.module, ema_decay) if ema_decay else None
        self._loss = loss
        self._label_smoothing = label_smoothing
        self._soft = soft
        self.momentum = momentum
        self.nesterov = nesterov and momentum > 0
        self.weight_decay = weight_decay
        self._schedule = schedule
        self.steps_per_epoch = steps_per_epoch
        self.device = device
        self._bfloat16 = bfloat16
        self._sum = torch.zeros((), dtype=torch.float64, device=device)
        self.steps = epochs * steps_per_epoch
        self.losses: list[float] = []
        self.done = 0

    @property
    def trained(self) -> TwoLayer | Network:
        """The network that the training has made so far."""
        return self.module if self._average is None else self._average.module

    @property
    def lr(self) -> float:
        """The rate to which the schedule's rates are proportional, as it stands."""
        return self._schedule.lr

    @property
    def last_rate(self) -> float:
        """The rate of the last step, or what the plateau rule made of it since."""
        return self._schedule.rate(self.done - 1)

    @property
    def is_between_epochs(self) -> bool:
        """Whether the last step ended an epoch."""
        return self.done % self.steps_per_epoch == 0

    @property
    def next_rate(self) -> float:
        """The rate of the next step."""
        return self._schedule.rate(self.done)

    def progress(self) -> tuple[int, float]:
        """The epoch of the last step, counted from 1, and the mean loss of its steps so far."""
        steps = self.done % self.steps_per_epoch
        if steps:
            return len(self.losses) + 1, float(self._sum) / steps
        return len(self.losses), self.losses[-1]

    def moved(self, inputs: Tensor, labels: Tensor, adversary: Adversary, *, seed: int) -> Tensor:
        """A batch as an adversary moves it, away from its labels.

        The network is in evaluation mode meanwhile, as in the `robustness` library and as Pang et al. ("Bag of Tricks
        for Adversarial Training", ICLR 2021) advise: the iterates leave no trace in running statistics, samples do not
        depend on each other, and dropout does not hide the gradient.

        Args:
            inputs: (n, ...).
            labels: (n,).
            adversary: how far, and by which attack.
            seed: of random starts, and of what the network itself draws.
        """

        def outputs(points: Tensor) -> Tensor:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16):
                found = self.module(points)
            return found.float() if self._bfloat16 else found

        with frozen(self.module, seed):
            generator = torch.Generator().manual_seed(seed)
            return adversary.move(outputs, inputs, labels, generator, epochs=self.done / self.steps_per_epoch)

    def gradients(self, inputs: Tensor, labels: Tensor, *, batch_size: int, seed: int) -> Tensor:
        """Compute the gradients of a batch's mean loss, or of the part that some of its samples add to it.

        Args:
            inputs: (n, ...).
            labels: (n,).
            batch_size: samples of the whole batch.
            seed: of what the network itself draws, such as dropout.

        Returns:
            The mean loss, or that part of it.
        """
        for parameter in self.parameters:
            parameter.grad = None
        with torch.enable_grad():
            loss = self.sample_losses(self.outputs(inputs, seed), labels).sum() / batch_size
            loss.backward()
        return loss.detach()

    def sample_losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Loss of each sample, (n,); see `sample_losses` and `SoftLoss`."""
        if labels.is_floating_point():
            return self._soft(outputs, labels)
        return sample_losses(self._loss, outputs, labels, self._label_smoothing)

    def outputs(self, inputs: Tensor, seed: int) -> Tensor:
        """Outputs in training; the seed is of what the network itself draws."""
        with own_draws(seed, self.device), torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16):
            outputs = self._pass(inputs)
        return outputs.float() if self._bfloat16 else outputs

    def _pass(self, inputs: Tensor) -> Tensor:
        try:
            return self.module(inputs)
        except ValueError as error:
            # PyTorch's normalisations have no type of their own for what has no variance.
            if "Expected more than 1" not in str(error):
                raise
            raise ModelError(
                f"a layer of the network normalises over a batch or over pixels, of which it needs more than one "
                f"({error}), and a batch has {len(inputs)}; choose a larger batch_size, more samples or larger images"
            ) from None

    def step(self, loss: Tensor) -> None:
        """Take the step of the gradients that are there, and note the loss of its batch."""
        self._move()
        if self._average is not None:
            self._average.update(is_first=self.done == 0)
        self._sum += loss
        self.done += 1
        if self.is_between_epochs:
            mean = float(self._sum) / self.steps_per_epoch
            if math.isfinite(mean):  # otherwise the rate stays the one at which the training diverged
                self._schedule.update(mean)
            self.losses.append(mean)
            self._sum.zero_()

    def _move(self) -> None:
        """The step of `torch.optim.SGD`, which itself would import PyTorch's compiler first: a second for nothing."""
        alike: dict[torch.dtype, list[tuple[Tensor, Tensor, Tensor]]] = {}
        for parameter, velocity in zip(self.parameters, self._velocities, strict=True):
            if parameter.grad is not None:  # a layer that is not used has none
                alike.setdefault(parameter.dtype, []).append((parameter, parameter.grad, velocity))
        for each in alike.values():
            parameters, gradients, velocities = (list(tensors) for tensors in zip(*each, strict=True))
            torch.ops.aten._fused_sgd_(
                parameters,
                gradients,
                velocities if self.momentum else [],
                weight_decay=self.weight_decay,
                momentum=self.momentum,
                lr=self.next_rate,
                dampening=0.0,
                nesterov=self.nesterov,
                maximize=False,
                is_first_step=False,
            )

    def is_finite(self) -> bool:
        """Whether all parameters are finite numbers; a buffer may hold the infinities of a mask."""
        return all(bool(parameter.isfinite().all()) for parameter in self.parameters)

    def dump(self, about: Mapping[str, Any]) -> Artefact:
        """All that the next steps depend on.

        Args:
            about: what the training is, so that no other takes its place.
        """
        return Artefact({"about": about, "steps": self.done}, self._tensors())

    def load(self, state: Artefact) -> None:
        """Go on from what `dump` wrote."""
        with torch.no_grad():
            for name, tensor in self._tensors().items():
                if name != "losses":
                    tensor.copy_(state.tensors[name])
        self.losses = state.tensors["losses"].tolist()
        for loss in self.losses:
            self._schedule.update(loss)
        self.done = state.content["steps"]

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"module.{name}": tensor for name, tensor in tensors_of(self.module).items()}
        tensors |= {f"velocity.{number}": velocity for number, velocity in enumerate(self._velocities)}
        if self._average is not None:
            tensors |= {f"average.{name}": tensor for name, tensor in tensors_of(self._average.module).items()}
        return {**tensors, "losses": torch.tensor(self.losses, dtype=torch.float64), "sum": self._sum}


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by their names, each once, those that a state dict leaves out included."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def sample_losses(loss: str, outputs: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Loss of each sample, (n,).

    Args:
        loss: one of `LOSSES`; logistic for logits.
        outputs: (n,) with labels +1 and -1, or logits (n, K) with labels 0 .. K-1.
        labels: (n,) int64.
        label_smoothing: share of every label that is spread evenly over all classes; with the logistic loss.
    """
    if outputs.ndim == 2:
        return cross_entropy(outputs, labels, reduction="none", label_smoothing=label_smoothing)
    margins = labels * outputs
    losses = LOSSES[loss](margins)
    # Half the share goes to the other class, whose log(1 + exp(s)) is s more than log(1 + exp(-s)).
    return losses + label_smoothing / 2 * margins if label_smoothing else losses


@contextmanager
def own_draws(seed: int, device: torch.device) -> Iterator[None]:
    """A block in which torch's global generators start at a seed, and after which they are as they were before.

    Args:
        seed: 0 or more.
        device: the CPU or a GPU with its number; other GPUs' generators are left alone.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.default_generators[device.index].manual_seed(seed)
        yield
