"""Our attacks against foolbox's on the ConvNet of ICLR24: losses reached in equal steps, and times.

    python benchmarks/attacks.py [--parts reach time] [--repeats 5] [--batch 256] [--epochs 12] [--json FILE]

The network is trained briefly on MNIST if PERTURBLEARN_DATA points to it, otherwise on scikit-learn's digits, enlarged
to 28 x 28. The attacks perturb held-out images, each towards a class drawn from the others. Network, images, targets,
number and length of steps, and epsilon are the same for all, and all start at the image.

reach  mean target loss (cross-entropy) and share of images classified as the target
time   medians of interleaved repeats, also relative to as many forward-and-input-gradient passes as there are steps;
       foolbox with the network's parameters frozen, which saves it their gradients, and as used by default
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from perturblearn.attacks import frozen, pgd, radial_pgd
from perturblearn.classifiers import ConvNet
from perturblearn.config import DataConfig
from perturblearn.data import load_dataset

STEP = 0.2
STEPS = (10, 20)
EPSILONS = {"l2": (1.0, 2.0), "linf": (0.05, 0.1)}
"""Sizes at which the attack succeeds on some images and fails on others."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A trained network, images in [0, 1] and their target classes."""

    network: nn.Module
    images: Tensor
    targets: Tensor


def problem(batch: int, epochs: int) -> Problem:
    """Train the network and draw images and targets."""
    name = "mnist" if os.environ.get("PERTURBLEARN_DATA") else "digits"
    limit = 3000 if name == "mnist" else None
    data = load_dataset(DataConfig(name=name, n_samples=limit, n_heldout=batch, centre=False, flatten=False))
    inputs, heldout = (interpolate(part, (28, 28), mode="bilinear") for part in (data.inputs, data.heldout_inputs))
    torch.manual_seed(0)
    network = ConvNet((1, 28, 28), 10)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs)).split(128):
            optimizer.zero_grad()
            cross_entropy(network(inputs[rows]), data.labels[rows]).backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        accuracy = float((network(heldout).argmax(dim=1) == data.heldout_labels).float().mean())
    print(f"{name}, {len(inputs)} images, {epochs} epochs: accuracy {accuracy:.3f} on {len(heldout)} others")
    generator = torch.Generator().manual_seed(1)
    targets = (data.heldout_labels + torch.randint(1, 10, (len(heldout),), generator=generator)) % 10
    return Problem(network, heldout.clamp(0, 1).contiguous(), targets)


def by_foolbox(given: Problem, norm: str, epsilon: float, steps: int) -> Tensor:
    """The same descent by foolbox, through its own interface."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports scipy by a name that is going to go
        import foolbox
        from foolbox.models.pytorch import PyTorchModel
    attack = {"l2": foolbox.attacks.L2PGD, "linf": foolbox.attacks.LinfPGD}[norm]
    made = attack(rel_stepsize=STEP, steps=steps, random_start=False)
    model = PyTorchModel(given.network, bounds=(0, 1), device="cpu")
    criterion = foolbox.criteria.TargetedMisclassification(given.targets)
    _, clipped, _ = made(model, given.images, criterion, epsilons=epsilon)
    return clipped


def ours(given: Problem, norm: str, epsilon: float, steps: int, *, radial: bool = False, **options: Any) -> Tensor:
    """The descent by `pgd` or `radial_pgd`."""
    attack = radial_pgd if radial else pgd
    found = attack(
        given.network, given.images, given.targets, norm=norm, epsilon=epsilon, value_range=(0.0, 1.0), steps=steps,
        step=STEP, **options,
    )  # fmt: skip
    return found.inputs


def passes(given: Problem, count: int) -> None:
    """Only forward-and-input-gradient passes over the whole batch."""
    with frozen(given.network):
        for _ in range(count):
            leaf = given.images.clone().requires_grad_()
            torch.autograd.grad(cross_entropy(given.network(leaf), given.targets, reduction="sum"), leaf)


def frozen_foolbox(given: Problem, norm: str, epsilon: float, steps: int) -> Tensor:
    """foolbox without the gradients of parameters."""
    with frozen(given.network):
        return by_foolbox(given, norm, epsilon, steps)


ATTACKS: dict[str, Callable[[Problem, str, float, int], Tensor]] = {
    "pgd": ours,
    "radial_pgd": lambda *given: ours(*given, radial=True),
    "pgd, bfloat16": lambda *given: ours(*given, bfloat16=True),
    "foolbox": frozen_foolbox,
}


def reach(given: Problem, repeats: int) -> list[dict[str, Any]]:
    """Losses and success of all attacks."""
    rows = []
    print(f"{'norm':6}{'epsilon':>8}{'steps':>6}  {'attack':16}{'mean loss':>10}{'success':>9}")
    for norm, epsilons in EPSILONS.items():
        for epsilon in epsilons:
            for steps in STEPS:
                for name, attack in ATTACKS.items():
                    perturbed = attack(given, norm, epsilon, steps)
                    with torch.no_grad():
                        outputs = given.network(perturbed)
                    row: dict[str, Any] = {"norm": norm, "epsilon": epsilon, "steps": steps, "attack": name}
                    row["loss"] = float(cross_entropy(outputs, given.targets))
                    row["success"] = float((outputs.argmax(dim=1) == given.targets).float().mean())
                    rows.append(row)
                    print(
                        f"{norm:6}{epsilon:8}{steps:6}  {name:16}{row['loss']:10.5f}{row['success']:9.3f}", flush=True
                    )
    return rows


def seconds(given: Problem, repeats: int) -> list[dict[str, Any]]:
    """Times of ten steps."""
    rows = []
    steps = STEPS[0]
    print(f"{'norm':6}{'steps':>6}  {'':24}{'seconds':>8}{'of passes':>10}{'foolbox / it':>13}")
    for norm, (epsilon, _) in EPSILONS.items():
        arguments = given, norm, epsilon, steps
        work: dict[str, Callable[[], object]] = {
            "passes": partial(passes, given, steps),
            **{name: partial(ATTACKS[name], *arguments) for name in ("pgd", "pgd, bfloat16", "foolbox")},
            "foolbox, default use": partial(by_foolbox, *arguments),
        }
        for row in _interleaved(work, repeats):
            rows.append({"norm": norm, "steps": steps, **row})
            print(
                f"{norm:6}{steps:6}  {row['name']:24}{row['seconds']:8.2f}{row['of_passes']:10.3f}"
                f"{row['foolbox_over_it']:13.2f}",
                flush=True,
            )
    return rows


def _interleaved(work: dict[str, Callable[[], object]], repeats: int) -> list[dict[str, Any]]:
    """Medians of times, and of ratios within a repeat, after one warm-up repeat."""
    taken: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repeats + 1):
        for name, what in work.items():
            started = time.perf_counter()
            what()
            taken[name].append(time.perf_counter() - started)
    found = []
    for name, times in taken.items():
        pairs = list(zip(times, taken["passes"], taken["foolbox"], strict=True))[1:]
        found.append(
            {
                "name": name,
                "seconds": statistics.median(own for own, _, _ in pairs),
                "of_passes": statistics.median(own / passes for own, passes, _ in pairs),
                "foolbox_over_it": statistics.median(foolbox / own for own, _, foolbox in pairs),
            }
        )
    return found


PARTS = {"reach": reach, "time": seconds}


def main() -> None:
    """Run the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=256, help="number of attacked images")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {arguments.batch}, step {STEP}")
    given = problem(arguments.batch, arguments.epochs)
    found: dict[str, Any] = {}
    for part in arguments.parts:
        print(f"\n{part}")
        found[part] = PARTS[part](given, arguments.repeats)
        if arguments.json:
            arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
