"""Theory of any depth beside networks, and where g's knowledge comes from: the tables of docs/any_depth.md.

    python docs/evidence/any_depth.py theory [--depths 1 2 3 4] [--widths 128 512] [--seeds 2]
    python docs/evidence/any_depth.py attribution [--data mnist] [--seeds 3]
    python docs/evidence/any_depth.py error [--seeds 2]
    python docs/evidence/any_depth.py weak [--depths 1 3 6] [--seeds 5]

``theory``: MNIST, 1 against 2, 500 images, logistic loss, 300 full-batch steps of rate 1 without momentum, slope 0.01,
sigma_b 0.1; the kernel at infinite width beside networks in its parametrisation. ``attribution``: ten classes of MNIST
and a network of three hidden layers, or CIFAR-10 and a ConvNet, by target rule and source. ``error``: what its parts
miss, and what it costs, by network, batch size and rate. ``weak``: the first step of a g of infinite width on perturbed
noise, beside the nearest class mean, under random targets and under as many of each class. Needs the data in
PERTURBLEARN_DATA.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perturblearn import learn_from_perturbations
from perturblearn.classifiers import Network, make_network
from perturblearn.config import NetworkConfig, resolve_config
from perturblearn.data import Signature, load_dataset
from perturblearn.theory import (
    DeepKernel,
    PerturbationTerms,
    kernel_training,
    nearest_mean,
    perturbation_direction,
    perturbation_terms,
    standard_prediction,
)
from perturblearn.training import LOSSES, MinibatchDescent, attribute_training

STEPS, RATE, SLOPE, SIGMA_B = 300, 1.0, 0.01, 0.1
SIZES = {"bare": 1.0, "images": 4.0}
"""Epsilon of bare perturbations and of perturbed images."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Images with true labels and random targets, flat and centred, in float64."""

    x: Tensor
    y: Tensor
    z: Tensor
    truth: Tensor
    targets: Tensor


def load(seed: int) -> Problem:
    """MNIST, 1 against 2."""
    keys = {"data.name": "mnist", "data.classes": ["1", "2"], "data.n_samples": 500, "data.n_heldout": 500}
    data = load_dataset(resolve_config({}, keys).data, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    targets = 2 * torch.randint(2, (len(data.labels),), generator=generator) - 1
    parts = (data.inputs.flatten(1).double(), data.labels, data.heldout_inputs.flatten(1).double(), data.heldout_labels)
    return Problem(*parts, targets)


def flow(kernel: DeepKernel, x: Tensor, y: Tensor, initial: Tensor | None = None) -> Tensor:
    """Multipliers of a network of infinite width after training."""
    start = torch.zeros(len(x), dtype=torch.float64) if initial is None else initial.double()
    derivative = LOSSES["logistic"].derivative
    return kernel_training(x, y, start, kernel=kernel, time=RATE * STEPS, derivative=derivative)


def perturb(problem: Problem, gradients: Tensor, source: str) -> tuple[Tensor, Tensor]:
    """Sources u and perturbed inputs x'."""
    sources = torch.zeros_like(problem.x) if source == "bare" else problem.x
    lengths = gradients.norm(dim=1, keepdim=True).clamp_min(1e-30)
    return sources, sources + SIZES[source] * problem.targets[:, None] * gradients / lengths


def learn(network: Network, x: Tensor, y: Tensor) -> Network:
    """The network after the same training."""
    descent = MinibatchDescent("logistic", RATE, STEPS, len(x), momentum=0.0, weight_decay=0.0, schedule="constant")
    trained = descent.train(network, x.float(), y, seed=0).module
    assert isinstance(trained, Network)
    return trained


def outputs(network: Network, x: Tensor) -> Tensor:
    """Outputs in float64."""
    with torch.no_grad():
        return network(x.float()).double()


def theory(depths: Sequence[int], widths: Sequence[int], seeds: int) -> None:
    """The kernel by itself, then beside networks of each width."""
    names = [f"{part}, {source}" for source in SIZES for part in ("g", "P", "S")]
    print(f"| hidden layers | f | {' | '.join(names)} |\n|{'---|' * (2 + len(names))}")
    predicted: dict[tuple[int, int, str], PerturbationTerms] = {}
    problems = [load(seed) for seed in range(seeds)]
    for depth in depths:
        kernel, found = DeepKernel(depth, SLOPE, sigma_b=SIGMA_B), []
        for seed, problem in enumerate(problems):
            alpha = flow(kernel, problem.x, problem.y)
            row = [right(kernel.weighted_sum(problem.z, problem.x, alpha), problem)]
            directions = kernel.gradient_sum(problem.x, problem.x, alpha)
            for source in SIZES:
                sources, seen = perturb(problem, directions, source)
                terms = perturbation_terms(sources, seen, flow(kernel, seen, problem.targets), problem.z, kernel=kernel)
                predicted[depth, seed, source] = terms
                of_terms = (terms.source + terms.perturbation, terms.perturbation, terms.source)
                row += [right(values, problem) for values in of_terms]
            found.append(row)
        print(f"| {depth} | {' | '.join(spread(column) for column in zip(*found, strict=True))} |", flush=True)
    heads = ("f", *(f"g, {source}, {kind}" for source in SIZES for kind in ("own", "end to end")))
    print(f"\n| hidden layers | width | {' | '.join(heads)} |\n|{'---|' * (2 + len(heads))}")
    for depth in depths:
        kernel = DeepKernel(depth, SLOPE, sigma_b=SIGMA_B)
        for width in widths:
            found = []
            for seed, problem in enumerate(problems):
                f, g = (fresh(depth, width, seed, role) for role in ("standard", "perturbation"))
                trained = learn(f, problem.x, problem.y)
                alpha = flow(kernel, problem.x, problem.y, outputs(f, problem.x))
                learned = outputs(trained, problem.z) - outputs(f, problem.z)
                row = [correlation(learned, kernel.weighted_sum(problem.z, problem.x, alpha))]
                leaf = problem.x.float().requires_grad_()
                (gradients,) = torch.autograd.grad(trained(leaf).sum(), leaf)
                for source in SIZES:
                    _, seen = perturb(problem, gradients.double(), source)
                    learned = outputs(learn(g, seen, problem.targets), problem.z) - outputs(g, problem.z)
                    beta = flow(kernel, seen, problem.targets, outputs(g, seen))
                    terms = predicted[depth, seed, source]
                    row.append(correlation(learned, kernel.weighted_sum(problem.z, seen, beta)))
                    row.append(correlation(learned, terms.source + terms.perturbation))
                found.append(row)
            columns = " | ".join(spread(column) for column in zip(*found, strict=True))
            print(f"| {depth} | {width} | {columns} |", flush=True)


SIZES_OF_NOISE = (0.125, 0.5, 2.0, 8.0)


def weak(depths: Sequence[int], seeds: int) -> None:
    """Correlation of the first step of lazy training, the sum of y'_n Theta(x'_n, z), with the nearest mean."""
    print(f"| hidden layers | targets | {' | '.join(f'ε = {size:g}' for size in SIZES_OF_NOISE)} |")
    print(f"|{'---|' * (2 + len(SIZES_OF_NOISE))}")
    problems = [load(seed) for seed in range(seeds)]
    for depth in depths:
        kernel = DeepKernel(depth, SLOPE, sigma_b=SIGMA_B)
        found: dict[tuple[str, float], list[float]] = {}
        for seed, problem in enumerate(problems):
            generator = torch.Generator().manual_seed(seed)
            sources = torch.rand(1000, problem.x.shape[1], generator=generator, dtype=torch.float64)
            random = 2 * torch.randint(2, (1000,), generator=generator) - 1
            directions = perturbation_direction(problem.x, problem.y, kernel=kernel, at=sources)
            directions /= directions.norm(dim=1, keepdim=True)
            for name, targets in (("random", random), ("500 of each class", torch.tensor([1, -1] * 500))):
                for size in SIZES_OF_NOISE:
                    seen = sources + size * targets[:, None] * directions
                    step = standard_prediction(seen, targets, problem.z, kernel=kernel)
                    mean = nearest_mean(seen, targets, problem.z)
                    found.setdefault((name, size), []).append(correlation(step, mean))
        for name in dict.fromkeys(name for name, _ in found):
            cells = (spread(found[name, size]) for size in SIZES_OF_NOISE)
            print(f"| {depth} | {name} | {' | '.join(cells)} |", flush=True)


def fresh(depth: int, width: int, seed: int, role: str) -> Network:
    """A network in the kernel's parametrisation, for flat inputs as they are."""
    keys = {"name": "mlp", "depth": depth, "hidden_dim": width, "slope": SLOPE, "parametrization": "ntk"}
    config = NetworkConfig.model_validate({**keys, "sigma_b": SIGMA_B, "normalise": False})
    return make_network(config, Signature((784,), 2, 0.0, (0.0,), (1.0,)), seed=seed, role=role)


def right(values: Tensor, problem: Problem) -> float:
    """Share of held-out images that outputs classify correctly."""
    return float((values * problem.truth > 0).double().mean())


def correlation(first: Tensor, second: Tensor) -> float:
    """Over held-out images."""
    return float(torch.corrcoef(torch.stack((first, second)))[0, 1])


def spread(values: Sequence[float], form: str = ".3f") -> str:
    """Mean and standard deviation."""
    more = f" ± {statistics.stdev(values):{form.removeprefix('+')}}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{form}}{more}"


NETWORKS_OF: dict[str, dict[str, Any]] = {
    "mnist": {
        "model.name": "mlp", "model.hidden_dim": 256, "model.depth": 3, "epochs": 10, "batch_size": 64,
        "schedule": "constant", "lr": 0.01,
    },
    "folder:cifar10-jpeg.tar.xz": {
        "model.name": "convnet", "model.width": 0.25, "epochs": 20, "batch_size": 64, "schedule": "one_cycle",
        "lr": 0.01,
    },
}  # fmt: skip
DATA_OF: dict[str, dict[str, Any]] = {
    "mnist": {"data.n_samples": 2000, "attack.epsilon": 2.0},
    "folder:cifar10-jpeg.tar.xz": {"data.n_samples": 4000, "attack.epsilon": 1.0},
}
CASES = (("natural", "uniform"), ("natural", "other"), ("natural", "next"), ("uniform", "uniform"))
COLUMNS = ("perturbation", "source", "start", "decay", "total", "unperturbed")


def attribution(data: str, seeds: int) -> None:
    """Class signals of the parts of what g knows, by source and target rule."""
    folder, network = Path(os.environ["PERTURBLEARN_DATA"]), NETWORKS_OF[data]
    name = f"folder:{folder / data.removeprefix('folder:')}" if data.startswith("folder:") else data
    heads = ("sources", "targets", "g", *COLUMNS, "cancellation", "needs perturbations", "error")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
    for source, targets in CASES:
        keys: dict[str, Any] = {
            "name": f"attribution-{source}-{targets}", "seeds": seeds, "data.name": name, **DATA_OF[data],
            "data.n_heldout": 1000, "data.centre": False, "data.flatten": False, "attack.name": "pgd",
            "attack.steps": 10, "attack.source": source, "attack.targets": targets,
            "controls.draws": 0, "controls.linear_probe": False, "measures.attribution": True,
            "measures.attribution_inputs": 200,
            **{f"{role}.{key}": value for role in ("standard", "perturbation") for key, value in network.items()},
        }  # fmt: skip
        summary = learn_from_perturbations({}, overrides=keys, out="runs", report=False).summary
        cells = [spread(summary["perturbation_accuracy_heldout"]["values"])]
        cells += [spread(summary[f"attribution_{name}"]["values"], "+.2f") for name in COLUMNS]
        cells += [f"{summary['attribution_cancellation']['median']:.1f}"]
        cells += [spread(summary["attribution_needs_perturbation"]["values"])]
        cells += [f"{100 * max(summary['attribution_error']['values']):.1f} %"]
        print(f"| {source} | {targets} | {' | '.join(cells)} |", flush=True)


NETWORKS: dict[str, dict[str, Any]] = {
    "MLP": {"name": "mlp", "hidden_dim": 256, "depth": 3},
    "ConvNet": {"name": "convnet", "width": 0.25},
    "ResNet-18, GroupNorm": {"name": "resnet18", "width": 0.125},
    "ResNet-18, BatchNorm": {"name": "resnet18", "width": 0.125},
}


def error(seeds: int) -> None:
    """Completeness error, and the time of attribution over that of the training by itself."""
    keys = {"data.name": "mnist", "data.n_samples": 1024, "data.n_heldout": 300, "data.centre": False}
    data = load_dataset(resolve_config({}, {**keys, "data.flatten": False}).data, seed=0)
    x, y, z, signature = data.inputs, data.labels, data.heldout_inputs, Signature.of(data)
    f = MinibatchDescent("logistic", 0.05, 5, 64, schedule="one_cycle").train(
        make_network(NetworkConfig(**NETWORKS["MLP"]), signature, seed=0, role="standard"), x, y, seed=0
    )
    heads = ("network", "batch size", "steps merged", "rate", "completeness error", "times plain training")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
    for name, keys_of_network in NETWORKS.items():
        for batch_size, epochs, merged in ((512, 10, 4), (64, 4, 8)):
            for rate in (0.01, 0.05):
                descent = MinibatchDescent("logistic", rate, epochs, batch_size, schedule="one_cycle")
                errors: list[float] = []
                times: list[float] = []
                for seed in range(seeds):
                    g = make_network(NetworkConfig(**keys_of_network), signature, seed=seed, role="perturbation")
                    if "GroupNorm" in name:
                        without_batch_statistics(g.body)
                    generator = torch.Generator().manual_seed(seed)
                    targets = torch.randint(10, (len(x),), generator=generator)
                    leaf = x.clone().requires_grad_()
                    loss = torch.nn.functional.cross_entropy(f.module(leaf), targets, reduction="sum")
                    (gradients,) = torch.autograd.grad(loss, leaf)
                    lengths = gradients.flatten(1).norm(dim=1).clamp_min(1e-30).view(-1, 1, 1, 1)
                    seen = x - 2 * gradients / lengths
                    start = time.process_time()
                    descent.train(g, seen, targets, seed=seed)
                    trained = time.process_time()
                    found = attribute_training(descent, g, seen, x, targets, z, seed=seed, merged=merged)
                    times.append((time.process_time() - trained) / (trained - start))
                    errors.append(100 * found.error)
                cells = (name, batch_size, merged, rate, f"{max(errors):.2f} %", f"{statistics.fmean(times):.1f}")
                print(f"| {' | '.join(map(str, cells))} |", flush=True)


def without_batch_statistics(module: torch.nn.Module) -> None:
    """Replace every BatchNorm by GroupNorm of four groups."""
    for name, part in module.named_children():
        if isinstance(part, torch.nn.BatchNorm2d):
            setattr(module, name, torch.nn.GroupNorm(4, part.num_features))
        else:
            without_batch_statistics(part)


def main() -> None:
    """Run the chosen part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("theory", "attribution", "error", "weak"))
    parser.add_argument("--depths", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--widths", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--data", choices=tuple(NETWORKS_OF), default="mnist")
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.part == "theory":
        theory(arguments.depths, arguments.widths, arguments.seeds)
    elif arguments.part == "attribution":
        attribution(arguments.data, arguments.seeds)
    elif arguments.part == "error":
        error(arguments.seeds)
    else:
        weak(arguments.depths, arguments.seeds)


if __name__ == "__main__":
    main()
