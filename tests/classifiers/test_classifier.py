"""A trained network: what its hash sees, its way to disk, and outputs in blocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from perturblearn.classifiers import Classifier, TwoLayer, from_state
from perturblearn.store import ArtefactStore


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network(*, bias: bool = True, slope: float = 0.1) -> TwoLayer:
    return TwoLayer(draw(4, 3), draw(4, seed=1), draw(4, seed=2) if bias else None, slope)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("final_lr", [0.05, None])
def test_round_trip_through_the_store(tmp_path: Path, bias: bool, dtype: torch.dtype, final_lr: float | None) -> None:
    losses = torch.tensor([0.7, 0.1], dtype=torch.float64)
    classifier = Classifier(network(bias=bias).to(dtype), {"loss": "logistic", "lr": 0.5}, losses, final_lr)
    store = ArtefactStore(tmp_path)
    store.write("k" * 64, classifier.dump(), origin={})
    back = Classifier.load(store.read("k" * 64))
    assert back.hash == classifier.hash
    assert back.training == classifier.training
    assert torch.equal(back.losses, losses)
    assert back.final_lr == final_lr
    assert (back.module.bias is None) == (not bias)
    inputs = draw(9, 3).to(dtype)
    assert torch.equal(back.outputs(inputs), classifier.outputs(inputs))


def _changed(name: str) -> TwoLayer:
    state = {key: tensor.clone() for key, tensor in network().state_dict().items()}
    # The smallest change there is: the last entry by one unit in the last place.
    last = state[name].view(-1)[-1:]
    last.copy_(torch.nextafter(last, torch.tensor([9.0])))
    return from_state(state, 0.1)


@pytest.mark.parametrize(
    "change",
    [
        lambda: _changed("weight"),
        lambda: _changed("bias"),
        lambda: _changed("readout"),
        lambda: network(slope=0.2),
        lambda: network(bias=False),
        lambda: network().double(),
    ],
)
def test_the_hash_sees_every_parameter(change: Callable[[], TwoLayer]) -> None:
    assert Classifier(change()).hash != Classifier(network()).hash


def test_the_hash_does_not_see_layout_training_or_precision_and_back() -> None:
    classifier = Classifier(network())
    state = classifier.module.state_dict()
    reordered = from_state({key: state[key] for key in reversed(state)}, 0.1)
    strided = TwoLayer(state["weight"].T.contiguous().T, state["readout"], state["bias"], 0.1)
    assert not strided.weight.is_contiguous()
    for same in (
        Classifier(reordered),
        Classifier(strided),
        Classifier(network(), {"lr": 1}, torch.ones(2)),
        classifier.to(device="cpu"),
        classifier.to(dtype=torch.float64).to(dtype=torch.float32),
    ):
        assert same.hash == classifier.hash
    assert classifier.hash[:10] in repr(classifier)


def test_to_leaves_the_original_alone() -> None:
    classifier = Classifier(network(), {"lr": 1.0}, torch.ones(2), 0.5)
    moved = classifier.to(dtype=torch.float64)
    assert moved.module.weight.dtype == torch.float64
    assert classifier.module.weight.dtype == torch.float32
    assert moved.module.weight.data_ptr() != classifier.module.weight.data_ptr()
    assert (moved.training, moved.final_lr) == (classifier.training, classifier.final_lr)
    same = classifier.to(dtype=torch.float32)
    same.module.weight.data.zero_()
    assert bool(classifier.module.weight.any())


@pytest.mark.parametrize("block", [1, 3, 7, 8, 1000])
def test_outputs_do_not_depend_on_the_block(block: int) -> None:
    classifier = Classifier(network())
    inputs = draw(7, 3, seed=5)
    outputs = classifier.outputs(inputs, block=block)
    assert not outputs.requires_grad
    # Every output sums 4 units of 3 products of numbers below 5, in another order: 2^-24 each of at most 100.
    assert torch.allclose(outputs, classifier.module(inputs).detach(), rtol=0, atol=12 * 100 * 2**-24)


def test_no_inputs_give_no_outputs() -> None:
    assert Classifier(network()).outputs(torch.empty(0, 3)).shape == (0,)
