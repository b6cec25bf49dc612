"""Children that work at the same time; for programs that are forked themselves (`tests.store.lives`)."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any


def beside(work: Callable[..., None], *arguments: tuple[Any, ...]) -> Iterator[None]:
    """Turns for the caller while a child for each of the arguments works; a ValueError if one of them fails."""
    children = [multiprocessing.get_context("fork").Process(target=work, args=each) for each in arguments]
    for child in children:
        child.start()
    while any(child.is_alive() for child in children):
        yield
    if codes := [child.exitcode for child in children if child.exitcode]:
        raise ValueError(f"children ended with {codes}")
