"""The command that makes a result again, to be shown beside it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence

from perturblearn.config import Keys, fields, inline_table


def command(*words: object, options: Mapping[str, object] | None = None, keys: Keys | None = None) -> str:
    """A perturblearn command in one line, quoted for a shell.

    Args:
        words: the command's name and its arguments without names; None is left out.
        options: options by name without dashes; None and False are left out, True is a flag.
        keys: keys of a configuration by their dotted names.

    Returns:
        The line; empty if something was handed over as an object, which no command can name.
    """
    parts = ["perturblearn", *(_text(word) for word in words if word is not None)]
    for name, value in (options or {}).items():
        if value is None or value is False:
            continue
        parts += [f"--{name}"] if value is True else [f"--{name}", _text(value)]
    for name, value in (keys or {}).items():
        if isinstance(value, Mapping) and name in dict(fields()):  # and no section
            parts += [f"--{name}", inline_table(value)]
        else:
            parts += [f"--{name}", _text(value)]
    known = [part for part in parts if part is not None]
    return shlex.join(known) if len(known) == len(parts) else ""


def _text(value: object) -> str | None:
    """A value as it is written on the command line; None for an object."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, os.PathLike)):
        return None if os.fspath(value) == "python" else str(value)
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Sequence):
        texts = [_text(each) for each in value]
        return None if None in texts else ",".join(text for text in texts if text is not None)
    return None
