"""Several experiments as one graph: equal stages are one stage, and what can train together does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from perturblearn.config import Keep
from perturblearn.errors import ConfigError
from perturblearn.experiment.experiment import Experiment
from perturblearn.experiment.steps import Shard
from perturblearn.experiment.training import DeepTraining, TwoLayerTraining
from perturblearn.experiment.trials import try_networks
from perturblearn.graph import AnyStage, Done, Executor, Plan, Watcher, collecting_nothing, content_key, make_plan
from perturblearn.store import ArtefactStore

_PASSING: dict[Keep, tuple[type[AnyStage], ...]] = {
    "measures": (TwoLayerTraining, DeepTraining, Shard),
    "weights": (Shard,),
    "all": (),
}
"""What is made, passed on and forgotten."""


class MakeExecutor(Protocol):
    """How plans are executed: `Executor` itself, or what stands for it elsewhere."""

    def __call__(
        self,
        plan: Plan,
        store: ArtefactStore | None = None,
        watch: Watcher | None = None,
        done: Done | None = None,
    ) -> Executor:
        """An executor of this plan."""
        ...


Finished = Callable[[Experiment, Executor, Exception | None], None]
"""Called when an experiment has ended: its results can be asked for now; or with the error that it failed with."""


def plan_together(
    experiments: Iterable[Experiment],
    store: ArtefactStore | None = None,
    *,
    beside: Iterable[AnyStage] = (),
    keep: Keep = "all",
    among: Iterable[Experiment] = (),
    force: bool = False,
) -> Plan:
    """What has to run for all of them; see `make_plan`.

    Args:
        experiments: what is wanted.
        store: where finished stages are.
        beside: stages that are wanted besides.
        keep: measures, weights or all; what is not kept is made, passed on and forgotten.
        among: all experiments that these are some of, in an order of their own; where they train together, they have to
            know of the others, whichever of them are to run now.
        force: plan every stage to run, whatever the store holds.
    """
    experiments, among = list(experiments), list(among)
    _refuse_unused_outputs([*experiments, *among])
    wanted = [stage for experiment in experiments for stage in experiment.wanted(keep)]
    known = [stage for experiment in among for stage in experiment.wanted(keep)]
    passing = _PASSING[keep]
    with collecting_nothing():
        return make_plan(
            [*wanted, *beside], store, force=force, beside=known, keeps=lambda stage: not isinstance(stage, passing)
        )


def run_together(
    experiments: Iterable[Experiment],
    store: ArtefactStore | None = None,
    *,
    beside: Iterable[AnyStage] = (),
    keep: Keep = "all",
    among: Iterable[Experiment] = (),
    force: bool = False,
    watch: Watcher | None = None,
    make_executor: MakeExecutor = Executor,
    finished: Finished | None = None,
) -> Executor:
    """Run what is not finished; the executor then serves every result that is kept.

    Args:
        experiments, store, beside, keep, among, force: as for `plan_together`.
        watch: called with progress.
        make_executor: what executes the plan.
        finished: called once for every experiment; with it, one that fails does not stop the others.
    """
    experiments = list(experiments)
    plan = plan_together(experiments, store, beside=beside, keep=keep, among=among, force=force)
    if finished is None:
        try_networks(plan)
        executor = make_executor(plan, store, watch)
        executor.run()
        return executor
    waiting: dict[int, set[str]] = {}
    users: dict[str, list[int]] = {}
    for number, experiment in enumerate(experiments):
        missing = {stage.key for stage in experiment.wanted(keep) if plan.status[stage.key] != "finished"}
        waiting[number] = missing
        for key in missing:
            users.setdefault(key, []).append(number)

    def done(stage: AnyStage, error: Exception | None) -> None:
        for number in users.pop(stage.key, ()):
            if number not in waiting:
                continue  # failed before
            waiting[number].discard(stage.key)
            if error is not None or not waiting[number]:
                del waiting[number]
                finished(experiments[number], executor, error)

    executor = make_executor(plan, store, watch, done)
    for number in [number for number, missing in waiting.items() if not missing]:
        del waiting[number]
        finished(experiments[number], executor, None)
    executor.run(keep_going=True)
    return executor


def _refuse_unused_outputs(experiments: Sequence[Experiment]) -> None:
    """Raise a ConfigError for outputs of the user's own network in a command that uses no such network."""
    mapped = [experiment for experiment in experiments if experiment.has_model_classes]
    networks = (model for each in mapped for model in (each.config.standard.model, each.config.perturbation.model))
    if mapped and not any(model.is_own for model in networks):
        raise ConfigError(
            "model_classes names outputs of your own network, but no network here is your own; remove it, or name one "
            "with --model or standard.model.name"
        )


def key_of(experiments: Sequence[Experiment], beside: Iterable[AnyStage] = ()) -> str:
    """SHA-256 that names several experiments and what is asked for besides."""
    return content_key([[experiment.key for experiment in experiments], [stage.key for stage in beside]])
