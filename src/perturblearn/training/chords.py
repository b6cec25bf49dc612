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
_REACH, _LEAST_REACH = 0.25, 0.0025
"""Distance of the states whose difference is a derivative: as a share of the chord, and at least of the part, whose
differences would else be roundings."""


def split_change(
    module: nn.Module,
    inputs: Tensor,
    start: State,
    end: State,
    directions: Mapping[str, State],
    *,
    straighten: bool,
    block: int,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Outputs at both ends of a chord, and what each direction does to them along it.

    A derivative is a difference of outputs around the chord's middle, which takes two passes forward, whatever the
    network. A direction of zeros changes nothing, to the bit.

    Args:
        module: the network, in evaluation.
        inputs: (M, ...).
        start, end: two states of the network.
        directions: by name; what they add up to is the chord.
        straighten: replace kinked activations by their secants.
        block: inputs at a time.

    Returns:
        Outputs at the start and at the end, (M,) or (M, K) in float64, and by name the changes, shaped alike.
    """
    length = _length(end[name] - tensor for name, tensor in start.items())
    with torch.no_grad():
        blocks = [
            _split_block(module, part, start, end, directions, length, straighten=straighten)
            for part in inputs.split(block)
        ]
    firsts, lasts, changes = zip(*blocks, strict=True)
    return torch.cat(firsts), torch.cat(lasts), {name: torch.cat([of[name] for of in changes]) for name in directions}


def between(start: State, end: State, share: float) -> dict[str, Tensor]:
    """The state at this share of a chord."""
    return {name: torch.lerp(tensor, end[name], share) for name, tensor in start.items()}


def _split_block(
    module: nn.Module,
    inputs: Tensor,
    start: State,
    end: State,
    directions: Mapping[str, State],
    length: float,
    *,
    straighten: bool,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    kinks = KINKED if straighten else frozenset()
    with _Recorded(kinks) as first:
        before = functional_call(module, dict(start), (inputs,)).double()
    with _Recorded(kinks) as last:
        after = functional_call(module, dict(end), (inputs,)).double()
    lines = [_secant(one, other) for one, other in zip(first.calls, last.calls, strict=True)]
    middle, changes = between(start, end, 0.5), {}
    for name, direction in directions.items():
        size = _length(direction.values())
        if size == 0:
            changes[name] = torch.zeros_like(before)
            continue
        reach = max(_REACH * length / size, _LEAST_REACH)
        sides: list[Tensor] = []
        for sign in (1, -1):
            moved = {key: torch.add(middle[key], step, alpha=sign * reach) for key, step in direction.items()}
            with _Straightened(kinks, lines):
                sides.append(functional_call(module, {**middle, **moved}, (inputs,)).double())
        changes[name] = (sides[0] - sides[1]) / (2 * reach)
    return before, after, changes


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
