"""The recipes of *How it is built*: few files each, and an attack and a measure added as a user's plug-in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.pages import text_of

from perturblearn import learn_from_perturbations
from perturblearn.experiment import MEASURES, PerturbationMeasure
from perturblearn.experiment.measures import PerturbationCase

MOST_FILES = 3
SMALL = {
    "data": {"name": "gauss", "input_dim": 20, "n_samples": 40, "n_heldout": 40},
    "standard": {"epochs": 3, "model": {"hidden_dim": 4}},
    "perturbation": {"epochs": 3, "model": {"hidden_dim": 4}},
    "controls": {"draws": 1},
    "seeds": 1,
}
ATTACK = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Shift:
    size: float

    def __call__(self, model, inputs, targets):
        return inputs + self.size * targets[:, None]

shift = Shift(0.25)
"""


def recipes() -> dict[str, str]:
    """What is added, and where."""
    table = text_of("docs/how_it_is_built.md").split("## Where to add", 1)[1]
    rows = [line.strip("| ").split(" | ", 1) for line in table.splitlines() if line.startswith("| ")]
    return {what: where for what, where in rows[1:] if "---" not in what}


@pytest.mark.parametrize(
    "what", ["an attack", "a way to train", "a kernel", "a measure", "a source of perturbed sets", "a data set"]
)
def test_a_recipe_names_few_files_of_the_source(what: str) -> None:
    places = [place for place in re.findall(r"`([\w/]+(?:\.py|\.json|/))`", recipes()[what]) if "docs/" not in place]
    assert len(places) <= MOST_FILES, places


@pytest.fixture
def margin() -> Iterator[str]:
    """A measure of the user's, registered as the recipe says."""
    name = "mean_margin"

    def take(case: PerturbationCase) -> float:
        return float((case.perturbation_outputs * case.data.heldout_labels).mean())

    MEASURES[name] = PerturbationMeasure(name, "g, clean held-out inputs", take)
    yield name
    del MEASURES[name]


def test_an_attack_and_a_measure_of_the_user_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, margin: str) -> None:
    (tmp_path / "plugged_in.py").write_text(ATTACK, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    overrides = {"attack.name": "plugged_in:shift", "attack.norm": "linf", "attack.epsilon": 0.25}

    result = learn_from_perturbations(SMALL, overrides=overrides, out=tmp_path / "runs")

    sizes = result.perturbed_set(0).sizes
    assert sizes is not None
    assert sizes.tolist() == pytest.approx([0.25] * 40)
    value = result.seeds[0].measures[margin]
    assert result.summary[margin]["mean"] == value
    assert margin in str(result)
    assert result.folder is not None
    assert margin in (result.folder / "result.json").read_text(encoding="utf-8")


def test_a_measure_that_is_rewritten_is_measured_again(tmp_path: Path, margin: str) -> None:
    learn_from_perturbations(SMALL, out=tmp_path)
    MEASURES[margin] = PerturbationMeasure(margin, "g, clean held-out inputs", lambda case: -1.5)
    assert learn_from_perturbations(SMALL, out=tmp_path).summary[margin]["mean"] == -1.5
