"""A command's words, read as a file and values by dotted key."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from perturblearn.errors import ConfigError

if TYPE_CHECKING:
    from perturblearn.config import JSON, Keys


def split_arguments(arguments: Sequence[str]) -> tuple[str | None, dict[str, JSON]]:
    """The words of a command as one optional file and values by dotted key.

    Args:
        arguments: ``FILE``, ``--key value`` and ``--key=value`` in any order.

    Raises:
        ConfigError: two files, or a key without a value or twice.
    """
    from perturblearn.config import parse_value

    file: str | None = None
    keys: dict[str, JSON] = {}
    words = iter(arguments)
    for word in words:
        if not word.startswith("--"):
            if file is not None:
                raise ConfigError(
                    f"two files are named, {file} and {word}; name one file, and write keys as --KEY VALUE"
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


def split_epsilons(text: str) -> dict[str, list[float]]:
    """Sizes of perturbations by norm.

    Args:
        text: ``l2:0.5,l2:1,linf:0.1``.

    Raises:
        ConfigError: a part is not a norm and a number, or a size is below 0, not finite or named twice.
    """
    sizes: dict[str, list[float]] = {}
    for part in text.split(","):
        norm, _, number = part.strip().partition(":")
        try:
            size = float(number)
        except ValueError:
            raise ConfigError(f"--epsilons has {part!r}, but it must be norm:size, such as l2:0.5,linf:0.1") from None
        if not 0 <= size < math.inf:
            raise ConfigError(f"--epsilons has {part!r}, but a size must be a finite number of at least 0; correct it")
        if size in sizes.setdefault(norm, []):
            raise ConfigError(f"--epsilons names {part} twice; name each size once")
        sizes[norm].append(size)
    return sizes


def split_networks(text: str, keys: dict[str, JSON]) -> dict[str, dict[str, JSON]]:
    """Networks, each with its own keys, which begin with its name and are removed from ``keys``.

    Args:
        text: ``mlp,mypackage.nets:make``; keys of the second begin with the part after the colon: ``make.epochs``.
        keys: values by dotted name.

    Raises:
        ConfigError: a name is empty, a network is named twice, or a key could belong to two networks.
    """
    from perturblearn.config import fields

    names = [part.strip() for part in text.split(",")]
    prefixes = [name.rpartition(":")[2] for name in names]
    sections = {name.partition(".")[0] for name, _ in fields()}
    networks: dict[str, dict[str, JSON]] = {}
    for name, prefix in zip(names, prefixes, strict=True):
        if not name:
            raise ConfigError(f"{text!r} has an empty name; write the names of networks with commas between them")
        if name in networks:
            raise ConfigError(f"the network {name} is named twice; name each network once")
        # A function may have the name of a section, whose keys remain those of the configuration.
        own = [] if prefix in sections else [key for key in keys if key.startswith(f"{prefix}.")]
        if own and prefixes.count(prefix) > 1:
            alike = " or to ".join(other for other, last in zip(names, prefixes, strict=True) if last == prefix)
            raise ConfigError(f"the key {own[0]} could belong to {alike}; rename one of the functions")
        networks[name] = {key.removeprefix(f"{prefix}."): keys.pop(key) for key in own}
    return networks


def refuse_network_keys(keys: Keys, option: str) -> None:
    """Raise a ConfigError for a key of a network that is not named.

    Args:
        keys: values by dotted name, without the named networks' own.
        option: the option that names networks.
    """
    from perturblearn.config import NETWORKS

    for key in keys:
        network = key.partition(".")[0]
        if network in NETWORKS:
            raise ConfigError(
                f"--{key} is a key of the network {network}, which is not used; add the network to {option}, or leave "
                "the key out"
            )


def keys_help() -> str:
    """Every key of a configuration with its meaning and default, for a command's help."""
    from perturblearn.config import fields

    lines = ["Keys, in the file or as --KEY VALUE:"]
    for name, info in fields():
        shown = "" if info.default is None else f" [{_shown(info.default)}]"
        lines.append(f"  --{name}: {info.description}{shown}")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
