"""Results of finished work as types, with one loader and one writer; knows neither words nor pictures."""

from perturblearn.results.attributed import ATTRIBUTED, AttributedInputs
from perturblearn.results.audit import Audit
from perturblearn.results.data_size import SIZE_COLUMNS, DataSize
from perturblearn.results.drawing import FigureOptions, Style, drawn_or_warned, figure_files, own_settings, settings_of
from perturblearn.results.examples import EXAMPLES, Examples
from perturblearn.results.export import export_run, first_examples
from perturblearn.results.files import PAGE_NAME, TRACKING, File
from perturblearn.results.finished import Finished
from perturblearn.results.loading import FILES, load
from perturblearn.results.names import short_names, size_of
from perturblearn.results.points import (
    AGREES,
    CHANGED,
    DIFFERS,
    INSIDE,
    NOT_RUN,
    OUTSIDE,
    READING_ERROR,
    SMALLER,
    UNREADABLE,
    PointRow,
    ShownPanel,
    curve_of,
    point_rows,
)
from perturblearn.results.reproduction import COLUMNS, ControlsOfWay, FailedRun, Reproduction, analysis_from_dict
from perturblearn.results.result import SCHEMA, Result
from perturblearn.results.routes import RouteResult
from perturblearn.results.rows import check_column, columns_of, select
from perturblearn.results.runs import ABOUT, Runs, is_setting, known_columns, rows_of, telling_columns
from perturblearn.results.shown import report_on
from perturblearn.results.shown_features import FEATURES, ShownFeatures
from perturblearn.results.sweep import Spread, SweepPoint, SweepResult, SweepRun
from perturblearn.results.theory import TheoryComparison
from perturblearn.results.transfer import TransferMatrix

__all__ = [
    "ABOUT",
    "AGREES",
    "ATTRIBUTED",
    "CHANGED",
    "COLUMNS",
    "DIFFERS",
    "EXAMPLES",
    "FEATURES",
    "FILES",
    "INSIDE",
    "NOT_RUN",
    "OUTSIDE",
    "PAGE_NAME",
    "READING_ERROR",
    "SCHEMA",
    "SIZE_COLUMNS",
    "SMALLER",
    "TRACKING",
    "UNREADABLE",
    "AttributedInputs",
    "Audit",
    "ControlsOfWay",
    "DataSize",
    "Examples",
    "FailedRun",
    "FigureOptions",
    "File",
    "Finished",
    "PointRow",
    "Reproduction",
    "Result",
    "RouteResult",
    "Runs",
    "ShownFeatures",
    "ShownPanel",
    "Spread",
    "Style",
    "SweepPoint",
    "SweepResult",
    "SweepRun",
    "TheoryComparison",
    "TransferMatrix",
    "analysis_from_dict",
    "check_column",
    "columns_of",
    "curve_of",
    "drawn_or_warned",
    "export_run",
    "figure_files",
    "first_examples",
    "is_setting",
    "known_columns",
    "load",
    "own_settings",
    "point_rows",
    "report_on",
    "rows_of",
    "select",
    "settings_of",
    "short_names",
    "size_of",
    "telling_columns",
]
