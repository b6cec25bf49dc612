"""Weights from files: the forms that are understood, and what is refused without being run."""

from __future__ import annotations

import argparse
import hashlib
import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file, save_model
from tests.classifiers.reference import draw, randomise, signature
from torch import Tensor, nn

from perturblearn.classifiers import Classifier, checkpoint_fingerprint, hand_over, load_weights, make_network
from perturblearn.config import OwnNetworkConfig, WideResNetConfig
from perturblearn.errors import ModelError
from perturblearn.store import ArtefactStore


def body(width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width * 49, 2))


TRAINED = randomise(body(), seed=1).float()
STATE = TRAINED.state_dict()


def assert_loaded(path: Path) -> None:
    target = body()
    load_weights(target, path)
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, STATE[name])
        assert tensor.data_ptr() != STATE[name].data_ptr()


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in STATE.items()}


FORMS: dict[str, Callable[[Path], None]] = {
    "state dict": lambda path: torch.save(STATE, path),
    "older torch": lambda path: torch.save(STATE, path, _use_new_zipfile_serialization=False),
    "another protocol": lambda path: torch.save(STATE, path, pickle_protocol=3),
    "under state_dict": lambda path: torch.save({"state_dict": STATE, "epoch": 3, "lr": [0.1]}, path),
    "under model": lambda path: torch.save({"model": dict(STATE), "optimiser": {"state": {}}}, path),
    "under model_state_dict": lambda path: torch.save({"epoch": 3, "model_state_dict": STATE}, path),
    "under net": lambda path: torch.save({"net": STATE}, path),
    "under several": lambda path: torch.save({"model": {"state_dict": prefixed("model.")}}, path),
    "compiled": lambda path: torch.save(prefixed("_orig_mod."), path),
    "compiled, distributed": lambda path: torch.save(prefixed("_orig_mod.module."), path),
    "an attribute": lambda path: torch.save(
        {"state_dict": {**prefixed("model."), "loss.weight": STATE["3.bias"]}}, path
    ),
    "distributed": lambda path: torch.save({"state_dict": prefixed("module.")}, path),
    "our network": lambda path: torch.save({**prefixed("body."), "mean": torch.zeros(1)}, path),
    "safetensors": lambda path: save_file(dict(STATE), path),
    "safetensors, distributed": lambda path: save_file(prefixed("module."), path),
}


@pytest.mark.parametrize("suffix", ["pt", "safetensors", "bin"])
@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights.{suffix}"
    FORMS[form](path)
    assert_loaded(path)


def test_the_file_of_a_stored_classifier(tmp_path: Path) -> None:
    config = WideResNetConfig(depth=10, width=1)
    data = signature(1, 6, 6, n_classes=3)
    network = randomise(make_network(config, data, seed=0, role="f")).float()
    store = ArtefactStore(tmp_path)
    store.write("k" * 64, Classifier(network).dump(), origin={})
    (path,) = tmp_path.rglob("*.safetensors")
    fresh = make_network(config, data, seed=1, role="g")
    load_weights(fresh.body, path)
    for name, tensor in network.body.state_dict().items():
        assert torch.equal(fresh.body.state_dict()[name], tensor)


def weight_normed() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3, bias=False)))


class Renamed(nn.Module):
    """As many networks that have changed since their weights were saved."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_load_state_dict_pre_hook(self._rename)

    @staticmethod
    def _rename(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
        for name in [name for name in state if name.startswith(f"{prefix}fc.")]:
            state[f"{prefix}layer.{name.rpartition('.')[2]}"] = state.pop(name)


OLD_NORM = {"0.weight_g": torch.rand(3, 1), "0.weight_v": torch.rand(3, 4)}
"""As the hook of torch.nn.utils.weight_norm names them."""
BEFORE_COUNTING = {name: tensor for name, tensor in STATE.items() if "num_batches" not in name}
"""As before torch 0.4.1."""


@pytest.mark.parametrize(
    ("make", "state"),
    [
        (body, BEFORE_COUNTING),
        (weight_normed, OLD_NORM),
        (Renamed, {"fc.weight": torch.rand(3, 4), "fc.bias": torch.rand(3)}),
    ],
    ids=["no batches counted", "weight norm", "renamed"],
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_what_torch_itself_loads_strictly(
    make: Callable[[], nn.Module], state: dict[str, Tensor], prefix: str, tmp_path: Path
) -> None:
    torch.save({f"{prefix}{name}": tensor for name, tensor in state.items()}, tmp_path / "weights.pt")
    expected, target = make(), make()
    expected.load_state_dict(dict(state))
    load_weights(target, tmp_path / "weights.pt")
    for name, tensor in expected.state_dict().items():
        assert torch.equal(target.state_dict()[name], tensor)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = self.first

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(self.first(inputs)).sum(dim=1)


def test_the_file_of_a_stored_classifier_with_shared_weights(tmp_path: Path) -> None:
    config = OwnNetworkConfig(name=hand_over(Tied))
    network = make_network(config, signature(4), seed=0, role="f")
    store = ArtefactStore(tmp_path)
    store.write("k" * 64, Classifier(network).dump(), origin={})
    (path,) = tmp_path.rglob("*.safetensors")
    target = Tied()
    load_weights(target, path)
    assert target.first is target.second
    assert torch.equal(target.first.weight, network.body.get_parameter("first.weight"))


def test_a_file_that_names_shared_weights_once(tmp_path: Path) -> None:
    source, target = Tied(), Tied()
    save_model(source, str(tmp_path / "weights.safetensors"))
    load_weights(target, tmp_path / "weights.safetensors")
    assert torch.equal(target.first.weight, source.first.weight)


def test_names_of_the_user_s_own_that_look_like_prefixes(tmp_path: Path) -> None:
    inner = nn.Module()
    inner.module = nn.Linear(2, 1)
    inner.body = nn.Linear(3, 1)
    state = {name: torch.full_like(tensor, 5.0) for name, tensor in inner.state_dict().items()}
    torch.save(state, tmp_path / "weights.pt")
    load_weights(inner, tmp_path / "weights.pt")
    assert all(bool((tensor == 5).all()) for tensor in inner.state_dict().values())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_precision_and_layout_stay_the_network_s(dtype: torch.dtype, tmp_path: Path) -> None:
    torch.save({name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in STATE.items()},
               tmp_path / "weights.pt")  # fmt: skip
    target = body()
    target.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's types do not list it
    load_weights(target, tmp_path / "weights.pt")
    for name, tensor in target.state_dict().items():
        assert tensor.dtype == STATE[name].dtype
        assert torch.equal(tensor, STATE[name].to(dtype).to(tensor.dtype))
    assert target.get_parameter("0.weight").is_contiguous(memory_format=torch.channels_last)


class Trap:
    """Unpickled by pickle itself it makes a file."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


TRAPS: dict[str, Callable[[Path, Trap], object]] = {
    "torch.save": lambda path, trap: torch.save({**STATE, "0.weight": trap}, path),
    "nested": lambda path, trap: torch.save({"state_dict": STATE, "arguments": trap}, path),
    "older torch": lambda path, trap: torch.save({"a": trap}, path, _use_new_zipfile_serialization=False),
    **{
        f"pickle {protocol}": lambda path, trap, protocol=protocol: path.write_bytes(pickle.dumps([trap], protocol))
        for protocol in range(2, 6)
    },
}


@pytest.mark.parametrize("kind", TRAPS)
def test_code_is_refused_and_not_run(kind: str, tmp_path: Path) -> None:
    path, place = tmp_path / "weights.pt", tmp_path / "trapped"
    TRAPS[kind](path, Trap(place))
    message = f"the checkpoint {path} contains more than tensors, and loading it could run code; save the state"
    target = body()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(ModelError, match=re.escape(message)):
        load_weights(target, path)
    assert not place.exists()
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


def test_the_trap_works() -> None:
    """Else the test above would prove nothing."""
    function, arguments = Trap(Path("place")).__reduce__()
    assert (function, arguments) == (os.mkdir, ("place",))


def test_a_text_pickle_is_refused_too(tmp_path: Path) -> None:
    path, place = tmp_path / "weights.pt", tmp_path / "trapped"
    path.write_bytes(pickle.dumps([Trap(place)], protocol=0))
    with pytest.raises(ModelError, match=r"is neither a safetensors file nor one written by torch.save; save the"):
        load_weights(body(), path)
    assert not place.exists()


@pytest.mark.parametrize("content", [TRAINED, {"state_dict": STATE, "arguments": argparse.Namespace(lr=1)}])
def test_whole_modules_and_other_objects(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(ModelError, match=r"weights.pt contains more than tensors, and loading it could run code; save"):
        load_weights(body(), tmp_path / "weights.pt")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_programs(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(TRAINED.eval(), torch.zeros(1, 1, 9, 9)), tmp_path / "weights.pt")
    with pytest.raises(ModelError, match=r"weights.pt contains more than tensors"):
        load_weights(body(), tmp_path / "weights.pt")


@pytest.mark.parametrize(
    "content", [torch.zeros(3), [torch.zeros(3)], {}, {"epoch": 3}, {"state_dict": {}}, {3: torch.zeros(1)}, 5],
    ids=repr,
)  # fmt: skip
def test_files_without_a_state_dict(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(ModelError, match="contains no state dict, a mapping of names to tensors; save one with"):
        load_weights(body(), tmp_path / "weights.pt")


def without(name: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in STATE.items() if key != name}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (without("0.bias"), "0.bias is missing; give the file"),
        ({**STATE, "9.bias": torch.zeros(1)}, "this network has no 9.bias; give the file"),
        (body(4).state_dict(), "its 0.weight has shape (4, 1, 3, 3) instead of (3, 1, 3, 3); give the file"),
        ({**STATE, "3.bias": torch.zeros(10)}, "its 3.bias has shape (10,) instead of (2,); give the file"),
        ({"layer.weight": torch.zeros(2)}, "0.weight is missing; give the file"),
        ({f"module.{key}": tensor for key, tensor in without("1.running_var").items()}, "1.running_var is missing;"),
        ({**STATE, "3.bias": torch.zeros(2, dtype=torch.int8)}, "its 3.bias is of type torch.int8 instead of torch.f"),
    ],
)
@pytest.mark.parametrize("write", [torch.save, lambda state, path: save_file(dict(state), path)])
def test_weights_of_another_network(
    state: dict[str, Tensor], message: str, write: Callable[[Any, Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "weights"
    write(OrderedDict(state), path)
    target = body()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(ModelError, match=re.escape(f"{path} contains the weights of another network: {message}")):
        load_weights(target, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(value: float, tmp_path: Path) -> None:
    broken = STATE["3.weight"].clone()
    broken[0, :2] = value
    torch.save({**STATE, "3.weight": broken}, tmp_path / "weights.pt")
    with pytest.raises(
        ModelError, match=r"weights.pt has 2 values in 3.weight that are NaN or infinite; give the checkpoint"
    ):
        load_weights(body(), tmp_path / "weights.pt")


def test_no_such_file(tmp_path: Path) -> None:
    for use in (lambda path: load_weights(body(), path), checkpoint_fingerprint):
        with pytest.raises(ModelError, match=r"absent.pt does not exist; give a file of weights"):
            use(tmp_path / "absent.pt")
        with pytest.raises(ModelError, match=f"{re.escape(str(tmp_path))} is a folder; give a file of weights"):
            use(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80", b"weights", b"\0" * 100], ids=repr)
def test_files_of_something_else(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(
        ModelError, match=r"weights.pt (is neither a safetensors file nor|is damaged or truncated; replace)"
    ):
        load_weights(body(), tmp_path / "weights.pt")


@pytest.mark.parametrize("form", ["state dict", "older torch", "safetensors"])
def test_files_that_are_cut_off(form: str, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    FORMS[form](path)
    content = path.read_bytes()
    target = body()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    for length in (*range(1, 40), *range(40, len(content), 97), len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ModelError) as caught:
            load_weights(target, path)
        # One sentence, and none of torch's advice to read the file without its safeguard.
        assert "\n" not in str(caught.value)
        assert "weights_only" not in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


@pytest.mark.parametrize("form", ["state dict", "older torch", "safetensors"])
def test_files_with_flipped_bytes(form: str, tmp_path: Path, stress_count: Callable[..., int]) -> None:
    """Whatever is damaged: it is read all the same, or a sentence says why not; nothing else is raised."""
    path = tmp_path / "weights"
    FORMS[form](path)
    content = path.read_bytes()
    generator = torch.Generator().manual_seed(0)
    for _ in range(stress_count(500)):
        damaged = bytearray(content)
        place = int(torch.randint(len(damaged), (1,), generator=generator))
        damaged[place] = int(torch.randint(256, (1,), generator=generator))
        path.write_bytes(damaged)
        with suppress(ModelError):
            load_weights(body(), path)


def test_the_fingerprint_is_the_content_s(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"anything")
    assert checkpoint_fingerprint(tmp_path / "weights.pt") == hashlib.sha256(b"anything").hexdigest()


def test_outputs_are_those_of_the_network_that_was_saved(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "weights.pt")
    target = body().eval()
    load_weights(target, tmp_path / "weights.pt")
    images = draw(3, 1, 9, 9, dtype=torch.float32)
    assert torch.equal(target(images), TRAINED.eval()(images))
