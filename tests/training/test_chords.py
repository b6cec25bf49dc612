"""What directions do along a chord: against a fine quadrature of the network itself, which knows no secants."""

from __future__ import annotations

import pytest
import torch
from tests.training.minibatch_problems import convolutional, dense, samples
from torch import Tensor, nn
from torch.func import functional_call

from perturblearn.training.chords import State, Suffices, between, split_change


def states(module: nn.Module, size: float) -> tuple[dict[str, Tensor], dict[str, State]]:
    """A state, and two opposite directions from it, several times as long as their sum; one of its statistics."""
    generator = torch.Generator().manual_seed(3)

    def draw(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=like.dtype) * size

    start = {name: tensor.detach().clone() for name, tensor in module.named_parameters()}
    first = {name: draw(tensor) for name, tensor in start.items()}
    directions: dict[str, State] = {
        "first": first, "second": {name: draw(tensor) / 4 - tensor for name, tensor in first.items()}
    }  # fmt: skip
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers() if "running" in name}
    if buffers:
        directions["statistics"] = {name: draw(buffer).abs() for name, buffer in buffers.items()}
    return start | buffers, directions


def one_node(rows: slice, outputs: Tensor, missed: Tensor) -> bool:
    return True


def moved(start: State, directions: dict[str, State]) -> dict[str, Tensor]:
    end = dict(start)
    for direction in directions.values():
        end |= {name: end[name] + step for name, step in direction.items()}
    return end


@pytest.mark.parametrize("kind", ["batch statistics", "convolutions"])
def test_parts_are_integrals_along_the_chord(kind: str) -> None:
    network, shape = (dense(3), (6,)) if kind == "batch statistics" else (convolutional(3), (1, 8, 8))
    network = network.eval() if kind == "batch statistics" else network.channels_first().eval()
    inputs, _ = samples(50, shape, 3)
    nodes = 100

    def split(size: float) -> tuple[float, float, float]:
        """What one node of the network and of its straightened form miss of the change, and the latter of the parts."""
        start, directions = states(network, size)
        end = moved(start, directions)
        before, after, parts = split_change(
            network, inputs, start, end, directions, straighten=True, block=20, suffices=one_node
        )

        def derivative(name: str, share: float) -> Tensor:
            at, along = between(start, end, share), directions[name]
            sides = [
                functional_call(network, at | {key: at[key] + reach * step for key, step in along.items()}, (inputs,))
                for reach in (1e-6, -1e-6)
            ]
            return (sides[0] - sides[1]).detach() / 2e-6

        change = after - before
        plain = torch.stack([derivative(name, 0.5) for name in directions]).sum(dim=0)
        fine = {
            name: torch.stack([derivative(name, (n + 0.5) / nodes) for n in range(nodes)]).mean(dim=0)
            for name in directions
        }
        # The reference: its own error is that of kinks, a 100th of what one node misses.
        assert float((torch.stack([*fine.values()]).sum(dim=0) - change).norm()) < 0.01 * float(change.norm())
        size_of_parts = sum(float(part.norm()) for part in fine.values())
        off = sum(float((parts[name] - fine[name]).norm()) for name in directions)
        norm = float(change.norm())
        missed = float((sum(parts.values()) - change).norm())
        return float((plain - change).norm()) / norm, missed / norm, off / size_of_parts

    plain, missed, off = split(0.1)
    assert missed < plain / 5
    assert off < 0.02
    # Second order: half the chord misses a quarter of its change, or less.
    assert split(0.05)[1] < missed / 3


@pytest.mark.parametrize("kind", ["batch statistics", "convolutions"])
def test_more_nodes_where_the_middle_does_not_suffice(kind: str) -> None:
    network, shape = (dense(3), (6,)) if kind == "batch statistics" else (convolutional(3), (1, 8, 8))
    network = network.eval() if kind == "batch statistics" else network.channels_first().eval()
    inputs, _ = samples(50, shape, 3)
    start, directions = states(network, 0.1)

    def missed(suffices: Suffices) -> Tensor:
        before, after, parts = split_change(
            network, inputs, start, moved(start, directions), directions, straighten=True, block=25, suffices=suffices
        )
        return (sum(parts.values()) - (after - before)).norm(dim=1)

    middle, three = missed(one_node), missed(lambda rows, outputs, missed: False)
    assert float(three.norm()) < float(middle.norm()) / 20
    # Blocks are asked one by one.
    mixed = missed(lambda rows, outputs, missed: rows.start == 0)
    assert torch.equal(mixed[:25], middle[:25])
    assert torch.equal(mixed[25:], three[25:])


def test_no_direction_no_change() -> None:
    network = dense(3).eval()
    inputs, _ = samples(5, (6,), 3)
    start, directions = states(network, 0.1)
    nothing = {name: torch.zeros_like(tensor) for name, tensor in directions["first"].items()}
    _, _, parts = split_change(
        network,
        inputs,
        start,
        moved(start, directions),
        {**directions, "nothing": nothing},
        straighten=True,
        block=20,
        suffices=one_node,
    )
    assert not bool(parts["nothing"].any())


class InPlace(nn.Module):
    """Units that overwrite their inputs, and a second use of what was overwritten."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        self.linear, self.second = nn.Linear(6, 8).double(), nn.Linear(8, 2).double()
        self.activation = nn.ReLU(inplace=in_place)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.linear(inputs)
        active = self.activation(hidden)
        return self.second(active) + (hidden if self.activation.inplace else active)[:, :2]


def test_activations_in_place() -> None:
    networks = InPlace(in_place=True), InPlace(in_place=False)
    networks[1].load_state_dict(networks[0].state_dict())
    inputs, _ = samples(5, (6,), 2)
    start, directions = states(networks[0], 0.1)
    found = [
        split_change(
            network, inputs, start, moved(start, directions), directions, straighten=True, block=20, suffices=one_node
        )
        for network in networks
    ]
    assert torch.equal(found[0][1], found[1][1])
    for name in directions:
        assert torch.equal(found[0][2][name], found[1][2][name])
