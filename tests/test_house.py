"""The order of the rooms, what importing costs, and what does not belong in the tree."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple, get_origin

import pytest

import perturblearn

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/perturblearn"
ORDER = (
    "errors", "seeding", "config", "store", "graph", "data", "classifiers", "attacks", "training", "perturbed",
    "theory", "experiment", "papers", "results", "report", "pages", "api", "cli",
)  # fmt: skip


LATER = {"results/shown.py": "report"}
"""The one file that imports a later room, when somebody wants to read or see a result."""


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports_in(path: Path) -> tuple[ast.Import | ast.ImportFrom, ...]:
    return tuple(node for node in ast.walk(tree_of(path)) if isinstance(node, (ast.Import, ast.ImportFrom)))


def imported_rooms(path: Path) -> set[str]:
    """Rooms of the package that a file imports, for its types too."""
    rooms = set()
    for node in imports_in(path):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            if node.module == "perturblearn":
                names = [f"perturblearn.{alias.name}" for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("perturblearn.")}
    return rooms


@pytest.mark.parametrize("room", ORDER)
def test_a_room_imports_only_from_rooms_before_it(room: str) -> None:
    files = [SOURCE / f"{room}.py"] if (SOURCE / f"{room}.py").exists() else sorted((SOURCE / room).rglob("*.py"))
    assert files
    allowed = set(ORDER[: ORDER.index(room) + 1])
    for path in files:
        exception = LATER.get(path.relative_to(SOURCE).as_posix())
        assert imported_rooms(path) - {exception} <= allowed, path.name


def test_a_later_room_is_imported_by_functions_alone() -> None:
    for name, room in LATER.items():
        tree = tree_of(SOURCE / name)
        outside = [node for node in tree.body if not isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.If))]
        assert f"perturblearn.{room}" not in "\n".join(map(ast.unparse, outside)), name


@pytest.mark.parametrize("room", ["results", "api"])
def test_figures_words_and_pages_are_imported_when_they_are_used(room: str) -> None:
    """Who runs an experiment does not wait for what draws figures."""
    for path in sorted((SOURCE / room).rglob("*.py")):
        imports = [
            each for each in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(each, ast.ImportFrom)
        ]
        rooms = {(each.module or "").removeprefix("perturblearn.").split(".")[0] for each in imports}
        assert not rooms & {"papers", "report", "pages"}, path.name


UNTYPED = re.compile(r"\b(Mapping|dict)\[str, (Any|object)\]")
"""A map that tells a reader and the type checker nothing of what it holds."""
FILE_BOUNDARY = ("to_dict", "from_dict", "as_cell", "from_cell", "from_row")
"""Methods by which values become the content of a file, and are made of it."""
UNTYPED_BY_DESIGN = {
    "store.Artefact.content": "the JSON of a file, of any form, that is read",
    "store.Record.result": "the JSON of a record, of any form, that is read",
    "report.to_plotly": "the JSON of a chart, for the page's script",
}
"""What may nevertheless pass between rooms as such a map, and why."""


class Annotation(NamedTuple):
    """A type in the signature of something public."""

    name: str
    text: str


def annotations_of(room: str, node: ast.stmt) -> Iterator[Annotation]:
    """The types of a public function's parameters and result, or of a class's public fields and methods."""
    match node:
        case ast.FunctionDef(name=name, args=args, returns=returns):
            each = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
            types = [returns, *(one.annotation for one in each if one is not None)]
            yield from (Annotation(f"{room}.{name}", ast.unparse(kind)) for kind in types if kind is not None)
        case ast.AnnAssign(target=ast.Name(id=name), annotation=kind):
            yield Annotation(f"{room}.{name}", ast.unparse(kind))
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            yield Annotation(
                f"{room}.{name}", ast.unparse(value) if isinstance(value, (ast.BinOp, ast.Subscript)) else ""
            )
        case ast.ClassDef(name=name, body=body):
            for member in body:
                for found in annotations_of(f"{room}.{name}", member):
                    own = found.name.rpartition(".")[2]
                    if (not own.startswith("_") or own == "__init__") and own not in FILE_BOUNDARY:
                        yield found
        case _:
            pass


def crossing() -> Iterator[Annotation]:
    """The types of all that one room imports from another."""
    trees = {path: tree_of(path) for path in sorted(SOURCE.rglob("*.py"))}
    room_of = {path: path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in trees}
    imported = {
        (room, alias.name)
        for path in trees
        for node in imports_in(path)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("perturblearn.")
        for alias in node.names
        if (room := str(node.module).split(".")[1]) != room_of[path]
    }
    for path, tree in trees.items():
        found = [each for node in tree.body for each in annotations_of(room_of[path], node)]
        # A name that only its own file gives to a type says no more than the type.
        own = {name.partition(".")[2]: text for name, text in found if tuple(name.split(".")) not in imported}
        for name, text in found:
            if tuple(name.split(".")[:2]) in imported:
                yield Annotation(name, " ".join((text, *(own.get(word, "") for word in re.findall(r"\w+", text)))))


def test_rooms_hand_each_other_typed_values() -> None:
    found = list(crossing())
    assert len(found) > 1000
    untyped = {name for name, text in found if UNTYPED.search(text)}
    assert untyped == set(UNTYPED_BY_DESIGN)


@pytest.mark.parametrize(
    ("code", "is_untyped"),
    [
        ("def f(a: int, *, b: Mapping[str, Any] | None = None) -> int: ...", True),
        ("def f() -> list[dict[str, object]]: ...", True),
        ("class A:\n    a: Mapping[str, Any]", True),
        ("class A:\n    def __init__(self, a: dict[str, Any]) -> None: ...", True),
        ("A = Mapping[str, Any] | None", True),
        ("class A:\n    def to_dict(self) -> dict[str, Any]: ...", False),
        ("class A:\n    def _a(self) -> dict[str, Any]: ...", False),
        ("def f(a: Mapping[str, float]) -> None: ...", False),
    ],
)
def test_an_untyped_map_is_found_wherever_it_stands(code: str, is_untyped: bool) -> None:
    (node,) = ast.parse(code).body
    assert any(UNTYPED.search(text) for _, text in annotations_of("room", node)) is is_untyped


def test_every_folder_is_a_room_with_a_place_in_the_order() -> None:
    rooms = {path.stem for path in SOURCE.iterdir() if not path.name.startswith("_") and path.suffix in ("", ".py")}
    assert rooms == set(ORDER)


def test_attacks_and_config_know_nothing_of_training_and_torch() -> None:
    for path in (SOURCE / "attacks").glob("*.py"):
        assert "training" not in imported_rooms(path)
    for path in (SOURCE / "config").glob("*.py"):
        assert "import torch" not in path.read_text(encoding="utf-8")


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, perturblearn; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("module", ["perturblearn", *(f"perturblearn.{room}" for room in ORDER)])
def test_public_names_exist_and_say_what_they_are(module: str) -> None:
    loaded = importlib.import_module(module)
    assert (loaded.__doc__ or "").strip()
    for name in getattr(loaded, "__all__", ()):
        value = getattr(loaded, name)
        is_alias = get_origin(value) is not None  # a type by another name
        if callable(value) and not is_alias and getattr(value, "__module__", "").startswith("perturblearn"):
            assert (value.__doc__ or "").strip(), f"{module}.{name}"


def test_what_is_public_is_listed_once() -> None:
    assert sorted(perturblearn.__all__) == sorted({*perturblearn._HOMES, *perturblearn._ROOMS})
    assert perturblearn.theory.gate_kernel is importlib.import_module("perturblearn.theory").gate_kernel
    assert "__version__" in dir(perturblearn)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        perturblearn.nothing  # noqa: B018


def test_no_file_holds_a_path_of_somebody_s_machine() -> None:
    pattern = re.compile(r"(?<![\w.:/])/(home|root|Users|work)/\w")
    for folder in ("src", "tests", "docs", "examples", "benchmarks"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".md", ".toml", ".txt"):
                assert not pattern.search(path.read_text(encoding="utf-8")), path
