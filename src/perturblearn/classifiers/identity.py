"""Hashes of everything that determines a network: its values, structure and code."""

from __future__ import annotations

import hashlib
import inspect
import re
import types
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from perturblearn.classifiers.network import full_state

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def tensor_bytes(tensor: Tensor) -> memoryview:
    """A tensor's values as bytes in row-major order, whatever its type and layout."""
    # Viewed as uint8, because numpy has no bfloat16 or float8.
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def add_tensors(digest: hashlib._Hash, tensors: Mapping[str, Tensor]) -> None:
    """Add names, shapes, types and values to a hash, in the order of the names."""
    for name, tensor in sorted(tensors.items()):
        if is_lazy(tensor):
            digest.update(f"{name} not made yet".encode())  # a lazy parameter has no shape before the first input
            continue
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor_bytes(tensor))


def module_identity(module: nn.Module) -> str:
    """SHA-256 of a network's parameters, buffers, structure, plain attributes, and code outside torch."""
    digest = hashlib.sha256(_without_addresses(repr(module)).encode())
    add_tensors(digest, full_state(module))
    for name, part in module.named_modules():
        kept = {key: value for key, value in vars(part).items() if key not in _OF_EVERY_MODULE}
        digest.update(f"{name} {value_identity(type(part))} {value_identity(kept)}".encode())
    return digest.hexdigest()


def code_identity(target: Any) -> str:
    """SHA-256 of the source of a function or class, or of its bytecode if there is no source."""
    return hashlib.sha256(_code_text(target).encode()).hexdigest()


def _code_text(target: Any) -> str:
    name = getattr(target, "__qualname__", type(target).__qualname__)
    if isinstance(target, partial):
        return f"partial {_code_text(target.func)} {value_identity(target.args)} {value_identity(target.keywords)}"
    if isinstance(target, types.MethodType):
        return _code_text(target.__func__)
    if not isinstance(target, (type, types.FunctionType)):
        # A callable object: its code is that of its class.
        return name if isinstance(target, types.BuiltinFunctionType) else _code_text(type(target))
    module = target.__module__ or ""  # None for code made by exec
    # Hashing torch's source would be slow, and its version is recorded with every result.
    if module.partition(".")[0] in ("torch", "builtins"):
        return f"{module}.{name}"
    inherited = [_code_text(base) for base in target.__bases__] if isinstance(target, type) else []
    try:
        return f"{name} {inspect.getsource(target)} {inherited}"
    except (OSError, TypeError, SyntaxError):
        pass
    if isinstance(target, types.FunctionType):
        return f"{name} {_bytecode(target.__code__)} {value_identity(target.__defaults__)}"
    members = {key: value for key, value in vars(target).items() if key not in ("__dict__", "__weakref__")}
    return f"{name} {value_identity(members)} {inherited}"


def _bytecode(code: types.CodeType) -> str:
    constants = [_bytecode(value) if isinstance(value, types.CodeType) else repr(value) for value in code.co_consts]
    return f"{code.co_code.hex()} {constants} {code.co_names}"


def value_identity(value: Any) -> str:
    """A text that distinguishes values, as far as they are plain or their `repr` describes them."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, torch.dtype, torch.device)):
        return repr(value)
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value) if value.dtype.kind in "biufc" else value.tolist()
    if isinstance(value, Tensor) and not is_lazy(value) and value.layout == torch.strided:
        return f"{tuple(value.shape)} {value.dtype} {hashlib.sha256(tensor_bytes(value)).hexdigest()}"
    if isinstance(value, Mapping):
        return str(sorted(f"{value_identity(key)}: {value_identity(entry)}" for key, entry in value.items()))
    if isinstance(value, (set, frozenset)):
        return str(sorted(value_identity(entry) for entry in value))
    if isinstance(value, (list, tuple)):
        return str([value_identity(entry) for entry in value])
    if isinstance(value, (type, types.FunctionType, types.MethodType, types.BuiltinFunctionType, partial)):
        return _code_text(value)
    kind = type(value)
    # Modules are parts of the network, and `module_identity` distinguishes them.
    says_what_it_is = kind.__repr__ is not object.__repr__ and not isinstance(value, nn.Module)
    return f"{kind.__module__}.{kind.__qualname__} {_without_addresses(repr(value)) if says_what_it_is else ''}"


def _without_addresses(text: str) -> str:
    # The default `repr` contains the memory address, which differs from run to run.
    return re.sub(r"0x[0-9a-fA-F]+", "", text)
