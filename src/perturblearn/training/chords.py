r"""What directions do to a network's outputs along the chord between two of its states.

A path that goes straight from one state to another, :math:`\theta(s) = \theta_0 + s \Delta` with 0 <= s <= 1, changes
the outputs by :math:`\int_0^1 g'(\theta(s)) \Delta\, ds`, and a part p of :math:`\Delta` by
:math:`\int_0^1 g'(\theta(s)) \Delta_p\, ds`. A node of a quadrature misses what happens where units switch: the kinks
of ReLU make it first order. So each kinked activation is replaced by its secant over the chord, the line through
:math:`(a_0, \phi(a_0))` and :math:`(a_1, \phi(a_1))` of each unit and input. The straightened network has the real
one's outputs at both ends, so its integral is the real one's for the whole of :math:`\Delta`. In between it is a
polynomial of the parameters (layers of normalisation aside), and its middle is exact to second order [own].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from typing_extensions import override

State = Mapping[str, Tensor]
"""Parameters and running statistics by their names, or a direction along some of them."""
KINKED: frozenset[Callable[..., Tensor]] = frozenset(
    {
        nn.functional.relu, nn.functional.relu_, nn.functional.leaky_relu, nn.functional.leaky_relu_,
        torch.relu, torch.relu_, Tensor.relu, Tensor.relu_,
    }
)  # fmt: skip
"""Activations that are straight on both sides of 0, do not fall, and are 0 at 0."""
_REACH, _LEAST_REACH = 0.05, 0.0025
"""Distance of the states whose difference is a derivative: as a share of the chord, and at least of the part, whose
differences would else be roundings."""
_SIDE_NODES, _SIDE_WEIGHT = (0.5 - math.sqrt(0.15), 0.5 + math.sqrt(0.15)), 5 / 18
"""The three Gaussian nodes and their weights, those of the middle aside."""
_SLIGHT = 0.01
"""Share of the chord's change below which a part, such as weight decay's, needs no more nodes."""
Suffices = Callable[[slice, Tensor, Tensor], bool]
"""Whether for some inputs, with these outputs at the end of a chord, this miss is no reason for more nodes."""


def split_change(
    module: nn.Module,
    inputs: Tensor,
    start: State,
    end: State,
    directions: Mapping[str, State],
    *,
    straighten: bool,
    block: int,
    suffices: Suffices,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Outputs at both ends of a chord, and what each direction does to them along it.

    A derivative is a difference of outputs around a node, which takes two passes forward, whatever the network. The
    first node is the chord's middle; two more follow where it misses too much of the change. A direction of zeros
    changes nothing, to the bit.

    Args:
        module: the network, in evaluation.
        inputs: (M, ...).
        start, end: two states of the network.
        directions: by name; what they add up to is the chord.
        straighten: replace kinked activations by their secants.
        block: inputs at a time.
        suffices: asked of each block whether what its middle misses is little.

    Returns:
        Outputs at the start and at the end, (M,) or (M, K) in float64, and by name the changes, shaped alike.
    """
    length = _length(end[name] - tensor for name, tensor in start.items())
    chord = _Chord(module, start, end, length, KINKED if straighten else frozenset())
    rows = [slice(first, first + block) for first in range(0, len(inputs), block)]
    with torch.no_grad():
        blocks = [chord.split(inputs[of_block], of_block, directions, suffices) for of_block in rows]
    firsts, lasts, changes = zip(*blocks, strict=True)
    return torch.cat(firsts), torch.cat(lasts), {name: torch.cat([of[name] for of in changes]) for name in directions}


def between(start: State, end: State, share: float) -> dict[str, Tensor]:
    """The state at this share of a chord."""
    return {name: torch.lerp(tensor, end[name], share) for name, tensor in start.items()}


@dataclass(frozen=True, eq=False)
class _Chord:
    """A chord of a network's path."""

    module: nn.Module
    start: State
    end: State
    length: float
    kinks: frozenset[Callable[..., Tensor]]

    def split(
        self, inputs: Tensor, rows: slice, directions: Mapping[str, State], suffices: Suffices
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """`split_change` for a block of inputs."""
        with _Recorded(self.kinks) as first:
            before = functional_call(self.module, dict(self.start), (inputs,)).double()
        with _Recorded(self.kinks) as last:
            after = functional_call(self.module, dict(self.end), (inputs,)).double()
        lines = [_secant(one, other) for one, other in zip(first.calls, last.calls, strict=True)]
        changes = self._derivatives(inputs, directions, lines, 0.5, before)
        if not suffices(rows, after, sum(changes.values()) - (after - before)):
            least = _SLIGHT * float((after - before).norm())
            more = {name: directions[name] for name, change in changes.items() if float(change.norm()) > least}
            first_side, last_side = (self._derivatives(inputs, more, lines, node, before) for node in _SIDE_NODES)
            for name in more:
                sides = first_side[name] + last_side[name]
                changes[name] = (1 - 2 * _SIDE_WEIGHT) * changes[name] + _SIDE_WEIGHT * sides
        return before, after, changes

    def _derivatives(
        self, inputs: Tensor, directions: Mapping[str, State], lines: Sequence[_Line], node: float, like: Tensor
    ) -> dict[str, Tensor]:
        """Of the straightened network's outputs, at a node, along each direction."""
        at, found = between(self.start, self.end, node), {}
        for name, direction in directions.items():
            size = _length(direction.values())
            if size == 0:
                found[name] = torch.zeros_like(like)
                continue
            reach = max(_REACH * self.length / size, _LEAST_REACH)
            sides: list[Tensor] = []
            for sign in (1, -1):
                moved = {key: torch.add(at[key], step, alpha=sign * reach) for key, step in direction.items()}
                with _Straightened(self.kinks, lines):
                    sides.append(functional_call(self.module, {**at, **moved}, (inputs,)).double())
            found[name] = (sides[0] - sides[1]) / (2 * reach)
        return found


def _length(tensors: Iterable[Tensor]) -> float:
    return math.sqrt(sum(float(tensor.square().sum()) for tensor in tensors))


def _secant(first: _Call, last: _Call) -> _Line:
    # (h_1 - h_0) / (a_1 - a_0) of a function that is straight on both sides of 0, with no difference of near numbers.
    sizes = (first.argument.abs() + last.argument.abs()).clamp_min(torch.finfo(first.argument.dtype).tiny)
    slope = (first.value.abs() + last.value.abs()) / sizes
    return _Line(slope, first.value - slope * first.argument, first.is_in_place)


class _Call(NamedTuple):
    """What an activation was given and gave."""

    argument: Tensor
    value: Tensor
    is_in_place: bool


class _Line(NamedTuple):
    """An activation's secant."""

    slope: Tensor
    intercept: Tensor
    is_in_place: bool


class _Recorded(TorchFunctionMode):
    """A block in which arguments and values of kinked activations are kept."""

    def __init__(self, kinks: frozenset[Callable[..., Tensor]]) -> None:
        super().__init__()
        self.calls: list[_Call] = []
        self._kinks = kinks

    @override
    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func not in self._kinks:
            return func(*args, **(kwargs or {}))
        # Copies: the network may go on to overwrite both.
        argument = args[0].clone()
        value = func(*args, **(kwargs or {}))
        self.calls.append(_Call(argument, value.clone(), value.data_ptr() == args[0].data_ptr()))
        return value


class _Straightened(TorchFunctionMode):
    """A block in which kinked activations are their secants."""

    def __init__(self, kinks: frozenset[Callable[..., Tensor]], lines: Sequence[_Line]) -> None:
        super().__init__()
        self._kinks, self._lines = kinks, iter(lines)

    @override
    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func not in self._kinks:
            return func(*args, **(kwargs or {}))
        line = next(self._lines)
        value = torch.addcmul(line.intercept, line.slope, args[0])
        return args[0].copy_(value) if line.is_in_place else value
