"""Perturbation learning from Python: the functions behind the commands."""

from perturblearn.api.audit import audit, prepare_audit
from perturblearn.api.run import learn_from_perturbations, make_experiment, plan, prepare_run
from perturblearn.api.sets import learn, perturb, prepare_learning, prepare_perturbing, verify
from perturblearn.api.stores import CACHE_SIZE_VARIABLE, CACHE_VARIABLE, artefact_store, cache_store
from perturblearn.api.theory import compare_with_theory
from perturblearn.api.transfer import prepare_transfer, transfer

__all__ = [
    "CACHE_SIZE_VARIABLE",
    "CACHE_VARIABLE",
    "artefact_store",
    "audit",
    "cache_store",
    "compare_with_theory",
    "learn",
    "learn_from_perturbations",
    "make_experiment",
    "perturb",
    "plan",
    "prepare_audit",
    "prepare_learning",
    "prepare_perturbing",
    "prepare_run",
    "prepare_transfer",
    "transfer",
    "verify",
]
