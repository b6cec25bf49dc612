"""Copies of the user's modules."""

from __future__ import annotations

import copy
import io
import warnings
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from perturblearn.classifiers.importing import describe_error
from perturblearn.errors import ModelError

SomeModule = TypeVar("SomeModule", bound=nn.Module)


def copied(module: SomeModule, name: str) -> SomeModule:
    """A deep copy of a module.

    Args:
        module: any network.
        name: its name in messages.

    Raises:
        ModelError: the module cannot be copied.
    """
    try:
        # A weight that a hook computes in every pass (spectral norm, weight norm, pruning) is a result of the last one,
        # which torch refuses to copy; the copy's next pass computes it anew.
        memo: dict[int, Any] = {
            id(value): value.detach().clone()
            for part in module.modules()
            for value in vars(part).values()
            if isinstance(value, Tensor) and not value.is_leaf
        }
        # torch's own copies of TorchScript programs have parameters that cannot be made constants.
        memo |= {id(program): _reloaded(program) for program in programs_in(module)}
        return copy.deepcopy(module, memo)
    except Exception as error:
        raise ModelError(
            f"the network {name} cannot be copied ({describe_error(error)}); use modules that copy.deepcopy can copy"
        ) from error


def programs_in(module: nn.Module) -> list[torch.jit.ScriptModule]:
    """The TorchScript programs in a network, each without its parts."""
    found = [part for part in module.modules() if isinstance(part, torch.jit.ScriptModule)]
    inside = {id(part) for program in found for part in program.modules() if part is not program}
    return [program for program in found if id(program) not in inside]


def _reloaded(program: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    content = io.BytesIO()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # that TorchScript is on its way out
        torch.jit.save(program, content)
        content.seek(0)
        return torch.jit.load(content)
