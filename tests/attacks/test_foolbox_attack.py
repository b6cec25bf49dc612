"""foolbox's attacks by name and by object, and ours against its own."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from perturblearn.attacks import AttackResult, foolbox_attack, pgd, run_attack
from perturblearn.attacks.foolbox_attack import _foolbox
from perturblearn.errors import ConfigError

X = torch.rand(9, 6, generator=torch.Generator().manual_seed(0))
WITHIN: dict[str, Any] = {"value_range": (0.0, 1.0)}


def network(outputs: int) -> nn.Sequential:
    module = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, outputs))
    for number, parameter in enumerate(module.parameters()):
        parameter.data = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
    return module


def targets_of(outputs: int) -> Tensor:
    drawn = torch.randint(max(2, outputs), (9,), generator=torch.Generator().manual_seed(1))
    return 2 * drawn - 1 if outputs == 1 else drawn


def run(attack: Any, outputs: int, norm: str, epsilon: float, **options: Any) -> AttackResult:
    made = foolbox_attack(attack, norm=norm, epsilon=epsilon, **WITHIN, **options)
    return run_attack(made, network(outputs), X, targets_of(outputs), norm=norm, epsilon=epsilon, **WITHIN)


@pytest.mark.parametrize("outputs", [1, 2, 4])
@pytest.mark.parametrize(("name", "norm", "epsilon"), [("LinfPGD", "linf", 0.1), ("L2PGD", "l2", 0.3)])
def test_the_same_descent_as_ours(name: str, norm: str, epsilon: float, outputs: int) -> None:
    """From the same start, with the same steps, foolbox ends where our iterates do; ours keeps the best of them."""
    theirs = run(name, outputs, norm, epsilon, steps=6, rel_stepsize=0.25, random_start=False)
    last: list[Tensor] = []
    ours = pgd(
        network(outputs), X, targets_of(outputs), norm=norm, epsilon=epsilon, steps=6, step=0.25, **WITHIN,
        callback=lambda iterate: last.append(iterate.inputs.clone()),
    )  # fmt: skip
    # Six steps in float32; the bound of L2 leaves (d/4 + 16) eps for rounding.
    assert torch.allclose(theirs.inputs, last[-1], rtol=0, atol=1e-5)
    assert bool((ours.losses <= theirs.losses + 1e-5).all())


def test_two_classes_by_one_output() -> None:
    found = run("LinfPGD", 1, "linf", 0.3, steps=20, rel_stepsize=0.1, random_start=False)
    with torch.no_grad():
        before = targets_of(1) * network(1)(X)[:, 0]
    assert bool((-found.losses > before).all())
    assert int(found.success.sum()) > int((before > 0).sum())


def test_objects_and_attacks_that_look_for_the_smallest() -> None:
    foolbox = _foolbox()
    by_object = run(foolbox.attacks.LinfPGD(steps=3, random_start=False), 4, "linf", 0.1)
    by_name = run("LinfPGD", 4, "linf", 0.1, steps=3, random_start=False)
    assert torch.equal(by_object.inputs, by_name.inputs)
    smallest = run("L2CarliniWagnerAttack", 4, "l2", 2.0, steps=20, binary_search_steps=4, stepsize=0.1)
    assert float(smallest.sizes.max()) <= 2
    assert bool(smallest.success.any())
    # It takes the norm as an argument, and gets ours.
    inverted = run("InversionAttack", 4, "l2", 0.5)
    assert float(inverted.sizes.max()) <= 0.5


@pytest.mark.parametrize(
    ("attack", "norm", "options", "sentence"),
    [
        ("LinfPDG", "linf", {}, r"foolbox\.attacks has no attack 'LinfPDG'; choose LinfPGD"),
        ("linfpgd", "linf", {}, "has no attack 'linfpgd'; choose LinfPGD"),
        ("Attack", "linf", {}, "has no attack 'Attack'; choose"),
        ("qqqqqq", "linf", {}, "has no attack 'qqqqqq'; choose LinfPGD, L2PGD, or another one"),
        ("L2PGD", "linf", {}, "foolbox's L2ProjectedGradientDescentAttack bounds perturbations in l2, not in linf"),
        ("L2PGD", "l0", {}, "attack.norm = 'l0', but foolbox_attack bounds perturbations in l2 or linf"),
        ("LinfFastGradientAttack", "linf", {"steps": 5}, "has no argument steps; it takes random_start: remove it"),
        (nn.Linear(1, 1), "linf", {}, "Linear is not an attack of foolbox; use run_attack for other attacks"),
        (nn.Linear(1, 1), "linf", {"steps": 3}, "Linear is already an attack with its own steps and other arguments"),
        (
            "LinfPGD",
            "linf",
            {"value_range": (0, math.inf)},
            "foolbox needs a finite range of values, but the data's range is 0",
        ),
    ],
)
def test_what_cannot_be(attack: Any, norm: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        foolbox_attack(attack, norm=norm, epsilon=0.1, **{**WITHIN, **options})


def test_attacks_without_targets() -> None:
    attack = foolbox_attack("LinfFastGradientAttack", norm="linf", epsilon=0.1, **WITHIN)
    with pytest.raises(ConfigError, match="foolbox's LinfFastGradientAttack takes no target labels"):
        run_attack(attack, network(4), X, targets_of(4), norm="linf", epsilon=0.1, **WITHIN)


def test_without_foolbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "foolbox", None)
    with pytest.raises(ConfigError, match=r"foolbox is not installed; run pip install perturblearn\[attacks\]"):
        foolbox_attack("LinfPGD", norm="linf", epsilon=0.1, **WITHIN)


def test_it_is_imported_when_it_is_used_and_without_a_warning() -> None:
    code = (
        "import sys, perturblearn.attacks as a; assert 'foolbox' not in sys.modules; "
        "a.foolbox_attack('LinfPGD', norm='linf', epsilon=1, value_range=(0, 1)); assert 'foolbox' in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _foolbox()
