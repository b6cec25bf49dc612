"""Attacks of foolbox, by object or by name."""

from __future__ import annotations

import difflib
import inspect
import math
import warnings
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from perturblearn.attacks.attack import DEFAULT_STEPS
from perturblearn.attacks.ball import Norm
from perturblearn.attacks.foreign_attack import AttackFunction, ForeignAttack
from perturblearn.attacks.norms import l2_or_linf
from perturblearn.attacks.objective import outputs_of
from perturblearn.errors import ConfigError


@dataclass(frozen=True)
class FoolboxAttack(ForeignAttack):
    """An attack of foolbox by the name of its class.

    Args:
        norm: L2 or L-infinity; the attack's own.
        epsilon: size, 0 or more.
        name: of a class of ``foolbox.attacks``.
        steps: gradient steps; by default foolbox's.
    """

    epsilon: float
    name: str
    steps: int | None = None

    @property
    def n_steps(self) -> int:
        """The steps asked for, or a guess: foolbox's default differs from attack to attack."""
        return self.steps or DEFAULT_STEPS

    def function(self, value_range: tuple[float, float]) -> AttackFunction:
        """The attack as a function; see `foolbox_attack`."""
        return foolbox_attack(
            self.name, norm=self.norm, epsilon=self.epsilon, value_range=value_range, steps=self.steps
        )


def foolbox_attack(
    attack: Any,
    *,
    norm: Norm | str,
    epsilon: float,
    value_range: tuple[float, float],
    steps: int | None = None,
    **options: Any,
) -> AttackFunction:
    """An attack of foolbox as `run_attack` takes it (Rauber et al., "Foolbox Native", JOSS 2020).

        attack = foolbox_attack("LinfPGD", norm="linf", epsilon=0.1, value_range=(0, 1), steps=20, random_start=False)
        result = run_attack(attack, f, x, targets, norm="linf", epsilon=0.1, value_range=(0, 1))

    foolbox sees a network of two classes with one output f as one with the logits (0, f), and the targets as the
    classes to be reached.

    Args:
        attack: an attack object, or the name of a class of ``foolbox.attacks``.
        norm: ``l2`` or ``linf``; the attack's own.
        epsilon: size, 0 or more.
        value_range: what an entry may be; finite, foolbox knows no other.
        steps: gradient steps, for an attack named by its class; by default foolbox's.
        options: other arguments of the class.

    Returns:
        A function of module, inputs and targets that returns the perturbed inputs.

    Raises:
        ConfigError: foolbox is not installed, has no such attack, or the attack has another norm or no such
            argument; the range is not finite. When the function is called: the attack takes no targets.
    """
    norm = l2_or_linf(norm, "foolbox_attack")
    low, high = value_range
    if not math.isfinite(high - low):
        raise ConfigError(
            f"foolbox needs a finite range of values, but the data's range is {low:g} to {high:g}; choose data with "
            "bounds, or pgd"
        )
    foolbox = _foolbox()
    if isinstance(attack, str):
        if steps is not None:
            options["steps"] = steps
        attack = _named(foolbox, attack, norm, options)
    elif steps is not None or options:
        raise ConfigError(
            f"{type(attack).__name__} is already an attack with its own steps and other arguments; set them when you "
            "make it"
        )
    if not isinstance(attack, foolbox.attacks.Attack):
        raise ConfigError(f"{type(attack).__name__} is not an attack of foolbox; use run_attack for other attacks")
    name = type(attack).__name__
    _check_distance(attack, norm, name)

    def call(module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        # In the precision of the inputs: foolbox compares them with the bounds, and 0.1 in float64 is another number.
        bounds = torch.tensor(value_range, dtype=inputs.dtype).tolist()
        model = foolbox.PyTorchModel(_AsLogits(module).eval(), bounds=tuple(bounds), device=inputs.device)
        criterion = foolbox.criteria.TargetedMisclassification(targets.clamp_min(0))
        try:
            _, clipped, _ = attack(model, inputs, criterion, epsilons=epsilon)
        except ValueError as error:
            if "unsupported criterion" not in str(error):
                raise
            raise ConfigError(f"foolbox's {name} takes no target labels; choose another, such as LinfPGD") from error
        return clipped

    call.__name__ = f"foolbox:{name}"
    return call


class _AsLogits(nn.Module):
    """Logits of as many classes as there are; (0, f) for one output, whose classes -1 and +1 become 0 and 1."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: Tensor) -> Tensor:
        # A copy: a network that works on its inputs in place would move foolbox's points.
        outputs = outputs_of(self.module(inputs.clone()), len(inputs), type(self.module).__name__)
        return torch.stack((torch.zeros_like(outputs), outputs), dim=1) if outputs.ndim == 1 else outputs


def _foolbox() -> ModuleType:
    try:
        with warnings.catch_warnings():
            # It imports scipy by a deprecated name.
            warnings.simplefilter("ignore", DeprecationWarning)
            import foolbox
    except ImportError as error:
        if error.name == "foolbox":
            raise ConfigError("foolbox is not installed; run pip install perturblearn[attacks]") from error
        raise ConfigError(f"foolbox cannot be imported ({error}); repair its installation") from error
    return foolbox


def _named(foolbox: ModuleType, name: str, norm: Norm, options: dict[str, Any]) -> object:
    """The attack of that class."""
    known = {
        key: value
        for key, value in vars(foolbox.attacks).items()
        if inspect.isclass(value) and issubclass(value, foolbox.attacks.Attack) and not inspect.isabstract(value)
    }
    if name not in known:
        folded = {key.lower(): key for key in known}
        near = [folded[key] for key in difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.5)]
        raise ConfigError(
            f"foolbox.attacks has no attack {name!r}; choose {', '.join(near or ('LinfPGD', 'L2PGD'))}, or another one"
        )
    chosen = known[name]
    taken = inspect.signature(chosen).parameters
    if "distance" in taken:
        options = {"distance": getattr(foolbox.distances, norm.name), **options}
    for key in options:
        if key not in taken:
            raise ConfigError(
                f"foolbox's {name} has no argument {key}; it takes {', '.join(taken) or 'none'}: remove it"
            )
    return chosen(**options)


def _check_distance(attack: Any, norm: Norm, name: str) -> None:
    order = getattr(attack.distance, "p", None)
    if order is not None and order != norm.order:
        raise ConfigError(f"foolbox's {name} bounds perturbations in l{order:g}, not in {norm.name}; choose its norm")
