"""Where a network's knowledge comes from: its training again, step by step, with every step split into parts.

The gradient of a batch of perturbed inputs is split by where it is taken: at the sources, with the weights
-loss'(y' g(x')) y' of training on the perturbed inputs, and the rest, which is what moving the sources adds. Optimisers
that are linear in the gradient carry a velocity for each part, and these add up to the real one. What a part of a step
does to outputs anywhere is an integral of derivatives along the step, see `split_change`. Running statistics are
variables of the same path: they go from their values before a step to those after it as the parameters do, and what
this does to the outputs is a part of its own [own].
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from perturblearn.classifiers import Network, TwoLayer, is_linearised
from perturblearn.errors import DataError
from perturblearn.seeding import derive_seed
from perturblearn.training.chords import State, Suffices, between, split_change
from perturblearn.training.descent import Descent
from perturblearn.training.distributed import Team
from perturblearn.training.minibatch import MinibatchDescent, augmented, epoch_batches, start_descent
from perturblearn.training.path_attribution import DECAY, PERTURBATION, SOURCE, STATISTICS, PathAttribution
from perturblearn.training.sgd import Sgd
from perturblearn.training.two_layer_attribution import attribute_descent

Report = Callable[[int, int, str], None]
Moves = Mapping[str, Sequence[Tensor]]
"""By how much each part of a step moves each parameter."""
TOLERANCE = 0.008
"""Completeness error that chords are halved for."""
_HALVINGS = 5
_ROUNDINGS = 100.0
"""Times that a chord is halved at most; and roundings of the outputs that are no reason to."""


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
    tolerance: float = TOLERANCE,
    report: Report = lambda done, steps, note: None,
) -> PathAttribution:
    """Train once more as the descent does, and split what that does to the outputs for some inputs.

    A training by minibatches is repeated to the bit, with its shuffles, augmentation, dropout and schedule; sources are
    augmented and dropped out like the inputs made of them. A full-batch training is repeated by plain products, and
    split without error; see `attribute_descent`. Where sources and inputs are equal, the perturbation's part is 0 to
    the bit.

    Args:
        descent: how the network was trained.
        network: as it started; it is not changed.
        inputs: x', (N, ...).
        sources: u, shaped like x'.
        labels: the target labels, (N,).
        heldout: where outputs are split, (M, ...).
        seed: that of `MinibatchDescent.train`; a full batch draws nothing.
        device: where to train.
        merged: steps that are one chord; more cost less. The parts still add up, but where the path leaves its chord
            they are those of the chord.
        tolerance: completeness error to stay below, by minibatches: chords that miss more than their share of it get
            more nodes, and are halved if that is not enough, up to 5 times.
        report: called with steps done and in all.

    Raises:
        DataError: sources that are not shaped like the inputs.
        ValueError: a `Descent` of a deep network.
    """
    if sources.shape != inputs.shape:
        raise DataError(
            f"the sources have shape {tuple(sources.shape)} and the inputs {tuple(inputs.shape)}; give one source for "
            "each input"
        )
    if isinstance(descent, Descent):
        if not isinstance(network, TwoLayer):
            raise ValueError(
                "a Descent trains two-layer networks on all inputs at once, but this network is a "
                f"{type(network).__name__}; give a MinibatchDescent"
            )
        of_training = (tensor.to(device) for tensor in (inputs, sources, labels, heldout))
        return attribute_descent(descent, network, *of_training, merged=merged, report=report)
    steps, network = _minibatch_steps(descent, network, inputs, sources, labels, seed=seed, device=device)
    total = descent.epochs * max(1, len(inputs) // descent.batch_size)
    # As many held-out inputs at a time as a batch has, so that memory is that of a training step.
    decays, block = descent.weight_decay > 0, descent.batch_size
    path = _Path(network, heldout.to(device), total, tolerance, block, decays=decays)
    for done, moves in enumerate(steps, start=1):
        path.add(moves)
        if done % merged == 0 or done == total:
            path.advance()
            report(done, total, "")
    return path.result()


class _Path:
    """Outputs for some inputs along the path of a network whose parameters and buffers others move."""

    def __init__(
        self, network: TwoLayer | Network, inputs: Tensor, steps: int, tolerance: float, block: int, *, decays: bool
    ) -> None:
        self._network, self._inputs, self._steps, self._tolerance = network, inputs, steps, tolerance
        self._block, self._decays = block, decays
        self._module = copy.deepcopy(network).eval()
        self._straighten = not (isinstance(network, Network) and is_linearised(network))
        self._names = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
        # A mask may hold infinities, and what counts batches is no number on a line.
        buffers = network.named_buffers()
        self._buffers = [name for name, b in buffers if b.is_floating_point() and bool(b.isfinite().all())]
        self._at = self._state()
        self._moves: dict[str, list[Tensor]] = {}
        self._done = self._since = 0
        self._parts: dict[str, Tensor] = {}
        self._start, _, _ = self._split(self._at, self._at, {}, lambda rows, outputs, missed: True)
        self._final, self._missed = self._start, torch.zeros_like(self._start)

    def add(self, moves: Moves) -> None:
        """Take note of a step's parts."""
        self._since += 1
        for name, of_part in moves.items():
            if name in self._moves:
                for total, move in zip(self._moves[name], of_part, strict=True):
                    total += move
            else:
                self._moves[name] = [move.clone() for move in of_part]

    def advance(self) -> None:
        """Split what the steps since the last call have done to the outputs."""
        end = self._state()
        directions: dict[str, State] = {
            part: dict(zip(self._names, moves, strict=True)) for part, moves in self._moves.items()
        }
        if self._decays:  # what the gradients leave of the chord
            directions[DECAY] = {
                name: end[name] - self._at[name] - sum(part[name] for part in directions.values())
                for name in self._names
            }
        statistics = {name: end[name] - self._at[name] for name in self._buffers}
        if any(bool(change.any()) for change in statistics.values()):
            directions[STATISTICS] = statistics
        self._done += self._since
        self._follow(self._at, end, directions, self._since / self._steps, _HALVINGS)
        self._at, self._moves, self._since = end, {}, 0

    def result(self) -> PathAttribution:
        """What all steps have done."""
        return PathAttribution(self._start, self._parts, self._final, self._network)

    def _follow(self, start: State, end: State, directions: Mapping[str, State], share: float, halvings: int) -> None:
        """Split a chord, which is a share of the training; in halves, as often as this is allowed, if it errs."""

        def is_little(rows: slice, outputs: Tensor, missed: Tensor) -> bool:
            return self._is_little(rows, outputs, missed, share)

        before, after, changes = self._split(start, end, directions, is_little)
        missed = sum(changes.values()) - (after - before)
        if halvings and not is_little(slice(None), after, missed):
            middle = between(start, end, 0.5)
            half = {part: {name: move / 2 for name, move in moves.items()} for part, moves in directions.items()}
            self._follow(start, middle, half, share / 2, halvings - 1)
            self._follow(middle, end, half, share / 2, halvings - 1)
            return
        for part, change in changes.items():
            self._parts[part] = self._parts[part] + change if part in self._parts else change
        self._missed = self._missed + missed
        self._final = after

    def _is_little(self, rows: slice, outputs: Tensor, missed: Tensor, share: float) -> bool:
        """Whether what a chord misses of some inputs' outputs leaves the whole training within the tolerance."""
        size, allowed = float(missed.norm()), self._tolerance * float((outputs - self._start[rows]).norm())
        roundings = _ROUNDINGS * torch.finfo(self._inputs.dtype).eps * float(outputs.norm())
        # Errors of chords are nearly independent, so squares add up; but not where they lean to one side.
        in_all = float((self._missed[rows] + missed).norm())
        return (
            in_all <= allowed * math.sqrt(self._done / self._steps)
            or size <= allowed * math.sqrt(share) / 10
            or size <= roundings
        )

    def _state(self) -> dict[str, Tensor]:
        """Parameters that are trained, and buffers."""
        own = {**dict(self._network.named_parameters()), **dict(self._network.named_buffers())}
        return {name: own[name].detach().clone() for name in (*self._names, *self._buffers)}

    def _split(
        self, start: State, end: State, directions: Mapping[str, State], suffices: Suffices
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        return split_change(
            self._module,
            self._inputs,
            start,
            end,
            directions,
            straighten=self._straighten,
            block=self._block,
            suffices=suffices,
        )


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
        return [
            torch.add(gradient, velocity, alpha=self._momentum)
            for gradient, velocity in zip(gradients, velocities, strict=True)
        ]


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
    # Not with the weights as `grad_outputs`: the check of their shapes imports sympy, which takes half a second.
    return list(torch.autograd.grad((outputs * weights).sum(), parameters, materialize_grads=True))


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
