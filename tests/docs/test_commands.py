"""Every command that a page names exists, and its arguments are what the command takes.

What a command prints is tested where pages show it (`test_outputs.py`), what it does in `tests/cli`.
"""

from __future__ import annotations

import argparse
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from cyclopts import CycloptsError
from tests.docs.pages import ROOT, Command, commands, pages

from perturblearn.api import prepare_reproduction, read_runs
from perturblearn.cli import main
from perturblearn.cli.app import app
from perturblearn.cli.arguments import refuse_network_keys, split_arguments, split_epsilons, split_networks
from perturblearn.config import resolve_config, resolve_sweep
from perturblearn.errors import PerturbLearnError
from perturblearn.experiment import DEEP_DEFAULTS
from perturblearn.papers import CONSTRUCTED_SETS

WRITTEN = {
    "experiment.toml": None,
    "config.toml": None,
    "sweep.toml": "examples/sweep.toml",
    "imagenette.toml": "examples/pretrained/imagenette.toml",
}
"""Files that a command writes or that the reader does, and what stands for them here; None: the defaults."""
OF_A_SET = ("perturbation", "controls", "measures", "mixing", "seeds", "name")
SWEEP = (
    "[data]\nname = 'gauss'\nn_samples = 40\nn_heldout = 40\ninput_dim = 10\n[standard]\nepochs = 2\n[perturbation]\n"
    "epochs = 2\n[controls]\ndraws = 1\n[sweep.grid]\nseeds = [0, 1]\n"
)
SWEPT = {"sweep": "'attack.epsilon' = [0.2, 0.5]", "studies-orthogonality": "'standard.model.slope' = [0.1, 0.3]"}
"""Sweeps that pages ask for runs of, and what varies in them here."""

Words = Sequence[str]


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of small sweeps, to be asked for their runs."""
    folder = tmp_path_factory.mktemp("records")
    for name, varied in SWEPT.items():
        (folder / f"{name}.toml").write_text(f"name = '{name}'\n{SWEEP}{varied}\n", encoding="utf-8")
        assert main(["sweep", str(folder / f"{name}.toml"), "--out", str(folder / "runs"), "--quiet"]) == 0
    return folder / "runs"


def check_perturblearn(words: Words, records: Path) -> None:
    """As the command line reads it, up to the point where data would be read."""
    words = list(words[1 : words.index(">")] if ">" in words else words[1:])
    assert words[0] in app, f"there is no command {words[0]}"
    if len(words) == 1 or "--help" in words:  # the command as such, within a sentence
        return
    command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    given = bound.arguments
    file, keys = split_arguments(given.get("words", ()))
    path = WRITTEN.get(file or "", file)
    data = getattr(given.get("data"), "data", given.get("data"))
    if data is not None:
        keys["data.name"] = data
    match command.__name__:
        case "perturb" if file == CONSTRUCTED_SETS.name:
            assert len(list(CONSTRUCTED_SETS.at(given.get("scale") or "quick").with_keys(keys).points())) == 4
        case "run" | "perturb":
            resolve_config(_existing(path), keys)
        case "init":
            resolve_config(None, keys)
        case "sweep":
            swept = _existing(path)
            assert swept is not None
            assert resolve_sweep(swept, keys).points()
        case "learn":
            assert path is None
            assert {key.partition(".")[0] for key in keys} <= set(OF_A_SET)
            resolve_config(None, keys)
        case "audit":
            networks = split_networks(given.get("learner") or "convnet", keys)
            refuse_network_keys(keys, "--learner")
            assert split_epsilons(given.get("epsilons") or "l2:1")
            for network, own in networks.items():
                of_network = {f"perturbation.{key}": value for key, value in own.items()}
                names = {"standard.model.name": given["model"], "perturbation.model.name": network}
                resolve_config(_existing(path), {**keys, **of_network, **names}, defaults=DEEP_DEFAULTS)
        case "transfer":
            for network, own in split_networks(given["networks"], keys).items():
                of_network = {f"standard.{key}": value for key, value in own.items()}
                names = {"standard.model.name": network, "perturbation.model.name": "mlp"}
                resolve_config(_existing(path), {**keys, **of_network, **names}, defaults=DEEP_DEFAULTS)
            refuse_network_keys(keys, "--networks")
        case "reproduce":
            options = {name: given[name] for name in ("scale", "seeds", "curves", "most", "draws") if name in given}
            assert file is not None
            prepare_reproduction(file, panels=given.get("panel") or None, overrides=keys, **options)
        case "results":
            options = {name: given[name] for name in ("where", "sweep", "sort", "failed") if name in given}
            columns = given["columns"].split(",") if given.get("columns") else None
            found = read_runs(records, columns=columns, **options)
            assert len(found.rows) > 0 or given.get("failed")
        case name:
            assert name in ("theory", "verify", "list_figures", "report", "index", "compare", "clean", "export"), (
                f"{name} is not covered"
            )


def _existing(path: str | None) -> Path | None:
    if path is None:
        return None
    assert (ROOT / path).is_file(), f"there is no file {path}"
    return ROOT / path


def check_make(words: Words, records: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in (word for word in words[1:] if "=" not in word):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"there is no target {target}"


class ParsedError(Exception):
    """A script has understood its arguments, and goes no further."""


def check_python(words: Words, records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script's own parser takes these arguments."""
    if words[1] == "prepare.py":  # run in `test_python.py`
        assert (ROOT / "examples/own_model/prepare.py").is_file()
        return
    script = ROOT / words[1]
    source = script.read_text(encoding="utf-8")
    if "argparse" not in source:
        assert len(words) <= 2 or f"{words[1]} {words[2]}" in source or "sys.argv" in source
        return
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser: argparse.ArgumentParser) -> None:
        parse(parser)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    monkeypatch.setattr(sys, "argv", [str(script), *words[2:]])
    monkeypatch.syspath_prepend(str(script.parent))
    with pytest.raises(ParsedError):
        runpy.run_path(str(script), run_name="__main__")


def check_torchrun(words: Words, records: Path) -> None:
    start = words.index("-m") + 1
    assert words[start] == "perturblearn"
    check_perturblearn(words[start:], records)


def check_sbatch(words: Words, records: Path) -> None:
    script = next(place for place, word in enumerate(words) if word.endswith(".sbatch"))
    assert (ROOT / words[script]).is_file()
    check_perturblearn(["perturblearn", "sweep", *words[script + 1 :]], records)


def check_pip(words: Words, records: Path) -> None:
    if "-r" in words:
        assert (ROOT / words[words.index("-r") + 1]).is_file()
        return
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = re.fullmatch(r"(?:perturblearn|\.)(?:\[(\w+)\])?", words[2])
    assert extra is not None
    assert extra[1] is None or extra[1] in project["optional-dependencies"]


def check_ray(words: Words, records: Path) -> None:
    """Ray's own command line has these options."""
    from ray.scripts.scripts import start

    known = {option for parameter in start.params for option in parameter.opts}
    assert words[1] == "start"
    assert {word for word in words if word.startswith("--")} <= known


def check_place(words: Words, records: Path) -> None:
    """A folder of the checkout, or what `make` makes there."""
    assert words[1] == ".venv/bin/activate" or (ROOT / words[1]).is_dir()


CHECKS: dict[str, Callable[..., None]] = {
    "perturblearn": check_perturblearn,
    "make": check_make,
    "python": check_python,
    "torchrun": check_torchrun,
    "sbatch": check_sbatch,
    "pip": check_pip,
    "ray": check_ray,
    "cd": check_place,
    ".": check_place,
}
EVERY = list({command.words: command for page in pages() for command in commands(page)}.values())


@pytest.mark.parametrize("command", EVERY, ids=str)
def test_a_command_is_what_the_program_takes(command: Command, records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = CHECKS.get(command.words[0])
    assert check is not None, f"nothing checks {command}"
    more = {"monkeypatch": monkeypatch} if check is check_python else {}
    check(command.words, records, **more)


@pytest.mark.parametrize(
    "line",
    [
        "perturblearn walk",
        "perturblearn run --attack.epsilno 1",
        "perturblearn run examples/no_such_file.toml",
        "perturblearn run --standard.lr",
        "perturblearn audit --model nets:load --learner convnet --mlp.epochs 3",
        "perturblearn transfer --networks mlp,mlp",
        "perturblearn learn sets/a --attack.epsilon 1",
        "perturblearn reproduce neurips2024/no_such_figure --scale full",
        "perturblearn results --columns no_such_column",
        "make no_such_target",
        "python benchmarks/training.py --no-such-option",
        "pip install perturblearn[nothing]",
        "cd examples/nowhere",
        "ray start --no-such-option",
    ],
)
def test_a_command_that_is_wrong_is_found(line: str, records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(line)
    more = {"monkeypatch": monkeypatch} if words[0] == "python" else {}
    with pytest.raises((AssertionError, PerturbLearnError, CycloptsError, SystemExit)):
        CHECKS[words[0]](words, records, **more)


def test_the_pages_name_commands() -> None:
    assert len(EVERY) > 100
