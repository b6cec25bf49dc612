"""The five steps of perturbation learning as stages, with controls and measures; knows no terminal and no files."""

from perturblearn.experiment.case import Case
from perturblearn.experiment.comparison import COMPARISONS, Comparison, compare
from perturblearn.experiment.controls import run_control
from perturblearn.experiment.experiment import Experiment, SeedStages
from perturblearn.experiment.maps import draw_map
from perturblearn.experiment.measures import MEASURES, accuracy, agreement, measure_perturbation, measure_standard
from perturblearn.experiment.selection import SELECTED_BY, select
from perturblearn.experiment.summary import BEATEN_SHARE, chance_of, summarise, summarise_seeds

__all__ = [
    "BEATEN_SHARE",
    "COMPARISONS",
    "MEASURES",
    "SELECTED_BY",
    "Case",
    "Comparison",
    "Experiment",
    "SeedStages",
    "accuracy",
    "agreement",
    "chance_of",
    "compare",
    "draw_map",
    "measure_perturbation",
    "measure_standard",
    "run_control",
    "select",
    "summarise",
    "summarise_seeds",
]
