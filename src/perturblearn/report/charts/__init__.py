"""Charts as values, built from results and drawn by matplotlib for files and by plotly for pages."""

from perturblearn.report.charts.description import Chart, Picture
from perturblearn.report.charts.examples import draw_examples
from perturblearn.report.charts.figure import (
    PanelChart,
    curve_looks,
    curve_name,
    figure_picture,
    panel_charts,
    study_chart,
    study_picture,
)
from perturblearn.report.charts.grid import audit_charts, audit_picture, transfer_charts, transfer_picture
from perturblearn.report.charts.palette import SERIES, css
from perturblearn.report.charts.run import (
    accuracies_chart,
    confusion_chart,
    confusion_picture,
    losses_chart,
    rates_chart,
    run_picture,
)
from perturblearn.report.charts.theory import draw_decision_map, map_charts, plane_names, theory_charts, theory_picture
from perturblearn.report.charts.to_matplotlib import draw
from perturblearn.report.charts.to_plotly import to_plotly

__all__ = [
    "SERIES",
    "Chart",
    "PanelChart",
    "Picture",
    "accuracies_chart",
    "audit_charts",
    "audit_picture",
    "confusion_chart",
    "confusion_picture",
    "css",
    "curve_looks",
    "curve_name",
    "draw",
    "draw_decision_map",
    "draw_examples",
    "figure_picture",
    "losses_chart",
    "map_charts",
    "panel_charts",
    "plane_names",
    "rates_chart",
    "run_picture",
    "study_chart",
    "study_picture",
    "theory_charts",
    "theory_picture",
    "to_plotly",
    "transfer_charts",
    "transfer_picture",
]
