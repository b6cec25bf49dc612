"""Attacks written elsewhere, checked from outside."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from perturblearn.attacks.ball import Ball
from perturblearn.attacks.descent import Block, Report, blocks
from perturblearn.attacks.found import Found
from perturblearn.attacks.frozen import frozen
from perturblearn.attacks.objective import Loss
from perturblearn.errors import ModelError
from perturblearn.seeding import derive_seed

Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""From a network, inputs (n, ...) and target labels (n,) to perturbed inputs."""

TOLERANCE = 1e-5
"""By how much of epsilon, or of the range, a result may miss its bound: what rounding in float32 explains. A result
that misses it by less is moved back."""


def run_attack(
    attack: Attack,
    module: nn.Module,
    sources: Tensor,
    targets: Tensor,
    *,
    norm: str,
    epsilon: float | Tensor,
    value_range: tuple[float, float] = (-math.inf, math.inf),
    pixels: int | None = None,
    loss: Loss | None = None,
    seed: int = 0,
    block: int | None = None,
    report: Report = lambda done, steps, note: None,
) -> Found:
    """Perturbed inputs by an attack of the user's, held to bound and range [own].

    The attack gets the module in evaluation mode, its parameters constants, and copies of the sources inside the range.
    What torch or NumPy draw for it from their global generators depends on the seed alone; their states are restored.

    Args:
        attack: ``attack(module, inputs, targets)`` returns the perturbed inputs. It knows norm and size itself.
        module, sources, targets, norm, epsilon, value_range, pixels, loss, block, report: as in `radial_pgd`. Of the
            loss only the values are reported; the attack may have lowered another.
        seed: of the global generators while the attack runs.

    Returns:
        What the attack returned, and what the module makes of it.

    Raises:
        ConfigError, DataError: as in `radial_pgd`.
        ModelError: the result has another shape, is not finite, or misses the bound or the range by more than rounding
            explains; as in `radial_pgd` for the module's outputs.
    """
    results = []
    with frozen(module), _own_draws(derive_seed(seed, "attack"), sources.device):
        for part in blocks(
            module, sources, targets, norm=norm, epsilon=epsilon, pixels=pixels, value_range=value_range, loss=loss,
            block=block,
        ):  # fmt: skip
            inputs = part.ball.centres.clone().view(-1, *part.shape)
            with torch.enable_grad():
                returned = attack(module, inputs, part.exact.targets.clone())
            points = part.ball.clip(_checked(returned, part, name_of(attack)))
            if not part.ball.holds(points):
                points = part.ball.fit(points)
            outputs, losses = part.exact.evaluate(points)
            results.append(part.found(points, outputs, losses))
            report(part.number + 1, part.of, f"attack on block {part.number + 1}/{part.of}")
    return Found.joined(results, sources)


def name_of(attack: object) -> str:
    """What an attack is called in messages."""
    return getattr(attack, "__name__", type(attack).__name__)


def _checked(perturbed: object, part: Block, name: str) -> Tensor:
    """A copy of the result, (b, d)."""
    ball = part.ball
    expected = (len(part.rows), *part.shape)
    if not isinstance(perturbed, Tensor) or perturbed.shape != expected:
        shape = f"shape {tuple(perturbed.shape)}" if isinstance(perturbed, Tensor) else type(perturbed).__name__
        raise ModelError(
            f"the attack {name} returned {shape} for inputs of shape {expected}; return a tensor shaped as the inputs"
        )
    points = perturbed.detach().to(ball.centres, copy=True).flatten(1)
    missing = int((~points.isfinite()).sum())
    if missing:
        raise ModelError(
            f"the attack {name} returned {missing} values that are NaN or infinite; look for a division by 0 in it"
        )
    _check_range(points, ball.value_range, name)
    _check_size(points, ball, name)
    return points


def _check_range(points: Tensor, value_range: tuple[float, float], name: str) -> None:
    least, largest = (float(bound) for bound in points.aminmax())
    low, high = value_range
    spread = high - low if math.isfinite(high - low) else 1.0
    if least < low - TOLERANCE * spread or largest > high + TOLERANCE * spread:
        raise ModelError(
            f"the attack {name} returned values from {least:.6g} to {largest:.6g}, outside the range {low:.6g} to "
            f"{high:.6g}; clip them in it"
        )


def _check_size(points: Tensor, ball: Ball, name: str) -> None:
    sizes = ball.sizes(points)
    if ball.norm == "l0":
        allowed = ball.epsilon
    else:
        # Sums u + r are rounded, which for a tiny r is not small against it.
        allowed = ball.epsilon * (1 + TOLERANCE) + ball.roundoff
    excess = sizes - allowed
    if bool((excess > 0).any()):
        worst = int(excess.argmax())
        what = "changed coordinates, but pixels" if ball.norm == "l0" else f"in {ball.norm}, but epsilon"
        raise ModelError(
            f"the attack {name} returned a perturbation of size {float(sizes[worst]):.6g} {what} is "
            f"{float(ball.epsilon[worst]):.6g}; project it in the attack, or allow that size"
        )


@contextmanager
def _own_draws(seed: int, device: torch.device) -> Iterator[None]:
    """Global generators that start from a seed, and go on afterwards as if nothing had been."""
    state = np.random.get_state()  # noqa: NPY002 - an attack of the user's may draw from it
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.default_generator.manual_seed(seed)
            if device.type == "cuda":
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
