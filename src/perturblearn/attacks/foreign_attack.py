"""Attacks written elsewhere, checked from outside."""

from __future__ import annotations

import inspect
import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from perturblearn.attacks.attack import Attack
from perturblearn.attacks.attack_result import AttackResult
from perturblearn.attacks.ball import Norm
from perturblearn.attacks.blocks import Block, blocks
from perturblearn.attacks.context import AttackContext, SearchOptions, split_options
from perturblearn.attacks.frozen import frozen
from perturblearn.attacks.norms import L0, norm_of
from perturblearn.attacks.objective import name_of_network
from perturblearn.classifiers import copied, describe_error
from perturblearn.errors import ModelError, PerturbLearnError
from perturblearn.seeding import default_settings, derive_seed

AttackFunction = Callable[..., Tensor]
"""From a network, inputs (n, ...) and target labels (n,) to perturbed inputs; see `run_attack`."""

KEYWORDS = ("epsilon", "norm", "value_range", "generator")
"""What an attack is given by keyword if it names it."""

TOLERANCE = 1e-5
"""By how much of epsilon, or of the range, a result may miss its bound: what rounding in float32 explains. A result
that misses it by less is moved back."""


@dataclass(frozen=True)
class ForeignAttack(Attack):
    """An attack by code that is not ours, held to bound and range [own].

    The code gets the module in evaluation mode, its parameters constants, and the sources inside the range: for every
    block copies, so that nothing it does to them outlasts the block. What it draws from the global generators of torch,
    NumPy and Python depends on the seed alone; they are restored, and all other global settings after every block.
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
            ModelError: the code fails or cannot be called; the result has another shape, is not finite, or misses the
                bound or the range by more than rounding explains; or as in `Attack.search`.
        """
        function = self.function(context.value_range)
        keywords = keywords_of(function)
        results = []
        seed = derive_seed(context.seed, "attack")
        # One for all blocks, as the global ones are, so that a sample's draws need not depend on their size.
        known: dict[str, Any] = {"norm": self.norm.name, "value_range": context.value_range}
        known["generator"] = torch.Generator(sources.device).manual_seed(seed)
        with frozen(module, seed):
            # One that the code cannot reach, even if it was made with the module itself.
            network = copied(module, name_of_network(module))
            for block in blocks(self, network, sources, targets, context):
                known["epsilon"] = self._bound(block)
                with default_settings():
                    returned = _call(function, network, block, {name: known[name] for name in keywords})
                points = block.ball.clip(_checked(returned, block, name_of(function)))
                if not block.ball.holds(points):
                    points = block.ball.fit(points)
                # The attack's own verdict does not count: the network is asked again at the points that are returned.
                outputs, losses = block.exact.evaluate(points)
                results.append(block.result(points, outputs, losses))
                context.report(block.number + 1, block.of, f"attack on block {block.number + 1}/{block.of}")
        return AttackResult.joined(results, sources)

    def _bound(self, block: Block) -> float | Tensor:
        """The size that a perturbation may have: epsilon, or a number of coordinates."""
        if isinstance(self.norm, L0):
            return self.norm.pixels
        return self.epsilon[block.rows.to(self.epsilon.device)] if isinstance(self.epsilon, Tensor) else self.epsilon


@dataclass(frozen=True)
class CallableAttack(ForeignAttack):
    """A function of the user's as an attack.

    Args:
        norm, epsilon: as in `Attack`: what the results are held to.
        call: ``call(module, inputs, targets)`` returns the perturbed inputs; see `run_attack`.
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
        attack: ``attack(module, inputs, targets)`` returns the perturbed inputs. What it names of the following it is
            given by keyword: ``epsilon`` (the size, in L0 the number of coordinates), ``norm`` (its name),
            ``value_range`` (least and largest value of an input) and ``generator`` (a seeded ``torch.Generator`` on the
            inputs' device).
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
    attack = attack.func if isinstance(attack, partial) else attack
    return getattr(attack, "__name__", type(attack).__name__)


def keywords_of(attack: AttackFunction) -> tuple[str, ...]:
    """Which of `KEYWORDS` an attack names, or takes by ``**``.

    Raises:
        ModelError: it cannot be called with a model, inputs, targets and these.
    """
    try:
        signature = inspect.signature(attack.forward if isinstance(attack, nn.Module) else attack)
    except (ValueError, TypeError):  # some compiled functions have none
        return ()
    parameters = signature.parameters
    takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    settled = attack.keywords if isinstance(attack, partial) else {}
    keywords = tuple(name for name in KEYWORDS if (name in parameters or takes_all) and name not in settled)
    try:
        signature.bind(None, None, None, **dict.fromkeys(keywords))
    except TypeError as error:
        raise ModelError(
            f"the attack {name_of(attack)}({', '.join(parameters)}) cannot be called as attack(model, inputs, targets) "
            f"({error}); give other arguments defaults, except {', '.join(KEYWORDS)}, which an attack is given if it "
            "names them"
        ) from None
    return keywords


def _call(function: AttackFunction, network: nn.Module, block: Block, keywords: dict[str, Any]) -> object:
    """What the code returns for a block, given copies."""
    inputs = block.ball.centres.clone().view(-1, *block.shape)
    try:
        return function(copied(network, name_of_network(network)), inputs, block.exact.targets.clone(), **keywords)
    except PerturbLearnError:
        raise
    except Exception as error:
        raise ModelError(f"the attack {name_of(function)} fails ({describe_error(error)}); fix it") from error


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
