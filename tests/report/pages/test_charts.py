from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects
import pytest
import torch
from tests.measured import class_measures
from tests.report.pages.made_runs import HOSTILE, made_audit, made_matrix, made_reproduction, made_study

from perturblearn import Result
from perturblearn.experiment import chance_of
from perturblearn.report.grid_figures import heat_maps
from perturblearn.report.pages.charts import (
    Spec,
    chart_text,
    confusion_chart,
    losses_chart,
    map_charts,
    measures_chart,
    packed,
    rates_chart,
    theory_charts,
)
from perturblearn.report.pages.curves import analysis_chart, legend_of, line_with_spread, panel_chart
from perturblearn.report.pages.grid_page import _heat_chart, _norm_chart
from perturblearn.report.theory import TheoryComparison


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


def theory_of(result: Result) -> TheoryComparison:
    assert result.folder is not None
    return TheoryComparison.load(result.folder / "theory")


def test_plotly_knows_every_key(tiny_result: Result) -> None:
    theory = theory_of(tiny_result)
    audit, matrix, figure, study = made_audit(), made_matrix(), made_reproduction(), made_study()
    assert study.analysis is not None
    curves = list(dict.fromkeys(row.measure for row in figure.rows))
    specs = [
        measures_chart(tiny_result.summary, chance=0.5),
        losses_chart([(0, "f", torch.rand(1000)), (0, "g", torch.rand(1))]),
        confusion_chart([seed.classes for seed in tiny_result.seeds]),
        rates_chart(tiny_result.seeds),
        *(spec for _, spec in theory_charts(next(iter(theory.comparisons.values())))),
        *(spec for has_bias in (True, False) for _, spec in map_charts(theory.drawn, has_bias=has_bias)),
        *(
            panel_chart(panel, [row for row in figure.rows if row.panel == panel.number], curves, uncertainty=0.02)
            for panel in figure.panels
        ),
        analysis_chart(study.analysis.charts[0]),
        _norm_chart(audit.cells[:3], audit),
        _norm_chart(audit.cells[3:4], audit),
        *(_heat_chart(heat, ["a", "b"], ["a", "b"]) for heat in heat_maps(matrix)),
    ]
    for spec in specs:
        plotly.graph_objects.Figure(with_colours(spec))


def test_packed_values_are_those_that_were_packed() -> None:
    values = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert unpacked(packed(values)) == pytest.approx(values.float().numpy())
    signs = (values > 0).to(torch.int8)
    assert (unpacked(packed(signs)) == signs.numpy()).all()
    assert unpacked(packed(values[0])).shape == (5,)


def test_names_are_neither_markup_nor_colours() -> None:
    for name in HOSTILE:
        assert "<" not in chart_text(name)
        assert not chart_text(name).startswith("@")
    assert chart_text("plain - name") == "plain - name"


def test_the_measures_are_all_seeds_and_draws(tiny_result: Result) -> None:
    spec = measures_chart(tiny_result.summary, chance=chance_of(tiny_result.seeds))
    drawn = sorted(value for trace in spec["data"] if trace["marker"].get("opacity") for value in trace["x"])
    shown = ("standard_accuracy_heldout", "perturbation_accuracy_heldout", "agreement")
    controls = ("unperturbed_control_heldout", "permuted_control_heldout")
    expected = [value for name in (*shown, *controls) for value in tiny_result.summary[name]["values"]]
    assert drawn == sorted(expected)
    means = [trace for trace in spec["data"] if not trace["marker"].get("opacity")]
    assert [trace["x"][0] for trace in means][-1] == tiny_result.summary["standard_accuracy_heldout"]["mean"]
    assert means[-1]["error_x"]["array"] == [tiny_result.summary["standard_accuracy_heldout"]["std"]]


def test_a_curve_keeps_its_ends_and_its_start() -> None:
    losses = torch.linspace(1, 0, 100_000, dtype=torch.float64)
    (trace,) = losses_chart([(3, "g", losses)])["data"]
    assert len(trace["x"]) <= 400
    assert (trace["x"][0], trace["x"][-1]) == (1, 100_000)
    assert trace["x"][:5] == [1, 2, 3, 4, 5]
    assert trace["y"] == pytest.approx(losses[torch.tensor(trace["x"]) - 1].tolist(), abs=1e-7)
    (broken,) = losses_chart([(0, "f", torch.tensor([1.0, float("inf"), float("nan")]))])["data"]
    assert broken["y"] == [1.0, None, None]


def test_the_confusion_is_in_shares_of_each_true_class() -> None:
    classes = [
        replace(class_measures(HOSTILE), n_heldout=(4, 2, 0), confusion=confusion)
        for confusion in (((3, 1, 0), (0, 2, 0), (0, 0, 0)), ((1, 3, 0), (2, 0, 0), (0, 0, 0)))
    ]
    (trace,) = confusion_chart(classes)["data"]
    assert unpacked(trace["z"]) == pytest.approx(np.array([[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 0]]))


def test_every_pair_of_learning_rates_has_its_mean(tiny_result: Result) -> None:
    spec = rates_chart(tiny_result.seeds)
    (trace,) = spec["data"]
    assert spec["layout"]["xaxis"]["ticktext"] == ["0.5", "0.1"]
    for column, rate in enumerate((0.5, 0.1)):
        found = [
            pair.measures["perturbation_accuracy_heldout"]
            for seed in tiny_result.seeds
            for pair in seed.grid
            if pair.perturbation_lr == rate
        ]
        assert unpacked(trace["z"])[0][column] == pytest.approx(np.mean(found))


def test_the_maps_are_the_networks_signs(tiny_result: Result) -> None:
    drawn = theory_of(tiny_result).drawn
    for (title, spec), name in zip(map_charts(drawn, has_bias=True), ("f", "g", None), strict=True):
        region = unpacked(spec["data"][0]["z"])
        if name is None:
            expected = drawn.agreement("f", "g")
            assert f"{float(expected.double().mean()):.0%}" in title
        else:
            expected = drawn.values[name] > 0
        assert (region == expected[::2, ::2].numpy()).all()
        assert len(spec["data"]) == 5  # the region, two lines, samples of two classes


@pytest.mark.parametrize("x", [[1.0], ["a", "b"]], ids=["one point", "names"])
def test_a_spread_that_no_band_can_show_has_bars(x: list[Any]) -> None:
    (curve,) = line_with_spread("g", x, [0.5] * len(x), [0.1] * len(x), colour="@g")
    assert curve["error_y"]["array"] == [0.1] * len(x)
    (bare,) = line_with_spread("g", x, [0.5] * len(x), [0.0] * len(x), colour="@g")
    assert "error_y" not in bare


def test_a_panel_shows_means_spreads_and_published_points() -> None:
    figure = made_reproduction()
    rows = [row for row in figure.rows if row.panel == 1]
    curves = list(dict.fromkeys(row.measure for row in rows))
    spec = panel_chart(figure.panels[0], rows, curves, uncertainty=0.02)
    lines = {trace["name"]: trace for trace in spec["data"] if trace["mode"] == "lines+markers"}
    limit = lines["perturbation accuracy (limit)"]
    assert limit["y"] == pytest.approx([0.55, 0.65, 0.75, 0.85])
    assert limit["customdata"] == pytest.approx([0.01, 0.02, 0.03, 0.04])
    assert limit["line"]["dash"] != lines["perturbation accuracy"]["line"]["dash"]
    assert limit["line"]["color"] == lines["perturbation accuracy"]["line"]["color"] == "@g"
    bands = [trace for trace in spec["data"] if trace.get("fill")]
    assert bands[0]["y"] == pytest.approx([0.51, 0.62, 0.73, 0.84, 0.76, 0.67, 0.58, 0.49])
    rings = [trace for trace in spec["data"] if "published" in trace.get("name", "")]
    assert [trace["x"] for trace in rings] == [[1, 10, 100]] * 2
    assert rings[0]["error_y"]["value"] == 0.02
    assert spec["layout"]["xaxis"]["type"] == "log"
    assert [entry["colour"] for entry in legend_of(curves)] == ["g", "f", "g"]
