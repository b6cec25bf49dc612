"""Values as files and users give them, before anything is validated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
"""A value that a JSON or TOML file can hold."""
Keys: TypeAlias = Mapping[str, JSON]
"""Keys of a configuration, dotted or nested, with what is said of them; nothing of it is validated yet."""


def leaves(tree: Keys, prefix: str = "") -> Iterator[tuple[str, JSON]]:
    """Every value of nested sections by its dotted name.

    Args:
        tree: sections within sections.
        prefix: what all names begin with.
    """
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
