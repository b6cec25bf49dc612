"""What audits and transfer matrices share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.report.cells import cell
from torch import nn

from perturblearn import Audit, ExperimentConfig, Result, StoreError, TransferMatrix
from perturblearn.classifiers import hand_over
from perturblearn.config import config_tree, resolve_config
from perturblearn.results import short_names, size_of
from perturblearn.store import ArtefactStore


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["mlp", "mypackage.nets:make_transformer"], ["mlp", "make_transformer"]),
        (["a.nets:make", "b.nets:make"], ["a.nets:make", "b.nets:make"]),
        (["a.first:make", "a.second:make", "a.third:other"], ["first:make", "second:make", "other"]),
        (["mlp", "own:mlp"], ["mlp", "own:mlp"]),
        (["deep.own:net", "own:net"], ["deep.own:net", "own:net"]),
    ],
)
def test_names_are_as_short_as_they_can_be_told_apart(names: list[str], expected: list[str]) -> None:
    assert short_names([*names, names[0]]) == dict(zip(names, expected, strict=True))


class Narrow(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 2)


def test_objects_are_called_by_their_classes_where_these_are_known_and_tell_them_apart() -> None:
    factory, module, unnamed = hand_over(Narrow), hand_over(nn.Linear(4, 2)), hand_over(lambda: nn.Linear(4, 3))
    elsewhere = "python:0123456789abcdef"
    assert list(short_names([factory, module, unnamed, elsewhere]).values()) == [
        "Narrow (object)", "Linear (object)", f"object {unnamed[7:13]}", "object 012345",
    ]  # fmt: skip
    another = hand_over(nn.Linear(4, 5))
    assert list(short_names([module, another]).values()) == [f"object {module[7:13]}", f"object {another[7:13]}"]


@pytest.mark.parametrize(
    ("keys", "size"),
    [
        ({"name": "pgd", "norm": "l2", "epsilon": 0.5}, (0.5, "0.5")),
        ({"name": "radial_pgd", "norm": "l0", "pixels": 5}, (5.0, "5 px")),
        ({"name": "radial_pgd", "norm": "l0", "pixel_share": 0.25}, (25.0, "25 % px")),
        ({"name": "one_step", "norm": "l0", "pixels": 5, "epsilon": 2.0}, (2.0, "2")),
    ],
)
def test_the_size_of_an_attack_is_what_bounds_it(keys: dict[str, Any], size: tuple[float, str]) -> None:
    config = resolve_config({}, {f"attack.{name}": value for name, value in keys.items()})
    assert size_of(config.attack) == size


@pytest.mark.parametrize(
    ("g", "controls", "expected"),
    [
        ([0.5, 0.5], (0.1, 0.2), True),
        ([0.5, 0.5], (0.1, 0.5), False),  # as good as a control is not better
        ([0.08, 0.08], (0.05, 0.05), False),  # better than the controls, below chance
        ([0.5, 0.5], None, None),
    ],
)
def test_learned_is_what_beats_controls_and_chance(g: list[float], controls: Any, expected: bool | None) -> None:
    assert cell(g, controls=controls).has_learned is expected


OTHERS: dict[str, dict[str, Any]] = {
    "same": {},
    "more keys": {"norm": "linf", "epsilon": 0.25, "steps": 7, "random_start": True},
    "fewer keys": {"name": "radial_pgd", "norm": "l0", "pixels": 5},
    "another learner": {"names": ("mlp", "convnet")},
}


@pytest.mark.parametrize("options", OTHERS.values(), ids=OTHERS)
def test_a_cell_comes_back_from_its_changes(options: dict[str, Any]) -> None:
    first = cell([0.5], steps=20).config
    other = cell([0.5], linear=[0.2], **options)
    content = json.loads(json.dumps(other.as_cell(first), allow_nan=False))
    whole = {"config": config_tree(first), "versions": other.versions}
    assert Result.from_cell(content, whole) == other


def test_changes_name_what_differs_and_nothing_else() -> None:
    first, other = cell([0.5], steps=20, epsilon=1.0), cell([0.5], epsilon=0.5, norm="linf")
    assert first.as_cell(first.config)["changes"] == {}
    changes = {"attack.epsilon": 0.5, "attack.norm": "linf", "attack.steps": 100}
    assert other.as_cell(first.config)["changes"] == changes


def audit(tmp_path: Path) -> Path:
    folder = Audit([cell([0.5, 0.6])], "key", "small").write(ArtefactStore(tmp_path / ".store"), tmp_path / "it").folder
    assert folder is not None
    return folder


def transfer(tmp_path: Path) -> Path:
    matrix = TransferMatrix({("mlp", "mlp"): cell([0.5, 0.6])}, {}, "key", "small")
    folder = matrix.write(ArtefactStore(tmp_path / ".store"), tmp_path / "it").folder
    assert folder is not None
    return folder


KINDS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], Any], int]] = {
    "audit": (audit, Audit.load, Audit.form.schema),
    "transfer": (transfer, TransferMatrix.load, TransferMatrix.form.schema),
}

NAMES = {"audit": "audit", "transfer": "transfer matrix"}

DAMAGED: dict[str, Callable[[dict[str, Any]], str]] = {
    "empty": lambda _: "",
    "half": lambda content: json.dumps(content)[:-20],
    "list": lambda _: "[1]",
    "no schema": lambda content: json.dumps({key: content[key] for key in content if key != "schema"}),
    "no cells": lambda content: json.dumps({key: content[key] for key in content if key != "cells"}),
    "odd cells": lambda content: json.dumps({**content, "cells": [1]}),
    "odd schema": lambda content: json.dumps({**content, "schema": "one"}),
    "config": lambda content: json.dumps({**content, "config": {"seeds": 0}}),
    "config is a path": lambda content: json.dumps({**content, "config": "experiment.toml"}),
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_told(tmp_path: Path, kind: str, damage: Callable[[dict[str, Any]], str]) -> None:
    write, load, _ = KINDS[kind]
    path = write(tmp_path) / f"{kind}.json"
    path.write_text(damage(json.loads(path.read_text())))
    with pytest.raises(StoreError, match=rf"{kind}\.json is damaged .*; run the {kind} again with --force$"):
        load(path.parent)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_newer_version_wrote_is_told_from_damage(tmp_path: Path, kind: str) -> None:
    write, load, schema = KINDS[kind]
    path = write(tmp_path) / f"{kind}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": schema + 1}))
    with pytest.raises(StoreError, match=rf"newer version of perturblearn; update it to read this {NAMES[kind]}$"):
        load(path.parent)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_without_one_is_told(tmp_path: Path, kind: str) -> None:
    with pytest.raises(
        StoreError, match=rf"cannot read .*{kind}\.json \(.*\); name the folder of a finished {NAMES[kind]}$"
    ):
        KINDS[kind][1](tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_an_older_folder_is_replaced(tmp_path: Path, kind: str) -> None:
    write, load, _ = KINDS[kind]
    folder = write(tmp_path)
    (folder / "old").touch()
    assert load(write(tmp_path)) == load(folder)
    assert {path.name for path in folder.iterdir()} == {
        *(f"{kind}.json", f"{kind}.png", "table.csv", "table.tex", "cells")
    }
    (toml,) = (folder / "cells").iterdir()
    assert isinstance(resolve_config(toml), ExperimentConfig)
