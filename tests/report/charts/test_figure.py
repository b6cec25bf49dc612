"""Charts of figures and studies as values."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.pages.made_runs import made_reproduction

from perturblearn.papers import Chart as StudyChart
from perturblearn.papers import Line, label_of
from perturblearn.papers.figure import Panel
from perturblearn.report.charts.figure import curve_looks, figure_picture, panel_charts, study_charts, study_picture
from perturblearn.report.charts.marks import Curve
from perturblearn.report.reproduction import ReproductionReport
from perturblearn.results import PointRow, ShownPanel


def curves_of(marks: object) -> dict[str, Curve]:
    assert isinstance(marks, list)
    return {mark.name: mark for mark in marks if isinstance(mark, Curve)}


def test_a_panel_holds_means_spreads_and_published_points(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = panel_charts(made_reproduction())
    lines = curves_of(first.chart.marks)
    limit = lines["accuracy of g (limit)"]
    assert list(limit.y) == pytest.approx([0.55, 0.65, 0.75, 0.85])
    assert limit.spread == pytest.approx([0.01, 0.02, 0.03, 0.04])
    assert limit.look.colour == lines["accuracy of g"].look.colour == "g"
    assert limit.look.dash != lines["accuracy of g"].look.dash
    assert lines["accuracy of f"].look.colour == "f"
    low, high = lines["accuracy of g"].edges(is_log=False)
    assert low == pytest.approx([0.49, 0.58, 0.67, 0.76])
    assert high == pytest.approx([0.51, 0.62, 0.73, 0.84])
    rings = lines["accuracy of g, published"]
    assert (list(rings.x), rings.look.marker, rings.look.colour) == ([1, 10, 100], "ring", "g")
    assert rings.key == "perturbation_accuracy", "the page's filter hides it with its curve"
    assert list(rings.y) == pytest.approx([0.5, 0.58, 0.66])
    assert (first.chart.x.is_log, second.chart.x.is_log) == (True, False)
    assert first.chart.x.label == "perturbed samples N'"
    assert "rings are the published values" in first.chart.note


def test_a_cosine_similarity_is_no_share_and_one_seed_no_mean() -> None:
    made = replace(made_reproduction(), seeds=[0])
    rows = [
        replace(row, measure=row.measure.replace("perturbation_accuracy", "cosine_similarity")) for row in made.rows
    ]
    (share, *_), (cosine, *_) = panel_charts(made), panel_charts(replace(made, rows=rows))
    assert (share.chart.y.label, share.chart.y.is_share) == ("accuracy", True)
    assert (cosine.chart.y.label, cosine.chart.y.is_share) == ("accuracy, or cosine similarity", False)
    assert share.chart.note.startswith("Values of 1 seed")


def test_a_correlation_may_be_negative() -> None:
    made = made_reproduction()
    rows = [
        replace(row, measure=row.measure.replace("perturbation_accuracy", "nearest_mean_correlation"))
        for row in made.rows
    ]
    (shares, *_), (correlation, *_) = panel_charts(made), panel_charts(replace(made, rows=rows))
    assert shares.chart.y.limits == (-0.03, 1.03)
    assert correlation.chart.y.limits == (-1.03, 1.03)
    assert (correlation.chart.y.label, correlation.chart.y.is_share) == ("share, or correlation", False)


def test_the_published_seed_is_a_curve_beside_our_own_or_alone() -> None:
    made = made_reproduction()
    rows = [replace(row, at_seed=0.4) if row.measure == "perturbation_accuracy" else row for row in made.rows]
    chart = panel_charts(replace(made, rows=rows))[0].chart
    curve = curves_of(chart.marks)["accuracy of g, published seed"]
    assert (list(curve.y), curve.look.colour, curve.key) == ([0.4] * 4, "g", "perturbation_accuracy")
    assert "crosses are the published seed" in chart.note
    alone = [replace(row, mean=None, std=None, n_seeds=0) for row in rows]
    chart = panel_charts(replace(made, rows=alone, seeds=[]))[0].chart
    assert set(curves_of(chart.marks)) == {
        "accuracy of g, published seed", "accuracy of g, published", "accuracy of f, published",
    }  # fmt: skip
    assert chart.note.startswith("Crosses are the published seed")


def test_a_curve_looks_the_same_in_every_panel() -> None:
    looks = curve_looks(made_reproduction())
    assert [looks[name].colour for name in looks] == ["g", "f", "g"]
    assert looks["perturbation_accuracy (limit)"].dash == "dash"


def test_panels_of_one_point_are_one_chart() -> None:
    made = made_reproduction()
    rows = [row for row in made.rows if row.x == 10]
    (one,) = panel_charts(replace(made, rows=rows))
    assert [panel.number for panel in one.panels] == [1, 2]
    assert one.chart.x.ticks is not None
    assert one.chart.x.ticks[0] == "1: n_adv"
    curve = curves_of(one.chart.marks)["accuracy of g"]
    assert (len(curve.x), curve.look.dash, curve.has_bars) == (2, None, True)
    assert round(curve.x[1]) == 1
    (alone,) = panel_charts(replace(made, rows=[row for row in rows if row.panel == 1]))
    assert alone.chart.title == "1: n_adv"


def test_points_over_names_have_bars() -> None:
    rows = [PointRow("f", 1, name, "agreement", 0.5, 0.1, 2, 0.6, -0.1, "outside") for name in ("one", "two")]
    found = replace(made_reproduction(), rows=rows, panels=[ShownPanel(1, "images", "perturbations", False)])
    ((panel),) = panel_charts(found)
    curve = curves_of(panel.chart.marks)["agreement"]
    assert (list(curve.x), curve.has_spread, curve.shows_band) == ([0, 1], True, False)
    assert panel.chart.x.ticks == {0.0: "one", 1.0: "two"}


def test_a_picture_says_how_many_seeds() -> None:
    made = made_reproduction(scale="quick", smaller="epsilon halved")
    picture = figure_picture(made, ReproductionReport(made).title)
    assert picture.caption.startswith("Means over 3 seeds; bands and bars are one standard deviation")
    assert "epsilon halved" in picture.title


def test_settings_are_in_words() -> None:
    assert label_of("standard_epochs") == "training time of f, epochs"
    assert label_of("noise_samples") == "noise samples"
    assert Panel({"standard_epochs": [1]}, {"standard_lr": [0.1]}).name == "training time of f, learning rate 0.1"
    assert Panel({"epsilon": [1]}, {"loss": "logistic", "perturbation_lr": 0.5}).name == (
        "perturbation size ε, logistic, learning rate of g 0.5"
    )
    assert Panel({"epsilon": [1]}, {"input_dim": 1000, "slope": 0.5, "attack.source": "natural"}).name == (
        "perturbation size ε, d = 1,000, γ = 0.5, natural sources"
    )


def test_ticks_of_a_logarithmic_axis_do_not_touch() -> None:
    line = Line("", [1.25, 1.3, 5, 14.142, 15], [0.5] * 5)
    (chart,) = study_charts([StudyChart("one", "d", "epsilon", [line], log_x=True)])
    assert chart.x.ticks == {1.25: "1.25", 5: "5", 15: "15"}


def test_a_study_s_chart() -> None:
    lines = [
        Line("measured", [1, 10, 100], [1.0, 2.0, 3.0], [0.1, 5.0, 0.0]),
        Line("expected", [1, 100], [1.0, 3.0], is_reference=True),
        Line("other", [1, 2], [0.5, 0.6]),
    ]
    (chart,) = study_charts([StudyChart("one", "d", "epsilon", lines, log_x=True, log_y=True)])
    measured, other, expected = chart.marks
    assert isinstance(measured, Curve)
    assert isinstance(other, Curve)
    assert isinstance(expected, Curve)
    assert (expected.name, expected.look.colour, expected.look.dash, expected.look.marker) == (
        "expected", "ink", "dash", None,
    )  # fmt: skip
    assert measured.look.colour != other.look.colour
    # Where the deviation exceeds the mean, the band ends at half of it instead of below 0.
    assert measured.edges(is_log=True)[0] == pytest.approx([0.9, 1.0, 3.0])
    assert chart.x.ticks == {1.0: "1", 2.0: "2", 10.0: "10", 100.0: "100"}
    assert (chart.x.label, chart.y.label, chart.title) == ("d", "epsilon", "one")


def test_a_study_s_points_over_names_stand_side_by_side_with_published_ones_between_them() -> None:
    lines = [
        Line("g, own start", [0, 1], [0.9, 0.5], [0.1, 0.0]),
        Line("permuted control", [0, 1], [0.1, 0.1]),
        Line("published", [1], [0.7], is_reference=True),
    ]
    (chart,) = study_charts([StudyChart("one", "source", "accuracy", lines, is_share=True, names=["images", "noise"])])
    assert chart.x.ticks == {0.0: "images", 1.0: "noise"}
    assert chart.y.is_share
    g, control, published = (curves_of(chart.marks)[line.label] for line in lines)
    assert list(g.x) == pytest.approx([-0.12, 0.88])
    assert list(control.x) == pytest.approx([0.0, 1.0])
    assert (list(published.x), published.look.marker) == ([1], "ring")
    assert [curve.look.dash for curve in (g, control, published)] == [None] * 3
    assert (g.look.colour, control.look.colour, g.has_bars) == ("g", "control", True)
    plain = StudyChart("two", "source", "accuracy", lines[:2], is_share=True, names=["images", "noise"])
    picture = study_picture(
        [plain, StudyChart("one", "source", "accuracy", lines, is_share=True, names=["images", "noise"])], title=""
    )
    assert "Bars are one standard deviation over the seeds. Rings are published numbers" in picture.caption
    one_seed = [replace(line, spread=None) for line in lines]
    (chart,) = study_charts([StudyChart("one", "source", "accuracy", one_seed, names=["images", "noise"])])
    assert chart.note.startswith("Rings are published numbers")


def test_curves_of_a_study_look_the_same_in_all_its_charts_and_f_and_g_as_everywhere() -> None:
    labels = ("kernel", "g, accuracy", "f, accuracy", "agreement of f and g", "other")
    names = [labels, labels[:0:-1]]
    charts = study_charts([StudyChart("", "d", "", [Line(name, [1], [1.0]) for name in chart]) for chart in names])
    first, second = (curves_of(chart.marks) for chart in charts)
    assert {name: curve.look for name, curve in first.items() if name in second} == {
        name: curve.look for name, curve in second.items()
    }
    assert [first[name].look.colour for name in labels[1:4]] == ["g", "f", "agreement"]
    assert len({curve.look.colour for curve in first.values()}) == 5
