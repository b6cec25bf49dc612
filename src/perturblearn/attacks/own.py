"""The user's own attacks: named by where to import them from, or handed over as objects in Python."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from perturblearn.attacks.foreign_attack import AttackFunction, ForeignAttack
from perturblearn.classifiers import code_identity, import_object, value_identity
from perturblearn.errors import ModelError
from perturblearn.store import file_hash

_HANDED_OVER = "python:"
_objects: dict[str, tuple[AttackFunction, str]] = {}
"""What was handed over in this process, and its identity, by name."""


@dataclass(frozen=True)
class OwnAttack(ForeignAttack):
    """An attack of the user's by its name, which is looked up when it is needed.

    Args:
        norm, epsilon: as in `Attack`: what the results are held to.
        name: ``package.module:function`` or what `hand_over_attack` returned.
    """

    name: str

    def function(self, value_range: tuple[float, float]) -> AttackFunction:
        """The function of this name; see `own_attack`."""
        return own_attack(self.name)


def hand_over_attack(attack: AttackFunction) -> str:
    """Make an attack known to this process by a name that a configuration can hold.

    Args:
        attack: ``attack(model, inputs, targets) -> perturbed``.

    Returns:
        ``python:`` and 16 hexadecimal digits of its code and state: equal ones have one name.

    Raises:
        ModelError: it cannot be called.
    """
    if not callable(attack):
        raise ModelError(
            f"the attack passed in Python is of type {type(attack).__name__}; pass a function "
            "attack(model, inputs, targets) that returns perturbed inputs"
        )
    identity = hashlib.sha256(f"attack {code_identity(attack)} {_state(attack)}".encode()).hexdigest()
    name = f"{_HANDED_OVER}{identity[:16]}"
    _objects[name] = attack, identity
    return name


def own_attack(name: str) -> AttackFunction:
    """The attack of this name.

    Args:
        name: ``package.module:function`` or what `hand_over_attack` returned.

    Raises:
        ModelError: there is no such thing, or it cannot be called.
    """
    if name.startswith(_HANDED_OVER):
        return _handed_over(name)[0]
    attack = import_object(name)
    if not callable(attack):
        raise ModelError(
            f"{name} is of type {type(attack).__name__}; name a function attack(model, inputs, targets) that returns "
            "perturbed inputs"
        )
    return cast(AttackFunction, attack)


def attack_fingerprint(name: str) -> str:
    """SHA-256 of what fixes an own attack, for results that are kept: its code, of what is imported its whole file.

    Raises:
        ModelError: there is no such thing, or it cannot be called.
    """
    if name.startswith(_HANDED_OVER):
        return _handed_over(name)[1]
    attack = own_attack(name)
    file = getattr(sys.modules.get(name.partition(":")[0]), "__file__", None)
    content = file_hash(Path(file)) if file and Path(file).is_file() else ""
    return hashlib.sha256(f"attack {name} {content} {code_identity(attack)}".encode()).hexdigest()


def _handed_over(name: str) -> tuple[AttackFunction, str]:
    if name not in _objects:
        raise ModelError(
            f"the attack {name} was passed as a Python object in another process; pass the same attack again, or name "
            "one that can be imported, package.module:function"
        )
    return _objects[name]


def _state(attack: Any) -> str:
    """What its code does not show: attributes of an object, and what a function has taken from around it."""
    kept = [cell.cell_contents for cell in getattr(attack, "__closure__", None) or ()]
    return value_identity([kept, getattr(attack, "__dict__", {}), getattr(attack, "__self__", None)])
