"""Finished stages in a cache that runs of many output folders share."""

from __future__ import annotations

import json
import os
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from tests.cli.commands import DIGITS, TINY, records, refuse, run_folders, say

from perturblearn import compare_with_theory, learn_from_perturbations, plan
from perturblearn.config import parse_value
from perturblearn.errors import ConfigError

KEYS = {
    name: parse_value(name, text)
    for name, text in zip((word.removeprefix("--") for word in TINY[::2]), TINY[1::2], strict=True)
}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PERTURBLEARN_CACHE", raising=False)
    monkeypatch.delenv("PERTURBLEARN_CACHE_SIZE", raising=False)


def artefacts(folder: str) -> list[Path]:
    return sorted(Path(folder).glob("artefacts/*/*"))


def size_of(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).glob("artefacts/*/*/*"))


def measured(content: dict[str, Any]) -> dict[str, Any]:
    """A result without what differs between equal runs: where it lies and how long it took."""
    return {**content, "folder": None, "seconds": 0}


def test_two_output_folders_share_one_cache(capsys: pytest.CaptureFixture[str]) -> None:
    first = say(capsys, "run", *DIGITS, "--out", "one", "--cache-dir", "cache")
    assert "7 stages ran in" in first.out
    second = say(capsys, "run", *DIGITS, "--out", "two", "--cache-dir", "cache")
    assert "All stages were already finished; nothing had to run." in second.out
    assert len(artefacts("cache")) == 9  # with the comparison with theory and the decision map
    results = []
    for out in ("one", "two"):
        assert artefacts(f"{out}/.store") == []
        assert [record.state for record in records(Path(out))] == ["finished"]
        (folder,) = run_folders(Path(out))
        assert len(list(folder.glob("seed-0/*.safetensors"))) == 4
        results.append(measured(json.loads((folder / "result.json").read_text())))
    assert results[0] == results[1]


def test_the_run_s_folder_is_never_made_in_the_cache(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The cache may be another disk, from which no rename leads to the output folder.
    rename = os.rename

    def within_one_disk(source: Path, target: Path) -> None:
        disks = {(tmp_path / path).relative_to(tmp_path).parts[0] for path in (source, target)}
        if len(disks) > 1:
            raise OSError(18, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr("os.rename", within_one_disk)
    said = say(capsys, "run", *TINY, "--cache-dir", "cache", "--json")
    assert (said.code, said.err) == (0, "")
    compared = say(capsys, "theory", said.json["folder"], "--cache-dir", "cache", "--quiet")
    assert (compared.code, compared.err) == (0, "")


def test_the_variables_name_a_cache_and_its_size_and_options_win(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ("run", *TINY, "--quiet", "--no-report", "--out")
    monkeypatch.setenv("PERTURBLEARN_CACHE", "variable")
    assert say(capsys, *run, "one").code == 0
    assert len(artefacts("variable")) == 7
    assert say(capsys, *run, "two", "--cache-dir", "option").code == 0
    assert len(artefacts("option")) == 7
    monkeypatch.setenv("PERTURBLEARN_CACHE_SIZE", "3 kB")
    assert say(capsys, *run, "three", "--cache-dir", "limited").code == 0
    assert 0 < size_of("limited") <= 3000
    wide = say(capsys, *run, "four", "--cache-dir", "wide", "--cache-size", "1GB")
    assert (wide.code, len(artefacts("wide"))) == (0, 7)
    monkeypatch.setenv("PERTURBLEARN_CACHE", "")
    monkeypatch.setenv("PERTURBLEARN_CACHE_SIZE", "")
    assert say(capsys, *run, "five").code == 0
    assert len(artefacts("five/.store")) == 7


def test_a_cache_too_small_for_the_run_changes_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    expected = say(capsys, "run", *TINY, "--out", "wide", "--json").json
    for size, *report in ((1, "--no-report"), (2500, "--no-report"), (6000,)):  # nothing, a single stage, some stages
        cache = ("--cache-dir", f"cache{size}", "--cache-size", size)
        said = say(capsys, "run", *TINY, "--out", f"out{size}", *cache, "--json", *report)
        assert (said.code, said.err) == (0, "")
        assert measured(said.json) == measured(expected)
        assert size_of(f"cache{size}") <= size


def test_what_was_not_used_for_longest_goes(capsys: pytest.CaptureFixture[str]) -> None:
    def run(out: str, *more: object) -> set[Path]:
        before = set(artefacts("cache"))
        told = say(capsys, "run", *TINY, *more, "--out", out, "--cache-dir", "cache", "--quiet", "--no-report")
        assert told.code == 0
        return set(artefacts("cache")) - before

    first, second = run("one"), run("two", "--attack.epsilon", "2")
    assert (len(first), len(second)) == (7, 4)
    assert run("three") == set()  # reads again what the first run wrote
    # Four stages more, of about the size of the second run's: room for less than half of them.
    third = run("four", "--attack.epsilon", "3", "--cache-size", size_of("cache") + 2000)
    assert len(third) == 4
    left = set(artefacts("cache"))
    assert first <= left
    assert len(second & left) < 3


def test_a_plan_finds_what_the_cache_holds_and_makes_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cache = ("--cache-dir", "cache", "--cache-size", "1GB")
    assert "7 to run, 0 finished" in say(capsys, "run", *TINY, *cache, "--plan").out
    assert list(tmp_path.iterdir()) == []
    say(capsys, "run", *TINY, *cache, "--quiet")
    assert "0 to run, 7 finished" in say(capsys, "run", *TINY, *cache, "--plan", "--out", "elsewhere").out
    assert "7 to run, 0 finished" in say(capsys, "run", *TINY, "--plan").out  # the output folder has no stages


def test_theory_finds_the_run_s_stages_in_the_cache(capsys: pytest.CaptureFixture[str]) -> None:
    folder = say(capsys, "run", *TINY, "--cache-dir", "cache", "--no-report", "--json").json["folder"]
    before = set(artefacts("cache"))
    said = say(capsys, "theory", folder, "--cache-dir", "cache", "--cache-size", "1GB", "--json")
    assert (said.code, said.err) == (0, "")
    assert said.json == json.loads((Path(folder) / "theory" / "comparison.json").read_text())
    assert len(set(artefacts("cache")) - before) == 2  # the comparison and the map; nothing was trained again
    assert artefacts("runs/.store") == []


@pytest.mark.parametrize("at", [0.02, 0.5, 0.98])
def test_a_flipped_bit_is_told_and_computed_again(capsys: pytest.CaptureFixture[str], at: float) -> None:
    command = ("run", *DIGITS, "--cache-dir", "cache", "--json", "--no-report")
    first = say(capsys, *command).json
    Path(first["folder"]).rename("elsewhere")
    path = next(Path("cache").glob("artefacts/*/*/tensors.safetensors"))
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 1
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        said = say(capsys, *command)
    assert said.code == 0
    assert said.err == f"perturblearn: warning: the stored result {path.parent} is damaged; it is computed again\n"
    assert measured(said.json) == measured(first)
    assert path.read_bytes() != bytes(content)
    again = json.loads((Path(said.json["folder"]) / "result.json").read_text())
    assert again["summary"] == first["summary"]


def test_in_python_too(tmp_path: Path) -> None:
    cache: dict[str, Any] = {"cache_dir": tmp_path / "cache", "cache_size": 10**9}
    assert len(plan(overrides=KEYS, **cache).to_run) == 7
    kept = learn_from_perturbations(overrides=KEYS, **cache)
    assert kept.folder is None
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]  # without out= nothing else is written
    assert len(plan(overrides=KEYS, **cache).finished) == 7
    assert plan(overrides=KEYS, out="out").finished == ()
    again = learn_from_perturbations(overrides=KEYS, out="out", **cache)
    assert again.seconds < kept.seconds
    assert again.summary == kept.summary
    assert compare_with_theory(kept, **cache).summary == compare_with_theory(again, **cache).summary
    assert len(artefacts("cache")) == 9


def test_force_repeats_what_the_cache_holds() -> None:
    learn_from_perturbations(overrides=KEYS, cache_dir="cache")
    before = {path: path.stat().st_ino for path in artefacts("cache")}
    learn_from_perturbations(overrides=KEYS, cache_dir="cache", force=True)
    after = {path: path.stat().st_ino for path in artefacts("cache")}
    assert before.keys() == after.keys()
    assert all(before[path] != after[path] for path in before)


SIZES = ["", "0", "-5", "20G", "much", "1e9", "0.5"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("how", ["option", "variable", "python"])
def test_what_is_no_size_is_refused_before_anything_is_begun(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: str, how: str
) -> None:
    expected = (
        f" = {size!r}, but it must be a whole number of bytes or a number with a unit, above 0; write for example "
        "20GB, 500MB or 1.5GiB"
    )
    if how == "option":
        assert refuse(capsys, "run", *TINY, "--cache-dir", "cache", f"--cache-size={size}") == f"cache_size{expected}"
        sentence = refuse(capsys, "run", *TINY, "--cache-dir", "cache", f"--cache-size={size}", "--plan")
        assert sentence == f"cache_size{expected}"
    elif how == "python":
        for function in (learn_from_perturbations, plan):
            with pytest.raises(ConfigError, match=f"^cache_size{re.escape(expected)}$"):
                function(cache_dir="cache", cache_size=size)
        with pytest.raises(ConfigError, match=f"^cache_size{re.escape(expected)}$"):
            compare_with_theory("anywhere", cache_dir="cache", cache_size=size)
    elif size:  # an empty variable is one that is not set
        monkeypatch.setenv("PERTURBLEARN_CACHE_SIZE", size)
        sentence = refuse(capsys, "run", *TINY, "--cache-dir", "cache")
        assert sentence == f"PERTURBLEARN_CACHE_SIZE{expected}"
    assert list(tmp_path.iterdir()) == []


def test_a_size_without_a_cache_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    advice = "but no cache is named that it could limit; name a folder with --cache-dir or PERTURBLEARN_CACHE, or leave"
    assert f"cache_size = '20GB', {advice}" in refuse(capsys, "run", *TINY, "--cache-size", "20GB")
    with pytest.raises(ConfigError, match="cache_size = '20GB', but no cache is named"):
        compare_with_theory("anywhere", cache_size="20GB")
    monkeypatch.setenv("PERTURBLEARN_CACHE_SIZE", "5 MB")
    assert f"PERTURBLEARN_CACHE_SIZE = '5 MB', {advice}" in refuse(capsys, "run", *TINY, "--plan")
    with pytest.raises(ConfigError, match="cache_size = 7, but no cache is named"):
        learn_from_perturbations(overrides=KEYS, cache_size=7)
    assert list(tmp_path.iterdir()) == []


def test_help_names_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("run", "theory"):
        said = say(capsys, command, "--help").out
        for word in ("--cache-dir", "--cache-size", "PERTURBLEARN_CACHE_SIZE"):
            assert word in said
