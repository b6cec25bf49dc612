"""Pictures of features: the same numbers in the figure and in the page, for images and for what is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from perturblearn.errors import StoreError
from perturblearn.pages.run_page import shown_features
from perturblearn.report.charts import draw_features
from perturblearn.report.charts.palette import COLOURS
from perturblearn.results import ShownFeatures

PATTERNS = torch.tensor([[0.0, 1.0, -0.5, 0.0], [-1.0, 0.0, 0.0, 0.0]])
SHARES = {"f": (0.5, 0.1), "perturbations": (0.4, 0.2), "g": (0.05, 0.8)}


def made(shape: tuple[int, int, int] | None) -> ShownFeatures:
    return ShownFeatures(PATTERNS, ("component 0, robust", "component 1, not robust"), SHARES, shape)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in (axes.title, *axes.texts)]


@pytest.mark.parametrize("shape", [(1, 2, 2), None])
def test_the_figure_has_a_picture_and_three_bars_for_each_feature(shape: tuple[int, int, int] | None) -> None:
    figure = draw_features(made(shape), "Linear features; digits")
    pictures, bars = figure.axes[:2], figure.axes[2:]
    assert all(bool(axes.images) == (shape is not None) for axes in pictures)
    widths = [[patch.get_width() for patch in axes.patches] for axes in bars]  # pyright: ignore[reportAttributeAccessIssue]
    assert widths == [[0.5, 0.4, 0.05], [0.1, 0.2, 0.8]]
    assert {"component 0,\nrobust", "50 %", "80 %", "5 %"} <= set(texts(figure))


def test_the_page_has_the_same_bars_in_the_same_colours() -> None:
    shown = shown_features(made((1, 2, 2)), "Linear features")
    items: list[dict[str, Any]] = shown["items"]
    assert [[bar["value"] for bar in item["bars"]] for item in items] == [
        ["50 %", "40 %", "5 %"],
        ["10 %", "20 %", "80 %"],
    ]
    assert items[1]["bars"][2]["width"] == "100.0"
    assert all(bar["colour"] in COLOURS for item in items for bar in item["bars"])
    assert items[0]["picture"]
    assert shown_features(made(None), "Linear features")["items"][0]["picture"] is None


def test_features_survive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "linear-features.safetensors"
    made((1, 2, 2)).save(path)
    back = ShownFeatures.load(path)
    assert torch.equal(back.patterns, PATTERNS)
    assert (back.names, back.shares, back.image_shape) == (made(None).names, SHARES, (1, 2, 2))
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(StoreError, match="damaged"):
        ShownFeatures.load(path)
