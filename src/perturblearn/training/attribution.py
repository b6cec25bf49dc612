"""Where a network's knowledge comes from: its training again, step by step, with every step split into parts.

The gradient of a batch of perturbed inputs is split by where it is taken: at the sources, with the weights
-loss'(y' g(x')) y' of training on the perturbed inputs, and the rest, which is what moving the sources adds. Optimisers
that are linear in the gradient carry a velocity for each part, and these add up to the real one. What a part of a step
does to outputs anywhere is a forward derivative along it, taken at the middle of the whole step [own].
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, jvp

from perturblearn.classifiers import Network, TwoLayer, differentiable_forward
from perturblearn.errors import DataError, ModelError
from perturblearn.seeding import derive_seed
from perturblearn.training.descent import Descent
from perturblearn.training.distributed import Team
from perturblearn.training.losses import LOSSES
from perturblearn.training.minibatch import MinibatchDescent, augmented, epoch_batches, start_descent
from perturblearn.training.plateau import Plateau
from perturblearn.training.sgd import Sgd

Report = Callable[[int, int, str], None]
Moves = Mapping[str, Sequence[Tensor]]
"""By how much each part of a step moves each parameter."""
SOURCE, PERTURBATION, DECAY, STATISTICS = "source", "perturbation", "decay", "statistics"


@dataclass(frozen=True, eq=False)
class PathAttribution:
    """What a training has added to a network's outputs, part by part: final = start + the sum of parts, nearly.

    Args:
        start: outputs before training, (M,) or (M, K) in float64.
        parts: by name: what the sources under their target labels taught, what the perturbations taught, and, where
            there is any, what weight decay and the running statistics of normalising layers have done.
        final: outputs of the trained network.
        network: the trained network.
    """

    start: Float[Tensor, "m *k"]
    parts: Mapping[str, Float[Tensor, "m *k"]]
    final: Float[Tensor, "m *k"]
    network: TwoLayer | Network

    @property
    def error(self) -> float:
        """Completeness error: ||start + sum of parts - final|| / ||final - start||; 0 where nothing has moved."""
        moved = float((self.final - self.start).norm())
        missed = float((self.start + sum(self.parts.values()) - self.final).norm())
        return missed / moved if moved > 0 else 0.0


def attribute_training(
    descent: MinibatchDescent | Descent,
    network: TwoLayer | Network,
    inputs: Float[Tensor, "n ..."],
    sources: Float[Tensor, "n ..."],
    labels: Int[Tensor, "n"],
    heldout: Float[Tensor, "m ..."],
    *,
    seed: int,
    device: str | torch.device = "cpu",
    merged: int = 1,
    substeps: int = 1,
    report: Report = lambda done, steps, note: None,
) -> PathAttribution:
    """Train once more as the descent does, and split what that does to the outputs for some inputs.

    A training by minibatches is repeated to the bit, with its shuffles, augmentation, dropout and schedule; sources are
    augmented and dropped out like the inputs made of them. A full-batch training is repeated by plain products. Where
    sources and inputs are equal, the perturbation's part is 0 to the bit.

    Args:
        descent: how the network was trained.
        network: as it started; it is not changed.
        inputs: x', (N, ...).
        sources: u, shaped like x'.
        labels: the target labels, (N,).
        heldout: where outputs are split, (M, ...).
        seed: that of `MinibatchDescent.train`; a full batch draws nothing.
        device: where to train.
        merged: steps whose moves share one derivative along their chord; more cost less and err more.
        substeps: derivatives along each chord; more cost more and err less.
        report: called with steps done and in all.

    Raises:
        DataError: sources that are not shaped like the inputs.
        ModelError: a network that cannot be differentiated along its parameters.
    """
    if sources.shape != inputs.shape:
        raise DataError(
            f"the sources have shape {tuple(sources.shape)} and the inputs {tuple(inputs.shape)}; give one source for "
            "each input"
        )
    steps, network = (
        _minibatch_steps(descent, network, inputs, sources, labels, seed=seed, device=device)
        if isinstance(descent, MinibatchDescent)
        else _full_batch_steps(descent, network, inputs.to(device), sources.to(device), labels.to(device))
    )
    total = descent.epochs * (max(1, len(inputs) // descent.batch_size) if isinstance(descent, MinibatchDescent) else 1)
    path = _Path(network, heldout.to(device), substeps)
    for done, moves in enumerate(steps, start=1):
        path.add(moves)
        if done % merged == 0 or done == total:
            path.advance()
            report(done, total, "")
    return path.result()


class _Path:
    """Outputs for some inputs along the path of a network whose parameters and buffers others move."""

    def __init__(self, network: TwoLayer | Network, inputs: Tensor, substeps: int) -> None:
        self._network, self._inputs, self._substeps = network, inputs, substeps
        # Torch's transforms of functions do not know the channels-last format of our own networks of images.
        self._module = copy.deepcopy(network)
        if isinstance(network, Network) and network.is_channels_last:
            self._module = network.channels_first()
        self._module.eval()
        self._names = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
        self._parameters, self._buffers = self._state()
        self._moves: dict[str, list[Tensor]] = {}
        self._parts: dict[str, Tensor] = {}
        self._start = self._outputs(self._parameters, self._buffers)

    def add(self, moves: Moves) -> None:
        """Take note of a step's parts."""
        for name, of_part in moves.items():
            if name in self._moves:
                for total, move in zip(self._moves[name], of_part, strict=True):
                    total += move
            else:
                self._moves[name] = [move.clone() for move in of_part]

    def advance(self) -> None:
        """Split what the steps since the last call have done to the outputs."""
        parameters, buffers = self._state()
        if self._has_changed(buffers):
            # As in training, where a batch moves the running statistics before the step is taken. They enter by a root
            # and a quotient and move far at first, so the whole difference counts, and nothing is missed.
            change = self._outputs(self._parameters, buffers) - self._outputs(self._parameters, self._buffers)
            self._credit(STATISTICS, change)
        for number in range(self._substeps):
            # In the middle of a step its first order is exact to second order, kinks of the activation aside.
            middle = _between(self._parameters, parameters, (number + 0.5) / self._substeps)
            for name, moves in self._moves.items():
                if any(bool(move.any()) for move in moves):
                    along = {key: move / self._substeps for key, move in zip(self._names, moves, strict=True)}
                    self._credit(name, self._derivative(middle, buffers, along))
                else:
                    self._credit(name, torch.zeros_like(self._start))
        self._parameters, self._buffers = parameters, buffers
        self._moves = {}

    def result(self) -> PathAttribution:
        """What all steps have done."""
        final = self._outputs(self._parameters, self._buffers)
        return PathAttribution(self._start, self._parts, final, self._network)

    def _credit(self, part: str, change: Tensor) -> None:
        self._parts[part] = self._parts[part] + change if part in self._parts else change

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        own = dict(self._network.named_parameters())
        parameters = {name: own[name].detach().clone() for name in self._names}
        return parameters, {name: buffer.detach().clone() for name, buffer in self._network.named_buffers()}

    def _has_changed(self, buffers: Mapping[str, Tensor]) -> bool:
        """Whether numbers have changed outside of gradients: running statistics; a count of batches is none."""
        return any(
            buffer.is_floating_point() and not torch.equal(buffer, self._buffers[name])
            for name, buffer in buffers.items()
        )

    def _outputs(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad():
            return functional_call(self._module, {**parameters, **buffers}, (self._inputs,)).double()

    def _derivative(
        self, parameters: dict[str, Tensor], buffers: Mapping[str, Tensor], along: dict[str, Tensor]
    ) -> Tensor:
        def outputs(values: dict[str, Tensor]) -> Tensor:
            return functional_call(self._module, {**values, **buffers}, (self._inputs,))

        try:
            with torch.no_grad(), differentiable_forward():
                return jvp(outputs, (parameters,), (along,))[1].double()
        except (RuntimeError, NotImplementedError) as error:
            name = self._module.config.name if isinstance(self._module, Network) else "two_layer"
            reason = str(error).partition("\n")[0]
            raise ModelError(
                f"the network {name} has no forward derivative along its parameters ({reason}), which attribution "
                "needs; set measures.attribution = false"
            ) from error


def _between(start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    return {name: torch.lerp(start[name], tensor, share) for name, tensor in end.items()}


class _Velocities:
    """Momentum and steps of the parts of a gradient: an optimiser that is linear in it treats each as the whole."""

    def __init__(self, momentum: float, *, nesterov: bool) -> None:
        self._momentum, self._nesterov = momentum, nesterov
        self._velocities: dict[str, list[Tensor]] = {}

    def moves(self, gradients: Moves, rate: float) -> dict[str, list[Tensor]]:
        """Steps of all parts."""
        return {name: [-rate * step for step in self._steps(name, of_part)] for name, of_part in gradients.items()}

    def _steps(self, name: str, gradients: Sequence[Tensor]) -> list[Tensor]:
        if self._momentum == 0:
            return list(gradients)
        if name not in self._velocities:
            self._velocities[name] = [torch.zeros_like(gradient) for gradient in gradients]
        velocities = self._velocities[name]
        for velocity, gradient in zip(velocities, gradients, strict=True):
            velocity.mul_(self._momentum).add_(gradient)
        if not self._nesterov:
            return velocities
        return [gradient + self._momentum * velocity for gradient, velocity in zip(gradients, velocities, strict=True)]


class _SplitSgd(Sgd):
    """Training by minibatches that also knows the gradient at the sources."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._split = _Velocities(self.momentum, nesterov=self.nesterov)

    def split_step(
        self, inputs: Tensor, sources: Tensor, labels: Tensor, *, batch_size: int, seed: int
    ) -> dict[str, list[Tensor]]:
        """Take a step, and return its parts."""
        loss, whole, at_sources = _split_gradients(
            self.module,
            self.parameters,
            lambda batch: self.outputs(batch, seed),
            lambda outputs: self.sample_losses(outputs, labels).sum() / batch_size,
            inputs,
            sources,
        )
        gradients = {
            SOURCE: at_sources,
            PERTURBATION: [a - b for a, b in zip(whole, at_sources, strict=True)],
        }
        if self.weight_decay:
            gradients[DECAY] = [self.weight_decay * parameter.detach() for parameter in self.parameters]
        moves = self._split.moves(gradients, self.next_rate)
        for parameter, gradient in zip(self.parameters, whole, strict=True):
            parameter.grad = gradient
        self.step(loss)
        return moves


def _split_gradients(
    module: nn.Module,
    parameters: Sequence[nn.Parameter],
    outputs_of: Callable[[Tensor], Tensor],
    loss_of: Callable[[Tensor], Tensor],
    inputs: Tensor,
    sources: Tensor,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The loss, its gradient, and the part of the gradient that is taken at the sources, with the inputs' weights.

    Both passes are the same operations in the same order, so that equal inputs give equal bits. The second goes through
    its own batch's statistics, and leaves the running ones as the first has left them.
    """
    with torch.enable_grad():
        outputs = outputs_of(inputs)
        loss = loss_of(outputs)
        (weights,) = torch.autograd.grad(loss, outputs, retain_graph=True)
        whole = _gradients(outputs, parameters, weights)
        buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
        at_sources = _gradients(outputs_of(sources), parameters, weights)
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            buffer.copy_(buffers[name])
    return loss.detach(), whole, at_sources


def _gradients(outputs: Tensor, parameters: Sequence[nn.Parameter], weights: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(outputs, parameters, weights, materialize_grads=True))


def _minibatch_steps(
    descent: MinibatchDescent,
    network: TwoLayer | Network,
    inputs: Tensor,
    sources: Tensor,
    labels: Tensor,
    *,
    seed: int,
    device: str | torch.device,
) -> tuple[Iterator[Moves], TwoLayer | Network]:
    team = Team()  # one process, whoever else trains
    task = descent.task(network, inputs, labels, team, seed=seed, device=device)
    sgd = start_descent(team, task, len(inputs), _SplitSgd)
    size = min(descent.batch_size, len(inputs))

    def steps() -> Iterator[Moves]:
        for epoch in range(descent.epochs):
            for step, rows in enumerate(epoch_batches(task, len(inputs), epoch)):
                position = (str(epoch), str(step))
                batch, of_sources = (
                    augmented(tensor[rows.to(tensor.device)].to(sgd.device), task, position, size, team)
                    for tensor in (inputs, sources)
                )
                draws = derive_seed(seed, "network", *position, "0")
                yield sgd.split_step(
                    batch, of_sources, labels[rows.to(labels.device)].to(sgd.device), batch_size=size, seed=draws
                )

    return steps(), sgd.module


def _full_batch_steps(
    descent: Descent, network: TwoLayer | Network, inputs: Tensor, sources: Tensor, labels: Tensor
) -> tuple[Iterator[Moves], TwoLayer | Network]:
    trained = copy.deepcopy(network).to(inputs).train()
    parameters = [parameter for parameter in trained.parameters() if parameter.requires_grad]
    velocities, plateau = _Velocities(descent.momentum, nesterov=False), Plateau(descent.lr)
    loss = LOSSES[descent.loss]

    def steps() -> Iterator[Moves]:
        for _ in range(descent.epochs):
            mean, whole, at_sources = _split_gradients(
                trained, parameters, trained, lambda outputs: loss(labels * outputs).mean(), inputs, sources
            )
            rate = plateau.lr
            if descent.plateau:
                plateau.update(float(mean))
            gradients = {SOURCE: at_sources, PERTURBATION: [a - b for a, b in zip(whole, at_sources, strict=True)]}
            moves = velocities.moves(gradients, rate)
            with torch.no_grad():
                for number, parameter in enumerate(parameters):
                    parameter += moves[SOURCE][number] + moves[PERTURBATION][number]
            yield moves

    return steps(), trained
