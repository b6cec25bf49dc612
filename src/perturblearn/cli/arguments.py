"""A file and dotted keys from a command's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perturblearn.errors import ConfigError


def split_arguments(arguments: Sequence[str]) -> tuple[str | None, dict[str, Any]]:
    """The words of a command as one optional file and values by dotted key.

    Args:
        arguments: ``FILE``, ``--key value`` and ``--key=value`` in any order.

    Raises:
        ConfigError: two files, or a key without a value or twice.
    """
    from perturblearn.config import parse_value

    file: str | None = None
    keys: dict[str, Any] = {}
    words = iter(arguments)
    for word in words:
        if not word.startswith("--"):
            if file is not None:
                raise ConfigError(
                    f"there are two files, {file} and {word}; name one, and put -- before the name of a key"
                )
            file = word
            continue
        name, equals, text = word[2:].partition("=")
        if not equals:
            following = next(words, None)
            if following is None or following.startswith("--"):
                raise ConfigError(f"--{name} has no value; write --{name} VALUE")
            text = following
        if name in keys:
            raise ConfigError(f"--{name} is given twice; give it once")
        keys[name] = parse_value(name, text)
    return file, keys


def keys_help() -> str:
    """Every key of a configuration with what it means and its default, for a command's help."""
    from perturblearn.config import fields

    lines = ["Keys, in a file or as --KEY VALUE:"]
    for name, info in fields():
        default = info.get_default(call_default_factory=True)
        shown = "" if default is None else f" [{_shown(default)}]"
        lines.append(f"  --{name}: {info.description}{shown}")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
