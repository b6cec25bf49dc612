"""Drawing the weights of any torch module afresh."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from perturblearn.classifiers.copying import copied
from perturblearn.classifiers.evaluating import evaluating
from perturblearn.classifiers.importing import describe_error
from perturblearn.errors import ModelError

RESETS = ("reset_parameters", "_reset_parameters")
"""Methods by which torch's modules draw their parameters; attention and transformers have the second."""
RESET_OF_PARTS = "_init_weights"
"""The method by which networks such as those of Hugging Face draw the parameters of one of their parts."""
_POWER_ITERATIONS = 15
"""As many as torch takes when it begins to normalise a weight by its largest singular value."""


def redraw(module: nn.Module, name: str) -> None:
    """Draw all parameters afresh; children first, so that what a network says of its parts overrides what they do.

    Weights that a hook or a parametrization computes (weight and spectral norm, pruning) are drawn as without it; masks
    of pruning stay.

    Args:
        module: the network, in place.
        name: its name in messages.

    Raises:
        ModelError: a parameter would keep its value.
    """
    # What is still NaN afterwards was drawn by nobody.
    for parameter in module.parameters():
        if not is_lazy(parameter) and parameter.is_floating_point():
            parameter.data.fill_(math.nan)
    with evaluating(module), torch.no_grad():
        for path, part in reversed(list(module.named_modules())):
            _redraw_part(part, name, f"{path or 'the network'} ({type(part).__name__})")
    for path, part in module.named_modules():
        for parameter_name, parameter in part.named_parameters(recurse=False):
            if not is_lazy(parameter) and bool(parameter.isnan().any()):
                where = f"{path or 'the network'} ({type(part).__name__})"
                raise ModelError(
                    f"the network {name} cannot be reinitialised, because {where} has {_reason(part, parameter_name)}; "
                    "give a class or function that creates the network with newly drawn weights in each call"
                )


def _reason(part: nn.Module, parameter: str) -> str:
    reset = _reset_of(part)
    if reset is None:
        return "parameters but no reset_parameters"
    return f"a parameter {parameter} that its {reset.__name__} does not set"


def _reset_of(part: nn.Module) -> Callable[[], Any] | None:
    return next((reset for reset in (getattr(part, name, None) for name in RESETS) if callable(reset)), None)


def _redraw_part(part: nn.Module, name: str, where: str) -> None:
    computed = list(_computed_weights(part))
    plain = part
    if computed:
        plain = copied(part, name)
        while weight := next(_computed_weights(plain), None):
            weight.make_plain()
    reset = _reset_of(plain)
    try:
        if reset is not None:
            reset()
        of_parts = getattr(plain, RESET_OF_PARTS, None)
        if callable(of_parts):
            if inspect.signature(of_parts).parameters:
                for inner in reversed(list(plain.modules())):
                    of_parts(inner)
            else:
                of_parts()
    except Exception as error:
        called = RESET_OF_PARTS if reset is None else reset.__name__
        raise ModelError(
            f"the network {name} cannot be reinitialised, because {called} of {where} fails ({describe_error(error)}); "
            "fix it, or give a class or function that creates the network with newly drawn weights in each call"
        ) from error
    if computed and reset is not None:
        for parameter_name, parameter in part.named_parameters(recurse=False):
            if parameter_name in plain._parameters:
                parameter.copy_(plain.get_parameter(parameter_name))
        for weight in computed:
            weight.put(plain.get_parameter(weight.name).detach())


@dataclass(frozen=True)
class _ComputedWeight:
    """A weight that a module computes from other parameters in every pass.

    Args:
        part: the module.
        name: of the weight.
    """

    part: nn.Module
    name: str

    def make_plain(self) -> None:
        """Make it a parameter like any other, and all weights of its kind with it."""
        # Not remove_parametrizations, which takes the weight from the class, and copies share their class.
        part = self.part
        values = {name: getattr(part, name) for name in _parametrizations_of(part)}
        part.__class__ = parametrize.type_before_parametrizations(part)
        del part.parametrizations
        for name, value in values.items():
            part.register_parameter(name, nn.Parameter(value))

    def put(self, value: Tensor) -> None:
        """Set what it is computed from, so that it has this value before it is normalised or masked."""
        try:
            setattr(self.part, self.name, value)
        except (RuntimeError, NotImplementedError):
            # A parametrization that cannot be inverted began with the weight itself.
            self.part.get_parameter(f"parametrizations.{self.name}.original").copy_(value)
        self.part.train()
        for _ in range(_POWER_ITERATIONS):  # singular vectors of the old weight become those of the new one
            getattr(self.part, self.name)
        self.part.eval()


class _SpectralNormed(_ComputedWeight):
    def make_plain(self) -> None:
        remove_spectral_norm(self.part, self.name)

    def put(self, value: Tensor) -> None:
        self.part.get_parameter(f"{self.name}_orig").copy_(value)
        for hook in self.part._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm) and hook.name == self.name:
                for _ in range(_POWER_ITERATIONS):
                    hook.compute_weight(self.part, do_power_iteration=True)


class _WeightNormed(_ComputedWeight):
    def make_plain(self) -> None:
        remove_weight_norm(self.part, self.name)

    def put(self, value: Tensor) -> None:
        for hook in self.part._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm) and hook.name == self.name:
                self.part.get_parameter(f"{self.name}_g").copy_(torch.norm_except_dim(value, 2, hook.dim))
        self.part.get_parameter(f"{self.name}_v").copy_(value)


class _Pruned(_ComputedWeight):
    def make_plain(self) -> None:
        prune.remove(self.part, self.name)

    def put(self, value: Tensor) -> None:
        self.part.get_parameter(f"{self.name}_orig").copy_(value)


def _computed_weights(part: nn.Module) -> Iterator[_ComputedWeight]:
    yield from [_ComputedWeight(part, name) for name in _parametrizations_of(part)]
    hooks: list[object] = list(part._forward_pre_hooks.values())
    for hook in hooks:
        match hook:
            case SpectralNorm():
                yield _SpectralNormed(part, hook.name)
            case WeightNorm():
                yield _WeightNormed(part, hook.name)
            case prune.BasePruningMethod():
                yield _Pruned(part, hook._tensor_name)
            case _:
                pass


def _parametrizations_of(part: nn.Module) -> nn.ModuleDict:
    found = part.parametrizations if parametrize.is_parametrized(part) else nn.ModuleDict()
    assert isinstance(found, nn.ModuleDict)
    return found
