"""Figures of both papers as settings of experiments; knows not how these are run."""

from perturblearn.papers.figure import Figure, Panel, Point
from perturblearn.papers.neurips2024 import ACCURACY_FIGURES

__all__ = ["ACCURACY_FIGURES", "Figure", "Panel", "Point"]
