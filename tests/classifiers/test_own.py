"""The user's own networks: importing them, handing them over, starting them afresh, telling them apart."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.classifiers.reference import signature
from torch import Tensor, nn

from perturblearn.classifiers import Network, fingerprint, hand_over, make_network
from perturblearn.config import NetworkConfig
from perturblearn.errors import ModelError

VECTORS = signature(4)

MODULE = """
import torch
from torch import nn

def shown(inputs):
    return inputs

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)
    def forward(self, inputs):
        return self.layer(shown(inputs))

def make():
    return Net()

def wider(width, *, depth, slope=0.1):
    return Net()

def failing():
    raise LookupError("no\\nsuch thing")

def text():
    return "a network"

template = Net()
one = Net()
number = 3

def same():
    return one
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", ".")])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a source of the same second and size would be missed
    known = set(sys.modules)
    (tmp_path / "mynets.py").write_text(MODULE)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def made(name: str, *, seed: int = 0, fresh: bool = True) -> Network:
    return make_network(NetworkConfig(name=name), VECTORS, seed=seed, role="f", fresh=fresh)


def weight(network: Network) -> Tensor:
    return next(network.body.parameters()).detach()


@pytest.mark.parametrize("name", ["make", "Net", "template"])
def test_from_the_current_folder(folder: Path, name: str) -> None:
    path, generator = list(sys.path), torch.random.get_rng_state()
    network = made(f"mynets:{name}")
    assert torch.equal(generator, torch.random.get_rng_state())
    assert network(torch.zeros(3, 4)).shape == (3,)
    assert not torch.equal(weight(network), weight(made(f"mynets:{name}", seed=1)))
    assert torch.equal(weight(network), weight(made(f"mynets:{name}")))
    assert sys.path == path


def test_a_module_that_draws_when_it_is_imported(folder: Path) -> None:
    standing = weight(made("mynets:template", fresh=False))
    torch.rand(1)
    del sys.modules["mynets"]
    assert torch.equal(weight(made("mynets:template", fresh=False)), standing)


def test_packages_with_and_without_init(folder: Path) -> None:
    for package in ("with_init", "without_init"):
        (folder / package).mkdir()
        (folder / package / "parts.py").write_text(MODULE)
        (folder / package / "nets.py").write_text("from .parts import make\n")
    (folder / "with_init" / "__init__.py").write_text("")
    for package in ("with_init", "without_init"):
        assert weight(made(f"{package}.nets:make")).shape == (1, 4)


def test_what_is_installed_comes_before_the_current_folder(folder: Path) -> None:
    (folder / "json.py").write_text(MODULE)
    with pytest.raises(ModelError, match=r"json:make names make, which the module json \(.*\) does not have"):
        made("json:make")


BROKEN = {
    "syntax": ("def make(:", "importing syntax fails (SyntaxError: "),
    "needs": ("import not_installed_at_all", "importing needs fails (ModuleNotFoundError: No module named 'not_ins"),
    "raising": ("1 / 0", "importing raising fails (ZeroDivisionError: division by zero); fix it"),
    "lacking": ("from math import nothing", "importing lacking fails (ImportError: cannot import name 'nothing'"),
}


@pytest.mark.parametrize("module", BROKEN)
def test_modules_that_fail(folder: Path, module: str) -> None:
    source, message = BROKEN[module]
    (folder / f"{module}.py").write_text(source)
    with pytest.raises(ModelError, match=re.escape(f"{module}:make cannot be used, because {message}")):
        made(f"{module}:make")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent:make", "absent:make names the module absent, but there is no module absent; correct the name, or run"),
        ("absent.sub:make", "absent.sub:make names the module absent.sub, but there is no module absent; correct"),
        ("json.absent:make", "names the module json.absent, but there is no module json.absent; correct the name"),
        ("mynets.sub:make", "names the module mynets.sub, but there is no module mynets.sub; correct the name"),
        ("mynets:absent", "mynets:absent names absent, which the module mynets ("),
        ("mynets:number", "mynets:number is of type int; give a torch module, or a class or function that returns one"),
        ("mynets:wider", "mynets:wider needs the arguments width, depth, but a factory is called without any; write"),
        ("mynets:failing", "mynets:failing fails when it is called (LookupError: no such thing); fix it"),
        ("mynets:text", "mynets:text returns a str; it must return a torch.nn.Module"),
    ],
)
def test_names_that_stand_for_no_network(folder: Path, name: str, message: str) -> None:
    for use in (made, fingerprint):
        with pytest.raises(ModelError, match=re.escape(message)):
            use(name)


def test_a_factory_that_returns_one_network_again_and_again(folder: Path) -> None:
    first = made("mynets:same")
    with pytest.raises(ModelError, match="mynets:same returns the same network object in every call"):
        made("mynets:same")
    # As it stands it may be used, in copies.
    for copy in (made("mynets:same", fresh=False), made("mynets:same", fresh=False)):
        assert torch.equal(weight(copy), weight(first))
        assert weight(copy).data_ptr() != weight(first).data_ptr()


def test_a_module_starts_afresh_or_as_it_stands() -> None:
    first = nn.Linear(4, 3)
    template = nn.Sequential(first, nn.BatchNorm1d(3), nn.Linear(3, 1)).double()
    with torch.no_grad():
        template(torch.full((5, 4), 3.0, dtype=torch.float64))  # moves the running mean
        first.weight.fill_(1 / 3)
    name = hand_over(template)
    with torch.no_grad():
        first.weight.zero_()  # after it was handed over
    standing = made(name, fresh=False)
    assert torch.equal(weight(standing), torch.full((3, 4), 1 / 3, dtype=torch.float64))
    assert standing.mean.dtype == torch.float64
    assert bool(standing.body.get_buffer("1.running_mean").any())
    fresh = made(name)
    assert weight(fresh).dtype == torch.float32
    # Of U(-1/sqrt(4), 1/sqrt(4)), as torch draws them.
    assert len(weight(fresh).unique()) == 12
    assert float(weight(fresh).abs().max()) <= 0.5
    assert not bool(fresh.body.get_buffer("1.running_mean").any())
    assert not bool(first.weight.any())


def test_a_network_s_own_reset_has_the_last_word() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 1)

        def reset_parameters(self) -> None:
            nn.init.constant_(self.layer.weight, 7.0)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.layer(inputs)

    assert weight(made(hand_over(Scaled()))).tolist() == [[7.0] * 4]


class Bare(nn.Module):
    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.ones(4))
        self.scale = scale

    def forward(self, inputs: Tensor) -> Tensor:
        return self.scale * inputs @ self.vector


def test_parameters_that_nobody_can_reset() -> None:
    for module, part in (
        (Bare(), "the network (Bare)"),
        (nn.Sequential(Bare()), "0 (Bare)"),
        (Bare, "the network (Bare)"),
    ):
        name = hand_over(module)
        with pytest.raises(ModelError, match=re.escape(f"because {part} has parameters but no reset_parameters; give")):
            made(name)
        assert weight(made(name, fresh=False)).tolist() == [1.0] * 4


def test_a_factory_of_trained_weights_makes_fresh_ones_where_they_are_asked_for() -> None:
    trained = nn.Linear(4, 2)

    def load() -> nn.Module:
        network = nn.Linear(4, 2)
        network.load_state_dict(trained.state_dict())
        return network

    name = hand_over(load)
    assert torch.equal(weight(made(name, fresh=False)), trained.weight)
    first, again, other = made(name), made(name), made(name, seed=1)
    assert torch.equal(weight(first), weight(again))
    assert not torch.equal(weight(first), weight(other))
    assert not torch.equal(weight(first), trained.weight)


def test_a_reset_that_fails() -> None:
    class Failing(Bare):
        def reset_parameters(self, scale: float) -> None:
            raise AssertionError

    with pytest.raises(ModelError, match=r"reset_parameters of the network \(Failing\) fails \(TypeError: .*\); fix"):
        made(hand_over(Failing()))


def scripted() -> nn.Module:
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        return torch.jit.script(nn.Linear(4, 1))


def traced_of(module: nn.Module) -> nn.Module:
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        program = torch.jit.trace(module, torch.ones(2, 4))
    assert isinstance(program, nn.Module)
    return program


def traced() -> nn.Module:
    return traced_of(nn.Linear(4, 1))


@pytest.mark.parametrize("make", [scripted, traced, lambda: nn.Sequential(scripted(), nn.Flatten(0))])
def test_a_program_of_torchscript_is_used_as_it_is(make: Callable[[], nn.Module]) -> None:
    program = make()
    network = made(hand_over(program), fresh=False)
    inputs = torch.randn(3, 4)
    assert torch.equal(network(inputs), program(inputs).reshape(3))
    for parameter in network.parameters():
        parameter.requires_grad_(False).zero_()  # as attacks do
    assert not torch.equal(network(inputs), program(inputs).reshape(3))
    for source in (program, make):
        with pytest.raises(ModelError, match="is a TorchScript program or contains one, which can be used as"):
            made(hand_over(source))


def test_programs_that_differ_in_code_alone_have_names_of_their_own() -> None:
    class Net(nn.Module):
        def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
            super().__init__()
            self.function = function

        def forward(self, inputs: Tensor) -> Tensor:
            return self.function(inputs).sum(dim=1)

    first, second = (traced_of(Net(function)) for function in (torch.sin, torch.cos))
    assert hand_over(first) != hand_over(second)
    assert hand_over(first) == hand_over(first)


PACKAGE = """
from torch import nn

class Small(nn.Linear):
    pass
"""
LATE = """
import torch

def by_import():
    from later.small import Small
    return Small(4, 1)

def by_pickle():
    return torch.load("whole.pt", weights_only=False)
"""


# Each place and each way once; the other pairs start PyTorch again.
@pytest.mark.parametrize(
    "name",
    [
        "late:by_import",
        "inside.late:by_pickle",
        pytest.param("late:by_pickle", marks=pytest.mark.long),
        pytest.param("inside.late:by_import", marks=pytest.mark.long),
    ],
)
def test_what_a_factory_imports_when_it_is_called(name: str, folder: Path) -> None:
    for package, content in (("later", {"small.py": PACKAGE}), ("inside", {"late.py": LATE})):
        (folder / package).mkdir()
        for file, text in {"__init__.py": "", **content}.items():
            (folder / package / file).write_text(text)
    (folder / "late.py").write_text(LATE)
    whole = "import torch; from later.small import Small; torch.save(Small(4, 1), 'whole.pt')"
    subprocess.run([sys.executable, "-c", whole], check=True, cwd=folder)
    before = list(sys.path)
    assert weight(made(name)).shape == (1, 4)
    assert sys.path == before


def test_networks_that_cannot_be_copied() -> None:
    def locked() -> nn.Module:
        module = nn.Linear(4, 1)
        vars(module)["lock"] = threading.Lock()
        return module

    for network in (locked, locked()):
        with pytest.raises(ModelError, match=r"in Python cannot be copied \(TypeError: .*\); use modules"):
            hand_over(network)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (3, "passed in Python is of type int; give a torch module"),
        (lambda width: nn.Linear(4, width), "passed in Python needs the arguments width, but"),
        (lambda: 3, "passed in Python returns a int; it must return a torch.nn.Module"),
    ],
)
def test_what_cannot_be_handed_over(network: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        hand_over(network)


def test_networks_of_another_process() -> None:
    name = "python:0123456789abcdef"
    for use in (made, fingerprint):
        with pytest.raises(ModelError, match=f"{name} was passed as a Python object, which this process does"):
            use(name)


def linear() -> nn.Module:
    return nn.Linear(4, 1)


def linear_too() -> nn.Module:
    return nn.Linear(4, 1)


def scaled(scale: float) -> nn.Module:
    return Bare(scale)


def without_source(body: str) -> Callable[[], nn.Module]:
    names: dict[str, Any] = {"nn": nn, "Bare": Bare}
    exec(f"def make():\n    {body}", names)
    return names["make"]


class Buffered(Bare):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.register_buffer("hidden", torch.tensor(value), persistent=False)


def other_class() -> nn.Module:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vector = nn.Parameter(torch.ones(4))
            self.scale = 1.0

        def forward(self, inputs: Tensor) -> Tensor:
            return self.scale * inputs @ self.vector.abs()

    return Bare()


def seeded(seed: int, width: int = 1, **keys: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return nn.Linear(4, width, **keys)


class Showing(nn.Module):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = (text,)

    def extra_repr(self) -> str:
        return self.text[0]


DIFFERENT: list[Any] = [
    linear, linear_too, lambda: nn.Linear(4, 1), lambda: nn.Linear(4, 2), partial(scaled, 1.0), partial(scaled, 2.0),
    without_source("return nn.Linear(4, 1)"), without_source("return nn.Linear(4, 1, bias=False)"),
    without_source("return Bare(1.0)"), without_source("return Bare(2.0)"), Bare, Bare(), Bare(2.0), other_class(),
    seeded(0), seeded(1), seeded(0, bias=False), seeded(0).double(), nn.Sequential(seeded(0)), Buffered(1.0),
    Buffered(2.0), nn.LeakyReLU(0.1), nn.LeakyReLU(0.2),
    Showing("one"), Showing("two"),
]  # fmt: skip


def test_what_differs_has_another_name() -> None:
    names = [hand_over(network) for network in DIFFERENT]
    assert len(set(names)) == len(DIFFERENT)
    assert len({fingerprint(name) for name in names}) == len(DIFFERENT)
    for name in names:
        assert NetworkConfig(name=name).is_own
        assert fingerprint(name).digest.startswith(name.removeprefix("python:"))
    # Once more, and as a copy.
    assert [hand_over(network) for network in DIFFERENT] == names
    assert hand_over(seeded(0)) == names[14]
    assert hand_over(Bare(2.0)) == names[12]


def test_closures_and_globals_show_in_what_is_made() -> None:
    def factory(width: int) -> Callable[[], nn.Module]:
        return lambda: nn.Linear(4, width)

    assert hand_over(factory(1)) != hand_over(factory(2))
    assert hand_over(factory(1)) == hand_over(factory(1))


def test_fingerprints_do_not_depend_on_the_session() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = hand_over(lambda: nn.Linear(4, 1)), fingerprint("tests.classifiers.test_own:linear")
    assert torch.equal(before, torch.random.get_rng_state())
    torch.set_default_dtype(torch.float64)
    try:
        again = fingerprint("tests.classifiers.test_own:linear")
    finally:
        torch.set_default_dtype(torch.float32)
    assert again == first[1]


def test_the_fingerprint_of_an_import_follows_its_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)  # without it nobody could reload
    (folder / "outer.py").write_text("from mynets import make\nvalue = 1\n")
    names = ["mynets:make", "mynets:Net", "mynets:template", "outer:make"]
    first = [fingerprint(name) for name in names]
    assert len(set(first)) == len(names)
    assert [fingerprint(name) for name in names] == first

    # An edited file says nothing about the code that is in memory, until it is loaded again.
    (folder / "mynets.py").write_text(MODULE.replace("return inputs", "return 2 * inputs"))
    assert fingerprint("mynets:make") == first[0]
    for module in ("mynets", "outer"):
        importlib.reload(sys.modules[module])
    assert not set(first) & {fingerprint(name) for name in names}

    # Back again: the same files have the same fingerprints.
    (folder / "mynets.py").write_text(MODULE)
    for module in ("mynets", "outer"):
        importlib.reload(sys.modules[module])
    assert [fingerprint(name) for name in (names[0], names[1], names[3])] == [first[0], first[1], first[3]]


@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_layers_that_learn_their_shape_from_the_first_inputs() -> None:
    def lazy() -> nn.Module:
        return nn.LazyLinear(1)

    for network in (lazy, lazy()):
        name = hand_over(network)
        first, other = made(name), made(name, seed=1)
        assert weight(first).shape == (1, 4)
        assert torch.equal(weight(first), weight(made(name)))
        assert not torch.equal(weight(first), weight(other))
