"""Perturbation learning: classifiers that learn from nothing but adversarial perturbations with wrong labels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perturblearn import attacks, theory
    from perturblearn.api import (
        ProgressLines,
        audit,
        clean,
        compare,
        compare_with_theory,
        disk_use,
        executor,
        export,
        find_runs,
        index,
        learn,
        learn_from_perturbations,
        perturb,
        plan,
        reproduce,
        sweep,
        transfer,
        verify,
        write_report,
    )
    from perturblearn.classifiers import Classifier
    from perturblearn.config import ExperimentConfig
    from perturblearn.data import Dataset, dataset_from, load_dataset
    from perturblearn.errors import ConfigError, DataError, DivergenceError, ModelError, PerturbLearnError, StoreError
    from perturblearn.perturbed import Damage, PerturbedSet, StoredSet
    from perturblearn.results import (
        Audit,
        Reproduction,
        Result,
        RouteResult,
        SweepResult,
        TheoryComparison,
        TransferMatrix,
    )

_HOMES = {
    "ProgressLines": "api",
    "audit": "api",
    "clean": "api",
    "compare": "api",
    "compare_with_theory": "api",
    "disk_use": "api",
    "executor": "api",
    "export": "api",
    "find_runs": "api",
    "index": "api",
    "learn": "api",
    "learn_from_perturbations": "api",
    "perturb": "api",
    "plan": "api",
    "reproduce": "api",
    "sweep": "api",
    "transfer": "api",
    "verify": "api",
    "write_report": "api",
    "Classifier": "classifiers",
    "ExperimentConfig": "config",
    "Dataset": "data",
    "dataset_from": "data",
    "load_dataset": "data",
    "ConfigError": "errors",
    "DataError": "errors",
    "DivergenceError": "errors",
    "ModelError": "errors",
    "PerturbLearnError": "errors",
    "StoreError": "errors",
    "Damage": "perturbed",
    "PerturbedSet": "perturbed",
    "StoredSet": "perturbed",
    "Audit": "results",
    "Reproduction": "results",
    "Result": "results",
    "RouteResult": "results",
    "SweepResult": "results",
    "TheoryComparison": "results",
    "TransferMatrix": "results",
}

_ROOMS = ("attacks", "theory")
"""Rooms of functions that are used by their own names, such as ``perturblearn.theory.gate_kernel``."""

__all__ = [
    "Audit",
    "Classifier",
    "ConfigError",
    "Damage",
    "DataError",
    "Dataset",
    "DivergenceError",
    "ExperimentConfig",
    "ModelError",
    "PerturbLearnError",
    "PerturbedSet",
    "ProgressLines",
    "Reproduction",
    "Result",
    "RouteResult",
    "StoreError",
    "StoredSet",
    "SweepResult",
    "TheoryComparison",
    "TransferMatrix",
    "attacks",
    "audit",
    "clean",
    "compare",
    "compare_with_theory",
    "dataset_from",
    "disk_use",
    "executor",
    "export",
    "find_runs",
    "index",
    "learn",
    "learn_from_perturbations",
    "load_dataset",
    "perturb",
    "plan",
    "reproduce",
    "sweep",
    "theory",
    "transfer",
    "verify",
    "write_report",
]


def __getattr__(name: str) -> Any:
    # Imported when first used: torch takes seconds, and the command line must answer --help without it.
    if name == "__version__":
        from importlib.metadata import version

        return version("perturblearn")
    if name in _ROOMS:
        return importlib.import_module(f"perturblearn.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'perturblearn' has no attribute {name!r}")
    return getattr(importlib.import_module(f"perturblearn.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
