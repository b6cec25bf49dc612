"""Charts of audits and transfer matrices as values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from tests.report.cells import cell

from perturblearn import Audit, Result, TransferMatrix
from perturblearn.experiment import summarise
from perturblearn.experiment.transfer import FoolingSummary
from perturblearn.report.charts import Chart, Level
from perturblearn.report.charts.grid import audit_charts, audit_picture, transfer_charts
from perturblearn.report.charts.marks import Band, Curve, Heat

OWN = "mypackage.nets:make_transformer"


def audit_of(*cells: Result) -> Audit:
    return Audit(cells, "key", "small")


def curves(chart: Chart) -> dict[str, Curve]:
    return {mark.name: mark for mark in chart.marks if isinstance(mark, Curve)}


def test_an_audit_s_charts_hold_every_cell() -> None:
    cells = [
        cell([0.2, 0.4], norm="l2", epsilon=2.0, linear=[0.2, 0.2], controls=(0.05, 0.15)),
        cell([0.3, 0.7], norm="l2", epsilon=1.0, linear=[0.1, 0.3], controls=(0.1, 0.12)),
        cell([0.6, 0.6], norm="l2", epsilon=1.0, linear=[0.1, 0.3], names=("mlp", "convnet")),
        cell([0.5], norm="linf", epsilon=0.1),
    ]
    first, second = audit_charts(audit_of(*cells))
    assert (first.title, second.title) == (
        "Accuracy of g over perturbation size, L2",
        "Accuracy of g over perturbation size, L∞",
    )
    found = curves(first)
    assert list(found["g: mlp"].y) == pytest.approx([0.5, 0.3])  # in the order of epsilon
    assert found["g: mlp"].spread == pytest.approx([0.4 / 2**0.5, 0.2 / 2**0.5])  # std of two values
    assert list(found["g: convnet"].y) == pytest.approx([0.6])
    assert found["g: mlp"].look.colour == "g"
    assert found["g: convnet"].look.colour not in ("f", "g", "control")
    assert list(found["linear classifier of the same set"].y) == pytest.approx([0.2, 0.2])
    assert list(found["controls, mean"].y) == pytest.approx([0.105, 0.1])
    levels = {level.name: level.value for level in first.references if isinstance(level, Level)}
    assert levels == pytest.approx({"f": 0.9, "chance": 0.1})
    (band,) = (mark for mark in first.marks if isinstance(mark, Band))
    assert (min(band.low), max(band.high)) == pytest.approx((0.05, 0.15))
    assert "means ± one standard deviation over 2 seeds, 40 held-out inputs each" in first.note
    other = curves(second)["g: mlp"]
    assert (list(other.y), list(other.spread or [])) == ([0.5], [0.0])


@pytest.mark.parametrize(
    ("sizes", "is_log"), [((0.1, 1.0), False), ((0.1, 1.1), True), ((0.0, 1.0), False), ((1.0,), False)]
)
def test_epsilons_far_apart_are_drawn_on_a_logarithmic_axis(sizes: Sequence[float], is_log: bool) -> None:
    (chart,) = audit_charts(audit_of(*(cell([0.5, 0.6], epsilon=size) for size in sizes)))
    assert chart.x.is_log is is_log
    assert chart.x.ticks == {size: f"{size:g}" for size in sizes}
    assert chart.x.limits is not None
    low, high = chart.x.limits
    assert low < sizes[0]
    assert sizes[-1] < high


def test_norms_of_one_size_each_are_one_chart() -> None:
    few = cell([0.5, 0.6], name="radial_pgd", norm="l0", pixels=5, linear=[0.2, 0.2])
    audit = audit_of(few, cell([0.3, 0.4], linear=[0.1, 0.1]), cell([0.2, 0.3], names=("mlp", "convnet")))
    (chart,) = audit_charts(audit)
    assert chart.x.label == "attack"
    assert chart.x.ticks == {0.0: "L0, 5 coordinates", 1.0: "L2, ε = 1"}
    found = curves(chart)
    for name in ("g: mlp", "linear classifier of the same set"):
        assert found[name].look.dash is None, "attacks are no points of one curve"
    assert list(found["g: mlp"].y) == pytest.approx([0.55, 0.35])
    assert found["g: mlp"].x[1] < 1 < found["g: convnet"].x[0], "learners stand side by side"
    assert len([mark for mark in chart.marks if isinstance(mark, Band)]) == 2
    assert audit_picture(audit, "an audit").caption == chart.note


def test_one_seed_has_no_spread() -> None:
    (chart,) = audit_charts(audit_of(cell([0.5])))
    assert chart.note.startswith("Points are the values of 1 seed, 40 held-out inputs; the grey bar")


def test_coordinates_are_no_epsilon() -> None:
    (chart,) = audit_charts(
        audit_of(*(cell([0.5, 0.6], name="radial_pgd", norm="l0", pixels=pixels) for pixels in (5, 9)))
    )
    assert chart.x.label == "coordinates changed"
    assert chart.x.ticks == {5.0: "5 px", 9.0: "9 px"}


def test_a_matrix_s_charts_hold_every_number() -> None:
    reached = {("mlp", "mlp"): [0.8, 0.82], ("mlp", OWN): [0.5, 0.52], (OWN, "mlp"): [0.05, 0.05], (OWN, OWN): [0.7]}
    cells = {pair: cell(values, names=pair) for pair, values in reached.items()}
    success = {pair: FoolingSummary(None if pair[0] == pair[1] else summarise([0.5, 0.7])) for pair in reached}
    accuracy, fooled = transfer_charts(TransferMatrix(cells, success, "key", "small"))
    (heat,) = accuracy.marks
    assert isinstance(heat, Heat)
    assert heat.texts == [["81.0\n± 1.4", "51.0\n± 1.4"], ["5.0\n± 0.0", "70.0"]]
    assert (heat.low, accuracy.x.label) == (pytest.approx(0.1), "learned by")
    assert accuracy.y.ticks == {0.0: "mlp", 1.0: "make_transformer"}
    (heat,) = fooled.marks
    assert isinstance(heat, Heat)
    assert [[math.isnan(mean) for mean in row] for row in heat.means.tolist()] == [[True, False], [False, True]]
    assert (heat.texts[0], heat.low) == (["", "60.0\n± 14.1"], 0.0)
