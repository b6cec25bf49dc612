"""Perturbation learning from Python: the functions behind the commands."""

from perturblearn.api.audit import audit, prepare_audit
from perturblearn.api.executors import executor
from perturblearn.api.index import index
from perturblearn.api.report import write_report
from perturblearn.api.reproduce import prepare_reproduction, reproduce
from perturblearn.api.results import find_runs, results
from perturblearn.api.run import learn_from_perturbations, make_experiment, plan, prepare_run
from perturblearn.api.sets import learn, perturb, prepare_learning, prepare_perturbing, verify
from perturblearn.api.stores import CACHE_SIZE_VARIABLE, CACHE_VARIABLE, artefact_store, cache_store, record_store
from perturblearn.api.sweep import prepare_sweep, sweep
from perturblearn.api.theory import compare_with_theory
from perturblearn.api.transfer import prepare_transfer, transfer

__all__ = [
    "CACHE_SIZE_VARIABLE",
    "CACHE_VARIABLE",
    "artefact_store",
    "audit",
    "cache_store",
    "compare_with_theory",
    "executor",
    "find_runs",
    "index",
    "learn",
    "learn_from_perturbations",
    "make_experiment",
    "perturb",
    "plan",
    "prepare_audit",
    "prepare_learning",
    "prepare_perturbing",
    "prepare_reproduction",
    "prepare_run",
    "prepare_sweep",
    "prepare_transfer",
    "record_store",
    "reproduce",
    "results",
    "sweep",
    "transfer",
    "verify",
    "write_report",
]
