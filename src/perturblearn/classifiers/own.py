"""The user's own networks: named by where to import them from, or handed over as objects in Python."""

from __future__ import annotations

import copy
import hashlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from perturblearn.classifiers.drawing import drawing_from
from perturblearn.classifiers.identity import code_identity, module_identity
from perturblearn.classifiers.importing import described, import_object
from perturblearn.errors import ModelError
from perturblearn.store import file_hash

SomeModule = TypeVar("SomeModule", bound=nn.Module)

_HANDED_OVER = "python:"

_objects: dict[str, tuple[Any, str]] = {}
"""What was handed over in this process, and its identity, by name."""
_identities: dict[str, tuple[Any, str]] = {}
"""Factories that were imported in this process, and their identity when first asked for, by name."""
_returned: WeakSet[nn.Module] = WeakSet()
"""What factories have returned and somebody still has."""


def hand_over(network: nn.Module | Callable[[], nn.Module]) -> str:
    """Make a network known to this process by a name that a configuration can hold.

    Args:
        network: a module, of which a copy is kept as it is now; or a factory, a class or function that makes one when
            it is called without arguments. A factory is called once, to know what it makes.

    Returns:
        ``python:`` and 16 hexadecimal digits of its content: equal content has one name.

    Raises:
        ModelError: it is neither, cannot be copied, needs arguments, fails or does not make a module.
    """
    if isinstance(network, nn.Module):
        network = copied(network, "handed over in Python")
    identity = _identity_of(network, "the factory handed over in Python")
    name = f"{_HANDED_OVER}{identity[:16]}"
    _objects[name] = network, identity
    return name


def own_source(name: str) -> Any:
    """The user's module or factory.

    Args:
        name: ``package.module:name`` or what `hand_over` returned.

    Raises:
        ModelError: there is no such thing.
    """
    return _handed_over(name)[0] if name.startswith(_HANDED_OVER) else import_object(name)


def own_body(source: Any, name: str, *, fresh: bool) -> nn.Module:
    """A network out of a module or factory, with torch's global generator as it is.

    Args:
        source: what `own_source` returned.
        name: what it is called in errors.
        fresh: draw the parameters afresh: those of a module, and those of a factory that does not draw them itself but
            returns the same weights in each call, such as trained ones. False keeps the weights as they come.

    Returns:
        A module on the CPU that shares nothing with what it was made from; in float32 if it is fresh.

    Raises:
        ModelError: it does not make a network.
    """
    if isinstance(source, nn.Module):
        body = copied(source, name).to("cpu")
        if fresh:
            _reset(body.float(), name)
        return body
    made, is_new = _call(source, name)
    if fresh and not is_new:
        raise ModelError(
            f"{name} returns one and the same network whenever it is called, so every classifier would start from the "
            "same weights; make a new network in each call"
        )
    if not fresh:
        return copied(made, name).to("cpu")
    made = made.to("cpu").float()
    with drawing_from(1):
        other, _ = _call(source, name)
    if _has_same_weights(made, other):
        _reset(made, name)
    return made


def fingerprint(name: str) -> str:
    """SHA-256 of what fixes an own network, for results that are kept.

    Of a module: its structure, plain attributes, parameters, buffers and its classes' source. Of a factory: its source
    and the same of what it makes from a fixed seed. Of what is imported also the files of its module and of the one
    that defines it, as they were when first asked for. What such code reads or imports while it computes is not seen.

    Args:
        name: ``package.module:name`` or what `hand_over` returned.

    Raises:
        ModelError: there is no such thing, or it does not make a network.
    """
    if name.startswith(_HANDED_OVER):
        return _handed_over(name)[1]
    source = import_object(name)
    # Not looked at again while the code in memory is the same: an edited file would give old code a new identity.
    known, identity = _identities.get(name, (None, ""))
    if known is source and not isinstance(source, nn.Module):
        return identity
    digest = hashlib.sha256(name.encode())
    for module in sorted({name.partition(":")[0], getattr(source, "__module__", None) or ""} - {""}):
        digest.update(f"{module} {_file_hash(module)}".encode())
    digest.update(_identity_of(source, name).encode())
    _identities[name] = source, digest.hexdigest()
    return digest.hexdigest()


def copied(module: SomeModule, name: str) -> SomeModule:
    """A copy that shares nothing.

    Raises:
        ModelError: the module cannot be copied.
    """
    try:
        return copy.deepcopy(module)
    except Exception as error:
        raise ModelError(
            f"the network {name} cannot be copied ({described(error)}); build it of modules that copy.deepcopy can copy"
        ) from error


def _handed_over(name: str) -> tuple[Any, str]:
    if name not in _objects:
        raise ModelError(
            f"the network {name} was handed over as an object in Python, which this process does not have; hand the "
            "same network over again, or use a factory that can be imported, package.module:name"
        )
    return _objects[name]


def _identity_of(source: Any, name: str) -> str:
    if isinstance(source, nn.Module):
        return module_identity(source)
    with drawing_from(0):
        made, _ = _call(source, name)
    made = copied(made, name)  # what cannot be copied is better told now than after the training
    return hashlib.sha256(f"{code_identity(source)} {module_identity(made)}".encode()).hexdigest()


def _call(factory: Any, name: str) -> tuple[nn.Module, bool]:
    """What a factory makes, and whether it has not returned the same object before."""
    if not callable(factory):
        raise ModelError(
            f"{name} is of type {type(factory).__name__}; name a torch module, or a class or function that makes one"
        )
    needed = _needed_arguments(factory)
    if needed:
        raise ModelError(
            f"{name} needs the arguments {', '.join(needed)}, but a factory is called without any; write a function "
            "that fills them in"
        )
    try:
        made = factory()
    except Exception as error:
        raise ModelError(f"{name} fails when it is called ({described(error)}); mend it") from error
    if not isinstance(made, nn.Module):
        raise ModelError(f"{name} returns a {type(made).__name__}; it must return a torch.nn.Module")
    is_new = made not in _returned
    _returned.add(made)
    return made, is_new


def _needed_arguments(factory: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (ValueError, TypeError):  # some compiled functions do not say
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [entry.name for entry in parameters if entry.default is entry.empty and entry.kind not in optional]


def _has_same_weights(made: nn.Module, other: nn.Module) -> bool:
    """Whether two calls gave one network, although torch drew from two seeds."""
    mine, others = (list(network.to("cpu").float().parameters()) for network in (made, other))
    if len(mine) != len(others) or any(map(is_lazy, (*mine, *others))):  # what is not there yet will be drawn
        return False
    return all(map(torch.equal, mine, others))


def _reset(module: nn.Module, name: str) -> None:
    """Draw all parameters afresh; children first, so that a network's own reset_parameters has the last word."""
    for path, part in reversed(list(module.named_modules())):
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            try:
                reset()
            except Exception as error:
                raise ModelError(
                    f"the network {name} cannot be initialised afresh, because reset_parameters of {path or 'it'} "
                    f"({type(part).__name__}) fails ({described(error)}); mend it, or give a class or function that "
                    "makes the network with weights that are drawn anew in each call"
                ) from error
        elif any(True for _ in part.parameters(recurse=False)):
            raise ModelError(
                f"the network {name} cannot be initialised afresh, because {path or 'it'} ({type(part).__name__}) has "
                "parameters but no reset_parameters; give a class or function that makes the network with weights that "
                "are drawn anew in each call"
            )


def _file_hash(module: str) -> str:
    file = getattr(sys.modules.get(module), "__file__", None)
    return file_hash(Path(file)) if file and Path(file).is_file() else ""
