"""Hashes of everything that determines what a user's objects do: their values, structure and code."""

from __future__ import annotations

import copyreg
import functools
import hashlib
import os
import random
import re
import sys
import types
import uuid
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.hooks import RemovableHandle

from perturblearn.classifiers.project_code import imported_names, installed_file, is_library, project_files, uses

_PROCESS = uuid.uuid4().hex
"""Part of the identity of what cannot be identified, so that no other process takes it for something that it knows."""
_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented))
_NAMED = (
    torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size, types.GenericAlias, types.UnionType,
    types.WrapperDescriptorType, types.MethodDescriptorType, types.ClassMethodDescriptorType,
    types.GetSetDescriptorType, types.MemberDescriptorType,
)  # fmt: skip
"""Types whose values their `repr` describes."""
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_OF_EVERY_CLASS = frozenset({"__doc__", "__module__", "__dict__", "__weakref__", "__annotations__", "__qualname__"})
_COUNTED = frozenset({"_abc_impl", "_autograd_function_id", "_backward_cls"})
"""Members that Python and PyTorch give to classes, numbered as they are made."""
_ABSENT = object()


@dataclass(frozen=True)
class Identity:
    """What tells an object of the user's from all others.

    Args:
        digest: SHA-256.
        unidentified: what it uses and nothing identifies, such as ``lock (_thread.lock) of nets:load``. The digest is
            then valid in this process only.
    """

    digest: str
    unidentified: tuple[str, ...] = ()


def identify(*values: Any, name: str) -> Identity:
    """The identity of objects: code, values, and all that either uses, in every process the same.

    Functions are told apart by their bytecode, defaults, closures, attributes and the globals that they use; classes by
    their members and bases; modules by parameters, buffers, attributes and hooks; other objects by what pickling them
    would keep. Of a project's modules, the content of their files counts too, with all that they import; of installed
    ones, the file that a function or class stands in; of Python, PyTorch and NumPy, the names alone.

    Args:
        values: functions, classes, modules, values.
        name: what they are called in a sentence about what cannot be identified.
    """
    walk = _Walk()
    for value in values:
        walk.add(value, name)
    if walk.unidentified:
        walk.token("process", _PROCESS)
    found = dict.fromkeys(walk.unidentified)
    return Identity(walk.hexdigest(), tuple(what if what.startswith(name) else f"{what} of {name}" for what in found))


def identify_import(value: Any, name: str) -> Identity:
    """The identity of an imported object, with the files of the module that it was named by.

    Args:
        value: the object.
        name: ``package.module:name``.
    """
    return identify(sys.modules[name.partition(":")[0]], value, name=name)


def tensor_bytes(tensor: Tensor) -> memoryview:
    """A tensor's values as bytes in row-major order, whatever its type and layout."""
    # Viewed as uint8, because numpy has no bfloat16 or float8.
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def add_tensors(digest: hashlib._Hash, tensors: Mapping[str, Tensor]) -> None:
    """Add names, shapes, types and values to a hash, in the order of the names."""
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor_bytes(tensor))


class _Walk:
    """A walk over objects that adds what it meets to a hash; objects that it has met before are numbered."""

    def __init__(self, before: _Walk | None = None) -> None:
        self._digest = hashlib.sha256()
        # By address, with the objects themselves, so that none of them goes and leaves its address to another.
        self._met: dict[int, tuple[int, Any]] = {} if before is None else dict(before._met)
        self.unidentified: list[str] = [] if before is None else before.unidentified

    def hexdigest(self) -> str:
        """The hash of all that was added."""
        return self._digest.hexdigest()

    def token(self, kind: str, text: str = "") -> None:
        """Add some words, with their length, so that no two sequences of them are read as one."""
        content = f"{kind} {text}".encode("utf-8", "surrogatepass")
        self._digest.update(len(content).to_bytes(8, "little") + content)

    def add(self, value: Any, where: str) -> None:
        """Add an object and all that belongs to it.

        Args:
            value: the object.
            where: what it is called there, for a sentence about it.
        """
        kind = type(value)
        if kind in _PLAIN:
            self.token(kind.__name__, repr(value))
        elif isinstance(value, types.MethodType):
            self.token("method")
            self.add(value.__func__, where)
            self.add(value.__self__, where)
        elif isinstance(value, (types.BuiltinFunctionType, types.MethodWrapperType)):
            self._add_builtin(value, where)
        elif isinstance(value, _NAMED) or kind.__module__ == "typing":
            self.token(kind.__name__, _without_addresses(repr(value)))
        elif kind is tuple:
            self._add_several("tuple", value, where)
        elif isinstance(value, types.CodeType):
            self._add_code(value, where)
        elif id(value) in self._met:
            self.token("again", str(self._met[id(value)][0]))
        else:
            self._met[id(value)] = len(self._met), value
            try:
                self._add_new(value, where)
            except RecursionError:
                self._give_up(value, where)

    def _add_new(self, value: Any, where: str) -> None:
        if isinstance(value, (list, dict, set, frozenset)) and type(value) in (list, dict, set, frozenset):
            self._add_container(value, where)
        elif isinstance(value, types.FunctionType):
            self._add_function(value, where)
        elif isinstance(value, type):
            self._add_class(value)
        elif isinstance(value, types.ModuleType):
            self.token("module", value.__name__)
            add = self._add_library if is_library(value.__name__) else self._add_files
            add(value.__name__)
        elif isinstance(value, Tensor):
            self._add_tensor(value, where)
        elif isinstance(value, np.ndarray):
            self._add_array(value, where)
        elif isinstance(value, nn.Module):
            self._add_module(value, where)
        else:
            self._add_other(value, where)

    def _add_several(self, kind: str, values: Iterable[Any], where: str) -> None:
        values = list(values)
        if all(type(value) in _PLAIN for value in values):
            self.token(kind, repr(values))
            return
        self.token(kind, str(len(values)))
        for value in values:
            self.add(value, where)

    def _add_named(self, kind: str, values: Mapping[str, Any], where: str = "") -> None:
        """Add values in the order of their names."""
        self.token(kind, str(len(values)))
        for name in sorted(values):
            self.token("name", name)
            self.add(values[name], f"{where}.{name}" if where else name)

    def _add_container(self, value: Any, where: str) -> None:
        if isinstance(value, list):
            self._add_several("list", value, where)
        elif isinstance(value, dict):
            self.token("dict", str(len(value)))
            for key, entry in value.items():
                self.add(key, where)
                self.add(entry, f"{where}[{key!r}]" if type(key) in _PLAIN else where)
        else:
            # Their order differs from process to process, so each element is hashed alone.
            self._add_several(type(value).__name__, sorted(self._alone(entry, where) for entry in value), where)

    def _alone(self, value: Any, where: str) -> str:
        if type(value) in _PLAIN:
            return f"{type(value).__name__} {value!r}"
        walk = _Walk(self)
        walk.add(value, where)
        return walk.hexdigest()

    def _add_code(self, code: types.CodeType, where: str) -> None:
        # Neither file nor lines: what stands above a function does not matter, but two on one line differ.
        names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_flags)
        counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
        self.token("code", f"{code.co_code.hex()} {code.co_exceptiontable.hex()} {names} {counts}")
        self._add_several("constants", code.co_consts, where)

    def _add_function(self, function: types.FunctionType, where: str) -> None:
        module = function.__globals__.get("__name__")
        self.token("function", f"{function.__qualname__}")
        code, cells = function.__code__, function.__closure__ or ()
        inside = {name: _content(cell) for name, cell in zip(code.co_freevars, cells, strict=True)}
        # A library's function may hold the user's: a decorator does.
        self._add_named("closure", inside)
        if module is not None and is_library(module):
            self._add_library(module)
            return
        self.add(code, where)
        self.add(function.__defaults__, f"a default of {function.__name__}")
        self.add(function.__kwdefaults__, f"a default of {function.__name__}")
        self._add_named("attributes", vars(function), function.__name__)
        used = uses(code)
        for path in used.globals:
            self._add_global(path, function.__globals__)
        if module is not None:
            self._add_files(module)
        for name in imported_names(used, function.__globals__.get("__package__")):
            self._add_files(name)

    def _add_global(self, path: tuple[str, ...], names: Mapping[str, Any]) -> None:
        value, rest = names.get(path[0], _ABSENT), list(path[1:])
        while isinstance(value, types.ModuleType):
            if is_library(value.__name__):
                self.token("library", ".".join((value.__name__, *rest)))
                self._add_library(value.__name__)
                return
            self._add_files(value.__name__)
            if not rest:
                return
            value = getattr(value, rest.pop(0), _ABSENT)
        if value is not _ABSENT:  # else one of Python's own, or not there yet
            self.token("global", ".".join(path))
            self.add(value, path[0] if not rest else ".".join(path[: len(path) - len(rest)]))

    def _add_files(self, module: str) -> None:
        for name, digest in sorted(project_files(module)):
            self.token("file", f"{name} {digest}")

    def _add_library(self, module: str) -> None:
        self.token("library", f"{module} {installed_file(module)}")

    def _add_class(self, kind: type) -> None:
        self.token("class", f"{kind.__module__}.{kind.__qualname__}")
        if _is_of_library(kind):
            self._add_library(kind.__module__)
            return
        self._add_several("bases", kind.__bases__, kind.__name__)
        if type(kind) is not type:
            self.add(type(kind), kind.__name__)
        members = {name: value for name, value in vars(kind).items() if _is_member(name, value)}
        self._add_named("members", members, kind.__name__)
        self._add_files(kind.__module__)

    def _add_builtin(self, value: Any, where: str) -> None:
        owner = getattr(value, "__self__", None)
        self.token("builtin", f"{getattr(value, '__module__', None)}.{value.__qualname__}")
        if owner is not None and not isinstance(owner, types.ModuleType):
            self.add(owner, where)
        elif value.__module__ is not None:
            self._add_files(value.__module__)  # of a compiled module

    def _add_tensor(self, tensor: Tensor, where: str) -> None:
        if is_lazy(tensor):
            self.token("lazy tensor")
            return
        self.token("tensor", f"{tuple(tensor.shape)} {tensor.dtype} {tensor.layout} {tensor.requires_grad}")
        if tensor.is_meta:
            return
        try:
            dense = tensor.detach() if tensor.layout == torch.strided else tensor.detach().to_dense()
            self.token("values", hashlib.sha256(tensor_bytes(dense.resolve_conj().resolve_neg())).hexdigest())
        except (RuntimeError, TypeError):  # no values that anyone could read
            self._give_up(tensor, where)

    def _add_array(self, array: np.ndarray[Any, Any], where: str) -> None:
        self.token("array", f"{array.shape} {array.dtype}")
        if array.dtype.hasobject:
            self._add_several("objects", array.reshape(-1).tolist(), where)
        else:
            self.token("values", hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest())

    def _add_module(self, module: nn.Module, where: str) -> None:
        own, kept = vars(module), {}
        if isinstance(module, torch.jit.ScriptModule):
            if hasattr(module, "forward"):
                code, constants = module.code_with_constants
                self.token("script", code)
                self._add_named("constants", constants.const_mapping, where)
        else:
            self.add(type(module), where)
            kept = {name: value for name, value in own.items() if name not in _OF_EVERY_MODULE}
        self._add_named("attributes", kept, where)
        for name, values in (
            ("parameters", module._parameters.items()),
            ("buffers", module._buffers.items()),
            ("modules", module._modules.items()),
        ):
            self.token(name)
            for key, value in values:
                self.token("name", key)
                self.add(value, f"{where}.{key}")
        for name in sorted(own):
            if name in _OF_EVERY_MODULE and name.endswith("_hooks"):
                self._add_hooks(name, own, where)

    def _add_hooks(self, name: str, own: Mapping[str, Any], where: str) -> None:
        # By their order: their keys count all hooks that the process has ever registered.
        hooks, with_keywords = own[name], own.get(f"{name}_with_kwargs", {})
        self.token(name, str([key in with_keywords for key in hooks]))
        self._add_several("hooks", hooks.values(), f"a hook of {where}")

    def _add_other(self, value: Any, where: str) -> None:
        kind = type(value)
        parts = _PARTS.get(kind)
        if any(value is one for one in _global_generators()) or kind is type(os.environ):
            self.token("global state", kind.__qualname__)  # generators are seeded wherever the user's code runs
        elif parts is not None:
            self.token("parts", kind.__qualname__)
            self._add_several("parts", parts(value), where)
        else:
            self._add_pickled(value, where)

    def _add_pickled(self, value: Any, where: str) -> None:
        """Add what pickling the object would keep."""
        try:
            with warnings.catch_warnings(action="ignore"):
                reduce = copyreg.dispatch_table.get(type(value))
                made: Any = value.__reduce_ex__(4) if reduce is None else reduce(value)
            if isinstance(made, str):
                self.token("named", f"{type(value).__module__} {made}")
                return
            parts: tuple[Any, ...] = (*made, None, None, None)
            function, arguments, state = parts[:3]
            items, entries = (list(each or ()) for each in parts[3:5])
        except Exception:  # noqa: BLE001 - the user's own method may fail in any way
            self._give_up(value, where)
            return
        self.token("object")
        self.add(type(value), where)
        self.add(function, where)
        self._add_several("arguments", arguments, where)
        for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
            if isinstance(part, dict) and all(isinstance(name, str) for name in part):
                self._add_named("state", part, where)
            else:
                self.add(part, where)
        self._add_several("items", items, where)
        self._add_several("entries", entries, where)

    def _give_up(self, value: Any, where: str) -> None:
        kind = type(value)
        module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        self.token("unidentified", f"{kind.__qualname__} {id(value)}")  # no other object of this process has it
        self.unidentified.append(f"{where} ({module}{kind.__qualname__})")


_PARTS: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    functools.partial: lambda value: (value.func, value.args, value.keywords, vars(value)),
    functools._lru_cache_wrapper: lambda value: (value.__wrapped__,),
    functools.cached_property: lambda value: (value.func,),
    functools.partialmethod: lambda value: (value.func, value.args, value.keywords),
    classmethod: lambda value: (value.__func__,),
    staticmethod: lambda value: (value.__func__,),
    property: lambda value: (value.fget, value.fset, value.fdel),
    types.MappingProxyType: lambda value: (dict(value),),
    types.CellType: lambda value: (_content(value),),
    weakref.ref: lambda value: (value(),),
    torch.jit.ScriptFunction: lambda value: (value.code,),
    RemovableHandle: lambda value: (),  # a number among all hooks that the process has ever registered
}
"""What tells objects of these types apart that pickle cannot take to pieces."""


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _global_generators() -> tuple[Any, ...]:
    return random.random.__self__, np.random.get_state.__self__, torch.default_generator


def _is_of_library(kind: type) -> bool:
    """Whether a class stands in a library, and is not one that a library's function has made of the user's."""
    found: Any = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is kind and is_library(kind.__module__)


def _is_member(name: str, value: object) -> bool:
    if name in _OF_EVERY_CLASS or name in _COUNTED:
        return False
    is_special = name.startswith("__") and name.endswith("__")
    return not is_special or isinstance(value, (types.FunctionType, classmethod, staticmethod, property))


def _without_addresses(text: str) -> str:
    return re.sub(r"0x[0-9a-fA-F]+", "", text)
