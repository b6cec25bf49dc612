"""The commands reproduce and list."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.cli.commands import records, refuse, run_folders, say
from tests.values import text, within

import perturblearn
from perturblearn.experiment.checks import Selection
from perturblearn.experiment.steps import Perturbed
from perturblearn.graph import Results
from perturblearn.papers import ALL, Figure, Panel, Published, Smaller

Say = pytest.CaptureFixture[str]
SMALL = {
    "data.name": "gauss", "input_dim": 8, "n_samples": 40, "data.n_heldout": 20, "hidden_dim": 6, "epochs": 5,
    "lr": 1.0, "epsilon": 0.5, "slope": 0.1,
}  # fmt: skip
CURVES = Figure(
    "paper/curves",
    SMALL,
    [Panel({"epsilon": (0.1, 0.3, 0.5)}), Panel({"n_samples": (20, 40)}, {"loss": "identity"})],
    caption="Curves.",
    measures={"accuracy": "perturbation_accuracy_max", "agreement": "agreement_max"},
    ways={"narrow": lambda _: {}, "wide": lambda _: {"hidden_dim": 12}},
    control_draws=2,
    quick=Smaller({"n_samples": 2}, points=2),
    full_takes="a second",
)
MAPS = Figure(
    "paper/maps",
    SMALL,
    [Panel(title="first", limits=(-2, 2)), Panel(fixed={"epsilon": 0.1}, title="second")],
    caption="Maps.",
    draws="decision maps",
    measures={"agreement": "agreement_max"},
    control_draws=0,
    full_takes="a second",
)
PICTURES = Figure(
    "paper/pictures",
    {
        "data.name": "digits", "data.n_samples": 60, "data.centre": False, "attack.name": "radial_pgd", "epochs": 3,
        "attack.steps": 5, "attack.targets": "other", "data.classes": [3, 8],
    },
    [Panel(fixed={"attack.norm": norm}, title=norm) for norm in ("l2", "linf")],
    caption="Pictures.",
    draws="perturbations",
    measures={"attack_success": "attack_success"},
    control_draws=0,
    full_takes="a second",
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


@pytest.fixture(autouse=True)
def _figures(monkeypatch: pytest.MonkeyPatch) -> None:
    for figure in (CURVES, MAPS, PICTURES):
        monkeypatch.setitem(ALL, figure.name, figure)
    known = Published(
        0.015,
        [{"epsilon": [0.1, 0.3, 0.5]}, {"n_samples": [20, 40]}],
        [{"accuracy": [0.5, None, 0.7]}, None],
    )
    for place in ("papers", "papers.outline"):
        monkeypatch.setattr(f"perturblearn.{place}.published", lambda name: known if name == "paper/curves" else None)


def test_a_figure_ends_with_a_line_per_panel_and_a_folder(capsys: Say) -> None:
    said = say(capsys, "reproduce", "paper/curves", "--scale", "full", "--seeds", 2)
    assert (said.code, said.err) == (0, "")
    (folder,) = run_folders(Path("runs"))
    lines = said.out.splitlines()
    assert lines[0] == "paper/curves, full; 2 seeds"
    assert sum("of 2 readable points inside" in line for line in lines) == 2
    assert sum("no published values" in line for line in lines) == 2
    assert sum(line.startswith("Default setting (") and "permuted_control" in line for line in lines) == 2
    assert lines[-2].endswith(f"Figure and table: {folder}")
    assert lines[-1] == f"Report: perturblearn report {folder}"
    assert folder.name.startswith("paper-curves-full-")
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 2 * 2 * 5
    assert {row["n_seeds"] for row in table} == {"2"}
    first = table[0]
    assert (first["panel"], first["x"], first["measure"], first["published"]) == ("1", "0.1", "accuracy", "0.5")
    assert float(first["difference"]) == pytest.approx(float(first["mean"]) - 0.5)
    assert {row["measure"] for row in table} == {"accuracy", "agreement", "accuracy (wide)", "agreement (wide)"}
    # Every seed of every point is a run with a record, and so is the default setting with its controls.
    assert len(records(Path("runs"))) == 2 * (2 * 5 + 2)


def test_numbers_are_those_of_single_runs(capsys: Say) -> None:
    say(capsys, "reproduce", "paper/curves", "--scale", "full", "--seeds", 2, "--panel", 1, "--curves", "wide")
    (folder,) = run_folders(Path("runs"))
    content = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert {row["panel"] for row in content["rows"]} == {1}
    (row,) = (row for row in content["rows"] if row["x"] == 0.3 and row["measure"] == "agreement (wide)")
    (point,) = (point for point in CURVES.points(seeds=2, way="wide", panels=[1]) if point.values == {"epsilon": 0.3})
    alone = perturblearn.learn_from_perturbations(point.config)
    assert row["mean"] == pytest.approx(alone.summary["agreement_max"]["mean"], abs=1e-6)
    assert row["std"] == pytest.approx(alone.summary["agreement_max"]["std"], abs=1e-6)
    assert perturblearn.Reproduction.load(folder).to_dict() == content


def test_quick_is_the_default_and_says_so(capsys: Say) -> None:
    said = say(capsys, "reproduce", "paper/curves", "--seeds", 1, "--curves", "narrow", "--json")
    found = said.json
    assert (found["scale"], found["smaller"]) == ("quick", "training samples N divided by 2")
    assert {row["verdict"] for row in found["rows"]} == {"smaller problem", "not given"}
    assert [row["x"] for row in found["rows"] if row["measure"] == "accuracy"] == [0.1, 0.5, 10, 20]
    assert found["lines"][0] == "panel 1 (perturbation size ε): a smaller problem than the paper's, so not judged"
    assert found["share_inside"] is None


def test_what_is_finished_is_not_repeated(capsys: Say) -> None:
    words = ("reproduce", "paper/curves", "--seeds", 1, "--panel", 1, "--json")
    first = say(capsys, *words).json
    keys = {record.key: record.changed for record in records(Path("runs"))}
    again = say(capsys, *words).json
    assert {record.key: record.changed for record in records(Path("runs"))} == keys
    assert first["rows"] == again["rows"]
    planned = say(capsys, *words, "--plan").json
    assert (planned["n_points"], planned["stages"]["to_run"]) == (4, 0)
    more = say(capsys, "reproduce", "paper/curves", "--seeds", 2, "--panel", 1, "--plan")
    assert "4 points, 12 runs" in more.out


def test_points_can_be_left_out(capsys: Say) -> None:
    found = say(
        capsys, "reproduce", "paper/curves", "--scale", "full", "--seeds", 1, "--most.epsilon", 0.3, "--json"
    ).json
    assert sorted({row["x"] for row in found["rows"] if row["panel"] == 1}) == [0.1, 0.3]


def test_a_run_that_fails_takes_a_seed_from_its_point(capsys: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Selection.run

    def run(stage: Selection, result: Results) -> Any:
        perturbed = stage.perturbation[0][0].perturbed
        assert isinstance(perturbed, Perturbed)
        if perturbed.attack.epsilon == 0.3:
            raise RuntimeError("the disk\nis gone")
        return original(stage, result)

    monkeypatch.setattr(Selection, "run", run)
    words = ("reproduce", "paper/curves", "--scale", "full", "--seeds", 1, "--panel", 1, "--curves", "narrow")
    said = say(capsys, *words)
    assert said.code == 1
    assert (
        "1 run failed; run the same command with --retry to repeat them:\n  panel 1, 0.3, narrow, seed 0:" in said.out
    )
    (folder,) = run_folders(Path("runs"))
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["x"] == "0.3")
    assert (row["mean"], row["n_seeds"], row["verdict"]) == ("", "0", "failed")
    monkeypatch.setattr(Selection, "run", original)
    assert say(capsys, *words).code == 1
    assert say(capsys, *words, "--retry").code == 0


def test_maps(capsys: Say) -> None:
    found = say(capsys, "reproduce", "paper/maps", "--seeds", 2, "--json").json
    (folder,) = run_folders(Path("runs"))
    assert sorted(path.name for path in folder.glob("*.png")) == ["figure-1.png", "figure-2.png"]
    assert [(row["x"], row["n_seeds"], row["verdict"]) for row in found["rows"]] == [
        ("first", 2, "not given"), ("second", 2, "not given"),
    ]  # fmt: skip
    # The map's networks are kept, and its stage is there for the next time.
    assert say(capsys, "reproduce", "paper/maps", "--seeds", 2, "--plan", "--json").json["stages"]["to_run"] == 0


def test_pictures_of_perturbed_inputs(capsys: Say) -> None:
    found = say(capsys, "reproduce", "paper/pictures", "--seeds", 1, "--json").json
    (folder,) = run_folders(Path("runs"))
    assert sorted(path.name for path in folder.glob("*.png")) == ["figure-1.png", "figure-2.png"]
    assert [row["measure"] for row in found["rows"]] == ["attack_success", "attack_success"]
    assert all(0 <= row["mean"] <= 1 for row in found["rows"])


def test_the_published_seed_is_run_beside_our_own(capsys: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = {"": lambda _: {}}
    figure = replace(CURVES, name="neurips2024/curves", ways=narrow, seed=5, control_draws=0)
    figure = replace(figure, panels=[figure.panels[0], replace(figure.panels[1], seed=6)])
    monkeypatch.setitem(ALL, figure.name, figure)
    known = Published(
        0.015, [{"epsilon": [0.1, 0.3, 0.5]}, {"n_samples": [20, 40]}], [{"accuracy": [0.5, None, 0.7]}, None]
    )
    monkeypatch.setattr("perturblearn.papers.published", lambda _: known)
    words = ("reproduce", figure.name, "--scale", "full", "--seeds", 2, "--json")
    both = say(capsys, *words).json
    published = say(capsys, *words, "--draws", "published").json
    own = say(capsys, *words, "--draws", "own").json
    assert [panel["seed"] for panel in both["panels"]] == [5, 6]
    assert "--draws published" in published["command"]
    for row, at_seed, of_own in zip(both["rows"], published["rows"], own["rows"], strict=True):
        point = next(
            point
            for point in figure.points(
                seeds=[5 if row["panel"] == 1 else 6], panels=[row["panel"]], overrides={"draws": "neurips2024"}
            )
            if row["x"] in point.values.values()
        )
        alone = perturblearn.learn_from_perturbations(point.config).summary[figure.measures[row["measure"]]]["mean"]
        assert row["at_seed"] == at_seed["at_seed"] == pytest.approx(alone, abs=1e-6)
        assert (row["mean"], row["n_seeds"]) == (of_own["mean"], 2)
        assert (at_seed["mean"], at_seed["n_seeds"], of_own["at_seed"]) == (None, 0, None)
    # Of a smaller problem the published seed says nothing.
    assert {row["at_seed"] for row in say(capsys, "reproduce", figure.name, "--seeds", 1, "--json").json["rows"]} == {
        None
    }


SHIFTED = "neurips2024/shifted_gauss_a"
BAD = [
    ("neurips2024/shifted_gaus_a", f"there is no figure neurips2024/shifted_gaus_a; did you mean {SHIFTED}?"),
    ("mnist_a", "there is no figure mnist_a; did you mean neurips2024/mnist_a?"),
    ("xyz", "there is no figure xyz; 'perturblearn list' shows all figures"),
    ("paper/curves --panel 3", "panel = 3, but paper/curves has panels from 1 to 2; choose one"),
    ("paper/curves --panel 0", "panel = 0, but paper/curves has panels from 1 to 2; choose one"),
    (
        "paper/curves --seeds 0",
        "seeds = 0: at least one seed is needed: give a positive number or a list of seeds",
    ),
    (
        "paper/curves --draws published",
        "the draws of paper/curves cannot be made again; choose draws own",
    ),
    (
        "neurips2024/mnist_a --draws published",
        "this is another problem than that of neurips2024/mnist_a, of which the published seed says nothing; choose "
        "scale full and the paper's keys, or draws own",
    ),
    (
        "iclr2024/artificial_l2_uniform --scale full --curves limit --draws published",
        "the published points of iclr2024/artificial_l2_uniform are of the flow; choose curves flow, or draws own",
    ),
    (
        "paper/curves --draws theirs",
        'Invalid value "theirs" for --draws. Choose from: "both", "own", "published"; see '
        "'perturblearn reproduce --help'",
    ),
    ("paper/curves --curves high", "curves = 'high', but paper/curves has narrow, wide; choose one of these"),
    ("paper/maps --curves limit", "curves = 'limit', but paper/maps is computed in one way; leave it out"),
    (
        "paper/curves --most.slope 1",
        "slope does not vary in paper/curves, so no points can be left out by it; choose one of epsilon, n_samples",
    ),
    (
        "paper/curves --panel 1 --most.epsilon 0.01",
        "no point of paper/curves is within these limits; raise one of them",
    ),
]


@pytest.mark.parametrize(("words", "sentence"), BAD)
def test_bad_input(capsys: Say, words: str, sentence: str) -> None:
    assert refuse(capsys, "reproduce", *words.split()) == sentence
    assert not Path("runs").exists()


def test_data_that_are_not_there(capsys: Say) -> None:
    sentence = refuse(capsys, "reproduce", "neurips2024/mnist_a", "--data-dir", "nowhere", "--seeds", "1")
    assert "nowhere" in sentence
    assert not Path("runs").exists()


def test_list(capsys: Say) -> None:
    said = say(capsys, "list")
    assert (said.code, said.err) == (0, "")
    assert (
        "paper/curves: 2 panels, 10 points (quick: 8), published values; full: a second per seed, quick: under 2 min"
        in said.out
    )
    assert "neurips2024/cosine_similarity: 6 panels" in said.out
    names = [figure["name"] for figure in say(capsys, "list", "--json").json["figures"]]
    assert names == list(ALL)


def test_from_python(tmp_path: Path) -> None:
    found = perturblearn.reproduce("paper/curves", seeds=[4], panels=[2], curves="narrow", scale="full")
    assert found.folder is None
    assert list(found.seeds) == [4]
    assert [row.x for row in found.rows if row.measure == "accuracy"] == [20, 40]
    with pytest.raises(perturblearn.ConfigError, match="scale = 'half', but it must be one of quick, modern, full"):
        perturblearn.reproduce("paper/curves", scale="half")
    with pytest.raises(perturblearn.ConfigError, match="panels is empty"):
        perturblearn.reproduce("paper/curves", panels=[])
    with pytest.raises(perturblearn.ConfigError, match="a seed is named twice"):
        perturblearn.reproduce("paper/curves", seeds=[1, 1])


def test_a_key_is_set_for_the_whole_figure(capsys: Say) -> None:
    given = ("reproduce", "paper/curves", "--scale", "full", "--seeds", 1, "--curves", "narrow")
    plain = json.loads(say(capsys, *given, "--json").out)
    changed = json.loads(say(capsys, *given, "--attack.targets", "other", "--json").out)
    assert (plain["changed"], changed["changed"]) == ({}, {"attack.targets": "other"})
    assert plain["key"] != changed["key"]
    assert {row["verdict"] for row in changed["rows"] if row["published"] is not None} == {"changed problem"}
    assert {text(within(record.config, "attack", "targets")) for record in records(Path("runs"))} == {
        "uniform",
        "other",
    }
    said = say(capsys, *given, "--attack.targets", "other", "--plan")
    assert said.out.splitlines()[0] == "paper/curves, full, attack.targets = other"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--attack.epsilon", 1), "attack.epsilon varies in paper/curves, so it cannot be set for all"),
        (("--name", "mine"), "name cannot be set for a figure: the figure's name is used; leave it out"),
        (
            ("--controls.draws", 3),
            "controls.draws cannot be set for a figure: the controls are those of the figure's default setting",
        ),
        (("--attack.targts", "other"), "there is no key attack.targts; did you mean attack.targets?"),
        (("--attack.targets",), "--attack.targets has no value; write --attack.targets VALUE"),
    ],
)
def test_keys_that_cannot_be_set(capsys: Say, words: tuple[object, ...], sentence: str) -> None:
    assert sentence in refuse(capsys, "reproduce", "paper/curves", *words)
    assert not Path("runs").exists()


def test_a_figure_has_to_be_named(capsys: Say) -> None:
    assert "no figure is named; name one" in refuse(capsys, "reproduce", "--seeds", 2)
