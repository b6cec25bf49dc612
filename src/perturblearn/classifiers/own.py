"""The user's own networks, imported by name or passed as Python objects."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from perturblearn.classifiers.copying import copied, programs_in
from perturblearn.classifiers.identity import Identity, identify, identify_import
from perturblearn.classifiers.importing import describe_error, import_object, importable
from perturblearn.classifiers.redraw import redraw
from perturblearn.errors import ModelError
from perturblearn.seeding import reproducible

_PREFIX = "python:"

_registered: dict[str, tuple[Any, Identity]] = {}
"""Networks passed as objects in this process, with their identity, by name."""
_called: dict[Identity, Identity] = {}
"""Identities of factories with what they returned for this command, by the identity of their code."""
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
    identity = _identity_of(network, "the network passed in Python")
    name = f"{_PREFIX}{identity.digest[:16]}"
    _registered[name] = network, identity
    return name


def name_of_object(name: str) -> str | None:
    """The class of a network that this process was handed, or what its factory is called; None if neither is known.

    Args:
        name: as `hand_over` returned it, possibly in another process.
    """
    if name not in _registered:
        return None
    source, _ = _registered[name]
    called = str(getattr(source, "__name__", type(source).__name__))
    return called if called.isidentifier() else None  # a lambda has no name


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
    with reproducible(1):
        other, _ = _call(source, name)
    if _has_same_weights(made, other):
        redraw(made, name)
    return made


def fingerprint(name: str) -> Identity:
    """The identity of a custom network, as part of the keys of stored results; see `identify`.

    That of a factory includes the network that it returns under a fixed seed. For this it is called once for all
    experiments of a command (see `forget_calls`), as long as its code and what it uses are the same.

    Args:
        name: ``package.module:name`` or a name returned by `hand_over`.

    Raises:
        ModelError: it does not exist, or does not return a network.
    """
    if name.startswith(_PREFIX):
        return _registered_object(name)[1]
    source = import_object(name)
    if isinstance(source, nn.Module):
        return identify_import(source, name)
    code = identify_import(source, name)
    if code not in _called:
        found = identify(code.digest, _returned_once(source, name), name=name)
        found = Identity(found.digest, (*code.unidentified, *found.unidentified))
        # A factory may keep what it has returned, or count its calls.
        _called.update(dict.fromkeys((code, identify_import(source, name)), found))
    return _called[code]


def forget_calls() -> None:
    """Call factories again to identify them, as every command does: a file of weights that they read may be another."""
    _called.clear()


def _registered_object(name: str) -> tuple[Any, Identity]:
    if name not in _registered:
        raise ModelError(
            f"the network {name} was passed as a Python object, which this process does not have; pass the same "
            "network again, or use a factory that can be imported, package.module:name"
        )
    return _registered[name]


def _identity_of(source: Any, name: str) -> Identity:
    if isinstance(source, nn.Module):
        return identify(source, name=name)
    return identify(source, _returned_once(source, name), name=name)


def _returned_once(factory: Any, name: str) -> nn.Module:
    with reproducible(0):
        made, _ = _call(factory, name)
    return copied(made, name)  # better to fail here than after training, when the result is copied


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
