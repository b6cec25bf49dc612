"""Figures of both papers as settings of experiments, and their published values; knows not how these are run."""

from perturblearn.papers.figure import SCALES, Figure, FigurePoint, Panel, Scale, Smaller, label_of
from perturblearn.papers.iclr2024 import ARTIFICIAL_FIGURES, MAPS
from perturblearn.papers.iclr2024_deep import DEEP_TABLES, IMAGES
from perturblearn.papers.neurips2024 import ACCURACY_FIGURES, COSINE_FIGURE, DECISION_MAPS
from perturblearn.papers.outline import Outline
from perturblearn.papers.published import Published, published
from perturblearn.papers.studies import CONSTRUCTED_SETS, STUDIES
from perturblearn.papers.study import Analysis, Chart, Line, Study, StudyRun, Table

FIGURES = {
    **ACCURACY_FIGURES,
    COSINE_FIGURE.name: COSINE_FIGURE,
    **DECISION_MAPS,
    **ARTIFICIAL_FIGURES,
    **MAPS,
    **DEEP_TABLES,
    **IMAGES,
}
"""Every figure of the papers by its name."""
ALL: dict[str, Figure] = {**FIGURES, **STUDIES}
"""And every study."""

__all__ = [
    "ACCURACY_FIGURES",
    "ALL",
    "ARTIFICIAL_FIGURES",
    "CONSTRUCTED_SETS",
    "FIGURES",
    "SCALES",
    "STUDIES",
    "Analysis",
    "Chart",
    "Figure",
    "FigurePoint",
    "Line",
    "Outline",
    "Panel",
    "Published",
    "Scale",
    "Smaller",
    "Study",
    "StudyRun",
    "Table",
    "label_of",
    "published",
]
