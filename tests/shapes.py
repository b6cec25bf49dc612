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
_BARE: set[type] = {type(None), bool, int, float}
"""Types whose values are all of one kind."""


def kind(value: object) -> Hashable:
    """All of a value that a type asks for: of a tensor its shape and dtype, of what holds others theirs."""
    of = type(value)
    if of in _BARE:
        return of
    if of in (tuple, list, set, frozenset):
        return of, *map(kind, value)  # pyright: ignore[reportArgumentType] - these are iterable
    if type(value) is dict:
        return dict, *map(kind, value.items())
    if isinstance(value, str):
        return value  # a Literal names some
    if hasattr(value, "shape") and hasattr(value, "dtype"):  # PyTorch is not imported for this: most processes do not
        return of, value.shape, value.dtype  # pyright: ignore[reportAttributeAccessIssue]
    if not hasattr(of, "shape") and not hasattr(value, "__dict__"):
        _BARE.add(of)  # no value of this type holds a shape
    return of


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
        kinds = kind(arguments), kind(named)
        if kinds not in seen:
            result = checked()(*arguments, **named)
            seen[kinds] = {kind(result)}
        else:
            result = function(*arguments, **named)
            if kind(result) not in seen[kinds]:
                known[:] = [result]
                checked()(*arguments, **named)
                seen[kinds].add(kind(result))
        return result

    return check_once


jaxtyping.jaxtyped = check_kinds
jaxtyping.install_import_hook(CHECKED, f"{__name__}.check")
