"""Sections that come in variants, each a class of its own with just the keys that apply to it.

A class that lists `variants` is a family: a field of its type, or its ``model_validate``, takes the variant that the
keys ask for. Adding a variant is one class and its place in that list.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Self, TypeGuard

from pydantic import GetCoreSchemaHandler, field_validator, model_validator
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from perturblearn.config.section import Section, as_tuple
from perturblearn.config.values import Keys


class Variants(Section):
    """A family of variants, or one of them."""

    tag: ClassVar[str] = ""
    """How the variant is called where a user chooses it; two variants that other keys tell apart may share it."""
    inert: ClassVar[Keys] = {}
    """Values by which a key asks for nothing: a variant without the key leaves them out, and refuses all others. None
    leaves any key to its default."""

    @classmethod
    def variants(cls) -> tuple[type[Self], ...]:
        """The variants of a family, the default first."""
        raise NotImplementedError(f"{cls.__name__} is no family")

    @classmethod
    def variant_for(cls, keys: Keys) -> type[Self]:
        """The variant that some keys ask for; the default where they name none that there is."""
        raise NotImplementedError(f"{cls.__name__} is no family")

    @classmethod
    def is_family(cls) -> bool:
        """Whether this lists variants, rather than being one."""
        return "variants" in vars(cls)

    @classmethod
    def family(cls) -> type[Variants]:
        """The largest family that this belongs to."""
        return _family(cls)

    @classmethod
    def label(cls, keys: Keys) -> str:
        """The variant as a sentence calls it that refuses one of its keys."""
        return str(keys.get("name", cls.tag))

    @classmethod
    def with_key(cls, key: str) -> list[type[Variants]]:
        """The variants of the whole family to which a key applies."""
        return [each for each in cls.family().variants() if key in each.model_fields]

    @classmethod
    def refusal(cls, key: str, keys: Keys) -> str:
        """Why a key of other variants is refused, and what to do."""
        *most, last = dict.fromkeys(each.tag for each in cls.with_key(key))
        only = f", only to {', '.join(most)}{' and ' * bool(most)}{last}" if len(most) < 5 else ""
        return f"the key {key} does not apply to {cls.label(keys)}{only}; remove it"

    # ModelConfig(name="mlp") is an MLPConfig.
    def __new__(cls, *_: Any, **keys: Any) -> Self:
        """An instance of the variant that the keys ask for."""
        return super().__new__(cls.variant_for(keys) if cls.is_family() else cls)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A discriminated union for a family, a model for a variant."""
        if not cls.is_family():
            return handler(source)
        choices = {each.__name__: handler.generate_schema(each) for each in cls.variants()}
        first = cls.variants()[0]

        def tag_of(value: Any) -> str:
            if is_mapping(value):
                return cls.variant_for(value).__name__
            # What is no section is refused by any variant, in the same words.
            return (type(value) if isinstance(value, cls) else first).__name__

        # An instance is written as what it is, without asking again which variant that is.
        as_it_is = core_schema.simple_ser_schema("any")
        return core_schema.tagged_union_schema(choices, discriminator=tag_of, serialization=as_it_is)

    @model_validator(mode="before")
    @classmethod
    def _without_other_keys(cls, values: Any) -> Any:
        if not is_mapping(values):
            return values
        fields = cls.__pydantic_fields__
        if values.keys() <= fields.keys() and not any(value is None for value in values.values()):
            return values
        own: dict[Any, Any] = {}
        for key, value in values.items():
            if value is None and cls.with_key(key):
                continue
            if key not in fields and cls.with_key(key):
                inert = cls.family().inert.get(key)
                if inert is None or (as_tuple(value) if isinstance(inert, tuple) else value) != inert:
                    raise ValueError(cls.refusal(key, values))
            else:
                own[key] = value
        return own


def is_mapping(value: Any) -> TypeGuard[Keys]:
    """Whether a value is a section's keys."""
    # A sweep asks this a hundred thousand times, and what an abstract class has to say takes longest.
    return type(value) is dict or isinstance(value, Mapping)


@cache
def _family(variant: type[Variants]) -> type[Variants]:
    return [each for each in variant.__mro__ if "variants" in vars(each)][-2]  # the last is the base of all


class NamedVariants(Variants):
    """Variants that the key ``name`` tells apart."""

    noun: ClassVar[str] = ""
    """What the family's names are names of."""
    is_own: ClassVar[bool] = False
    """Whether this is code of the user's."""
    is_listed: ClassVar[bool] = True
    """Whether users can choose it by its name."""

    name: str

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """A name with a default is the variant's."""
        default = cls.model_fields["name"].default
        if isinstance(default, str):
            cls.tag = default

    @classmethod
    def answers_to(cls, name: str) -> bool:
        """Whether the variant has this name."""
        return name == cls.tag

    @classmethod
    def named(cls, name: object) -> type[Self] | None:
        """The family's variant of this name; None if there is none."""
        return _named(cls, name) if isinstance(name, str) else None

    @classmethod
    def variant_for(cls, keys: Keys) -> type[Self]:
        """See `Variants.variant_for`."""
        return cls.named(keys.get("name")) or cls.variants()[0]

    @field_validator("name", mode="before")
    @classmethod
    def _is_known(cls, name: Any) -> Any:
        if name == cls.tag:
            return name
        if not isinstance(name, str):
            raise PydanticKnownError("string_type")
        if cls.family().named(name) is None:  # pyright: ignore[reportAttributeAccessIssue] - it has names too
            raise ValueError(cls._unknown())
        return name

    @classmethod
    def _unknown(cls) -> str:
        variants = [each for each in cls.family().variants() if issubclass(each, NamedVariants) and each.is_listed]
        last = variants.pop() if variants[-1].is_own else None
        own = "" if last is None else f", or name your own as {last.tag}"
        return f"there is no such {cls.noun}; choose {', '.join(each.tag for each in variants)}{own}"


@cache
def _named(family: type[Any], name: str) -> type[Any] | None:
    return next((each for each in family.variants() if each.answers_to(name)), None)
