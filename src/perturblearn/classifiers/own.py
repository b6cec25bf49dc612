"""The user's own networks, imported by name or passed as Python objects."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakSet

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from perturblearn.classifiers.copying import copied, programs_in
from perturblearn.classifiers.drawing import drawing_from
from perturblearn.classifiers.identity import code_identity, module_identity
from perturblearn.classifiers.importing import describe_error, import_object, importable
from perturblearn.classifiers.redraw import redraw
from perturblearn.errors import ModelError
from perturblearn.store import file_hash

_PREFIX = "python:"

_registered: dict[str, tuple[Any, str]] = {}
"""Networks passed as objects in this process, with their identity, by name."""
_identities: dict[str, tuple[Any, str]] = {}
"""Factories imported in this process, with their identity at first use, by name."""
_returned: WeakSet[nn.Module] = WeakSet()
"""Networks returned by factories that still exist. Weak references, because networks may be large."""


def hand_over(network: nn.Module | Callable[[], nn.Module]) -> str:
    """Register a network object in this process under a name that a configuration can contain.

    Args:
        network: a module, which is copied; or a factory, that is a class or function that returns a module when called
            without arguments. A factory is called once, to hash what it returns.

    Returns:
        ``python:`` and 16 hexadecimal digits of its hash, so equal networks have equal names.

    Raises:
        ModelError: it is neither, cannot be copied, needs arguments, fails or does not return a module.
    """
    if isinstance(network, nn.Module):
        network = copied(network, "passed in Python")
    identity = _identity_of(network, "the factory passed in Python")
    name = f"{_PREFIX}{identity[:16]}"
    _registered[name] = network, identity
    return name


def own_source(name: str) -> Any:
    """The user's module or factory.

    Args:
        name: ``package.module:name`` or a name returned by `hand_over`.

    Raises:
        ModelError: it does not exist.
    """
    return _registered_object(name)[0] if name.startswith(_PREFIX) else import_object(name)


def own_body(source: Any, name: str, *, fresh: bool) -> nn.Module:
    """A network from a module or factory, drawn from torch's global generator in its present state.

    Args:
        source: the module or factory returned by `own_source`.
        name: its name in error messages.
        fresh: reinitialise the parameters of a module, and of a factory that returns the same weights in each call,
            such as trained ones. False keeps the weights.

    Returns:
        A module on the CPU that shares nothing with its source; in float32 if it is fresh.

    Raises:
        ModelError: the source does not return a network.
    """
    if isinstance(source, nn.Module):
        body = copied(source, name).to("cpu")
        if fresh:
            _refuse_programs(body, name)
            redraw(body.float(), name)
        return body
    made, is_new = _call(source, name)
    if fresh and not is_new:
        raise ModelError(
            f"{name} returns the same network object in every call, so every classifier would start from the "
            "same weights; create a new network in each call"
        )
    if not fresh:
        return copied(made, name).to("cpu")
    _refuse_programs(made, name)
    made = made.to("cpu").float()
    # A second call under another seed shows whether the factory draws its weights or loads them, as a checkpoint does.
    with drawing_from(1):
        other, _ = _call(source, name)
    if _has_same_weights(made, other):
        redraw(made, name)
    return made


def fingerprint(name: str) -> str:
    """SHA-256 of everything that determines a custom network, as part of the keys of stored results.

    For a module, this covers its structure, plain attributes, parameters, buffers and the source of its classes. For a
    factory, it covers its source and the same for the network that it returns under a fixed seed. For imported code, it
    also covers the files of the named module and of the defining module, as they were at first use. Files that such
    code reads, or modules that it imports, are not covered.

    Args:
        name: ``package.module:name`` or a name returned by `hand_over`.

    Raises:
        ModelError: it does not exist, or does not return a network.
    """
    if name.startswith(_PREFIX):
        return _registered_object(name)[1]
    source = import_object(name)
    # Files are not hashed again while the code in memory is the same: after an edit, old code would get a new hash.
    known, identity = _identities.get(name, (None, ""))
    if known is source and not isinstance(source, nn.Module):
        return identity
    digest = hashlib.sha256(name.encode())
    for module in sorted({name.partition(":")[0], getattr(source, "__module__", None) or ""} - {""}):
        digest.update(f"{module} {_file_hash(module)}".encode())
    digest.update(_identity_of(source, name).encode())
    _identities[name] = source, digest.hexdigest()
    return digest.hexdigest()


def _registered_object(name: str) -> tuple[Any, str]:
    if name not in _registered:
        raise ModelError(
            f"the network {name} was passed as a Python object, which this process does not have; pass the same "
            "network again, or use a factory that can be imported, package.module:name"
        )
    return _registered[name]


def _identity_of(source: Any, name: str) -> str:
    if isinstance(source, nn.Module):
        return _identity_with_programs(source)
    with drawing_from(0):
        made, _ = _call(source, name)
    made = copied(made, name)  # better to fail here than after training, when the result is copied
    return hashlib.sha256(f"{code_identity(source)} {_identity_with_programs(made)}".encode()).hexdigest()


def _identity_with_programs(module: nn.Module) -> str:
    """The identity of a network, and of what its TorchScript programs compute, of which it holds no Python code."""
    programs = "".join(str(program.inlined_graph) for program in programs_in(module))
    identity = module_identity(module)
    return hashlib.sha256(f"{identity} {programs}".encode()).hexdigest() if programs else identity


def _call(factory: Any, name: str) -> tuple[nn.Module, bool]:
    """The network that a factory returns, and whether this object is new."""
    if not callable(factory):
        raise ModelError(
            f"{name} is of type {type(factory).__name__}; give a torch module, or a class or function that returns one"
        )
    needed = _needed_arguments(factory)
    if needed:
        raise ModelError(
            f"{name} needs the arguments {', '.join(needed)}, but a factory is called without any; write a function "
            "that supplies them"
        )
    try:
        with importable(factory):
            made = factory()
    except Exception as error:
        raise ModelError(f"{name} fails when it is called ({describe_error(error)}); fix it") from error
    if not isinstance(made, nn.Module):
        raise ModelError(f"{name} returns a {type(made).__name__}; it must return a torch.nn.Module")
    is_new = made not in _returned
    _returned.add(made)
    return made, is_new


def _refuse_programs(module: nn.Module, name: str) -> None:
    # Their parameters are no torch Parameters, and their code does not say how they are drawn.
    if programs_in(module):
        raise ModelError(
            f"the network {name} is a TorchScript program or contains one, which can be used as it is but not trained; "
            "give the Python class, or a function that creates the network"
        )


def _needed_arguments(factory: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (ValueError, TypeError):  # some compiled functions have no signature
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [entry.name for entry in parameters if entry.default is entry.empty and entry.kind not in optional]


def _has_same_weights(made: nn.Module, other: nn.Module) -> bool:
    """Whether two calls under different seeds returned the same weights."""
    mine, others = (list(network.to("cpu").float().parameters()) for network in (made, other))
    if len(mine) != len(others) or any(map(is_lazy, (*mine, *others))):  # lazy parameters will be drawn later
        return False
    return all(map(torch.equal, mine, others))


def _file_hash(module: str) -> str:
    file = getattr(sys.modules.get(module), "__file__", None)
    return file_hash(Path(file)) if file and Path(file).is_file() else ""
