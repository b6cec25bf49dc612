from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from tests.cli.commands import DIGITS, TINY, records, run_folders, say

from perturblearn.config import commented_toml, resolve_config, value_of

KEYS = {
    *("schema", "kind", "name", "key", "folder", "command", "no_theory", "conclusion", "remarks", "data_size"),
    *("summary", "seeds", "config", "versions", "seconds"),
}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_default_run_needs_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "run", *DIGITS)
    assert (said.code, said.err) == (0, "")
    (folder,) = run_folders(Path("runs"))
    assert said.out.startswith(
        "digits: digits 3 vs 8, L2 ε = 1, natural sources, targets uniform, 1 seed; "
        "N = 285, d = 64, 72 held-out inputs\n"
    )
    assert "g classifies" in said.out
    assert said.out.endswith(f"\nResults: {folder}\nReport: {folder / 'report.html'}\n")
    assert "7 stages ran in" in said.out
    content = json.loads((folder / "result.json").read_text())
    # 3 against 8 is easy: f is far above chance on 71 held-out digits (standard error of guessing below 0.06).
    assert content["summary"]["standard_accuracy_heldout"]["mean"] > 0.8
    assert [record.state for record in records(Path("runs"))] == ["finished"]


def test_json_is_one_object_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "run", *TINY, "--json")
    assert (said.code, said.err) == (0, "")
    assert said.out.count("\n") == 1
    assert set(said.json) == KEYS
    assert (said.json["schema"], said.json["kind"], said.json["name"]) == (2, "run", "gauss")
    assert said.json == json.loads((Path(said.json["folder"]) / "result.json").read_text())


def test_quiet_says_nothing_and_writes_all(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "run", *TINY, "--quiet")
    assert (said.code, said.out, said.err) == (0, "", "")
    assert len(run_folders(Path("runs"))) == 1


def test_a_second_run_repeats_nothing_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    first = say(capsys, "run", *TINY, "--json").json
    again = say(capsys, "run", *TINY)
    assert "All stages were already finished; nothing had to run." in again.out
    assert say(capsys, "run", *TINY, "--json").json == first


def test_a_run_whose_folder_has_gone_is_written_again_from_its_stages(capsys: pytest.CaptureFixture[str]) -> None:
    first = say(capsys, "run", *TINY, "--json").json
    Path(first["folder"]).rename("elsewhere")
    again = say(capsys, "run", *TINY, "--json").json
    assert again["seconds"] < first["seconds"]
    assert {**again, "seconds": 0} == {**first, "seconds": 0}


def test_force_repeats_every_stage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    first = say(capsys, "run", *TINY, "--json").json
    # Links keep the old files alive: the number of a deleted file may be given to the next one.
    before = {path: tmp_path / path.parent.name for path in Path("runs/.store/artefacts").glob("*/*/artefact.json")}
    for path, link in before.items():
        link.hardlink_to(path)
    again = say(capsys, "run", *TINY, "--json", "--force").json
    assert {**again, "seconds": 0} == {**first, "seconds": 0}
    assert len(before) == 9  # with the comparison with theory and the decision map
    assert before.keys() == set(Path("runs/.store/artefacts").glob("*/*/artefact.json"))
    assert not any(path.samefile(link) for path, link in before.items())


def test_what_a_run_shares_with_another_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    say(capsys, "run", *TINY)
    said = say(capsys, "run", *TINY, "--attack.epsilon", "2", "--name", "stronger")
    assert "4 stages ran in" in said.out  # all but f, its measures and the control that is not perturbed
    assert [path.name.partition("-")[0] for path in run_folders(Path("runs"))] == ["gauss", "stronger"]


@pytest.mark.parametrize("form", [[], ["--json"], ["--force"]], ids=str)
def test_a_plan_writes_and_computes_nothing(
    capsys: pytest.CaptureFixture[str], form: list[str], tmp_path: Path
) -> None:
    said = say(capsys, "run", *TINY, "--plan", *form)
    assert (said.code, said.err) == (0, "")
    assert list(tmp_path.iterdir()) == []
    if form == ["--json"]:
        assert said.out.count("\n") == 1
        assert {stage["state"] for stage in said.json["stages"]} == {"run", "on demand"}
    else:
        assert "\n10 stages: 7 to run, 0 finished" in said.out


def test_a_plan_says_what_it_costs_and_in_which_form(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "run", *TINY, "--attack.source", "none", "--perturbation.form", "gram", "--plan")
    _, costs = said.out.split("\n\nCost:\n")
    *lines, total = costs.splitlines()
    number = r"\d\.\de[+-]\d\d"
    pattern = rf" {{0,3}}({number}) operations +[\d.]+ (?:s|min|h) +[\d,]+ MiB  (.+), seed 0: (.+)"
    found = [re.fullmatch(pattern, line) for line in lines]
    by_name = {match[2]: (float(match[1]), match[3]) for match in found if match}
    assert len(by_name) == len(lines) == 4
    # N = 40, d = 10, 8 units, 5 epochs: plain products take 4 N d m T; two draws of a control take twice as much.
    plain = 4 * 40 * 10 * 8 * 5
    operations, form = by_name["standard classifier, lr 0.5"]
    assert operations == pytest.approx(plain, rel=0.05)  # two digits are shown
    assert re.fullmatch(rf"plain, {number} operations \(Gram {number}\)", form)
    # G = C C^T is made of 8 coordinates; then 2 N^2 m T, and back again.
    gram = 2 * 40**2 * 8 + 2 * 40**2 * 8 * 5 + 2 * 40 * (8 + 10) * 8
    assert by_name["perturbation classifier, lr 0.5"] == (pytest.approx(gram, rel=0.05), "Gram, asked for")
    for control in ("unperturbed", "permuted"):
        assert "Gram, asked for" in by_name[f"{control} control, 2 draws"][1]
    summed = sum(operations for operations, _ in by_name.values())
    match = re.fullmatch(
        rf"In all ({number}) floating-point operations, ([\d.]+) times fewer than one after the other in plain loops; "
        r"at most [\d,]+ MiB beside Python and PyTorch; about [\d.]+ (?:s|min|h) on this machine, "
        r"less where gates rarely flip\.",
        total,
    )
    assert match
    assert float(match[1]) == pytest.approx(summed, rel=0.1)
    # f, g and four draws of controls, each alone in plain products.
    assert float(match[2]) == pytest.approx(6 * plain / summed, abs=0.1)


def test_a_plan_of_a_finished_run_costs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    say(capsys, "run", *TINY)
    assert "Cost:" not in say(capsys, "run", *TINY, "--plan").out
    assert "Cost:" in say(capsys, "run", *TINY, "--plan", "--force").out


def test_a_plan_after_the_run_finds_it_finished(capsys: pytest.CaptureFixture[str]) -> None:
    say(capsys, "run", *TINY)
    planned = say(capsys, "run", *TINY, "--plan", "--json").json["stages"]
    states = [stage["state"] for stage in planned]
    assert (states.count("finished"), states.count("run")) == (7, 0)
    forced = say(capsys, "run", *TINY, "--plan", "--json", "--force").json["stages"]
    assert [stage["state"] for stage in forced].count("run") == 7
    assert [stage["key"] for stage in forced] == [stage["key"] for stage in planned]


def test_keys_may_stand_before_the_file_and_with_an_equals_sign(capsys: pytest.CaptureFixture[str]) -> None:
    Path("experiment.toml").write_text("name = 'mine'\nseeds = 4\n[data]\nname = 'gauss'\n")
    said = say(capsys, "run", "--seeds=1", *TINY[4:], "experiment.toml", "--attack.epsilon=.5", "--json")
    assert said.code == 0
    config = said.json["config"]
    assert (said.json["name"], config["seeds"], config["attack"]["epsilon"]) == ("mine", [0], 0.5)


def test_the_written_configuration_repeats_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    first = say(capsys, "run", *TINY, "--json").json
    again = say(capsys, "run", Path(first["folder"]) / "config.toml", "--json").json
    assert again == first


def test_a_damaged_store_is_told_in_one_line_and_mended(capsys: pytest.CaptureFixture[str]) -> None:
    first = say(capsys, "run", *TINY, "--json").json
    Path(first["folder"]).rename("elsewhere")
    for path in Path("runs/.store/artefacts").glob("*/*/tensors.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        said = say(capsys, "run", *TINY, "--json")
    again = said.json
    told = said.err.splitlines()
    assert len(told) == 4  # f, g, the comparison with theory and the decision map
    for line in told:
        assert re.fullmatch(r"perturblearn: warning: the stored result \S+ is damaged; it is computed again", line)
    assert {**again, "seconds": 0} == {**first, "seconds": 0}


def test_init_writes_a_file_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "init")
    assert (said.code, said.err) == (0, "")
    assert said.out == "Wrote experiment.toml. Run it with: perturblearn run experiment.toml\n"
    assert Path("experiment.toml").read_text() == commented_toml(resolve_config())
    assert say(capsys, "run", "experiment.toml", *DIGITS, "--quiet").code == 0


def test_init_takes_keys_and_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert say(capsys, "init", "mine.toml", *TINY).code == 0
    assert value_of(resolve_config("mine.toml"), "standard.model.hidden_dim") == 8
    by_keys, by_file = (say(capsys, "run", *how, "--json").json for how in (TINY, ["mine.toml"]))
    assert by_keys == by_file


def test_init_keeps_what_is_there_unless_forced(capsys: pytest.CaptureFixture[str]) -> None:
    Path("experiment.toml").write_text("mine")
    refused = say(capsys, "init", "--seeds", "7")
    assert refused.code == 2
    assert refused.err == (
        "perturblearn: experiment.toml already exists; name another file, or replace it with --force\n"
    )
    assert Path("experiment.toml").read_text() == "mine"
    assert say(capsys, "init", "--seeds", "7", "--force").code == 0
    assert resolve_config("experiment.toml").seeds == tuple(range(7))


@pytest.mark.parametrize("command", [["--help"], ["run", "--help"], ["init", "--help"], ["--version"]], ids=str)
def test_help_answers_without_torch(command: list[str]) -> None:
    program = "import sys; from perturblearn.cli import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_the_list_of_commands_loads_no_configuration() -> None:
    program = "import sys; from perturblearn.cli import main; main(['--help']); sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0


def test_a_run_without_a_report_loads_nothing_that_draws_or_reads_other_files() -> None:
    # DIGITS are read without scikit-learn; each of these takes a tenth of a second or more, PyTorch's compiler ten.
    seldom = "contourpy jinja2 matplotlib pandas PIL plotly pooch ray scipy sklearn sympy torch._dynamo torchvision"
    deep = ("--name", "deep", "--standard.model.name", "mlp", "--perturbation.model.name", "mlp", "--out", "deep")
    program = (
        "import sys; from perturblearn.cli import main; import perturblearn.api; main(sys.argv[1:]); "
        f"main([*sys.argv[1:], *{deep!r}]); print(sorted(sys.modules.keys() & set({seldom.split()!r})))"
    )
    command = [sys.executable, "-c", program, "run", *DIGITS, "--no-report", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
    (folder,) = run_folders(Path("runs"))
    assert (folder / "result.json").is_file()


def test_help_lists_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "run", "--help")
    assert said.code == 0
    for word in ("--attack.epsilon:", "--standard.model.hidden_dim:", "--plan", "--data-dir", "--out"):
        assert word in said.out


def test_the_module_and_the_script_are_one_program() -> None:
    script = Path(sys.executable).parent / "perturblearn"
    for command in ([sys.executable, "-m", "perturblearn"], [str(script)]):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{version('perturblearn')}\n", "")


def test_a_reader_that_leaves_is_no_error() -> None:
    # Into a pipe that nobody reads: what would be a traceback on standard error is silence.
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "perturblearn", "run", *TINY, "--plan"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("chosen", "expected"), [(None, "PASSIVE"), pytest.param("ACTIVE", "ACTIVE", marks=pytest.mark.long)]
)
def test_threads_wait_passively_unless_told_otherwise(chosen: str | None, expected: str) -> None:
    surroundings = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    surroundings |= {"OMP_DISPLAY_ENV": "TRUE"} | ({} if chosen is None else {"OMP_WAIT_POLICY": chosen})
    words = [sys.executable, "-m", "perturblearn", "run", "--plan"]
    told = subprocess.run(words, env=surroundings, capture_output=True, text=True, check=True).stderr
    if "OMP_WAIT_POLICY" not in told:
        pytest.skip("this PyTorch has another OpenMP, which does not say how it waits")
    assert f"OMP_WAIT_POLICY = '{expected}'" in told


def test_threads_are_at_most_as_many_as_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    assert say(capsys, "run", *TINY, "--threads", "3", "--quiet", "--no-report").code == 0
    assert asked[0] == 3


@pytest.mark.parametrize("words", [("run", *TINY), ("run", *TINY, "--plan"), ("perturb", *TINY)])
def test_no_threads_at_all_are_refused(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, *words, "--threads", "0")
    assert (said.code, said.out) == (2, "")
    assert said.err == "perturblearn: threads = 0, but a stage needs at least 1 thread\n"
