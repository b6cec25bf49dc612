"""What matplotlib and plotly draw of a chart."""

from __future__ import annotations

import base64
import io
import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import plotly.graph_objects
import pytest
import torch
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text
from tests.pages.made_runs import HOSTILE, made_audit, made_examples, made_matrix, made_reproduction, made_study
from tests.report.cells import cell
from tests.report.looking import text_lies_inside

from perturblearn import Audit, Result, TheoryComparison, TransferMatrix
from perturblearn.report import draw_decision_map
from perturblearn.report.charts import Axis, Chart, Level, Picture, draw, draw_examples, to_plotly
from perturblearn.report.charts.figure import panel_charts, study_charts
from perturblearn.report.charts.grid import audit_charts, transfer_charts
from perturblearn.report.charts.marks import Band, Boundary, Curve, Heat, Region, Strip
from perturblearn.report.charts.palette import CHANCE, COLOURS, CONTROLS, F, G, Look, css, series_looks
from perturblearn.report.charts.run import accuracies_chart, confusion_chart, losses_chart, rates_chart
from perturblearn.report.charts.theory import map_charts, plane_names, theory_charts
from perturblearn.report.charts.to_plotly import Spec, chart_text, packed
from perturblearn.results import FigureOptions, figure_files

X, Y = Axis("x"), Axis("y")


def with_colours(value: Any) -> Any:
    """A description as the page hands it to plotly."""
    if isinstance(value, str) and value.startswith("@"):
        return "rgba(1,2,3,0.5)" if "/" in value else "#010203"
    if isinstance(value, dict):
        return {name: with_colours(each) for name, each in value.items()}
    return [with_colours(each) for each in value] if isinstance(value, list) else value


def unpacked(values: Spec) -> np.ndarray:
    array = np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"])
    return array.reshape([int(size) for size in values["shape"].split(",")]) if "shape" in values else array


def charts_of(result: Result) -> list[Chart]:
    """A chart of every kind."""
    assert result.folder is not None
    theory = TheoryComparison.load(result.folder / "theory")
    study = made_study().analysis
    assert study is not None
    one_size = Audit([cell([0.5], norm=norm, epsilon=1.0) for norm in ("l2", "linf")], "k", "audit")
    return [
        accuracies_chart(result),
        losses_chart([(0, "f", torch.rand(1000)), (0, "g", torch.rand(1))]),
        confusion_chart(result),
        rates_chart(result),
        *theory_charts(theory),
        *map_charts(theory.drawn, **plane_names(has_bias=True)),
        *(panel.chart for panel in panel_charts(made_reproduction())),
        study_charts(study.charts)[0],
        *audit_charts(made_audit()),
        *audit_charts(one_size),
        *transfer_charts(made_matrix()),
    ]


def test_plotly_knows_every_key_of_every_chart(tiny_result: Result) -> None:
    for chart in charts_of(tiny_result):
        plotly.graph_objects.Figure(with_colours(to_plotly(chart)))


def test_matplotlib_draws_every_chart_without_cutting_a_word(tiny_result: Result) -> None:
    for chart in charts_of(tiny_result):
        assert text_lies_inside(draw(Picture([chart, chart], "a title of a picture, with all that was varied"))), (
            chart.title
        )


def test_a_picture_is_saved_as_png_and_svg(tiny_result: Result) -> None:
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        file = io.BytesIO()
        tiny_result.plot().savefig(file, format=kind)
        assert file.getvalue().startswith(start)


SETTINGS: Any = {
    "text.usetex": True, "font.size": 30.0, "figure.facecolor": "red", "savefig.transparent": True,
    "axes.prop_cycle": cycler(color=["red"]), "figure.dpi": 10, "xtick.labelsize": 40, "axes.grid": True,
}  # fmt: skip


def saved(draw_it: Callable[[], Figure], format: str = "png") -> bytes:
    """The file of a figure."""
    ((_, drawing),) = figure_files("figure", lambda *_: draw_it(), FigureOptions((format,)))
    return drawing.make(Path())


def test_pictures_are_the_same_under_any_settings(tiny_result: Result) -> None:
    for draw_it in (tiny_result.plot, lambda: draw_examples(made_examples(), "title")):
        made = saved(draw_it)
        with mpl.rc_context(SETTINGS):
            assert saved(draw_it) == made
            assert mpl.rcParams["text.usetex"]
            figure = draw_it()
            figure.savefig(io.BytesIO(), format="png")  # LaTeX may be missing
            assert not any(text.get_usetex() for text in figure.findobj(Text) if isinstance(text, Text))


MATHS = ("$x_1", "_net", "a$b$c", r"\frac{1}", r"$\absent$", r"\$5^2_3", "^_^")


def shown(text: Text) -> str:
    """What matplotlib draws of a text; a formula has no such words."""
    words, is_formula = text._preprocess_math(text.get_text())  # pyright: ignore[reportAttributeAccessIssue]
    assert is_formula is False
    return words.strip()


def test_names_are_text_and_no_formulas() -> None:
    curves = [Curve(name, [0, 1], [0, 1], F) for name in MATHS]
    chart = Chart(
        MATHS[0], Axis(MATHS[2]), Axis.of_names(MATHS[4], list(MATHS)), curves, [Level(MATHS[1], 0.1, CHANCE)]
    )
    title = f"{'x' * 78}{MATHS[5]} {MATHS[0]} {MATHS[0]}"
    figure = draw(Picture([chart, chart], title, MATHS[0]))
    figure.savefig(io.BytesIO(), format="png")
    axes = figure.axes[0]
    assert sorted(shown(text) for text in figure.legends[0].get_texts()) == sorted(MATHS)
    assert [shown(text) for text in axes.get_yticklabels()] == list(MATHS)
    assert [shown(text) for text in (axes.title, axes.xaxis.label, axes.yaxis.label)] == [MATHS[0], MATHS[2], MATHS[4]]
    assert title.replace(" ", "") in ["".join(shown(text).split()) for text in figure.findobj(Text)]
    examples = made_examples()
    count = len(examples.success)
    named = replace(examples, true_labels=(MATHS[0],) * count, target_labels=(MATHS[4],) * count)
    drawn = draw_examples(named, "$ and $")
    drawn.savefig(io.BytesIO(), format="png")
    assert shown(drawn.axes[0].title) == f"true {MATHS[0]}\ntarget {MATHS[4]}"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_no_word_of_a_matrix_is_cut_off(count: int) -> None:
    own = "mypackage.nets:make_transformer"
    names = ["mlp", "wide_resnet", own, "mypackage.others:make_transformer", "convnet"][:count]
    cells = {(one, other): cell([0.5, 0.6], names=(one, other)) for one in names for other in names}
    figure = TransferMatrix(cells, {}, "key", "small").plot()
    assert text_lies_inside(figure)
    assert min(label.get_window_extent().x0 for label in figure.axes[0].get_yticklabels()) >= 0


def test_no_word_of_an_audit_is_cut_off() -> None:
    learners = ("mlp", "convnet", "mypackage.nets:make_transformer")
    cells = [
        cell([0.5, 0.6], norm=norm, epsilon=epsilon, linear=[0.2, 0.3], names=("resnet18", learner))
        for learner in learners
        for norm in ("l2", "linf")
        for epsilon in (0.01, 0.03, 0.1, 0.2, 0.3, 0.6, 1.0, 3.0)
    ]
    assert text_lies_inside(Audit(cells, "key", "small").plot())
    assert text_lies_inside(Audit(cells[:1], "key", 64 * "n").plot())


def test_no_word_is_cut_off_where_a_picture_is_as_wide_as_a_column() -> None:
    curves = [
        Curve(f"{number}: samples without correlation, slope 0.9, noise sources", [0, 1], [0, 1], F) for number in "12"
    ]
    chart = Chart("title", Axis("x"), Axis("y"), curves)
    column = {"figure.figsize": (3.3, 2.5)}
    assert text_lies_inside(draw(Picture([chart, chart], "title", "caption"), column))
    matrix = TransferMatrix({("mlp", "mlp"): cell([0.5, 0.6])}, {}, "key", "small").plot(column)
    assert text_lies_inside(matrix)
    label = matrix.axes[-1].yaxis.label.get_window_extent()
    bar = matrix.axes[-1].get_window_extent()
    assert label.height < 1.2 * bar.height, "it is as long as its bar, not as the figure"


def test_a_title_of_two_lines_has_no_word_alone() -> None:
    chart = Chart("", X, Y, [Curve("g", [0, 1], [0, 1], G)])
    title = "neurips2024/mnist_a, quick: perturbation size multiplied by 3.46; 1 seed; N = 1,000, d = 784, 2,167 inputs"
    for inches in (4, 5, 6, 7, 8):
        lines = draw(Picture([chart], title), {"figure.figsize": (inches, 3)}).get_suptitle().split("\n")
        assert len(lines) > 1
        assert " ".join(lines) == title
        assert min(map(len, lines)) > 0.6 * max(map(len, lines))


@pytest.mark.parametrize(
    "names", [("images", "noisy images", "other images", "noise", "nothing"), ("knn", "gradient_boosting")]
)
@pytest.mark.parametrize("width", [4.2, 2.4])
def test_names_side_by_side_do_not_touch(names: tuple[str, ...], width: float) -> None:
    curve = Curve("g", list(range(len(names))), [0.5] * len(names), G)
    charts = [Chart("title", Axis.of_names("source", names), Y, [curve]) for _ in range(2)]
    figure = draw(Picture(charts, "title"), {"figure.figsize": (2 * width, 3)})
    assert text_lies_inside(figure)
    labels = [label for label in figure.axes[0].get_xticklabels() if label.get_text()]
    assert [" ".join(label.get_text().split()) for label in labels] == list(names)
    if labels[0].get_rotation() == 0:
        boxes = [label.get_window_extent() for label in labels]
        assert all(left.x1 + 4 <= right.x0 for left, right in itertools.pairwise(boxes))


# Colours


def test_f_g_and_controls_have_one_colour_in_both_worlds() -> None:
    for name, look in (("f", F), ("g", G), ("control", CONTROLS)):
        assert look.colour == name
        chart = Chart("", X, Y, [Curve("a", [0, 1], [0, 1], look)])
        (line,) = draw(Picture([chart], "")).axes[0].lines
        assert line.get_color() == COLOURS[name][0]
        assert to_plotly(chart)["data"][0]["line"]["color"] == f"@{name}"
    light, dark = css().split(':root[data-theme="dark"]')
    for name, both in COLOURS.items():
        assert f"--{name}:{both[0]};" in light
        assert f"--{name}:{both[1]};" in dark


def luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance of sRGB by WCAG's exact curve."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_every_series_is_seen_on_its_background(theme: int) -> None:
    names = {look.colour for look in series_looks(6)} | {"f", "g", "control", "positive", "negative"}
    paper = to_rgba(COLOURS["paper"][theme])
    # WCAG asks 3 of what carries meaning in a graphic.
    assert {name: contrast(to_rgba(COLOURS[name][theme]), paper) >= 3 for name in names} == dict.fromkeys(names, True)


def test_numbers_can_be_read_on_every_colour_of_a_heat_map() -> None:
    means = torch.linspace(0.1, 1, 10)[None, :]
    heat = Heat(["f"], list(map(str, range(10))), means, None, 0.1, "accuracy", ("f", "g"))
    axes = draw(Picture([Chart("", X, Y, [heat])], "")).axes[0]
    (image,) = axes.images
    colours = np.asarray(image.cmap(image.norm(100 * means.numpy())))[0]
    for text, background in zip(axes.texts, colours, strict=True):
        # What WCAG asks of text is 4.5 (AA); the better of black and white reaches it on any colour.
        assert contrast(to_rgba(str(text.get_color())), tuple(background)) >= 4.5


def test_series_differ() -> None:
    looks = series_looks(12)
    assert len(set(looks)) == 12
    assert {look.colour for look in looks}.isdisjoint({"f", "control"})


# Marks, in both worlds


def both(*marks: Any, x: Axis = X, y: Axis = Y, references: Any = ()) -> tuple[Axes, Spec]:
    chart = Chart("title", x, y, list(marks), references)
    return draw(Picture([chart], "title")).axes[0], to_plotly(chart)


def test_a_curve_has_a_band_of_its_spread() -> None:
    axes, spec = both(Curve("g", [1, 2, 3], [0.4, 0.5, 0.6], G, [0.1, 0.2, 0.0]))
    (band,) = axes.collections
    assert isinstance(band, PolyCollection)
    ends = np.asarray(band.get_paths()[0].vertices)[:, 1]
    assert (ends.min(), ends.max()) == pytest.approx((0.3, 0.7))
    drawn, curve = spec["data"]
    assert drawn["y"] == pytest.approx([0.5, 0.7, 0.6, 0.6, 0.3, 0.3])
    assert (drawn["showlegend"], curve["showlegend"]) == (False, True)
    assert curve["customdata"] == [0.1, 0.2, 0.0]


@pytest.mark.parametrize("has_bars", [True, False])
def test_a_spread_that_no_band_can_show_has_bars(has_bars: bool) -> None:
    x = [1.0, 2.0] if has_bars else [1.0]
    axes, spec = both(Curve("g", x, [0.5] * len(x), G, [0.1] * len(x), has_bars=has_bars))
    (container,) = axes.containers
    (_, _, (lines,)) = container.lines  # pyright: ignore[reportAttributeAccessIssue]
    segments = lines.get_segments()
    assert [float(high[1] - low[1]) for low, high in segments] == pytest.approx([0.2] * len(x))
    (curve,) = spec["data"]
    assert curve["error_y"]["array"] == pytest.approx([0.1] * len(x))
    _, bare = both(Curve("g", x, [0.5] * len(x), G, [0.0] * len(x), has_bars=has_bars))
    assert "error_y" not in bare["data"][0]


def test_points_beside_a_tick_tell_its_name() -> None:
    curve = Curve("g", [0.1, 0.9], [0.5, 0.6], G)
    _, spec = both(curve, x=Axis.of_names("attack", ["@one", "two"]))
    assert spec["data"][0]["text"] == ["&#64;one", "two"]
    assert "%{text}" in spec["data"][0]["hovertemplate"]


def test_what_is_not_finite_leaves_a_gap() -> None:
    _, spec = both(Curve("f", [1, 2, 3], torch.tensor([1.0, float("inf"), float("nan")]), F))
    assert spec["data"][0]["y"] == [1.0, None, None]


def test_a_series_is_named_once() -> None:
    curves = [Curve(name, [0, 1], [0, seed], F) for name in ("f", "g") for seed in (0, 1)]
    figure = draw(Picture([Chart("", X, Y, curves)], ""))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["f", "g"]
    shown = [trace["showlegend"] for trace in to_plotly(Chart("", X, Y, curves))["data"]]
    assert shown == [True, False, True, False]
    assert to_plotly(Chart("", X, Y, curves), legend=False)["layout"]["showlegend"] is False


def test_a_level_is_named_at_its_line() -> None:
    axes, spec = both(Band("controls", [0, 1], [0, 0], [1, 1], CONTROLS), references=[Level("chance", 0.1, CHANCE)])
    assert [np.asarray(line.get_ydata()).tolist() for line in axes.lines] == [[0.1, 0.1]]
    (shape,), (label,) = spec["layout"]["shapes"], spec["layout"]["annotations"]
    assert (shape["y0"], shape["y1"], shape["xref"], label["text"]) == (0.1, 0.1, "paper", "chance")


def test_strips_draw_every_value_and_the_mean() -> None:
    strip = Strip("g", 1.0, [0.2, 0.4], 0.3, 0.1, G)
    axes, spec = both(strip, Strip("nothing", 2.0, [], None, None, G))
    dots = next(line for line in axes.lines if line.get_marker() == "o")
    assert np.asarray(dots.get_xdata()).tolist() == [0.2, 0.4]
    drawn, mean, nothing = spec["data"]
    assert (drawn["x"], mean["x"], mean["error_x"]["array"], nothing["x"]) == ([0.2, 0.4], [0.3], [0.1], [])


def test_an_axis_turns_around_and_is_logarithmic() -> None:
    log, down = Axis("size", is_log=True, limits=(0.1, 100.0)), Axis.of_names("name", ["a", "b" * 40], down=True)
    axes, spec = both(Curve("f", [1, 10], [0, 1], F), x=log, y=down)
    assert (axes.get_xscale(), axes.get_xlim(), axes.get_ylim()) == ("log", (0.1, 100.0), (1.5, -0.5))
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b" * 27 + "…"]
    assert spec["layout"]["xaxis"]["range"] == [-1, 2]
    assert spec["layout"]["yaxis"]["range"] == [1.5, -0.5]
    assert spec["layout"]["yaxis"]["ticktext"][0] == "a"
    assert Axis.of_names("class", [str(number) for number in range(61)]).ticks is None


@pytest.mark.parametrize(
    ("values", "some"), [([0.3, 0.5], "0.4"), ([3.0, 40.0], "20"), ([20.0, 5000.0], "$\\mathdefault{10^{3}}$")]
)
def test_a_logarithmic_axis_has_numbers_however_short_it_is(values: list[float], some: str) -> None:
    axes, _ = both(Curve("f", [1, 2], values, F), x=Axis("x"), y=Axis("drift", is_log=True))
    low, high = axes.get_ylim()
    axes.figure.canvas.draw()
    labels = [text.get_text() for text in axes.get_yticklabels() if low <= text.get_position()[1] <= high]
    assert some in labels
    assert len(labels) > 1


def test_a_heat_map_leaves_empty_what_was_not_measured() -> None:
    means = torch.tensor([[0.25, float("nan")], [0.05, 1.0]])
    heat = Heat(["r1", HOSTILE[0]], ["c1", "c2"], means, torch.full((2, 2), 0.125), 0.1, "accuracy", ("of", "by"))
    chart = Chart("", X, Y, [heat])
    figure = draw(Picture([chart], ""))
    axes, bar = figure.axes
    assert [text.get_text() for text in axes.texts] == ["25.0\n± 12.5", "–", "5.0\n± 12.5", "100.0\n± 12.5"]
    assert bar.get_ylabel() == "accuracy, %"
    (trace,) = to_plotly(chart)["data"]
    assert np.isnan(unpacked(trace["z"])).tolist() == [[False, True], [False, False]]
    assert trace["text"][0] == ["25.0<br>± 12.5", ""]
    assert "<" not in trace["customdata"][1][0][1]


def test_a_region_is_thinned_for_the_page() -> None:
    grid = torch.linspace(-1, 1, 400)
    values = grid[None, :] > grid[:, None]
    axes, spec = both(Region(grid, values, ("light-negative", "light-positive")))
    (image,) = axes.images
    assert np.asarray(image.get_array()).shape == (400, 400)
    assert (unpacked(spec["data"][0]["z"]) == values[::2, ::2].numpy()).all()


def test_a_boundary_is_the_lines_where_the_sign_changes() -> None:
    grid = torch.linspace(-1, 1, 101)
    x, y = grid[None, :], grid[:, None]
    circles = (x - 0.5).square() + y.square() - 0.09, (x + 0.5).square() + y.square() - 0.09
    (trace,) = to_plotly(Chart("", X, Y, [Boundary("f = 0", grid, torch.minimum(*circles), Look("ink"))]))["data"]
    across, up = unpacked(trace["x"]), unpacked(trace["y"])
    assert np.isnan(across).sum() == 2  # a gap after each of two lines
    radii = np.hypot(np.abs(across) - 0.5, up)
    # Between neighbours, 0.02 apart, a circle of radius 0.3 departs from its chord by 0.02² / (8 · 0.3).
    assert np.nanmax(np.abs(radii - 0.3)) < 2 * 0.02**2 / 2.4
    (none,) = to_plotly(Chart("", X, Y, [Boundary("f = 0", grid, torch.ones(101, 101), Look("ink"))]))["data"]
    assert np.isnan(unpacked(none["x"])).all()


def test_a_decision_map_as_a_picture(tiny_result: Result) -> None:
    assert tiny_result.folder is not None
    theory = TheoryComparison.load(tiny_result.folder / "theory")
    for figure in (theory.plot(), theory.plot_map(), draw_decision_map(theory.drawn)):
        assert text_lies_inside(figure)
    names = {text.get_text() for text in theory.plot_map().legends[0].get_texts()}
    assert names == {"decision boundary", "f̂ = 0", "ĝ = 0", "sample, +1", "sample, −1"}


def test_pictures_leave_pyplot_alone(tiny_result: Result) -> None:
    tiny_result.plot()
    assert plt.get_fignums() == []


def test_formulas_are_not_read_into_names() -> None:
    chart = Chart("costs $5 and $6", Axis("$x"), Y, [Curve("$a$", [0, 1], [0, 1], F)])
    figure = draw(Picture([chart, chart], "$"))
    FigureCanvasAgg(figure).draw()
    assert figure.legends[0].get_texts()[0].get_text() == r"\$a\$"


# Texts and numbers for plotly


def test_packed_values_are_those_that_were_packed() -> None:
    values = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert unpacked(packed(values)) == pytest.approx(values.float().numpy())
    signs = (values > 0).to(torch.int8)
    assert (unpacked(packed(signs)) == signs.numpy()).all()
    assert unpacked(packed(values[0])).shape == (5,)


def test_long_names_are_broken_into_lines_in_pages() -> None:
    axis = Axis("feature by eigenvalue: bands 1 to 2, 3 to 9", ticks={0.0: "share of the noise", 1.0: "images"})
    made = to_plotly(Chart("", axis, Axis("y"), []))["layout"]["xaxis"]
    assert made["title"]["text"] == "feature by eigenvalue:<br>bands 1 to 2, 3 to 9"
    assert made["ticktext"] == ["share of<br>the noise", "images"]


def test_names_are_neither_markup_nor_colours() -> None:
    for name in HOSTILE:
        assert "<" not in chart_text(name)
        assert not chart_text(name).startswith("@")
    assert chart_text("plain - name") == "plain - name"
    assert chart_text("one\ntwo") == "one<br>two"


# Examples


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 2, 2), None])
@pytest.mark.parametrize("bare", [False, True])
def test_examples_are_three_rows(shape: tuple[int, int, int] | None, bare: bool) -> None:
    figure = draw_examples(made_examples(shape=shape, bare=bare), "title")
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 3 * 4
    assert figure.get_suptitle() == "title"
    labels = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert [re.sub(r"\s", " ", label) for label in labels] == ["source", "perturbation, scaled", "perturbed input"]


def test_inputs_as_they_are_have_one_row() -> None:
    made = made_examples()
    figure = draw_examples(replace(made, inputs=made.sources), "title")
    assert [axes.get_ylabel() for axes in figure.axes] == ["input", "", "", ""]


def test_a_narrow_picture_has_as_many_examples_as_have_room_for_their_labels() -> None:
    made = replace(made_examples(), true_labels=tuple("3388"), target_labels=tuple("3838"))
    figure = draw_examples(made, "title", {"figure.figsize": (2.3, 2.0)})
    FigureCanvasAgg(figure).draw()
    first, second = (axes.title for axes in figure.axes[:2])
    assert len(figure.axes) == 3 * 2
    assert [first.get_text(), second.get_text()] == ["true 3\ntarget 3", "true 8\ntarget 3"]
    assert first.get_window_extent().x1 < second.get_window_extent().x0


def test_dashes_of_levels() -> None:
    assert Look("ink", "dot") == CHANCE
