"""Perturbation learning from Python: the functions behind the commands, and the work that each of them prepares."""

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def _without_collector() -> Generator[None, None, None]:
    """No search for garbage meanwhile: PyTorch alone makes 160,000 objects that stay."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if not gc.get_freeze_count():  # what a program has frozen stays so
                # Together they move what was imported to the oldest generation, where the next search does not look.
                gc.freeze()
                gc.unfreeze()
            gc.enable()


with _without_collector():
    from perturblearn.api.audit import audit, prepare_audit
    from perturblearn.api.clean import clean, disk_use
    from perturblearn.api.executors import executor
    from perturblearn.api.export import export
    from perturblearn.api.find_runs import find_runs, read_runs
    from perturblearn.api.index import compare, index
    from perturblearn.api.learn import learn, prepare_learn
    from perturblearn.api.objects import UserObjects
    from perturblearn.api.options import RunOptions
    from perturblearn.api.perturb import perturb, prepare_perturb
    from perturblearn.api.prepared import Prepared
    from perturblearn.api.progress import PlanProgress, ProgressLines
    from perturblearn.api.report import write_report
    from perturblearn.api.reproduce import prepare_reproduction, reproduce
    from perturblearn.api.run import learn_from_perturbations, make_experiment, plan, prepare_run
    from perturblearn.api.stores import CACHE_SIZE_VARIABLE, CACHE_VARIABLE, artefact_store, cache_store, record_store
    from perturblearn.api.sweep import prepare_sweep, sweep
    from perturblearn.api.theory import compare_with_theory, prepare_comparison
    from perturblearn.api.transfer import prepare_transfer, transfer
    from perturblearn.api.verify import verify

__all__ = [
    "CACHE_SIZE_VARIABLE",
    "CACHE_VARIABLE",
    "PlanProgress",
    "Prepared",
    "ProgressLines",
    "RunOptions",
    "UserObjects",
    "artefact_store",
    "audit",
    "cache_store",
    "clean",
    "compare",
    "compare_with_theory",
    "disk_use",
    "executor",
    "export",
    "find_runs",
    "index",
    "learn",
    "learn_from_perturbations",
    "make_experiment",
    "perturb",
    "plan",
    "prepare_audit",
    "prepare_comparison",
    "prepare_learn",
    "prepare_perturb",
    "prepare_reproduction",
    "prepare_run",
    "prepare_sweep",
    "prepare_transfer",
    "read_runs",
    "record_store",
    "reproduce",
    "sweep",
    "transfer",
    "verify",
    "write_report",
]
