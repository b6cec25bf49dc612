"""Stages with an identity, the plan of what has to run, and its execution; knows nothing of experiments."""

from perturblearn.graph.execute import Done, Executor, Progress, Watcher
from perturblearn.graph.memory import available_memory, collecting_nothing
from perturblearn.graph.plan import Plan, make_plan
from perturblearn.graph.stage import Estimate, Report, Stage, StageKind, content_key

__all__ = [
    "Done",
    "Estimate",
    "Executor",
    "Plan",
    "Progress",
    "Report",
    "Stage",
    "StageKind",
    "Watcher",
    "available_memory",
    "collecting_nothing",
    "content_key",
    "make_plan",
]
