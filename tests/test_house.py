"""The order of the rooms, what importing costs, and what does not belong in the tree."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import get_origin

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


def imported_rooms(path: Path) -> set[str]:
    """Rooms of the package that a file imports, for its types too."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
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
        tree = ast.parse((SOURCE / name).read_text(encoding="utf-8"))
        outside = [node for node in tree.body if not isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.If))]
        assert f"perturblearn.{room}" not in "\n".join(map(ast.unparse, outside)), name


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
