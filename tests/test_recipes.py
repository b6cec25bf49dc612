"""The recipes of *How it is built*: few files each, and an attack and a measure added as a user's plug-in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

import pytest
from tests.docs.pages import text_of

import perturblearn
from perturblearn import learn_from_perturbations
from perturblearn.config import AttackConfig, ModelConfig, OneStepConfig, PGDConfig, RebuildConfig
from perturblearn.config.attack import SOURCES
from perturblearn.experiment import MEASURES, PerturbationMeasure
from perturblearn.experiment.measures import PerturbationCase
from perturblearn.report.words import TARGETS, network_text, seen_text, source_text

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
    "what",
    [
        "an attack",
        "a way to train",
        "a kernel",
        "a measure",
        "a source of perturbed sets",
        "a target",
        "a learner",
        "a data set",
    ],
)
def test_a_recipe_names_few_files_of_the_source(what: str) -> None:
    places = [place for place in re.findall(r"`([\w/]+(?:\.py|\.json|/))`", recipes()[what]) if "docs/" not in place]
    assert len(places) <= MOST_FILES, places


REBUILT = RebuildConfig()
TARGET_NAMES = (*get_args(AttackConfig.model_fields["targets"].annotation), REBUILT.targets)
LEARNERS = tuple(each.tag for each in ModelConfig.variants() if not each.is_own)
NAMES = dict.fromkeys((*SOURCES, REBUILT.source, *TARGET_NAMES, *LEARNERS))
SET_KEYS = ("papers/", "report/charts/", "experiment/why.py", "report/why.py")
"""They set keys to names, as a user does, or speak of other things."""
OTHER_MEANINGS: dict[str, Mapping[str, str]] = {
    "none": dict.fromkeys(("",), "no training, no norm, no law: a word of every room"),
    "uniform": {
        **dict.fromkeys(("config/data.py", "config/experiment.py", "theory/boundary.py"), "a law of data"),
        "seeding/published.py": "a law of noise that a published script draws",
        "perturbed/targets.py": "targets that are called as a source is",
    },
    "gauss": {
        **dict.fromkeys(("config/data.py", "config/experiment.py", "theory/boundary.py"), "a law of data"),
        "seeding/published.py": "a law of noise that a published script draws",
    },
    "limit": {
        "attacks/ball.py": "the largest size of a perturbation",
        "config/classifier.py": "a way to train",
        "experiment/costs.py": "a note in a plan",
        "theory/margin_limit.py": "a part of an artefact",
    },
    "errors": {"__init__.py": "the room of errors", "pages/sweep_page.py": "what failed, for a page's script"},
    "original": {"pages/run_page.py": "an image, for a page's script"},
}
"""Where a name means something else, and what; the empty path is every file."""


@pytest.fixture(scope="module")
def written() -> dict[str, set[str]]:
    """The files in which each name is a text of its own."""
    source = Path(perturblearn.__file__).parent
    found: dict[str, set[str]] = {name: set() for name in NAMES}
    for path in source.rglob("*.py"):
        place = path.relative_to(source).as_posix()
        if not place.startswith(SET_KEYS):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in found:
                    found[node.value].add(place)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_source_target_or_learner_is_named_in_few_files(name: str, written: dict[str, set[str]]) -> None:
    others = OTHER_MEANINGS.get(name, {})
    places = {place for place in written[name] if place not in others and "" not in others}
    assert len(places) <= MOST_FILES, sorted(places)
    assert set(others) - {""} <= written[name], "a name is no longer where it had another meaning"


def test_every_source_target_and_learner_has_its_words() -> None:
    for source in SOURCES:
        keys = {"noisy": {"signal_to_noise": 4.0}, "errors": {"targets": "predicted"}}.get(source, {})
        attack = OneStepConfig.model_validate({"source": source, **keys})
        assert "{" not in source_text(attack) + seen_text(attack)
    other_data = PGDConfig(source="data:npz:folder/shoes.npz")
    assert (source_text(other_data), seen_text(other_data)) == ("sources from npz", "inputs of npz:folder/shoes.npz")
    assert set(TARGETS) == set(TARGET_NAMES)
    assert source_text(REBUILT) == "from other inputs"
    for name in LEARNERS:
        assert network_text(name).startswith(("a ", "an "))


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
