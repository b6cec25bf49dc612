"""The figures of NeurIPS24 as experiments, and what the plan of the accuracy figures saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perturblearn.config import ClassifierConfig, ExperimentConfig, resolve_config, value_of
from perturblearn.data import Outline, Signature
from perturblearn.experiment import Experiment, costs, seed_graph
from perturblearn.graph import AnyStage, make_plan
from perturblearn.papers import ACCURACY_FIGURES, FIGURES
from perturblearn.training import NOMINAL

EXAMPLES = Path(__file__).parents[2] / "examples"
SAMPLES = {"mnist": 12_700, "fashion_mnist": 12_000}


@pytest.fixture
def _without_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real images have a known shape, wherever they are; nothing is timed."""

    def outline(config: Any, **_: Any) -> Outline:
        signature = Signature((value_of(config, "input_dim") or 784,), 2, 0.0, (0.0,), (1.0,))
        return Outline(SAMPLES.get(config.name) or config.n_samples or 0, 1000, signature)

    monkeypatch.setattr(seed_graph, "data_fingerprint", lambda config, **_: config.name)
    monkeypatch.setattr(seed_graph, "data_outline", outline)
    monkeypatch.setattr(costs, "_rates", lambda device: NOMINAL)


@pytest.mark.usefixtures("_without_files")
def test_the_plan_of_all_figures_saves_what_is_asked() -> None:
    unshared: dict[str, float] = {}
    stages: dict[str, AnyStage] = {}
    for figure in ACCURACY_FIGURES.values():
        for point in figure.points():
            found = Experiment(point.config)
            (of_seed,) = found.seeds.values()
            stages |= {stage.key: stage for stage in of_seed.targets}
            for g in (g for row in of_seed.perturbations for g in row):
                outline = found.outline
                units = value_of(point.config, "standard.model.hidden_dim")
                epochs = value_of(point.config, "standard.epochs") + value_of(point.config, "perturbation.epochs")
                unshared[g.key] = 4.0 * outline.n_samples * outline.signature.input_dim * units * epochs
    # Counted independently for this project: 3,671 distinct runs, 8.4e16 operations.
    assert len(unshared) == 3671
    assert sum(unshared.values()) == pytest.approx(8.4e16, rel=0.01)
    planned = sum(cost.operations for _, cost in make_plan(stages.values()).estimates())
    assert planned < sum(unshared.values()) / 3.2


def test_every_point_has_the_seed_of_its_panel() -> None:
    figures = {name.partition("/")[2]: figure for name, figure in ACCURACY_FIGURES.items()}
    seeds = {name: {figure.published_seed(panel) for panel in range(1, len(figure.panels) + 1)}
             for name, figure in figures.items()}  # fmt: skip
    assert seeds == {
        "shifted_gauss_a": {0}, "shifted_gauss_b": {1}, "gauss_a": {0}, "gauss_b": {0}, "mnist_a": {0},
        "mnist_b": {1, 2}, "fmnist_a": {0}, "fmnist_b": {2},
    }  # fmt: skip
    mnist_b = figures["mnist_b"]
    assert mnist_b.published_seed(2) == 2  # the logistic panel
    # Of another problem the published seed says nothing.
    assert mnist_b.at("quick").published_seed(1) is None
    assert mnist_b.with_keys({"standard.model.slope": 0.1}).published_seed(1) is None
    assert mnist_b.with_keys({"standard.form": "plain"}).published_seed(1) == 1


def _trained(config: ExperimentConfig) -> tuple[ClassifierConfig, ClassifierConfig]:
    return config.standard, config.perturbation


@pytest.mark.parametrize(("name", "example"), [("mnist_a", "mnist_a"), ("fmnist_a", "fashion_mnist_a")])
def test_default_points_are_those_of_the_examples(name: str, example: str) -> None:
    default, written = ACCURACY_FIGURES[f"neurips2024/{name}"].default(), resolve_config(EXAMPLES / f"{example}.toml")
    assert default.data == written.data
    assert default.attack == written.attack
    assert _trained(default) == _trained(written)


def test_points_differ_from_the_default_in_what_is_varied() -> None:
    figure = ACCURACY_FIGURES["neurips2024/shifted_gauss_a"]
    default = figure.default()
    points = list(figure.points(seeds=[3], overrides={"standard.products": "bfloat16"}))
    assert [sum(point.panel == panel for point in points) for panel in range(1, 9)] == [10, 9, 11, 28, 5, 32, 10, 19]
    first, width, time = points[0].config, points[30].config, points[-1].config
    assert (value_of(first, "data.input_dim"), first.attack.epsilon, value_of(first, "data.n_samples")) == (
        10,
        0.0031,
        1000,
    )
    assert value_of(first, "standard.products") == "bfloat16"
    assert first.seeds == (3,)
    assert (
        width.standard.model
        == width.perturbation.model
        == default.standard.model.model_copy(update={"hidden_dim": points[30].values["hidden_dim"]})
    )
    assert (value_of(time, "standard.epochs"), value_of(time, "perturbation.epochs")) == (1000, 100)
    assert {point.config.standard.loss for point in points if point.panel == 2} == {"logistic"}
    assert {point.config.standard.lr for point in points if point.panel == 7} == {(0.1,)}


def test_every_panel_of_the_cosines_is_a_problem_of_its_own() -> None:
    points = list(FIGURES["neurips2024/cosine_similarity"].points())
    data = {(point.panel, point.config.data.name) for point in points}
    assert data == {
        (1, "shifted_gauss"), (2, "shifted_gauss"), (3, "gauss"), (4, "gauss"), (5, "mnist"), (6, "fashion_mnist"),
    }  # fmt: skip
    assert all(point.config.measures.cosine_similarity and point.config.attack.source == "none" for point in points)


def test_decision_maps_have_the_captions_settings() -> None:
    # As in the paper, by hand: d, m, N, lr, epochs, epsilon, limits.
    maps = {
        "shifted_gauss_a": (100, 100, 1000, 1.0, 100, 0.01, (-7, 7)),
        "shifted_gauss_b": (100, 100, 5000, 1.0, 100, 0.1, (-8, 8)),
        "gauss_a": (1000, 1000, 2000, 1.0, 1000, 0.031, (-4, 5)),
        "gauss_b": (1000, 1000, 10_000, 0.1, 1000, 0.31, (-4, 5)),
        "mnist_a": (None, 1000, None, 0.01, 100, 0.14, (0, 10)),
        "mnist_b": (None, 1000, None, 0.01, 1000, 0.14, (0, 10)),
        "fmnist_a": (None, 1000, None, 0.01, 100, 0.14, (-2, 13)),
        "fmnist_b": (None, 1000, None, 0.001, 100, 1.4, (-2, 13)),
    }
    for name, (input_dim, hidden_dim, n_samples, lr, epochs, epsilon, limits) in maps.items():
        figure = FIGURES[f"neurips2024/map_{name}"]
        (point,) = figure.points()
        config = point.config
        assert (value_of(config, "data.input_dim"), value_of(config, "data.n_samples")) == (input_dim, n_samples)
        for part in _trained(config):
            assert (value_of(part, "model.hidden_dim"), part.lr, value_of(part, "epochs"), part.loss) == (
                hidden_dim,
                (lr,),
                epochs,
                "identity",
            )
        assert config.attack.epsilon == epsilon
        assert config.attack.source == {"a": "none", "b": "natural"}[name[-1]]
        assert figure.panels[0].limits == limits
