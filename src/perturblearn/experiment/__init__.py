"""The five steps of perturbation learning as stages, with controls and measures; knows no terminal and no files."""

from perturblearn.experiment.attribution import Attribution
from perturblearn.experiment.audit import (
    DEEP_DEFAULTS,
    DEFAULT_NETWORK,
    audit_configs,
    default_epsilons,
    default_learner,
    default_targets,
)
from perturblearn.experiment.bottleneck import Bottleneck, find_bottleneck
from perturblearn.experiment.case import Case
from perturblearn.experiment.comparison import COMPARISONS, Comparison
from perturblearn.experiment.controls import run_control
from perturblearn.experiment.draws import draws_of_data, start_of_sources, start_of_targets
from perturblearn.experiment.experiment import Experiment
from perturblearn.experiment.features import FEATURE_BANDS, FEATURE_NUMBERS, MACHINES, feature_measure
from perturblearn.experiment.maps import MAP_POINTS, dump_map, load_map
from perturblearn.experiment.measured import (
    HELDOUT,
    TRAINING,
    AccuracyNames,
    AttributionMeasures,
    ClassMeasures,
    ControlAccuracies,
    GroupMeasures,
    LearnerMeasures,
    Number,
    PairMeasures,
    SeedMeasures,
)
from perturblearn.experiment.measures import (
    MEASURES,
    Measure,
    PerturbationCase,
    PerturbationMeasure,
    StandardCase,
    StandardMeasure,
    accuracy,
    agreement,
    measure_perturbation,
    measure_standard,
)
from perturblearn.experiment.network_comparison import NETWORK_COMPARISONS
from perturblearn.experiment.pictured import PicturedFeatures
from perturblearn.experiment.points import Outcome, Point
from perturblearn.experiment.seed_graph import Branch, Learner, SeedGraph
from perturblearn.experiment.selection import SELECTED_BY, Selected, select
from perturblearn.experiment.steps import Part, Shard
from perturblearn.experiment.summary import (
    BEATEN_SHARE,
    ControlSummary,
    Spread,
    Summaries,
    Summary,
    chance_of,
    controls_of,
    n_heldout_of,
    numbers_of,
    summarise,
    summarise_seeds,
    wilson_interval,
    with_interval,
)
from perturblearn.experiment.together import MakeExecutor, key_of, plan_together, run_together
from perturblearn.experiment.transfer import FoolingSummary, Pair, Transfer
from perturblearn.experiment.trends import Crossing, Fit, Slope, crossing, fit_line, fit_power_law, mean_of_seeds
from perturblearn.experiment.trials import try_networks
from perturblearn.experiment.why import ROUTES, Route, RouteCase, RouteName, route_cases

__all__ = [
    "BEATEN_SHARE",
    "COMPARISONS",
    "DEEP_DEFAULTS",
    "DEFAULT_NETWORK",
    "FEATURE_BANDS",
    "FEATURE_NUMBERS",
    "HELDOUT",
    "MACHINES",
    "MAP_POINTS",
    "MEASURES",
    "NETWORK_COMPARISONS",
    "ROUTES",
    "SELECTED_BY",
    "TRAINING",
    "AccuracyNames",
    "Attribution",
    "AttributionMeasures",
    "Bottleneck",
    "Branch",
    "Case",
    "ClassMeasures",
    "Comparison",
    "ControlAccuracies",
    "ControlSummary",
    "Crossing",
    "Experiment",
    "Fit",
    "FoolingSummary",
    "GroupMeasures",
    "Learner",
    "LearnerMeasures",
    "MakeExecutor",
    "Measure",
    "Number",
    "Outcome",
    "Pair",
    "PairMeasures",
    "Part",
    "PerturbationCase",
    "PerturbationMeasure",
    "PicturedFeatures",
    "Point",
    "Route",
    "RouteCase",
    "RouteName",
    "SeedGraph",
    "SeedMeasures",
    "Selected",
    "Shard",
    "Slope",
    "Spread",
    "StandardCase",
    "StandardMeasure",
    "Summaries",
    "Summary",
    "Transfer",
    "accuracy",
    "agreement",
    "audit_configs",
    "chance_of",
    "controls_of",
    "crossing",
    "default_epsilons",
    "default_learner",
    "default_targets",
    "draws_of_data",
    "dump_map",
    "feature_measure",
    "find_bottleneck",
    "fit_line",
    "fit_power_law",
    "key_of",
    "load_map",
    "mean_of_seeds",
    "measure_perturbation",
    "measure_standard",
    "n_heldout_of",
    "numbers_of",
    "plan_together",
    "route_cases",
    "run_control",
    "run_together",
    "select",
    "start_of_sources",
    "start_of_targets",
    "summarise",
    "summarise_seeds",
    "try_networks",
    "wilson_interval",
    "with_interval",
]
