"""Several experiments as one graph: equal stages are one stage, and what can train together does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from perturblearn.experiment.experiment import Experiment
from perturblearn.graph import Executor, Plan, Stage, Watcher, content_key, make_plan
from perturblearn.store import ArtefactStore


def plan_together(
    experiments: Iterable[Experiment],
    store: ArtefactStore | None = None,
    *,
    beside: Iterable[Stage] = (),
    force: bool = False,
) -> Plan:
    """What has to run for all of them; see `make_plan`.

    Args:
        experiments: what is wanted.
        store: where finished stages are.
        beside: stages that are wanted besides.
        force: plan every stage to run, whatever the store holds.
    """
    wanted = [stage for experiment in experiments for stage in experiment.targets]
    return make_plan([*wanted, *beside], store, force=force)


def run_together(
    experiments: Iterable[Experiment],
    store: ArtefactStore | None = None,
    *,
    beside: Iterable[Stage] = (),
    force: bool = False,
    watch: Watcher | None = None,
) -> Executor:
    """Run what is not finished; the executor then serves every stage's result."""
    executor = Executor(plan_together(experiments, store, beside=beside, force=force), store, watch)
    executor.run()
    return executor


def key_of(experiments: Sequence[Experiment], beside: Iterable[Stage] = ()) -> str:
    """SHA-256 that names several experiments and what is asked for besides."""
    return content_key([[experiment.key for experiment in experiments], [stage.key for stage in beside]])
