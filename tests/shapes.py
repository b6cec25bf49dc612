"""Shape types of the numeric core are checked while tests run, in the rooms listed here and nowhere else.

To be imported before those rooms are; `conftest.py` does so.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable
from functools import cache, partial, update_wrapper, wraps
from types import FunctionType
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype

CHECKED = ["perturblearn.attacks", "perturblearn.theory", "perturblearn.training"]
"""Rooms whose functions are checked, arguments and results, at every call that is not of the kind of an earlier one."""

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as for pyright
check_always = jaxtyping.jaxtyped
_seen: dict[Hashable, dict[Hashable, set[Hashable]]] = {}
"""Of each function the kinds of its calls that were right, and of their results."""
_kind_in: dict[type, Callable[[Any], Hashable] | None] = {dict: lambda value: (dict, *map(kind, value.items()))}
"""How the kind of a value of this type is found; None if the type is all of it."""


def _of_each(values: Any) -> Hashable:
    return type(values), *map(kind, values)


def _of_array(value: Any) -> Hashable:
    return type(value), value.shape, value.dtype


def _of_itself(value: Any) -> Hashable:
    return value  # a Literal names some


def _way_in(of: type) -> Callable[[Any], Hashable] | None:
    if of in (tuple, list, set, frozenset):
        return _of_each
    if issubclass(of, str):
        return _of_itself
    # PyTorch is not imported for this: most processes do not need it.
    return _of_array if hasattr(of, "shape") and hasattr(of, "dtype") else None


def kind(value: object) -> Hashable:
    """All of a value that a type asks for: of a tensor its shape and dtype, of what holds others theirs.

    This is asked millions of times, so each type is looked at once.
    """
    of = type(value)
    try:
        way = _kind_in[of]
    except KeyError:
        way = _kind_in[of] = _way_in(of)
    return of if way is None else way(value)


def check_kinds(function: Any = None, *, typechecker: Callable[..., Any]) -> Any:
    """jaxtyping's decorator, which takes longer than a tiny network's epoch, for calls of a new kind alone."""
    if function is None:
        return partial(check_kinds, typechecker=typechecker)
    if not inspect.isfunction(function):
        return check_always(function, typechecker=typechecker)
    known: list[object] = []

    def answer(*arguments: object, **named: object) -> object:
        return known.pop() if known else function(*arguments, **named)

    @cache
    def checked() -> Callable[..., object]:
        # With the function's globals, in which jaxtyping looks up the names of its types.
        same = FunctionType(answer.__code__, function.__globals__, closure=answer.__closure__)
        return check_always(update_wrapper(same, function), typechecker=typechecker)

    # What is defined within a function is made anew at each of its calls.
    seen = _seen.setdefault((function.__module__, function.__qualname__, function.__code__), {})

    @wraps(function)
    def check_once(*arguments: object, **named: object) -> object:
        if jaxtyping.config.jaxtyping_disable:
            return function(*arguments, **named)
        kinds = (*map(kind, arguments), None, *named, *map(kind, named.values()))
        results = seen.get(kinds)
        if results is None:
            result = checked()(*arguments, **named)
            seen[kinds] = {kind(result)}
            return result
        result = function(*arguments, **named)
        if kind(result) not in results:
            known[:] = [result]
            checked()(*arguments, **named)
            results.add(kind(result))
        return result

    return check_once


jaxtyping.jaxtyped = check_kinds
jaxtyping.install_import_hook(CHECKED, f"{__name__}.check")
