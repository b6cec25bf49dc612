"""Decision maps of both predictions: exact against Monte Carlo, side by side in one run.

    python benchmarks/theory.py [--repeats 3] [--points 400] [--json FILE]

fhat and ghat of N = 2,000 Gaussian samples, d = 1,000, at points x points of the plane of class means.

- Exact: the closed form on the plane's three coordinates.
- Monte Carlo, as in the papers' own code: the gates of 100 draws estimate the kernel block by block, which then
  multiplies the inner products.
- Monte Carlo, summed first: the same 100 draws, summed over samples before the points enter, so that the kernel is
  never formed.

The error is relative to the exact values in float64 at 2,000 points, in units of their root mean square.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from perturblearn import theory
from perturblearn.theory.decision_map import coordinates

N_SAMPLES, INPUT_DIM, DRAWS, LIMITS, BLOCK = 2000, 1000, 100, (-4.0, 5.0), 4000
KERNEL = theory.GateKernel(slope=0.0)


class Problem:
    """Samples, bare perturbations along t_n, and the plane."""

    def __init__(self, points: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(N_SAMPLES, INPUT_DIM, generator=generator)
        self.y = 2 * torch.randint(2, (N_SAMPLES,), generator=generator) - 1
        self.directions = theory.perturbation_direction(self.x, self.y, kernel=KERNEL)
        self.perturbed = 0.03 * self.directions / self.directions.norm(dim=1, keepdim=True) * self.y[:, None]
        self.plane = theory.mean_plane(self.x, self.y)
        self.points = points
        self.grid = coordinates(torch.linspace(*LIMITS, points))
        self.weights = torch.randn(DRAWS, INPUT_DIM, generator=generator) / math.sqrt(INPUT_DIM)
        self.biases = torch.randn(DRAWS, generator=generator)

    def gates(self, inputs: Tensor) -> Tensor:
        """phi'(w.x + b) at slope 0, (n, draws)."""
        return (inputs @ self.weights.T + self.biases > 0).float()


def exact(problem: Problem) -> tuple[Tensor, Tensor]:
    """The closed form."""
    drawn = theory.predictions_on(
        problem.plane, problem.x, problem.y, problem.perturbed, kernel=KERNEL, limits=LIMITS, points=problem.points,
        directions=problem.directions,
    )  # fmt: skip
    return drawn.values["fhat"].flatten(), drawn.values["ghat"].flatten()


def sampled_kernel(problem: Problem) -> tuple[Tensor, Tensor]:
    """The kernel, estimated for every sample and point."""
    of_samples, of_perturbed = problem.gates(problem.x), problem.gates(problem.perturbed)
    standard, perturbation = [], []
    for part in problem.grid.split(BLOCK):
        z = problem.plane.points(part)
        of_points = problem.gates(z)
        kernel = of_samples @ of_points.T / DRAWS
        standard.append((problem.y.float()[:, None] * kernel * (problem.x @ z.T)).mean(dim=0))
        kernel = of_perturbed @ of_points.T / DRAWS
        perturbation.append((kernel * (problem.directions @ z.T)).mean(dim=0))
    return torch.cat(standard), torch.cat(perturbation)


def sampled_summed_first(problem: Problem) -> tuple[Tensor, Tensor]:
    """The same draws, summed over samples first."""
    of_samples, of_perturbed = problem.gates(problem.x), problem.gates(problem.perturbed)
    standard = of_samples.T @ (problem.y.float()[:, None] * problem.x) / (N_SAMPLES * DRAWS)
    perturbation = of_perturbed.T @ problem.directions / (N_SAMPLES * DRAWS)
    found: tuple[list[Tensor], list[Tensor]] = [], []
    for part in problem.grid.split(BLOCK):
        z = problem.plane.points(part)
        of_points = problem.gates(z)
        for values, vectors in zip(found, (standard, perturbation), strict=True):
            values.append((of_points * (z @ vectors.T)).sum(dim=1))
    return torch.cat(found[0]), torch.cat(found[1])


WAYS: dict[str, Callable[[Problem], tuple[Tensor, Tensor]]] = {
    "exact": exact,
    "Monte Carlo, 100 draws": sampled_kernel,
    "Monte Carlo, 100 draws, summed first": sampled_summed_first,
}


def main() -> None:
    """Time every way in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--points", type=int, default=400)
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()
    problem = Problem(arguments.points)
    chosen = torch.randperm(len(problem.grid), generator=torch.Generator().manual_seed(1))[:2000]
    z = problem.plane.points(problem.grid[chosen]).double()
    x, perturbed = problem.x.double(), problem.perturbed.double()
    truths = (
        theory.standard_prediction(x, problem.y, z, kernel=KERNEL),
        theory.perturbation_prediction(x, problem.y, perturbed, z, kernel=KERNEL),
    )
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    errors: dict[str, list[float]] = {}
    for repeat in range(arguments.repeats + 1):  # the first round is a warm-up
        for name, way in WAYS.items():
            started = time.perf_counter()
            values = way(problem)
            if repeat:
                seconds[name].append(time.perf_counter() - started)
            errors[name] = [
                float((found[chosen] - truth).square().mean().sqrt() / truth.square().mean().sqrt())
                for found, truth in zip(values, truths, strict=True)
            ]
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, {arguments.repeats} repeats, "
        f"{arguments.points} x {arguments.points} points"
    )
    print(f"{'':38}{'seconds':>9}{'least':>8}{'largest':>9}{'error fhat':>12}{'error ghat':>12}")
    rows = []
    for name, times in seconds.items():
        middle = statistics.median(times)
        print(f"{name:38}{middle:9.2f}{min(times):8.2f}{max(times):9.2f}{errors[name][0]:12.1e}{errors[name][1]:12.1e}")
        rows.append({"way": name, "seconds": times, "median": middle, "errors": errors[name]})
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
