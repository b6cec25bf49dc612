"""Every key of a configuration by its dotted name, over all variants of its sections."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import tomli_w
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from perturblearn.config.experiment import ExperimentConfig
from perturblearn.config.values import Keys
from perturblearn.config.variants import Variants


@dataclass(frozen=True)
class Key:
    """A key of a configuration.

    Args:
        name: dotted.
        description: what it means, with the variants that it applies to where these are no majority.
        default: its value where nobody says anything; of several variants the first one's.
        types: of its values, in each variant that has it.
    """

    name: str
    description: str
    default: Any
    types: tuple[Any, ...]

    @property
    def is_text(self) -> bool:
        """Whether its values are words, also where they look like numbers."""
        return all(kind is str or get_origin(kind) is Literal for each in self.types for kind in _without_none(each))


@cache
def fields() -> tuple[tuple[str, Key], ...]:
    """Every key of a configuration by its dotted name, in the order of a file."""
    return tuple((key.name, key) for key in _of_section(ExperimentConfig, ""))


def _of_section(section: type[BaseModel], prefix: str) -> Iterator[Key]:
    """The keys of a section; those of its sections after its own."""
    variants = _variants(section)
    found: dict[str, list[tuple[str, FieldInfo]]] = {}
    for variant in variants:
        for name, info in variant.model_fields.items():
            found.setdefault(name, []).append((getattr(variant, "tag", ""), info))
    for name, having in found.items():
        if _section_of(having[0][1]) is None:
            default = having[0][1].get_default(call_default_factory=True, validated_data={})
            types = tuple(info.annotation for _, info in having)
            yield Key(f"{prefix}{name}", _description(having, len(variants)), default, types)
    for name, having in found.items():
        inner = _section_of(having[0][1])
        if inner is not None:
            yield from _of_section(inner, f"{prefix}{name}.")


def _section_of(info: FieldInfo) -> type[BaseModel] | None:
    """The section that a field is, with all variants that it has in any place; None for a value."""
    kind = info.annotation
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return None
    return kind.family() if issubclass(kind, Variants) else kind


def _variants(section: type[BaseModel]) -> Sequence[type[BaseModel]]:
    listed = section.variants() if issubclass(section, Variants) else (section,)
    return [each for each in listed if getattr(each, "is_listed", True)]


def _description(having: Sequence[tuple[str, FieldInfo]], n_variants: int) -> str:
    texts: dict[str, dict[str, None]] = {}  # each tag once, in order
    for tag, info in having:
        texts.setdefault(str(info.description), {})[tag] = None
    if len(texts) == 1 and 2 * len(having) > n_variants:
        return str(having[0][1].description)
    return "; ".join(f"{', '.join(tags)}: {text}" for text, tags in texts.items())


def suggest_key(name: str) -> str:
    """What to write in place of a key that there is not."""
    known = [name for name, _ in fields()]
    known += sorted({each.rpartition(".")[0] for each in known} - {""})
    leaves: dict[str, str] = {}
    for each in sorted(known, key=lambda each: each.count(".")):
        leaves.setdefault(each.rpartition(".")[2], each)
    begun = [each for each in known if each.startswith(f"{name}_")]
    close = begun if len(begun) == 1 else difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    leaf = difflib.get_close_matches(name.rpartition(".")[2], list(leaves), n=1, cutoff=0.75)
    if close or leaf:
        return f"did you mean {close[0] if close else leaves[leaf[0]]}?"
    return "'perturblearn init' writes a file with all keys"


def value_of(section: BaseModel, name: str) -> Any:
    """The value of a key; None where it has none, or does not apply to the variant at hand.

    Args:
        section: a configuration, or a section of it.
        name: dotted, as seen from there.
    """
    value: Any = section
    for part in name.split("."):
        value = getattr(value, part, None)
    return value


def parse_value(name: str, text: str) -> Any:
    """The value of a key as written on a command line: TOML, a list without brackets, or a bare word.

    Args:
        name: dotted name of the key; keys that hold text keep it as it is.
        text: ``0.07``, ``l2``, ``0.1,0.01``, ``[3, 8]``, ``cat,dog``, ``{cat = 281}`` or ``true``.
    """
    key = dict(fields()).get(name)
    if key is not None and key.is_text:
        return text
    is_list = text.lstrip().startswith("[")
    # Names stay as they are written: the class 007 is not the class 7.
    holds_names = key is not None and tuple[str, ...] in _without_none(key.types[0])
    if is_list or not holds_names:
        for convert in (lambda: tomllib.loads(f"value = {text}")["value"], lambda: float(text)):  # TOML has no .5
            with suppress(ValueError):
                return convert()
    if is_list or "," in text:
        parts = text.strip().removeprefix("[").removesuffix("]").split(",")
        return [parse_value(name, part.strip()) for part in parts if part.strip()]
    return text


def inline_table(value: Keys) -> str:
    """A mapping to indices as `parse_value` reads it, in one line of TOML."""
    quoted = {name: tomli_w.dumps({name: 0}).removesuffix(" = 0\n") for name in value}
    plain = {name: list(each) if isinstance(each, (list, tuple)) else each for name, each in value.items()}
    return "{" + ", ".join(f"{quoted[name]} = {each}" for name, each in plain.items()) + "}"


def _without_none(kind: Any) -> tuple[Any, ...]:
    """The types of a union, as ``str`` of ``str | None``."""
    if get_origin(kind) is None or get_origin(kind) in (Literal, tuple):
        return (kind,)
    return tuple(part for part in get_args(kind) if part is not NoneType)
