"""The five steps of perturbation learning as stages, with controls and measures; knows no terminal and no files."""

from perturblearn.experiment.audit import (
    DEEP_DEFAULTS,
    audit_configs,
    default_epsilons,
    default_learner,
    default_targets,
)
from perturblearn.experiment.case import Case
from perturblearn.experiment.comparison import COMPARISONS, Comparison, compare
from perturblearn.experiment.controls import run_control
from perturblearn.experiment.experiment import Experiment
from perturblearn.experiment.maps import MAP_POINTS, draw_map, dump_map, load_map
from perturblearn.experiment.measures import MEASURES, accuracy, agreement, measure_perturbation, measure_standard
from perturblearn.experiment.network_comparison import NETWORK_COMPARISONS, compare_networks
from perturblearn.experiment.points import Outcome, Point
from perturblearn.experiment.seed_graph import Branch, Learner, SeedGraph
from perturblearn.experiment.selection import SELECTED_BY, Selected, select
from perturblearn.experiment.steps import Part, Shard
from perturblearn.experiment.summary import BEATEN_SHARE, chance_of, summarise, summarise_seeds
from perturblearn.experiment.together import MakeExecutor, key_of, plan_together, run_together
from perturblearn.experiment.transfer import Pair, Transfer
from perturblearn.experiment.trends import Crossing, Fit, Slope, crossing, fit_line, fit_power_law

__all__ = [
    "BEATEN_SHARE",
    "COMPARISONS",
    "DEEP_DEFAULTS",
    "MAP_POINTS",
    "MEASURES",
    "NETWORK_COMPARISONS",
    "SELECTED_BY",
    "Branch",
    "Case",
    "Comparison",
    "Crossing",
    "Experiment",
    "Fit",
    "Learner",
    "MakeExecutor",
    "Outcome",
    "Pair",
    "Part",
    "Point",
    "SeedGraph",
    "Selected",
    "Shard",
    "Slope",
    "Transfer",
    "accuracy",
    "agreement",
    "audit_configs",
    "chance_of",
    "compare",
    "compare_networks",
    "crossing",
    "default_epsilons",
    "default_learner",
    "default_targets",
    "draw_map",
    "dump_map",
    "fit_line",
    "fit_power_law",
    "key_of",
    "load_map",
    "measure_perturbation",
    "measure_standard",
    "plan_together",
    "run_control",
    "run_together",
    "select",
    "summarise",
    "summarise_seeds",
]
