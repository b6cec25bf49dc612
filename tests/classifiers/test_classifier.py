"""A trained network: what its hash sees, its way to disk, and outputs in blocks; of two layers and of many."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.classifiers.reference import randomise, signature
from torch import Tensor, nn

from perturblearn.classifiers import Classifier, Network, TwoLayer, from_state, hand_over, make_network
from perturblearn.config import NetworkConfig
from perturblearn.errors import ModelError
from perturblearn.store import Artefact, ArtefactStore


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
    assert isinstance(back.module, TwoLayer)
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


def test_the_hash_and_the_content_of_a_two_layer_network_are_as_they_always_were() -> None:
    """Files of earlier versions are found and read."""
    classifier = Classifier(network())
    digest = hashlib.sha256(b"0.1")
    for name, tensor in (("bias", draw(4, seed=2)), ("readout", draw(4, seed=1)), ("weight", draw(4, 3))):
        digest.update(f"{name} {tuple(tensor.shape)} torch.float32".encode() + tensor.numpy().tobytes())
    assert classifier.hash == digest.hexdigest()
    assert dict(classifier.dump().content) == {
        "slope": 0.1, "training": {}, "final_lr": None, "hash": classifier.hash,
    }  # fmt: skip
    assert set(classifier.dump().tensors) == {"module.weight", "module.bias", "module.readout", "losses"}


class Own(nn.Module):
    """With everything that a state may consist of."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.first = nn.Linear(12, width)
        self.norm = nn.BatchNorm1d(width)
        self.last = nn.Linear(width, 3, bias=False)
        self.tied = self.last
        self.register_buffer("flags", torch.tensor([True, False]))
        self.register_buffer("scale", torch.tensor(2.0), persistent=False)
        self.register_buffer("nothing", torch.empty(0))

    def forward(self, inputs: Tensor) -> Tensor:
        assert isinstance(self.scale, Tensor)
        return self.scale * self.tied(torch.relu(self.norm(self.first(inputs.flatten(1)))))


DATA = signature(3, 2, 2, n_classes=3)
TINY: dict[str, dict[str, Any]] = {
    "mlp": {"name": "mlp", "hidden_dim": 4, "slope": 0.25, "depth": 1},
    "wide_resnet": {"name": "wide_resnet", "width": 1, "depth": 10},
    "resnet18": {"name": "resnet18", "width": 0.03, "normalise": False},
    "a factory": {"name": hand_over(Own)},
    "a module": {"name": hand_over(randomise(Own(), seed=3).float()), "normalise": True},
}


def deep(keys: dict[str, Any], *, dtype: torch.dtype = torch.float32, data: Any = DATA) -> Network:
    """Every weight and statistic drawn, in the end in training mode."""
    network = make_network(NetworkConfig.model_validate(keys), data, seed=0, role="f")
    network.body.load_state_dict(randomise(network.body).state_dict())
    return network.to(dtype)


def images(count: int = 7, *, dtype: torch.dtype = torch.float32) -> Tensor:
    return draw(count, 12, seed=5).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("kind", TINY)
def test_deep_networks_survive_the_store(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    classifier = Classifier(deep(TINY[kind], dtype=dtype), {"lr": 0.1}, torch.ones(2, dtype=torch.float64), 0.01)
    store = ArtefactStore(tmp_path)
    store.write("k" * 64, classifier.dump(), origin={})
    before = torch.random.get_rng_state()
    back = Classifier.load(store.read("k" * 64))
    assert torch.equal(before, torch.random.get_rng_state())
    assert back.hash == classifier.hash
    assert (back.training, back.final_lr) == ({"lr": 0.1}, 0.01)
    assert isinstance(back.module, Network)
    assert (back.module.config, back.module.signature) == (classifier.module.config, DATA)
    assert torch.equal(back.outputs(images(dtype=dtype)), classifier.outputs(images(dtype=dtype)))
    for name, tensor in classifier.module.state_dict().items():
        again = back.module.state_dict()[name]
        assert again.dtype == tensor.dtype
        assert torch.equal(again, tensor)
        assert again.stride() == tensor.stride()


def test_what_is_shared_inside_a_network_stays_shared() -> None:
    back = Classifier.load(Classifier(deep(TINY["a factory"])).dump())
    assert isinstance(back.module, Network)
    body = back.module.body
    assert isinstance(body, Own)
    assert body.tied is body.last
    assert float(body.get_buffer("scale")) == 2.0


def test_buffers_outside_the_state_dict_are_stored_too() -> None:
    network = deep(TINY["a factory"])
    network.body.get_buffer("scale").fill_(5.0)
    classifier = Classifier(network)
    assert classifier.hash != Classifier(deep(TINY["a factory"])).hash
    assert torch.equal(Classifier.load(classifier.dump()).outputs(images()), classifier.outputs(images()))


def test_the_checkpoint_is_not_needed_again(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(deep(TINY["mlp"]).body.state_dict(), path)
    config = NetworkConfig.model_validate({**TINY["mlp"], "checkpoint": str(path)})
    classifier = Classifier(make_network(config, DATA, seed=0, role="f"))
    path.unlink()
    back = Classifier.load(classifier.dump())
    assert torch.equal(back.outputs(images()), classifier.outputs(images()))
    assert back.hash == classifier.hash == Classifier(deep(TINY["mlp"])).hash
    assert classifier.to(dtype=torch.float64).outputs(images(dtype=torch.float64)).shape == (7, 3)


def test_a_network_that_is_another_one_by_now() -> None:
    artefact = Classifier(deep(TINY["a factory"])).dump()

    def loaded(**changes: Any) -> None:
        content = {**artefact.content, "model": {**artefact.content["model"], **changes}}
        Classifier.load(Artefact(content, artefact.tensors))

    wider = hand_over(lambda: Own(5))
    with pytest.raises(ModelError, match=f"{wider} is not the one that was stored: body.first.weight differs; go back"):
        loaded(name=wider)
    other = hand_over(lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 3)))
    with pytest.raises(ModelError, match=f"{other} is not the one that was stored: body.1.bias differs; go back to"):
        loaded(name=other)
    with pytest.raises(ModelError, match="was passed as a Python object, which this process does not have"):
        loaded(name="python:fedcba9876543210")


def changed_entry(name: str) -> Network:
    network = deep(TINY["wide_resnet"])
    tensor = network.state_dict()[name]
    tensor.view(-1)[-1:] += 1 if tensor.dtype == torch.int64 else 0.5
    return network


@pytest.mark.parametrize(
    "change",
    [
        lambda: changed_entry("body.blocks.2.conv2.bias"),
        lambda: changed_entry("body.norm.running_var"),
        lambda: changed_entry("body.norm.num_batches_tracked"),
        lambda: changed_entry("mean"),
        lambda: deep({**TINY["wide_resnet"], "normalise": False}),
        lambda: deep({**TINY["wide_resnet"], "dropout": 0.1}),
        lambda: deep(TINY["wide_resnet"], data=signature(3, 4, 1, n_classes=3)),
        lambda: deep(TINY["wide_resnet"], dtype=torch.float64),
    ],
)
def test_the_hash_sees_what_fixes_a_deep_network(change: Callable[[], Network]) -> None:
    assert Classifier(change()).hash != Classifier(deep(TINY["wide_resnet"])).hash


def test_the_hash_of_a_deep_network_sees_the_slope_but_not_layout_mode_or_training() -> None:
    classifier = Classifier(deep(TINY["mlp"]))
    assert Classifier(deep({**TINY["mlp"], "slope": 0.5})).hash != classifier.hash
    assert Classifier(deep(TINY["mlp"]).eval(), {"lr": 1}, torch.ones(2)).hash == classifier.hash
    convolutional = Classifier(deep(TINY["wide_resnet"]))
    contiguous = deep(TINY["wide_resnet"])
    for parameter in contiguous.parameters():
        parameter.data = parameter.data.contiguous()
    assert Classifier(contiguous).hash == convolutional.hash
    assert "mlp, inputs 3 x 2 x 2, 3 classes, 67 parameters" in repr(classifier)
    assert classifier.hash[:10] in repr(classifier)


@pytest.mark.parametrize("kind", TINY)
def test_deep_networks_in_another_precision(kind: str) -> None:
    classifier = Classifier(deep(TINY[kind]), {"lr": 1.0}, torch.ones(2), 0.5)
    before = {name: tensor.clone() for name, tensor in classifier.module.state_dict().items()}
    classifier.module(images()).sum().backward()
    classifier.module.load_state_dict(before)  # the statistics moved
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        moved = classifier.to(dtype=dtype, device="cpu")
        assert {tensor.dtype for tensor in moved.module.parameters()} == {dtype}
        assert (moved.training, moved.final_lr) == (classifier.training, classifier.final_lr)
        assert all(parameter.grad is None for parameter in moved.module.parameters())
        for tensor in moved.module.state_dict().values():
            tensor.zero_()
        assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.module.state_dict().items())
    assert all(parameter.grad is not None for parameter in classifier.module.parameters())


@pytest.mark.parametrize("kind", TINY)
def test_outputs_are_those_of_evaluation_mode(kind: str) -> None:
    module = deep(TINY[kind])
    assert module.training
    next(iter(module.body.children())).eval()
    modes = [part.training for part in module.modules()]
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    outputs = Classifier(module).outputs(images())
    assert not outputs.requires_grad
    assert [part.training for part in module.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert torch.equal(outputs, module.eval()(images()).detach())


@pytest.mark.parametrize("block", [None, 1, 3, 300])
def test_outputs_of_deep_networks_do_not_depend_on_the_block(block: int | None) -> None:
    classifier = Classifier(deep(TINY["wide_resnet"], dtype=torch.float64))
    inputs = images(300, dtype=torch.float64)
    expected = classifier.module.eval()(inputs).detach()
    seen: list[int] = []
    classifier.module.body.register_forward_pre_hook(lambda _, arguments: seen.append(len(arguments[0])))
    outputs = classifier.outputs(inputs, block=block)
    assert seen == ([256, 44] if block is None else [min(block, 300)] * -(-300 // block))
    # Sums of thousands of products in another order, as in the networks' own tests.
    assert torch.allclose(outputs, expected, rtol=0, atol=1e-9)


def test_no_inputs_give_no_logits() -> None:
    for data, shape in ((DATA, (0, 3)), (signature(3, 2, 2), (0,))):
        outputs = Classifier(deep(TINY["mlp"], data=data)).outputs(images(0))
        assert (outputs.shape, outputs.dtype) == (shape, torch.float32)


@pytest.mark.parametrize(("count", "broken"), [(1, 1), (600, 3)])
def test_outputs_that_are_no_numbers(count: int, broken: int) -> None:
    inputs = images(count)
    inputs[:broken, 2] = float("nan")
    message = f"mlp, inputs 3 x 2 x 2, 3 classes, 67 parameters returns NaN for {broken} of {count} inputs; train it at"
    with pytest.raises(ModelError, match=re.escape(message)):
        Classifier(deep(TINY["mlp"])).outputs(inputs)
    weights = draw(4, 3)
    weights[0, 0] = float("nan")
    with pytest.raises(ModelError, match="with bias returns NaN for 9 of 9 inputs"):
        Classifier(TwoLayer(weights, draw(4), draw(4), 0.0)).outputs(draw(9, 3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", TINY)
def test_inputs_and_network_on_two_devices(kind: str) -> None:
    classifier = Classifier(deep(TINY[kind], dtype=torch.float64))
    inputs = images(600, dtype=torch.float64)
    expected = classifier.outputs(inputs)
    moved = classifier.to(device="cuda")
    assert {tensor.device.type for tensor in moved.module.state_dict().values()} == {"cuda"}
    for given in (inputs, inputs.cuda()):
        for one in (classifier, moved):
            outputs = one.outputs(given)
            assert outputs.device == given.device
            assert torch.allclose(outputs.cpu(), expected, rtol=0, atol=1e-9)
    assert moved.hash == classifier.hash
    assert Classifier.load(moved.dump()).hash == classifier.hash
