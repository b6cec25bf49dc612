"""ICLR24's section 5 scaled down for two cores: accuracy of g beside the published numbers, part by part.

    python docs/evidence/deep_networks.py natural|targets|noise [--out runs] [--images 10000] [--seeds 1] [--draws 1]

``natural``: MNIST with L2 perturbations of length 2, Fashion-MNIST with L-infinity ones of 0.3, targets `other`; one of
them with ``--only mnist``.
``targets``: MNIST, L2, targets `other` against `next`. ``noise``: uniform noise instead of images, g against the number
of samples, gradient steps and epochs. Needs the data in PERTURBLEARN_DATA. Finished stages are kept in the cache inside
the output folder, so an interrupted part continues where it stopped.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch

from perturblearn import Result, learn_from_perturbations

NETWORK: dict[str, Any] = {"model.name": "convnet", "epochs": 12, "products": "bfloat16"}
BASE: dict[str, Any] = {
    "data.centre": False,
    "data.flatten": False,
    "attack.name": "radial_pgd",
    "attack.steps": 20,
    "attack.products": "bfloat16",
    "standard.lr": 0.05,
    "standard.schedule": "one_cycle",
    "perturbation.lr": 0.01,
    **{f"{role}.{key}": value for role in ("standard", "perturbation") for key, value in NETWORK.items()},
}
NATURAL = {
    "mnist": {"data.name": "mnist", "attack.norm": "l2", "attack.epsilon": 2.0},
    "fashion_mnist": {"data.name": "fashion_mnist", "attack.norm": "linf", "attack.epsilon": 0.3},
}
PUBLISHED = {
    ("mnist", "other"): "0.94",
    ("mnist", "next"): "0.39 (0.42)",
    ("fashion_mnist", "other"): "not given",
    ("mnist", "noise"): "0.28 at 60,000, 0.10 (0.34) at 480,000",
}
"""Final epoch (maximum over epochs) at full scale: 60,000 images, 100 steps, 100 to 300 epochs, one seed."""
COLUMNS = (
    "standard_accuracy_heldout",
    "attack_success",
    "perturbation_accuracy_heldout",
    "agreement",
    "unperturbed_control_heldout",
    "permuted_control_heldout",
    "linear_probe_heldout",
)


NOISE = ((2500, 20, 12), (5000, 20, 12), (10_000, 20, 12), (2500, 60, 12), (2500, 20, 48))
"""Noise samples, gradient steps, epochs of g."""


def run(name: str, arguments: argparse.Namespace, keys: dict[str, Any]) -> Result:
    """Run one experiment and print a line of its measures."""
    started = time.perf_counter()
    overrides = {**BASE, "name": name, "seeds": arguments.seeds, "data.n_samples": arguments.images, **keys}
    result = learn_from_perturbations({}, overrides=overrides, out=arguments.out, cache_dir=f"{arguments.out}/cache")
    numbers = []
    for column in COLUMNS:
        values = result.summary.get(column, {"mean": None, "std": None})
        spread = "" if values["std"] is None else f" ± {values['std']:.3f}"
        numbers.append("-" if values["mean"] is None else f"{values['mean']:.3f}{spread}")
    minutes = (time.perf_counter() - started) / 60
    print(f"| {name} | {' | '.join(numbers)} | {minutes:.0f} min |", flush=True)
    return result


def natural(arguments: argparse.Namespace) -> None:
    """Natural images, targets over the other classes, both controls."""
    for data in [arguments.only] if arguments.only else list(NATURAL):
        keys = NATURAL[data]
        name = f"{data}_{arguments.images}"
        run(name, arguments, {**keys, "attack.targets": "other", "controls.draws": arguments.draws})
        print(f"published at full scale: {PUBLISHED[data, 'other']}")


def targets(arguments: argparse.Namespace) -> None:
    """Two rules for the targets, on the same f."""
    found = {}
    for rule in ("other", "next"):
        keys = {**NATURAL["mnist"], "attack.targets": rule, "controls.draws": 0}
        result = run(f"mnist_{rule}_{arguments.images}", arguments, keys)
        found[rule] = result.summary["perturbation_accuracy_heldout"]["values"]
        print(f"published at full scale: {PUBLISHED['mnist', rule]}")
    gaps = torch.tensor(found["other"]) - torch.tensor(found["next"])
    listed = ", ".join(f"{gap:.3f}" for gap in gaps.tolist())
    print(f"other - next, seed by seed: {listed}; {gaps.mean():.3f} ± {gaps.std():.3f}")


def noise(arguments: argparse.Namespace) -> None:
    """Uniform noise: more samples, more steps, more epochs, one after the other."""
    keys = {**NATURAL["mnist"], "attack.source": "uniform", "attack.targets": "uniform", "controls.draws": 0}
    for samples, steps, epochs in NOISE:
        name = f"noise_{samples}_steps_{steps}_epochs_{epochs}"
        more = {"attack.n_sources": samples, "attack.steps": steps, "perturbation.epochs": epochs}
        run(name, arguments, {**keys, **more})
    print(f"published at full scale (300 epochs): {PUBLISHED['mnist', 'noise']}")


def main() -> None:
    """Run the chosen part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("natural", "targets", "noise"))
    parser.add_argument("--out", default="runs")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--only", choices=tuple(NATURAL))
    arguments = parser.parse_args()
    heads = ("", "f", "attack success", "g", "agreement", "unperturbed", "permuted", "linear probe", "time")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
    {"natural": natural, "targets": targets, "noise": noise}[arguments.part](arguments)


if __name__ == "__main__":
    main()
