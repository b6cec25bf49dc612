"""Stages with an identity, the plan of what has to run, and its execution; knows nothing of experiments."""

from perturblearn.graph.execute import Done, Executor, Progress, Watcher
from perturblearn.graph.memory import available_memory, collecting_nothing
from perturblearn.graph.plan import Plan, make_plan
from perturblearn.graph.stage import (
    AnyStage,
    Costly,
    Estimate,
    Grouped,
    Report,
    Results,
    ResultT_co,
    Stage,
    Storable,
    Stored,
    aside,
    content_key,
    keys_below,
    optional,
)

__all__ = [
    "AnyStage",
    "Costly",
    "Done",
    "Estimate",
    "Executor",
    "Grouped",
    "Plan",
    "Progress",
    "Report",
    "ResultT_co",
    "Results",
    "Stage",
    "Storable",
    "Stored",
    "Watcher",
    "aside",
    "available_memory",
    "collecting_nothing",
    "content_key",
    "keys_below",
    "make_plan",
    "optional",
]
