"""The five steps of perturbation learning as stages, with controls and measures; knows no terminal and no files."""

from perturblearn.experiment.controls import run_control
from perturblearn.experiment.experiment import Experiment, SeedStages
from perturblearn.experiment.measures import MEASURES, accuracy, agreement, measure_perturbation, measure_standard
from perturblearn.experiment.selection import SELECTED_BY, select
from perturblearn.experiment.summary import BEATEN_SHARE, CHANCE, summarise, summarise_seeds

__all__ = [
    "BEATEN_SHARE",
    "CHANCE",
    "MEASURES",
    "SELECTED_BY",
    "Experiment",
    "SeedStages",
    "accuracy",
    "agreement",
    "measure_perturbation",
    "measure_standard",
    "run_control",
    "select",
    "summarise",
    "summarise_seeds",
]
