"""Charts as values, built from results and drawn by matplotlib for files and by plotly for pages."""

from perturblearn.report.charts.description import Axis, Chart, Level, Picture, Zone
from perturblearn.report.charts.drawing import draw, draw_decision_map, draw_examples, draw_features, draw_map_of
from perturblearn.report.charts.to_plotly import to_plotly

__all__ = [
    "Axis",
    "Chart",
    "Level",
    "Picture",
    "Zone",
    "draw",
    "draw_decision_map",
    "draw_examples",
    "draw_features",
    "draw_map_of",
    "to_plotly",
]
