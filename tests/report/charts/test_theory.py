"""Charts of a run beside theory as values."""

from __future__ import annotations

import torch

from perturblearn import Result, TheoryComparison
from perturblearn.report.charts import Zone
from perturblearn.report.charts.marks import Boundary, Dots, Histogram, Region
from perturblearn.report.charts.theory import map_charts, plane_names, theory_charts, theory_picture
from perturblearn.theory import DecisionMap, DecisionPlane


def theory_of(result: Result) -> TheoryComparison:
    assert result.folder is not None
    return TheoryComparison.load(result.folder / "theory")


def test_outputs_stand_over_their_predictions(tiny_result: Result) -> None:
    theory = theory_of(tiny_result)
    first = next(iter(theory.comparisons.values()))
    of_f, of_g, cosines = theory_charts(theory)
    for chart, network in ((of_f, "f"), (of_g, "g")):
        classes = [mark for mark in chart.marks if isinstance(mark, Dots)]
        assert [mark.name for mark in classes] == ["true class +1", "true class −1"]
        assert {mark.look.colour for mark in classes}.isdisjoint({"f", "g", "control"})
        outputs = first.outputs[network].double()
        assert sorted(torch.cat([mark.y for mark in classes]).tolist()) == sorted(outputs.tolist())
        assert max(float(mark.x.abs().max()) for mark in classes) == 1
        assert chart.note == "Dots are held-out inputs of seed 0, 30 in all."
    (bars,) = cosines.marks
    assert isinstance(bars, Histogram)
    assert float(bars.counts.sum()) == len(first.cosines)
    (random,) = cosines.references
    assert isinstance(random, Zone)
    assert random.high == first.numbers["cosine_similarity_random"]
    assert theory_picture(theory).caption.count("30 in all") == 1


def test_a_cosine_is_counted_where_it_is(tiny_result: Result) -> None:
    theory = theory_of(tiny_result)
    (bars,) = theory_charts(theory)[2].marks
    assert isinstance(bars, Histogram)
    cosines = next(iter(theory.comparisons.values())).cosines.double()
    half = float(bars.middles[1] - bars.middles[0]) / 2
    for middle, count in zip(bars.middles.tolist(), bars.counts.tolist(), strict=True):
        assert count == int(((cosines >= middle - half) & (cosines < middle + half)).sum())


def test_the_maps_are_the_networks_signs(tiny_result: Result) -> None:
    drawn = theory_of(tiny_result).drawn
    charts = map_charts(drawn, **plane_names(has_bias=True))
    for chart, name in zip(charts, ("f", "g", None), strict=True):
        region = chart.marks[0]
        assert isinstance(region, Region)
        expected = drawn.agreement("f", "g") if name is None else drawn.values[name] > 0
        assert region.values.equal(expected)
        if name is None:
            assert f"{100 * float(expected.double().mean()):.0f} %" in chart.title
        assert len(chart.marks) == 5  # the region, two lines, samples of two classes
        assert chart.is_square
    assert (charts[0].x.label, charts[0].y.label) == ("a (mean of +1)", "b (mean of −1)")


def test_a_map_has_the_lines_that_it_knows() -> None:
    grid = torch.linspace(-1, 1, 30)
    plane = DecisionPlane(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    first = grid.expand(30, 30)  # the sign of a
    everywhere = torch.ones(30, 30)
    charts = map_charts(DecisionMap(plane, grid, {"f": first, "g": everywhere}))
    lines = [[mark.name for mark in chart.marks if isinstance(mark, Boundary)] for chart in charts]
    assert lines == [["decision boundary"], ["decision boundary"], []]
    # f and g agree where a > 0: half of the plane.
    assert charts[2].title == "sign f = sign g on 50 % of the plane"
    samples, labels = torch.tensor([[0.5, 0.2], [-0.5, 0.1]]), torch.tensor([1, -1])
    values = {"f": first, "g": first, "fhat": first, "ghat": everywhere}
    charts = map_charts(DecisionMap(plane, grid, values, samples, labels), **plane_names(has_bias=False))
    names = [mark.name for mark in charts[2].marks if isinstance(mark, Boundary)]
    assert names == ["boundary of f's limit", "boundary of g's limit"]
    assert [len(mark.x) for mark in charts[0].marks if isinstance(mark, Dots)] == [1, 1]
