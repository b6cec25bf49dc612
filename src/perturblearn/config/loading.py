"""Experiments from TOML files and back, with keys overridden by their dotted names."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ValidationError

from perturblearn.config.data import DataConfig, RealConfig
from perturblearn.config.experiment import ExperimentConfig
from perturblearn.config.keys import fields, inline_table, suggest_key
from perturblearn.config.section import Section
from perturblearn.config.values import JSON, Keys
from perturblearn.config.variants import Variants
from perturblearn.errors import ConfigError

ConfigLike = ExperimentConfig | Keys | str | os.PathLike[str]
"""A finished configuration, a nested mapping, or the path of a TOML file."""
DEFAULT = {"name": "digits", "data": {"name": "digits", "classes": [3, 8]}}
"""What runs without a file: bundled digits, 3 against 8."""
SWEEP = "sweep"
"""The section that makes an experiment's file that of many."""

_WANTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "finite_number": "a finite number",
    "greater_than": "above {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "below {lt:g}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "model_type": "a section with keys of its own",
    "too_short": "a list with at least {min_length} entry",
}
"""What pydantic's kinds of errors ask for, in words."""


def resolve_config(
    config: ConfigLike | None = None,
    overrides: Keys | None = None,
    *,
    defaults: Keys | None = None,
) -> ExperimentConfig:
    """A validated experiment from a file, a mapping or nothing, with some keys overridden.

    Args:
        config: path of a TOML file, nested mapping, finished configuration, or None for the digits default.
        overrides: values by dotted name, ``{"attack.epsilon": 0.5}``.
        defaults: what holds where neither says anything, as a nested mapping; None for the digits default without a
            file, else for the keys' own defaults. Those of an attack hold only if nobody names an attack.

    Raises:
        ConfigError: the file cannot be read, or a key is unknown, of the wrong type or out of range.
    """
    overrides = overrides or {}
    if config is None and defaults is not None:
        tree = {}
    elif config is None:
        # The default's classes belong to its data: they do not carry over to data of another name.
        name = str(overrides.get("data.name", DEFAULT["name"]))
        known = DataConfig.named(name) is not None
        tree = DEFAULT if name == DEFAULT["name"] else {"name": name.partition(":")[0]} if known else {}
    else:
        tree = _given(config)
    merged = _copy(tree)
    for name, value in overrides.items():
        set_key(merged, name, value)
    if defaults is not None:
        merged = _filled(merged, defaults)
    try:
        return ExperimentConfig.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_sentence(error)) from None


def foreign_data(own: DataConfig, name: str) -> DataConfig:
    """Another data set, prepared as an experiment's own is.

    Args:
        own: the experiment's data.
        name: of the other, as in ``data.name``.

    Raises:
        ConfigError: there is no such data.
    """
    kind = DataConfig.named(name)
    if kind is None or not issubclass(kind, RealConfig):
        known = ", ".join(each.tag for each in DataConfig.variants() if issubclass(each, RealConfig))
        raise ConfigError(f"attack.source = 'data:{name}', but there is no such data; write data: before {known}")
    kept = [key for key in ("centre", "flatten", "image_size", "resize") if key in kind.model_fields]
    shared = {key: getattr(own, key) for key in kept if hasattr(own, key)}
    try:
        return kind.model_validate({**shared, "name": name})
    except ValidationError as error:
        raise ConfigError(f"attack.source = 'data:{name}': {_sentence(error)}") from None


def given_tree(config: ConfigLike | None) -> dict[str, JSON]:
    """What a configuration says, before any default, as nested values.

    Raises:
        ConfigError: the file cannot be read.
    """
    return {} if config is None else _copy(_given(config))


def config_tree(config: Section) -> dict[str, JSON]:
    """Every key of a configuration or a section as nested JSON values; keys without a value are left out."""
    return config.model_dump(mode="json", exclude_none=True)


def given_value(tree: Keys, name: str) -> JSON:
    """What nested values say of a key; None if they say nothing.

    Args:
        tree: sections within sections.
        name: dotted.
    """
    value: JSON = tree
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def to_toml(config: ExperimentConfig) -> str:
    """The configuration as resolved, as a TOML file that gives it back."""
    return tomli_w.dumps(config_tree(config))


def commented_toml(config: ExperimentConfig) -> str:
    """The configuration as a TOML file in which a comment explains every key."""
    return "\n".join(_commented(config, "")) + "\n"


def _given(config: ConfigLike) -> Keys:
    if isinstance(config, ExperimentConfig):
        return config.model_dump(mode="json", exclude_unset=True)
    return config if isinstance(config, Mapping) else _read_toml(Path(config))


def _read_toml(path: Path) -> dict[str, JSON]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"there is no file {path}; name a TOML file, or write one with 'perturblearn init {path.name}'"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot read {path} ({error.strerror}); name a TOML file that can be read") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML ({error}); fix it") from None


def _copy(tree: Keys) -> dict[str, JSON]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in tree.items()}


def _filled(tree: Keys, defaults: Keys) -> dict[str, JSON]:
    """A tree with the defaults where it says nothing."""
    filled = _copy(tree)
    for key, value in defaults.items():
        inner = filled.get(key)
        if key not in filled:
            filled[key] = _copy(value) if isinstance(value, Mapping) else value
        elif isinstance(inner, Mapping) and isinstance(value, Mapping):
            # Steps of one attack may mean nothing to another.
            is_other = key == "attack" and "name" in inner
            filled[key] = inner if is_other else _filled(inner, value)
    return filled


def set_key(tree: dict[str, JSON], name: str, value: Any) -> None:
    """Put a value under a dotted name into nested ones.

    Raises:
        ConfigError: a part of the name is there, and no section.
    """
    *sections, key = name.split(".")
    for section in sections:
        inner = tree.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{name} cannot be set, because {section} is a value and no section; remove one of them")
        tree = inner
    tree[key] = _copy(value) if isinstance(value, Mapping) else value


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    kind, value = first["type"], first["input"]
    name = _place(first["loc"])
    if name == SWEEP and kind == "extra_forbidden":
        return f"[{SWEEP}] varies keys over many runs; use 'perturblearn sweep', or leave that section out"
    if kind == "extra_forbidden":
        return f"there is no key {name}; {suggest_key(name)}"
    if kind == "invalid_key":
        return f"{value!r} is not the name of a key; {suggest_key(str(value))}"
    reason = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ").rstrip(".")
    if kind == "value_error":
        if not name:  # said of the experiment as a whole
            return reason
        section = isinstance(value, (Mapping, BaseModel))
        return f"{name}: {reason}" if section else f"{name} = {shown_value(value)}: {reason}"
    context = first.get("ctx", {})
    if "le" in context:  # a large whole number, or 1.0
        context = {**context, "le": f"{context['le']:,}".removesuffix(".0")}
    wanted = _WANTED.get(kind, reason).format(**context)
    return f"{name} = {shown_value(value)}, but it must be {wanted}"


def _place(parts: tuple[int | str, ...]) -> str:
    """The dotted name of a place, without positions in lists, and without the tags by which variants are chosen."""
    names: list[str] = []
    model: type[BaseModel] | None = ExperimentConfig
    waiting = iter(parts)
    for part in waiting:
        if isinstance(part, int):
            continue
        names.append(part)
        info = None if model is None else model.model_fields.get(part)
        kind = None if info is None else info.annotation
        model = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
        if model is not None and issubclass(model, Variants) and model.is_family():
            tag = next(waiting, None)
            model = next((each for each in model.variants() if each.__name__ == tag), None)
    return ".".join(names)


def shown_value(value: Any) -> str:
    """A value for a sentence, shortened if it is long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _commented(model: BaseModel, prefix: str) -> Iterator[str]:
    """A section's keys: those that do not apply to its variants here, or have no value, as comments."""
    sections: dict[str, BaseModel] = {
        name: value for name in type(model).model_fields if isinstance(value := getattr(model, name), BaseModel)
    }
    given = model.model_dump(mode="json", exclude=set(sections), exclude_none=True)
    for _, key in fields():
        place, _, name = key.name.rpartition(".")
        if place == prefix:
            yield f"# {key.description}"
            if isinstance(given.get(name), Mapping):
                yield f"{name} = {inline_table(given[name])}"
            elif name in given:
                yield tomli_w.dumps({name: given[name]}).strip()
            else:
                usual = (
                    ""
                    if name in type(model).model_fields or key.default is None
                    else tomli_w.dumps({name: key.default})
                )
                yield f"# {usual.strip() or f'{name} ='}"
    for name, section in sections.items():
        place = f"{prefix}.{name}" if prefix else name
        yield f"\n[{place}]"
        yield from _commented(section, place)
    yield from _of_other_variants(prefix, sections)


def _of_other_variants(prefix: str, sections: Collection[str]) -> Iterator[str]:
    """Sections of a section that its variant does not have, as comments."""
    last = ""
    for _, key in fields():
        place, _, name = key.name.rpartition(".")
        above, _, own = place.rpartition(".")
        if above != prefix or not place or own in sections:
            continue
        if place != last:
            yield f"\n# [{place}]"
            last = place
        yield f"# {key.description}"
        yield f"# {tomli_w.dumps({name: key.default}).strip()}"
