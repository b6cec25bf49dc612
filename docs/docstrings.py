"""Checks of the docstrings of public names, beyond those of ruff; part of `make lint`.

    python docs/docstrings.py

For every name in the ``__all__`` of the package and of its rooms, and for the public methods of classes there:

- a section ``Args`` explains every argument, under its real name; it may be left out where the text has every
  argument's name or says where they are explained, by a function of one argument, and by a method that a base class
  explains;
- an error that the body raises stands under ``Raises``;
- a name in backticks exists;
- a numeric function of `attacks` and `theory` gives the shapes of its tensors, in its types or in words, and its
  source: a paper with section or equation, or a paper by its title, or ``[own]`` for what was derived or chosen here.

Prints what it finds, one line each, and exits with 1 if there is any.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from functools import cached_property
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import torch
from pydantic import BaseModel

import perturblearn

ROOT = Path(__file__).parents[1]
ROOMS = (
    "api", "attacks", "classifiers", "config", "data", "errors", "experiment", "graph", "papers", "perturbed", "report",
    "store", "theory", "training",
)  # fmt: skip
NUMERIC_ROOMS = ("attacks", "theory")
SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Example")

SHAPE = re.compile(r"\((?:[A-Za-z]\w*'?|\d+|\.\.\.)(?:, ?(?:[\w'^ +]+|\.\.\.|\*\w+))*,?\)|[Ss]haped as")
SOURCE = re.compile(
    r"\[[^\]]*(?:NeurIPS24|ICLR24|Frei23)[^\]]*(?:section|equation|appendix|figures)[^\]]*\]"
    r"|\"[^\"]+\",\s[^)]*\d{4}"  # a paper by its title, where and when
    r"|\[own\]",
    re.DOTALL,
)
ELSEWHERE = re.compile(r"same arguments|these arguments|as (?:for|in) `|see `|see the class")


@dataclass(frozen=True)
class Subject:
    """A public function, method, property or class.

    Args:
        name: its dotted name.
        room: the room that has it.
        thing: the object itself.
        module: where it is defined.
        owner: the class, for a method.
    """

    name: str
    room: str
    thing: Any
    module: ModuleType
    owner: type | None = None

    @cached_property
    def text(self) -> str:
        """Its own docstring, without indentation."""
        return inspect.cleandoc(self.thing.__doc__ or "")

    @cached_property
    def sections(self) -> dict[str, str]:
        """The text before the first section under "", and every section's."""
        found = {"": ""}
        current = ""
        for line in self.text.splitlines():
            if line.removesuffix(":") in SECTIONS and line.endswith(":"):
                current = line.removesuffix(":")
                found[current] = ""
                continue
            if line and not line.startswith(" "):
                current = ""  # unindented lines after a section are text again
            found[current] += line + "\n"
        return found

    def entries(self, section: str) -> list[str]:
        """The names that a section explains: the text before the colon in lines of the section's own indentation."""
        body = textwrap.dedent(self.sections.get(section, ""))
        # An entry with many names may continue on the next line, indented further and still before the colon.
        entries = re.findall(r"^(\w[\w, *\n]*?)(?:\s*\([^)]*\))?:(?:\s|$)", body, re.MULTILINE)
        return [name.strip(" *\n") for entry in entries for name in entry.split(",") if name.strip()]

    @property
    def function(self) -> FunctionType | None:
        """The function whose body and arguments are checked, if there is one."""
        inner = self.thing.func if hasattr(self.thing, "func") else getattr(self.thing, "fget", self.thing)
        inner = inspect.unwrap(getattr(inner, "__func__", inner))
        return inner if isinstance(inner, FunctionType) else None

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """Names of the arguments; for a class those of its constructor."""
        if isinstance(self.thing, type):
            if issubclass(self.thing, BaseModel | Exception) or "__init__" not in vars(self.thing):
                return ()
            if getattr(self.thing, "_is_protocol", False):
                return ()
            names = list(inspect.signature(vars(self.thing)["__init__"]).parameters)
            if is_dataclass(self.thing):  # inherited fields are explained by their own class
                names = [name for name in names if name in self.thing.__annotations__]
        elif self.function is None:
            return ()
        else:
            names = list(inspect.signature(self.function).parameters)
        return tuple(name for name in names if name not in ("self", "cls"))

    @property
    def is_override(self) -> bool:
        """Whether it is a method that a base class has already."""
        own = self.name.rpartition(".")[2]
        return self.owner is not None and any(own in vars(base) for base in self.owner.__mro__[1:])

    @cached_property
    def raised(self) -> set[str]:
        """Names of the errors that the body raises itself."""
        if self.function is None:
            return set()
        tree = ast.parse(textwrap.dedent(inspect.getsource(self.function)))
        return {name for name in (_name_raised(node) for node in own_nodes(tree.body[0])) if name[:1].isupper()}


def _name_raised(node: ast.AST) -> str:
    if not isinstance(node, ast.Raise) or node.exc is None:
        return ""
    called = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return called.id if isinstance(called, ast.Name) else ""


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function's body, without the functions that it defines."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.Lambda | ast.AsyncFunctionDef):
            yield child
            yield from own_nodes(child)


def subjects() -> Iterator[Subject]:
    """Every public name once, with the public methods of its class."""
    seen: set[int] = set()
    for room in ROOMS:
        module = importlib.import_module(f"perturblearn.{room}")
        for name in getattr(module, "__all__", [key for key in vars(module) if key[0].isupper()]):
            thing = getattr(module, name)
            home = inspect.getmodule(thing)
            if id(thing) in seen or home is None or not home.__name__.startswith("perturblearn"):
                continue
            if not isinstance(inspect.unwrap(thing), type | FunctionType):
                continue  # a constant: ruff and Sphinx see its docstring
            seen.add(id(thing))
            yield Subject(f"perturblearn.{room}.{name}", room, thing, home)
            if isinstance(thing, type):
                for key, member in vars(thing).items():
                    if not key.startswith("_") and getattr(member, "__doc__", None) and not isinstance(member, type):
                        found = Subject(f"perturblearn.{room}.{name}.{key}", room, member, home, thing)
                        if found.function is not None and found.function.__module__ == home.__name__:
                            yield found


def faults(subject: Subject) -> Iterator[str]:
    """The faults of one docstring."""
    if not subject.text:
        yield "has no docstring"
        return
    yield from _faults_of_arguments(subject)
    as_elsewhere = "with these arguments" in subject.text
    missing = (
        set[str]()
        if as_elsewhere
        else subject.raised - set(subject.entries("Raises")) - {"NotImplementedError", "AssertionError"}
    )
    if missing:
        yield f"raises {', '.join(sorted(missing))}, which Raises does not list"
    without_roles = re.sub(r":\w+:`[^`]*`|``[^`]*``", "", subject.text)
    for word in re.findall(r"`([^`]+)`", without_roles):
        if not _exists(word, subject):
            yield f"mentions `{word}`, which does not exist"
    if subject.room in NUMERIC_ROOMS and _is_numeric(subject):
        if _has_bare_tensors(subject) and not subject.is_override and not SHAPE.search(subject.text):
            yield "gives no shapes"
        if subject.owner is None and not SOURCE.search(subject.text):  # a method's is its class's
            yield "names no source: [paper, section], a title with its year, or [own]"


def _faults_of_arguments(subject: Subject) -> Iterator[str]:
    documented = subject.entries("Args")
    if "Args" in subject.sections:
        names = set(documented)
        known = set(subject.arguments) | _fields(subject.thing)
        if names - known:
            yield f"explains {', '.join(sorted(names - known))}, which are not arguments"
        if set(subject.arguments) - names:
            yield f"does not explain {', '.join(sorted(set(subject.arguments) - names))}"
    elif len(subject.arguments) > 1 and not subject.is_override and not ELSEWHERE.search(subject.text):
        silent = [name for name in subject.arguments if not re.search(rf"\b{name.rstrip('s')}", subject.text)]
        if silent:
            yield f"has no Args and does not mention {', '.join(silent)}"


def _fields(thing: Any) -> set[str]:
    if not isinstance(thing, type):
        return set()
    return {name for base in thing.__mro__ for name in (*vars(base).get("__annotations__", {}), *vars(base))}


def _exists(word: str, subject: Subject) -> bool:
    if word in subject.arguments or word in _fields(subject.owner) | _fields(subject.thing):
        return True
    rooms = [importlib.import_module(f"perturblearn.{room}") for room in ROOMS]
    places = (subject.module, perturblearn, builtins, torch, *rooms)
    return any(_has(place, word.removeprefix("perturblearn.")) for place in places)


def _has(place: Any, dotted: str) -> bool:
    for part in dotted.removesuffix("()").split("."):
        if part in _fields(place):  # a field without a default is not an attribute of its class
            return True
        if not hasattr(place, part):
            return False
        place = getattr(place, part)
    return True


def _is_numeric(subject: Subject) -> bool:
    if not isinstance(subject.thing, FunctionType):
        return False
    annotations = subject.thing.__annotations__
    return any("Tensor" in str(annotation) for annotation in annotations.values())


def _has_bare_tensors(subject: Subject) -> bool:
    """Whether a tensor's type says nothing of its shape."""
    annotations = " ".join(str(annotation) for annotation in subject.thing.__annotations__.values())
    return "Tensor" in re.sub(r"\w+\[Tensor, *(\"[^\"]*\"|'[^']*')\]", "", annotations)


def main() -> int:
    """Check every public name."""
    count = 0
    for subject in subjects():
        for fault in faults(subject):
            source = Path(subject.module.__file__ or "").relative_to(ROOT)
            print(f"{source}: {subject.name} {fault}")
            count += 1
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main())
