"""Published values, and the definitions of their figures."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from perturblearn.papers import FIGURES, Panel, published

CONTENT = json.loads((files("perturblearn.papers") / "published.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", CONTENT["figures"])
def test_definitions_sweep_what_was_published(name: str) -> None:
    known, figure = published(name), FIGURES[name]
    assert known is not None
    assert len(known.sweeps) == len(figure.panels)
    for number, (sweep, panel) in enumerate(zip(known.sweeps, figure.panels, strict=True), start=1):
        assert {setting: list(values) for setting, values in panel.varied.items()} == sweep
        for measure in figure.measures:
            series = known.series(number, measure)
            assert series is None or len(series) == len(panel.points)
            assert all(value is None or 0 <= value <= 1 for value in series or ())
        given = known.values[number - 1]
        assert given is None or set(given) <= set(figure.measures)


def test_counts_of_readable_values() -> None:
    readable = {
        name: sum(
            value is not None for values in known.values for series in (values or {}).values() for value in series
        )
        for name in CONTENT["figures"]
        if (known := published(name)) is not None
    }
    given = {name for name, count in readable.items() if count}
    assert given == {
        *(
            f"neurips2024/{name}"
            for name in ("shifted_gauss_a", "shifted_gauss_b", "gauss_a", "gauss_b", "mnist_b", "fmnist_a", "fmnist_b")
        ),
        "neurips2024/cosine_similarity",
        *(f"iclr2024/artificial_{name}" for name in ("l2_uniform", "l0_uniform", "l0_gauss", "linf_uniform")),
        *(f"iclr2024/{what}_{data}" for what in ("deep", "images") for data in ("mnist", "fashion_mnist", "cifar10")),
    }
    # Counted by hand in the published figure: standard accuracy 7, agreement 10 in the first panel.
    known = published("neurips2024/shifted_gauss_a")
    assert known is not None
    assert [
        sum(value is not None for value in known.series(1, name) or ())
        for name in FIGURES["neurips2024/shifted_gauss_a"].measures
    ] == [7, 0, 10]
    assert known.uncertainty == 0.015


def test_what_was_not_given() -> None:
    known = published("neurips2024/mnist_a")
    assert known is not None
    assert not known.is_given
    assert known.series(1, "agreement") is None
    assert published("neurips2024/map_mnist_a") is None


def test_a_picture_is_one_point() -> None:
    assert Panel(title="map").points == [(0, {})]
