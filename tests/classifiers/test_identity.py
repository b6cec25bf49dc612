"""What a user's object does is told by its identity: equal ones are equal in every process, changed ones are not."""

from __future__ import annotations

import enum
import functools
import importlib
import os
import random
import re
import subprocess
import sys
import textwrap
import threading
import types
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from perturblearn.classifiers import Identity, identify, identify_import


def digest(value: Any) -> str:
    found = identify(value, name="it")
    assert found.unidentified == ()
    return found.digest


def default(size: object) -> Callable[..., object]:
    def step(inputs: object, size: object = size) -> object:
        return inputs, size

    return step


def keyword_default(size: object) -> Callable[..., object]:
    def step(inputs: object, *, size: object = size) -> object:
        return inputs, size

    return step


def closure(size: object) -> Callable[..., object]:
    return lambda inputs: (inputs, size)


def closure_of_closure(size: object) -> Callable[..., object]:
    inner = closure(size)
    return lambda inputs: inner(inputs)


def attribute(size: object) -> Callable[..., object]:
    def step(inputs: object) -> object:
        return inputs, step.size  # type: ignore[attr-defined]

    step.size = size  # type: ignore[attr-defined]
    return step


class Step:
    def __init__(self, size: object) -> None:
        self.size = size

    def __call__(self, inputs: object) -> object:
        return inputs, self.size

    def move(self, inputs: object) -> object:
        return inputs, self.size


@dataclass
class Options:
    size: object
    names: list[str] = field(default_factory=list[str])


class Slots:
    __slots__ = ("size",)

    def __init__(self, size: object) -> None:
        self.size = size


def member(size: object) -> Callable[..., object]:
    return type("Moving", (Step,), {"size_of_class": size})


def decorated(size: object) -> Callable[..., object]:
    return torch.no_grad()(functools.cache(closure(size)))


def partially(size: object) -> Callable[..., object]:
    return functools.partial(default(0), size=size)


HOLDERS: list[Callable[[object], object]] = [
    default, keyword_default, closure, closure_of_closure, attribute, Step, lambda size: Step(size).move, Options,
    Slots, member, decorated, partially, lambda size: property(default(size)), lambda size: [{"size": (size,)}],
]  # fmt: skip


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


def linear(value: float) -> nn.Module:
    made = nn.Linear(2, 1)
    nn.init.constant_(made.weight, value)
    nn.init.constant_(made.bias, 0.0)
    return made


PAIRS: list[tuple[object, object]] = [
    (0.0, 0.3), (0, 0.0), (1, True), ("a", b"a"), (torch.zeros(2), torch.tensor([0.0, 0.3])),
    (torch.zeros(2), torch.zeros(2, dtype=torch.float64)), (np.zeros(2), np.array([0, 0.3])),
    (np.float32(1), np.float32(2)), (linear(0.0), linear(0.3)), (Step(0.0), Step(0.3)), (Colour.RED, Colour.BLUE),
    ({"a", "b"}, {"a", "c"}), ([1, 2], (1, 2)), ({"a": 1}, OrderedDict(a=1)), (deque([1]), deque([2])),
    (Fraction(1, 2), Fraction(1, 3)), (re.compile("a"), re.compile("b")), (Path("a"), Path("b")),
    (torch.float32, torch.float64), (lambda x: x + 1, lambda x: x + 2), (nn.functional.relu, torch.tanh),
    (torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(0.0, 2.0)),
    (np.random.default_rng(0), np.random.default_rng(1)), (int, float), (defaultdict(list), defaultdict(set)),
    (torch.eye(2).to_sparse(), (2 * torch.eye(2)).to_sparse()), (torch.ones(2, dtype=torch.bfloat16), torch.ones(2)),
]  # fmt: skip


@pytest.mark.parametrize("holder", HOLDERS)
def test_what_an_object_holds_is_part_of_it(holder: Callable[[object], object]) -> None:
    for one, other in PAIRS:
        assert digest(holder(one)) != digest(holder(other)), (one, other)
        assert digest(holder(one)) == digest(holder(one)), one
    assert len({digest(make(0.3)) for make in HOLDERS}) == len(HOLDERS)


def test_two_lambdas_on_one_line_are_two() -> None:
    one, other, same = (lambda x: x + 1), (lambda x: x - 1), (lambda x: x + 1)
    assert digest(one) != digest(other)
    assert digest(one) == digest(same)


def test_what_stands_above_a_function_does_not_matter() -> None:
    made: list[Any] = []
    for above in ("", "\n\n# words\n"):
        names: dict[str, Any] = {}
        exec(compile(f"{above}def step(x):\n    return x", "step.py", "exec"), names)
        made.append(names["step"])
    assert digest(made[0]) == digest(made[1])


def test_an_object_that_holds_itself() -> None:
    def ring(size: float) -> list[Any]:
        first: list[Any] = [size]
        first.append(first)
        return first

    assert digest(ring(1)) == digest(ring(1)) != digest(ring(2))
    assert digest(weakref.ref(Colour)) != digest(weakref.ref(Step))


def shifted(mean: float) -> Callable[..., Any]:
    return lambda module, inputs: (inputs[0] - mean,)


def with_pre_hook(mean: float) -> nn.Module:
    module = linear(1.0)
    module.register_forward_pre_hook(shifted(mean))
    return module


def with_hook(mean: float) -> nn.Module:
    part: nn.Module = linear(1.0)
    module = nn.Sequential(part)
    hook: Any = lambda module, inputs, output: output - mean  # noqa: E731
    handle: Any = part.register_forward_hook(hook)
    module.handle = handle
    return module


def with_keyword_hook(mean: float) -> nn.Module:
    module = linear(1.0)
    hook: Any = lambda module, inputs, keywords, output: output - mean  # noqa: E731
    module.register_forward_hook(hook, with_kwargs=True)
    return module


def with_backward_hook(mean: float) -> nn.Module:
    module = linear(1.0)
    module.register_full_backward_hook(lambda module, inputs, outputs: (inputs[0] * mean,))
    return module


class Scaled(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        return self.scale * weight


def parametrised(scale: float) -> nn.Module:
    module = linear(1.0)
    parametrize.register_parametrization(module, "weight", Scaled(scale))
    return module


def with_own_forward(mean: float) -> nn.Module:
    module = linear(1.0)
    module.forward = types.MethodType(lambda self, inputs: inputs - mean, module)
    return module


def buffered(value: float) -> nn.Module:
    module = linear(1.0)
    module.register_buffer("shift", torch.tensor(value), persistent=False)
    return module


def frozen_part(value: float) -> nn.Module:
    module = linear(1.0)
    module.bias.requires_grad_(value > 0.5)
    return module


def tied(value: float) -> nn.Module:
    first, second = linear(1.0), linear(1.0)
    if value > 0.5:
        second.weight = first.weight
    return nn.Sequential(first, second)


NETWORKS = [
    with_pre_hook, with_hook, with_keyword_hook, with_backward_hook, parametrised, with_own_forward, buffered,
    frozen_part, tied, linear,
]  # fmt: skip


@pytest.mark.parametrize("make", NETWORKS)
def test_what_a_network_does_besides_its_weights(make: Callable[[float], nn.Module]) -> None:
    assert digest(make(0.3)) == digest(make(0.3))
    assert digest(make(0.3)) != digest(make(0.9))


def test_networks_of_one_kind_differ_by_what_they_hold() -> None:
    assert len({digest(make(0.9)) for make in NETWORKS}) == len(NETWORKS)
    assert digest(parametrizations.weight_norm(linear(1.0))) != digest(linear(1.0))


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (closure(threading.Lock()), "size (_thread.lock) of it"),
        (Step(number for number in range(3)), "it.size (generator)"),
        (default([threading.Lock()]), "a default of step (_thread.lock) of it"),
        (threading.Lock(), "it (_thread.lock)"),
    ],
)  # fmt: skip
def test_what_nothing_identifies_is_named(value: object, what: str) -> None:
    assert identify(value, name="it").unidentified == (what,)


def test_generators_of_the_process_do_not_count() -> None:
    def noisy() -> object:
        return torch.default_generator, random.random(), np.random.rand()  # noqa: NPY002

    def named() -> object:
        return uniform(0, 1), normal(0, 1)

    uniform, normal = random.uniform, np.random.normal
    before = digest(noisy), digest(named)
    noisy()
    assert (digest(noisy), digest(named)) == before


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder from which modules are imported, and forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a source of the same second and size would be missed
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def imported(folder: Path, files: dict[str, str], name: str = "attacks:attack") -> Identity:
    """The identity of what is imported from a folder with these files, as in a process of its own."""
    for file, text in files.items():
        (folder / file).parent.mkdir(exist_ok=True, parents=True)
        (folder / file).write_text(textwrap.dedent(text))
        sys.modules.pop(file.removesuffix(".py").removesuffix("/__init__").replace("/", "."), None)
    importlib.invalidate_caches()
    module, _, attribute = name.partition(":")
    return identify_import(getattr(importlib.import_module(module), attribute), name)


PROJECTS: dict[str, dict[str, str]] = {
    "a name of a helper": {
        "attacks.py": "from settings import EPS\ndef attack(x): return x + EPS",
        "settings.py": "EPS = {}",
    },
    "a helper": {"attacks.py": "import settings\ndef attack(x): return x + settings.EPS", "settings.py": "EPS = {}"},
    "a helper's helper": {
        "attacks.py": "import steps\ndef attack(x): return steps.step(x)",
        "steps.py": "from settings import EPS\ndef step(x): return x + EPS",
        "settings.py": "EPS = {}",
    },
    "a helper by its name as text": {
        "attacks.py": "import settings\ndef attack(x): return x + getattr(settings, 'E' + 'PS')",
        "settings.py": "EPS = {}",
    },
    "a helper that is imported when it is needed": {
        "attacks.py": "def attack(x):\n    from settings import EPS\n    return x + EPS",
        "settings.py": "from values import EPS",
        "values.py": "EPS = {}",
    },
    "a package": {
        "attacks.py": "from steps import step as attack",
        "steps/__init__.py": "from .moves import step",
        "steps/moves.py": "from . import sizes\ndef step(x): return x + sizes.EPS",
        "steps/sizes.py": "EPS = {}",
    },
    "a base class": {
        "attacks.py": "from steps import Base\nclass Attack(Base): pass\nattack = Attack()",
        "steps.py": "class Base:\n    def __call__(self, x): return x + {}",
    },
    "its own file": {"attacks.py": "EPS = {}\ndef attack(x): return x + EPS"},
}


@pytest.mark.parametrize("project", PROJECTS)
def test_modules_of_the_project_count(folder: Path, project: str) -> None:
    def version(eps: float) -> Identity:
        return imported(folder, {file: text.format(eps) for file, text in PROJECTS[project].items()})

    first = version(0.0)
    assert first.unidentified == ()
    assert version(0.3) != first
    assert version(0.0) == first


def test_what_is_set_in_a_module_while_the_program_runs(folder: Path) -> None:
    first = imported(folder, PROJECTS["a helper"])
    sys.modules["settings"].EPS = 0.3  # type: ignore[attr-defined]
    again = identify_import(sys.modules["attacks"].attack, "attacks:attack")
    assert again != first


def test_modules_that_are_not_used_do_not_count(folder: Path) -> None:
    files = {"attacks.py": "def attack(x): return x", "other.py": "x = 1"}
    first = imported(folder, files)
    assert imported(folder, {**files, "other.py": "x = 2"}) == first


@pytest.mark.parametrize("name", ["attacks:attack", "attacks:Attack"])
def test_what_is_installed_counts_by_its_own_file(tmp_path: Path, folder: Path, name: str) -> None:
    folder = tmp_path / "site-packages"
    sys.path.insert(0, str(folder))
    text = "import other\ndef attack(x): return x + {}\nclass Attack:\n    def __call__(self, x): return attack(x)"
    try:
        first, second = (imported(folder, {"attacks.py": text.format(eps), "other.py": ""}, name) for eps in (0, 1))
        again = imported(folder, {"attacks.py": text.format(1), "other.py": "x = 1"}, name)
    finally:
        sys.path.remove(str(folder))
    assert first != second == again


def test_two_things_that_nothing_identifies_are_two() -> None:
    one, other = closure(threading.Lock()), closure(threading.Lock())
    assert identify(one, name="it") == identify(one, name="it") != identify(other, name="it")


def digests() -> list[str]:
    """Of everything that is made here."""
    found = [digest(make(value)) for make in HOLDERS for pair in PAIRS for value in pair]
    found += [digest(make(0.3)) for make in NETWORKS]
    return [*found, digest({"one", "two", "three", (1, "four")}), digest(lambda x: x in {"one", "two", "three"})]


OTHER_SESSION = """
import torch
from tests.classifiers.test_identity import digests
torch.nn.Linear(1, 1).register_forward_hook(print)  # another number of hooks
print(digests())
"""


@pytest.mark.slow
def test_identities_are_the_same_in_every_process() -> None:
    other_order = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    said = subprocess.run(
        [sys.executable, "-c", OTHER_SESSION], env={**os.environ, "PYTHONHASHSEED": other_order}, capture_output=True,
        text=True, check=True,
    ).stdout  # fmt: skip
    here = digests()
    assert said.strip() == str(here)
    assert len(set(here)) > 500
