"""Full-batch training against the plain loop a user would write, side by side in one run.

    python benchmarks/training.py [--repeats 5] [--json FILE]

Both start from the same weights and see the same inputs. The plain loop is autograd, torch.optim.SGD and
ReduceLROnPlateau, one network after the other. Each pair is timed in turn, after one round that does not count; the
table gives medians over the repeats, the ratio's least and largest value, and how far the weights end apart.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from perturblearn.classifiers import TwoLayer, initialise
from perturblearn.config import ModelConfig
from perturblearn.training import LOSSES, Descent, train_side_by_side


@dataclass(frozen=True)
class Case:
    """One problem: N inputs of dimension d and of the given rank, so many networks of m units, so many epochs."""

    name: str
    n_samples: int
    input_dim: int
    rank: int
    hidden_dim: int
    networks: int
    epochs: int
    loss: str = "identity"


CASES = (
    Case("shifted Gauss, f", 1000, 100, 100, 100, 1, 300),
    Case("shifted Gauss, 10 control draws", 1000, 100, 100, 100, 10, 100),
    Case("shifted Gauss, logistic loss", 1000, 100, 100, 100, 1, 300, "logistic"),
    Case("MNIST-sized, f", 12700, 784, 784, 100, 1, 20),
    Case("MNIST-sized, g on bare perturbations", 12700, 784, 100, 100, 1, 100),
    Case("MNIST-sized, 10 control draws, bare", 12700, 784, 100, 100, 10, 40),
    Case("d = 10,000, N = 1,000, f", 1000, 10000, 1000, 100, 1, 300),
)


def problem(case: Case) -> tuple[list[TwoLayer], Tensor, Tensor]:
    """Networks as they start, inputs of the asked rank and random labels."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(case.n_samples, case.rank, generator=generator)
    if case.rank < case.input_dim:
        inputs = inputs @ torch.randn(case.rank, case.input_dim, generator=generator) / case.rank**0.5
    labels = 2 * torch.randint(2, (case.n_samples,), generator=generator) - 1
    model = ModelConfig(hidden_dim=case.hidden_dim)
    networks = [initialise(model, case.input_dim, seed=seed, role="benchmark") for seed in range(case.networks)]
    return networks, inputs, labels


def plain_loop(networks: Sequence[TwoLayer], inputs: Tensor, labels: Tensor, descent: Descent) -> list[TwoLayer]:
    """What a user would write: autograd, SGD with momentum, ReduceLROnPlateau, one network at a time."""
    trained = []
    for network in map(copy.deepcopy, networks):
        optimizer = torch.optim.SGD(network.parameters(), lr=descent.lr, momentum=descent.momentum)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        for _ in range(descent.epochs):
            optimizer.zero_grad()
            loss = LOSSES[descent.loss](labels * network(inputs)).mean()
            loss.backward()
            optimizer.step()
            scheduler.step(loss.item())
        trained.append(network)
    return trained


def measure(case: Case, repeats: int) -> dict[str, object]:
    """Seconds of both, their ratio pair by pair, and the largest difference of a weight relative to the largest."""
    networks, inputs, labels = problem(case)
    descent = Descent(case.loss, 0.01, case.epochs)
    plain_seconds, our_seconds = [], []
    plain = plain_loop(networks, inputs, labels, descent)
    ours = train_side_by_side(networks, inputs, labels, descent)
    for _ in range(repeats):
        started = time.perf_counter()
        plain_loop(networks, inputs, labels, descent)
        middle = time.perf_counter()
        train_side_by_side(networks, inputs, labels, descent)
        plain_seconds.append(middle - started)
        our_seconds.append(time.perf_counter() - middle)
    ratios = [a / b for a, b in zip(plain_seconds, our_seconds, strict=True)]
    difference = max(
        float(((a.weight - b.module.weight).abs().max() / a.weight.abs().max()).detach())
        for a, b in zip(plain, ours, strict=True)
    )
    return {
        **asdict(case),
        "form": ours[0].training["form"],
        "plain_seconds": statistics.median(plain_seconds),
        "our_seconds": statistics.median(our_seconds),
        "ratio": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_largest": max(ratios),
        "weight_difference": difference,
    }


def main() -> None:
    """Measure every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the measurements here too")
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, {arguments.repeats} repeats")
    print(f"{'':38}{'plain s':>9}{'ours s':>9}{'ratio':>7}{'least':>7}{'largest':>9}{'weights differ':>16}  form")
    rows = []
    for case in CASES:
        row = measure(case, arguments.repeats)
        rows.append(row)
        print(
            f"{case.name:38}{row['plain_seconds']:9.3f}{row['our_seconds']:9.3f}{row['ratio']:7.1f}"
            f"{row['ratio_least']:7.1f}{row['ratio_largest']:9.1f}{row['weight_difference']:16.1e}  {row['form']}",
            flush=True,
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
