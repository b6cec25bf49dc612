"""The overhead of a run, and the cost of planning many runs.

    python benchmarks/overhead.py [--runs 2000] [--planned 20000] [--parts run plan] [--json FILE]

run   Different runs of about 10 ms each (perturbation sizes and five seeds, on 64 of the bundled digits), from their
      configurations to their records: in this process with one thread, then on Ray with two single-threaded tasks at a
      time. The computing time is the sum of the stages' own times in this process. The overhead per run is the wall
      time minus the computing time (half of it for two tasks), divided by the number of runs. For Ray it includes Ray's
      start, which is shown too. Results go to a temporary folder and are compared.
plan  Time and peak memory, in a separate process, from configurations to a plan and to Ray's pieces of it.

Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from perturblearn.api.executors import executor
from perturblearn.api.options import RunOptions
from perturblearn.api.runs import PreparedRuns
from perturblearn.config import resolve_config
from perturblearn.experiment import MakeExecutor, Outcome, Point
from perturblearn.graph.cluster import connected
from perturblearn.graph.tasks import cut
from perturblearn.store import RecordStore

KEYS: dict[str, Any] = {
    "data.name": "digits",
    "data.classes": ["3", "8"],
    "data.n_samples": 64,
    "data.n_heldout": 64,
    "controls.draws": 1,
    **{f"{role}.epochs": 30 for role in ("standard", "perturbation")},
    **{f"{role}.model.hidden_dim": 16 for role in ("standard", "perturbation")},
}
SEEDS = 5


def many(runs: int) -> PreparedRuns:
    """The given number of runs over five seeds."""
    sizes = [0.1 + number / runs for number in range(runs // SEEDS)]
    return PreparedRuns(
        "overhead",
        [
            Point({"size": size}, resolve_config({}, {**KEYS, "attack.epsilon": size, "seeds": list(range(SEEDS))}))
            for size in sizes
        ],
    )


def timed(runs: int, make: MakeExecutor) -> tuple[float, float, list[Outcome]]:
    """Wall time and computing time in seconds, and the results."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        outcomes = many(runs).run(RunOptions(out=folder, executor=make))
        wall = time.perf_counter() - started
        computing: dict[str, float] = {}
        for record in RecordStore(Path(folder) / ".store/records.sqlite3").all():
            computing.update(record.seconds)
    return wall, sum(computing.values()), outcomes


def measure_runs(runs: int) -> dict[str, Any]:
    """Overhead per run in both ways, in milliseconds."""
    torch.set_num_threads(1)
    timed(SEEDS, executor())  # warm-up: imports and loading at first use
    wall, computing, expected = timed(runs, executor(threads=1))
    found: dict[str, Any] = {
        "runs": runs,
        "computing_ms": 1000 * computing / runs,
        "in_process_s": wall,
        "in_process_overhead_ms": 1000 * (wall - computing) / runs,
    }
    print(
        f"{runs} runs of {found['computing_ms']:.1f} ms computing each\n"
        f"in this process   {wall:7.1f} s, {found['in_process_overhead_ms']:5.2f} ms overhead per run"
    )
    started = time.perf_counter()
    with connected(None):
        found["ray_start_s"] = time.perf_counter() - started
    wall, _, outcomes = timed(runs, executor("ray", cpus=1))
    assert [outcome.measured for outcome in outcomes] == [outcome.measured for outcome in expected]
    found |= {"ray_s": wall, "ray_overhead_ms": 1000 * (wall - computing / 2) / runs}
    print(
        f"Ray, 2 tasks      {wall:7.1f} s, {found['ray_overhead_ms']:5.2f} ms overhead per run, of which "
        f"{1000 * found['ray_start_s'] / runs:.2f} ms are Ray's start and end ({found['ray_start_s']:.1f} s)"
    )
    return found


def plan_here(runs: int) -> dict[str, Any]:
    """Seconds and peak memory of planning."""
    started = time.perf_counter()
    prepared = many(runs)
    configured = time.perf_counter()
    plan = prepared.plan(RunOptions())
    planned = time.perf_counter()
    pieces = cut(plan)
    return {
        "planned_runs": runs,
        "stages": len(plan.stages),
        "pieces": len(pieces),
        "configure_s": configured - started,
        "plan_s": planned - configured,
        "cut_s": time.perf_counter() - planned,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measure_plan(runs: int) -> dict[str, Any]:
    """The same in a fresh process."""
    said = subprocess.run(
        [sys.executable, __file__, "--plan-here", str(runs)], capture_output=True, text=True, check=True
    )
    found = json.loads(said.stdout)
    print(
        f"{runs} runs planned: {found['stages']} stages; configurations {found['configure_s']:.1f} s, plan "
        f"{found['plan_s']:.1f} s, {found['pieces']} pieces {found['cut_s']:.1f} s; {found['peak_mib']:.0f} MiB at most"
    )
    return found


def main() -> None:
    """Measure the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--planned", type=int, default=20000)
    parser.add_argument("--parts", nargs="+", choices=("run", "plan"), default=("run", "plan"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plan-here", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.plan_here:
        print(json.dumps(plan_here(given.plan_here)))
        return
    found: dict[str, Any] = {}
    if "run" in given.parts:
        found |= measure_runs(given.runs)
    if "plan" in given.parts:
        found |= measure_plan(given.planned)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
