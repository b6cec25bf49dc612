"""The user's own attacks: named by where to import them from, or handed over as objects in Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from perturblearn.attacks.foreign_attack import AttackFunction, ForeignAttack, keywords_of, name_of
from perturblearn.classifiers import Identity, identify, identify_import, import_object
from perturblearn.errors import ModelError

_HANDED_OVER = "python:"
_objects: dict[str, tuple[AttackFunction, Identity]] = {}
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
        attack: ``attack(model, inputs, targets) -> perturbed``; see `run_attack`.

    Returns:
        ``python:`` and 16 hexadecimal digits of its code and state: equal ones have one name.

    Raises:
        ModelError: it cannot be called like this.
    """
    keywords_of(_callable(attack, "the attack passed in Python"))
    identity = identify(attack, name=f"the attack {name_of(attack)}")
    name = f"{_HANDED_OVER}{identity.digest[:16]}"
    _objects[name] = attack, identity
    return name


def own_attack(name: str) -> AttackFunction:
    """The attack of this name.

    Args:
        name: ``package.module:function`` or what `hand_over_attack` returned.

    Raises:
        ModelError: there is no such thing, or it cannot be called with a model, inputs and targets.
    """
    if name.startswith(_HANDED_OVER):
        return _handed_over(name)[0]
    attack = _callable(import_object(name), name)
    keywords_of(attack)
    return attack


def attack_fingerprint(name: str) -> Identity:
    """What tells an own attack from all others, for results that are kept; see `identify`.

    Raises:
        ModelError: as `own_attack`.
    """
    if name.startswith(_HANDED_OVER):
        return _handed_over(name)[1]
    return identify_import(own_attack(name), name)


def _callable(attack: Any, name: str) -> AttackFunction:
    if not callable(attack):
        raise ModelError(
            f"{name} is of type {type(attack).__name__}; give a function attack(model, inputs, targets) that returns "
            "perturbed inputs"
        )
    return cast(AttackFunction, attack)


def _handed_over(name: str) -> tuple[AttackFunction, Identity]:
    if name not in _objects:
        raise ModelError(
            f"the attack {name} was passed as a Python object in another process; pass the same attack again, or name "
            "one that can be imported, package.module:function"
        )
    return _objects[name]
