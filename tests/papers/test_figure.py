"""Figures: panels, points, scales and limits."""

from __future__ import annotations

import pytest

from perturblearn.config import Keys, value_of
from perturblearn.papers import ALL, FIGURES, Figure, Outline, Panel, Smaller

FIGURE = Figure(
    "paper/figure",
    {"data.name": "gauss", "input_dim": 1000, "n_samples": 400, "hidden_dim": 50, "epsilon": 2.0, "attack.norm": "l2"},
    [
        Panel({"input_dim": (20, 100, 1000), "epsilon": (0.2, 1.0, 2.0)}),
        Panel({"n_samples": (2, 4, 100, 200, 300, 400)}, {"loss": "identity", "epsilon": 4.0}, log_x=True),
    ],
    quick=Smaller({"input_dim": 10, "n_samples": 10, "epsilon": 0.5}, {"epochs": 7}, {"n_samples": 2}, points=3),
)


def test_points_of_the_paper() -> None:
    points = list(FIGURE.points(seeds=2))
    assert [(point.panel, point.place) for point in points] == [(1, 0), (1, 1), (1, 2), *((2, n) for n in range(6))]
    assert [(value_of(point.config, "data.input_dim"), point.config.attack.epsilon) for point in points[:3]] == [
        (20, 0.2), (100, 1.0), (1000, 2.0)
    ]  # fmt: skip
    assert value_of(points[3].config, "data.n_samples") == 2
    assert points[3].config.attack.epsilon == 4.0
    assert points[0].config.seeds == (0, 1)
    assert points[0].config.controls.draws == 0
    assert FIGURE.settings_at(points[4]) == {**FIGURE.settings, "loss": "identity", "n_samples": 4, "epsilon": 4.0}
    assert [panel.name for panel in FIGURE.panels] == [
        "input dimension d",
        "training samples N, identity, ε = 4.0",
    ]
    assert list(FIGURE.points(panels=[2])) == [point for point in FIGURE.points() if point.panel == 2]
    assert FIGURE.default(panel=2).standard.loss == "identity"


def test_a_smaller_problem_knows_the_papers_points() -> None:
    quick = FIGURE.at("quick")
    first, second = quick.panels
    # 2 and 4 samples become 1 and are left out; of the others three stay, the first and the last among them.
    assert first.points == [
        (0, {"input_dim": 2, "epsilon": 0.4}),
        (1, {"input_dim": 10, "epsilon": 2.0}),
        (2, {"input_dim": 100, "epsilon": 4.0}),
    ]
    assert second.points == [(2, {"n_samples": 10}), (4, {"n_samples": 30}), (5, {"n_samples": 40})]
    config = quick.default()
    assert (value_of(config, "data.input_dim"), value_of(config, "data.n_samples"), config.attack.epsilon) == (
        100,
        40,
        4.0,
    )
    assert value_of(config, "standard.epochs") == value_of(config, "perturbation.epochs") == 7
    assert quick.default(panel=2).attack.epsilon == 8.0
    assert quick.smaller == (
        "input dimension d and training samples N divided by 10, perturbation size ε multiplied by 2, training time = 7"
    )
    assert FIGURE.at("full") is FIGURE
    assert FIGURE.smaller == ""


def test_what_is_smaller_is_said_in_words_and_once_for_both_networks() -> None:
    alike = {"standard.batch_size": 32, "perturbation.batch_size": 32}
    own = {"standard.model.width": 0.5, "perturbation.model.width": 0.25, "data.n_heldout": 9, "steps": 3}
    smaller = Smaller(settings={**alike, **own}).describe({"standard.model.width": 1.0, "steps": 10})
    assert smaller == (
        "batch size = 32, width of f = 0.5 instead of 1.0, width of g = 0.25, held-out samples = 9, "
        "attack steps = 3 instead of 10"
    )


def test_fewer_points_alone_are_the_papers_problem() -> None:
    figure = Figure("a/b", FIGURE.settings, FIGURE.panels, quick=Smaller(most={"n_samples": 200}, points=2)).at("quick")
    assert figure.smaller == ""
    assert figure.panels[1].points == [(0, {"n_samples": 2}), (3, {"n_samples": 200})]


def test_up_to() -> None:
    figure = FIGURE.up_to({"n_samples": 250})
    assert [point.values["n_samples"] for point in figure.points(panels=[2])] == [2, 4, 100, 200]
    assert value_of(figure.default(), "data.n_samples") == 250
    assert [point.place for point in figure.points(panels=[1])] == [0, 1, 2]


@pytest.mark.parametrize("name", ALL)
def test_every_figure_is_one_at_every_scale(name: str) -> None:
    figure = ALL[name]
    assert figure.name == name
    assert figure.caption.endswith(".")
    assert figure.full_takes
    for scale in figure.scales:
        scaled = figure.at(scale)
        for way in figure.ways:
            points = list(scaled.points(seeds=[1], way=way))
            assert {point.panel for point in points} == set(range(1, len(figure.panels) + 1))
            assert all(point.config.seeds == (1,) for point in points)
            scaled.default(way=way, overrides={"controls.draws": figure.control_draws})
    if name in FIGURES:
        assert sum(len(panel.points) for panel in figure.at("quick").panels) <= 40


def test_outlines_tell_what_there_is() -> None:
    outline = Outline.of(FIGURES["iclr2024/artificial_l2_uniform"])
    assert (outline.panels, outline.points["full"], outline.published) == (4, 64, True)
    assert outline.smaller == (
        "input dimension d, training samples N and perturbed samples N' divided by 20, units = 200 instead of 1,000"
    )
    assert not Outline.of(FIGURES["iclr2024/artificial_l2_gauss"]).published


def test_keys_that_are_set_for_a_whole_figure() -> None:
    changed = FIGURE.with_keys({"attack.targets": "other"}).with_keys({"standard.lr": [0.3]})
    assert changed.changed == {"attack.targets": "other", "standard.lr": [0.3]}
    for config in (*(point.config for point in changed.points()), changed.default(panel=2)):
        assert (config.attack.targets, config.standard.lr) == ("other", (0.3,))
    assert FIGURE.default().attack.targets == "uniform"


@pytest.mark.parametrize(
    ("keys", "is_the_paper_s"),
    [
        ({}, True),
        ({"attack.products": "bfloat16", "standard.form": "gram"}, True),
        ({"standard.model.slope": 0.5}, False),
        ({"attack.products": "bfloat16", "attack.steps": 5}, False),
    ],
)
def test_only_the_way_of_computing_leaves_the_problem_as_it_is(keys: Keys, is_the_paper_s: bool) -> None:
    assert FIGURE.with_keys(keys).is_the_paper_s is is_the_paper_s
    assert not FIGURE.at("quick").with_keys(keys).is_the_paper_s


def test_what_is_varied() -> None:
    keys = ("data.input_dim", "attack.epsilon", "data.n_samples", "attack.norm", "standard.loss")
    assert [key for key in keys if FIGURE.is_varied(key)] == ["data.input_dim", "attack.epsilon", "data.n_samples"]
