"""Perturbation learning on uniform noise without training, and with networks by the flow, against the published curve.

    python docs/evidence/limit_experiment.py limits|networks [SEEDS]

d = 10,000, N = 1,000, L2 epsilon 0.78, slope 0.01. The script prints the accuracy of g on f's samples over the number
of noise sources, as mean and standard deviation over the seeds. Limits: f and g are both limits, perturbed along the
normal q or by one step. Networks: f and g are trained by the flow to the time of 100,000 epochs (m = 1,000) and
attacked by the papers' projected gradient descent.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import perturblearn
from perturblearn import theory

PUBLISHED = {100: 0.657, 500: 0.797, 1000: 0.907, 1500: 0.942, 2500: 0.968, 5000: 1.0, 7500: 1.0, 10_000: 1.0}
COMMON: dict[str, Any] = {
    "data.name": "uniform", "data.input_dim": 10_000, "data.n_samples": 1000, "data.n_heldout": 100,
    "attack.epsilon": 0.78, "attack.source": "uniform",
}  # fmt: skip


def for_both(keys: dict[str, Any]) -> dict[str, Any]:
    return {f"{stage}.{key}": value for stage in ("standard", "perturbation") for key, value in keys.items()}


def limits(method: str, attack: str) -> dict[str, Any]:
    model = {"model.name": "limit", "model.slope": 0.01, "model.method": method}
    return {"attack.name": attack, "controls.draws": 0, **for_both(model)}


NETWORKS = {
    "attack.name": "radial_pgd",
    "controls.draws": 1,
    **for_both(
        {
            "model.name": "one_hidden", "model.hidden_dim": 1000, "model.slope": 0.01, "training": "flow",
            "loss": "exponential", "lr": 0.01, "epochs": 100_000,
        }
    ),
}  # fmt: skip
ROWS = {
    "limits": {
        f"{method}, {attack}": limits(method, attack)
        for method in ("linear", "two_direction")
        for attack in ("geometry", "one_step")
    },
    "networks": {"flow, radial_pgd": NETWORKS},
}
SOURCES = {"limits": (1, 10, 100, 500, 1000, 1500, 2500, 5000, 10_000), "networks": (100, 500, 1000, 1500)}

what = sys.argv[1]
seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
print("| f and g, attack | sources | accuracy of g | published | size law | unperturbed control | seconds a seed |")
print("|---|---|---|---|---|---|---|")
for row, keys in ROWS[what].items():
    for n_sources in SOURCES[what]:
        started = time.perf_counter()
        result = perturblearn.learn_from_perturbations(
            overrides={**COMMON, **keys, "attack.n_sources": n_sources, "seeds": seeds}
        )
        seconds = (time.perf_counter() - started) / seeds
        found = result.summary["perturbation_accuracy"]
        control = result.summary.get("unperturbed_control")
        law = theory.expected_perturbation_accuracy(
            epsilon=0.78, n_sources=n_sources, n_samples=1000, input_dim=10_000, data="uniform"
        )
        published = f"{PUBLISHED[n_sources]:.3f}" if n_sources in PUBLISHED else "-"
        print(
            f"| {row} | {n_sources:,} | {found['mean']:.3f} ± {found['std'] or 0:.3f} | {published} | {law:.3f} | "
            f"{'-' if control is None else format(control['mean'], '.3f')} | {seconds:.1f} |",
            flush=True,
        )
