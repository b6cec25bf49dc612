"""Whole figures of NeurIPS24 at full scale: their cost according to the plan, and their measured time.

    python benchmarks/figures.py neurips2024/mnist_a neurips2024/fmnist_a [--seed 0] [--data-dir DIR]
        [--products bfloat16]
    python benchmarks/figures.py --plan [--data-dir DIR]

The first command runs every stage of the named figures in one graph, without controls, and prints the time of each
figure. Results stay in memory. The second runs nothing. For all eight accuracy figures, it prints the floating-point
operations of their runs in plain loops and according to the plan, figure by figure and with shared stages counted
once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from perturblearn.config import value_of
from perturblearn.experiment import Experiment
from perturblearn.graph import AnyStage, Executor, Progress, make_plan
from perturblearn.papers import ACCURACY_FIGURES, Figure, FigurePoint
from perturblearn.training import measure_rates


def experiments(
    figure: Figure, seed: int, data_dir: Path | None, overrides: dict[str, Any]
) -> Iterator[tuple[FigurePoint, Experiment]]:
    """Every point with its experiment."""
    for point in figure.points(seeds=[seed], overrides=overrides):
        yield point, Experiment(point.config, data_dir=data_dir)


def plain_operations(found: Iterable[tuple[FigurePoint, Experiment]], counted: set[str]) -> tuple[int, float]:
    """Distinct runs that are not counted yet, and the cost of their f and g in plain loops."""
    runs, operations = 0, 0.0
    for point, experiment in found:
        for of_seed in experiment.seeds.values():
            for g in (g for row in of_seed.perturbations for g in row):
                if g.key in counted:
                    continue
                counted.add(g.key)
                outline = experiment.outline
                n_samples, input_dim = outline.n_samples, outline.signature.input_dim
                config = point.config
                epochs = value_of(config, "standard.epochs") + value_of(config, "perturbation.epochs")
                runs += 1
                operations += 4.0 * n_samples * input_dim * value_of(config, "standard.model.hidden_dim") * epochs
    return runs, operations


def show_plan(seed: int, data_dir: Path | None, overrides: dict[str, Any]) -> dict[str, Any]:
    """Operations of every figure and of all together."""
    counted: set[str] = set()
    everything: dict[str, AnyStage] = {}
    rows, plainly_in_all, runs_in_all = {}, 0.0, 0
    print(f"{'':28}{'runs':>6}{'plain':>10}{'plan':>10}{'times fewer':>13}{'hours':>8}{'MiB':>8}")

    def row(name: str, runs: int, plainly: float, stages: Iterable[AnyStage]) -> dict[str, float]:
        costs = [cost for _, cost in make_plan(stages).estimates()]
        operations, hours = sum(cost.operations for cost in costs), sum(cost.seconds for cost in costs) / 3600
        memory = max(cost.memory for cost in costs) / 2**20
        print(
            f"{name:28}{runs:6}{plainly:10.2e}{operations:10.2e}{plainly / operations:13.2f}{hours:8.2f}{memory:8.0f}",
            flush=True,
        )
        return {"runs": runs, "plain": plainly, "plan": operations, "hours": hours, "mebibytes": memory}

    for name, figure in ACCURACY_FIGURES.items():
        found = list(experiments(figure, seed, data_dir, overrides))
        own = {stage.key: stage for _, experiment in found for stage in _targets(experiment)}
        runs, plainly = plain_operations(found, set())
        rows[name] = row(name, runs, plainly, own.values())
        more, plainly = plain_operations(found, counted)
        runs_in_all, plainly_in_all = runs_in_all + more, plainly_in_all + plainly
        everything |= own
    rows["all eight"] = row("all eight", runs_in_all, plainly_in_all, everything.values())
    rates = measure_rates()
    print("measured: " + ", ".join(f"{name} {rate / 1e9:.0f} GFLOP/s" for name, rate in rates.products.items()))
    return {"figures": rows, "rates": rates.products}


def run_figure(figure: Figure, seed: int, data_dir: Path | None, overrides: dict[str, Any]) -> dict[str, Any]:
    """Run all stages of a figure; returns the time and every point's measures."""
    started = time.perf_counter()
    found = list(experiments(figure, seed, data_dir, overrides))
    plan = make_plan(stage for _, experiment in found for stage in _targets(experiment))
    planned = time.perf_counter() - started
    said = [started]

    def watch(progress: Progress) -> None:
        if time.perf_counter() > said[0] + 60:
            said[0] = time.perf_counter()
            print(f"  {progress.share:.0%} after {said[0] - started:.0f} s: {progress.stage.label}", flush=True)

    executor = Executor(plan, watch=watch)
    executor.run()
    taken = time.perf_counter() - started
    runs, _ = plain_operations(found, set())
    measured = [experiment.measures(executor)[0].measures for _, experiment in found]
    points = [
        {"panel": point.panel, **point.values, **measures} for (point, _), measures in zip(found, measured, strict=True)
    ]
    print(
        f"{figure.name}: {len(points)} points, {runs} distinct runs, {taken:.1f} s ({planned:.1f} s of them planning); "
        f"median agreement {statistics.median(measures['agreement_max'] for measures in measured):.3f}",
        flush=True,
    )
    return {"figure": figure.name, "runs": runs, "seconds": taken, "planning_seconds": planned, "points": points}


def _targets(experiment: Experiment) -> Iterator[AnyStage]:
    return (stage for of_seed in experiment.seeds.values() for stage in of_seed.targets)


def main() -> None:
    """Run or plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", choices=[[], *ACCURACY_FIGURES], default=[])
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--products", default="exact", choices=["exact", "bfloat16"])
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()
    overrides = {f"{role}.products": arguments.products for role in ("standard", "perturbation")}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.products} products")
    found: Any
    if arguments.plan:
        found = show_plan(arguments.seed, arguments.data_dir, overrides)
    else:
        found = [
            run_figure(ACCURACY_FIGURES[name], arguments.seed, arguments.data_dir, overrides)
            for name in arguments.figures
        ]
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
