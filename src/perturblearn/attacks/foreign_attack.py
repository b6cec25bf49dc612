"""Attacks written elsewhere, checked from outside."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Unpack

import numpy as np
import torch
from torch import Tensor, nn

from perturblearn.attacks.attack import Attack
from perturblearn.attacks.attack_result import AttackResult
from perturblearn.attacks.blocks import Block, blocks
from perturblearn.attacks.context import AttackContext, SearchOptions, split_options
from perturblearn.attacks.frozen import frozen
from perturblearn.attacks.norms import Norm, norm_of
from perturblearn.errors import ModelError
from perturblearn.seeding import derive_seed

AttackFunction = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""From a network, inputs (n, ...) and target labels (n,) to perturbed inputs."""

TOLERANCE = 1e-5
"""By how much of epsilon, or of the range, a result may miss its bound: what rounding in float32 explains. A result
that misses it by less is moved back."""


@dataclass(frozen=True)
class ForeignAttack(Attack):
    """An attack by code that is not ours, held to bound and range [own].

    The code gets the module in evaluation mode, its parameters constants, and copies of the sources inside the range.
    What torch or NumPy draw for it from their global generators depends on the seed alone; their states are restored.
    """

    @abstractmethod
    def function(self, value_range: tuple[float, float]) -> AttackFunction:
        """The code, for inputs of this range.

        Raises:
            ConfigError, ModelError: there is none, or it cannot be used.
        """

    def search(self, module: nn.Module, sources: Tensor, targets: Tensor, context: AttackContext) -> AttackResult:
        """What the code returns for sources (n, ...), checked; see `Attack.search`.

        Raises:
            ModelError: the result has another shape, is not finite, or misses the bound or the range by more than
                rounding explains; or as in `Attack.search`.
        """
        function = self.function(context.value_range)
        results = []
        with frozen(module), _own_draws(derive_seed(context.seed, "attack"), sources.device):
            for block in blocks(self, module, sources, targets, context):
                # Copies: an attack, or the network inside it, may work in place.
                inputs = block.ball.centres.clone().view(-1, *block.shape)
                with torch.enable_grad():
                    returned = function(module, inputs, block.exact.targets.clone())
                points = block.ball.clip(_checked(returned, block, name_of(function)))
                if not block.ball.holds(points):
                    points = block.ball.fit(points)
                # The attack's own verdict does not count: the network is asked again at the points that are returned.
                outputs, losses = block.exact.evaluate(points)
                results.append(block.result(points, outputs, losses))
                context.report(block.number + 1, block.of, f"attack on block {block.number + 1}/{block.of}")
        return AttackResult.joined(results, sources)


@dataclass(frozen=True)
class CallableAttack(ForeignAttack):
    """A function of the user's as an attack.

    Args:
        norm, epsilon: as in `Attack`: what the results are held to.
        call: ``call(module, inputs, targets)`` returns the perturbed inputs. It knows norm and size itself.
    """

    call: AttackFunction

    def function(self, value_range: tuple[float, float]) -> AttackFunction:
        """The function as it is."""
        return self.call


def run_attack(
    attack: AttackFunction,
    module: nn.Module,
    sources: Tensor,
    targets: Tensor,
    *,
    norm: Norm | str,
    epsilon: float | Tensor,
    pixels: int | None = None,
    **options: Unpack[SearchOptions],
) -> AttackResult:
    """`CallableAttack` in one call [own].

    Args:
        attack: ``attack(module, inputs, targets)`` returns the perturbed inputs. It knows norm and size itself.
        module, sources, targets: as in `Attack.search`.
        norm: ``l0``, ``l2`` or ``linf``.
        epsilon: size in L2 and L-infinity, 0 or more; one number, or one per source, (n,).
        pixels: entries that an L0 perturbation may change.
        options: the fields of `AttackContext`. The loss is only reported; the attack may minimise another. The seed is
            that of the global generators while the attack runs.

    Returns:
        The perturbed inputs that the attack returned, with the module's outputs there.

    Raises:
        ConfigError, DataError, ModelError: as in `ForeignAttack.search`.
    """
    context, own = split_options(options)
    return CallableAttack(norm_of(norm, pixels), epsilon, attack, **own).search(module, sources, targets, context)


def name_of(attack: object) -> str:
    """What an attack is called in messages."""
    return getattr(attack, "__name__", type(attack).__name__)


def _checked(perturbed: object, block: Block, name: str) -> Tensor:
    """A copy of the result, (b, d)."""
    ball = block.ball
    expected = (len(block.rows), *block.shape)
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
    least, largest = (float(bound) for bound in points.aminmax())
    low, high = ball.value_range
    spread = high - low if math.isfinite(high - low) else 1.0
    if least < low - TOLERANCE * spread or largest > high + TOLERANCE * spread:
        raise ModelError(
            f"the attack {name} returned values from {least:.6g} to {largest:.6g}, outside the range {low:.6g} to "
            f"{high:.6g}; clip them in the attack"
        )
    # Sample by sample: a mean within the bound would hide one perturbation that is twice too large.
    sizes = ball.sizes(points)
    excess = sizes - ball.norm.tolerance(ball, TOLERANCE)
    if bool((excess > 0).any()):
        worst = int(excess.argmax())
        raise ModelError(
            f"the attack {name} returned a perturbation "
            f"{ball.norm.compare(float(sizes[worst]), float(ball.epsilon[worst]))}; project it in the attack, or allow "
            "that size"
        )
    return points


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
