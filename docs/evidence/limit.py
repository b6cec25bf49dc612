"""How well the limits of ICLR24 describe the trained network, over training time and over the slope.

    python docs/evidence/limit.py time|slope [SEEDS]

Uniform noise, d = 10,000, N = 1,000, m = 1,000. The script prints the sign agreement on 2,000 fresh draws between the
network, by the flow (first 100 epochs exactly), and each limit. It also prints the share of training samples on which
the linear approximation's pattern holds, beside NormalCDF(slope sqrt(2 d / N)), and its least margin.
"""

from __future__ import annotations

import statistics
import sys

from perturblearn import ExperimentConfig, load_dataset
from perturblearn.classifiers import initialise
from perturblearn.theory import expected_pattern_share, margin_limit
from perturblearn.training import Flow

EPOCHS = (100, 1_000, 10_000, 100_000, 1_000_000, 100_000_000, 10_000_000_000)
SLOPES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
METHODS = ("two_direction", "linear")
DIM, SAMPLES = 10_000, 1_000


def shown(values: list[float]) -> str:
    return f"{statistics.fmean(values):.3f} ± {statistics.stdev(values) if len(values) > 1 else 0:.3f}"


def measure(slope: float, epochs: tuple[int, ...], seed: int) -> list[dict[str, float]]:
    keys = {"data": {"name": "uniform", "input_dim": DIM, "n_samples": SAMPLES, "n_heldout": 2000}}
    model = {"name": "one_hidden", "hidden_dim": 1000, "slope": slope}
    config = ExperimentConfig.model_validate({**keys, "standard": {"model": model}})
    data = load_dataset(config.data, seed=seed)
    network = initialise(config.standard.model, DIM, seed=seed, role="standard")
    limits = {method: margin_limit(data.inputs, data.labels, slope=slope, method=method) for method in METHODS}
    signs = {method: limit.classifier.outputs(data.heldout_inputs).sign() for method, limit in limits.items()}
    rows = []
    for time in epochs:
        trained = Flow("exponential", 0.01, time, exact_epochs=100).train(network, data.inputs, data.labels)
        own = trained.outputs(data.heldout_inputs).sign()
        rows.append(
            {
                "loss": float(trained.training.get("final_loss", 0.0)),
                "steps": float(trained.training["steps"]),
                **{method: (own == signs[method]).double().mean().item() for method in METHODS},
                "pattern_share": limits["linear"].pattern_share,
                "least_margin": limits["linear"].least_margin,
            }
        )
    return rows


what = sys.argv[1]
seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
if what == "time":
    found = [measure(0.01, EPOCHS, seed) for seed in range(seeds)]
    print("| epochs matched | steps of the flow | mean loss | two_direction | linear |")
    print("|---|---|---|---|---|")
    for index, time in enumerate(EPOCHS):
        rows = [of_seed[index] for of_seed in found]
        steps = statistics.fmean(row["steps"] for row in rows)
        loss = statistics.fmean(row["loss"] for row in rows)
        agreements = " | ".join(shown([row[method] for row in rows]) for method in METHODS)
        print(f"| {time:,} | {steps:.0f} | {loss:.1e} | {agreements} |")
else:
    print("| slope | two_direction | linear | pattern's share | its formula | linear's least margin |")
    print("|---|---|---|---|---|---|")
    for slope in SLOPES:
        rows = [measure(slope, (100_000,), seed)[0] for seed in range(seeds)]
        columns = ("two_direction", "linear", "pattern_share")
        cells = " | ".join(shown([row[column] for row in rows]) for column in columns)
        formula = expected_pattern_share(slope=slope, n_samples=SAMPLES, input_dim=DIM)
        print(f"| {slope} | {cells} | {formula:.3f} | {shown([row['least_margin'] for row in rows])} |", flush=True)
