"""Minibatch training and attacks of deep networks against the plain loops that a user would write, in one run.

    python benchmarks/networks.py [--repeats 5] [--threads 1] [--width 0.125] [--side 32] [--batch 64] [--steps 10]
                                  [--products bfloat16] [--json FILE]

Both start from the same weights, see the same images and take the same number of steps: SGD with momentum, flips and
shifts by 2 pixels, autocast. They are timed alternately after a warm-up, in processor time, and the ratio is taken pair
by pair, because the machine's speed varies. Use one thread: processor time adds up over threads. The plain loop keeps
all data at hand, augments a whole batch at once, and looks at success once, after the last step of an attack.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from perturblearn.attacks import pgd
from perturblearn.classifiers import Network, make_network
from perturblearn.config import NetworkConfig
from perturblearn.data import Signature
from perturblearn.training import MinibatchDescent

LR, MOMENTUM, DECAY, SHIFT = 0.1, 0.9, 5e-4, 2


@dataclass(frozen=True)
class Times:
    """Seconds of both, and their ratio (plain over ours).

    Args:
        what: was timed.
        plain, ours: medians.
        ratio, least, largest: of the pairs.
    """

    what: str
    plain: float
    ours: float
    ratio: float
    least: float
    largest: float


def network_of(model: str, width: float, side: int) -> Network:
    """A network of colour images of ten classes."""
    keys = {"name": model, "hidden_dim": 16} if model == "mlp" else {"name": model, "width": width}
    signature = Signature((3, side, side), 10, 0.0, (0.5,) * 3, (0.25,) * 3)
    return make_network(NetworkConfig.model_validate(keys), signature, seed=0, role="benchmark")


def shifted(images: Tensor) -> Tensor:
    """Flipped or not, and shifted at random, by one gather."""
    count, channels, height, width = images.shape
    padded = pad(images, (SHIFT,) * 4)
    top, left = torch.randint(2 * SHIFT + 1, (2, count))
    rows = top[:, None] + torch.arange(height)
    columns = left[:, None] + torch.arange(width)
    columns = torch.where(torch.rand(count, 1) < 0.5, columns, columns.flip(1))
    planes = torch.arange(channels)[:, None, None]
    return padded[torch.arange(count)[:, None, None, None], planes, rows[:, None, :, None], columns[:, None, None, :]]


def plain_training(network: nn.Module, images: Tensor, labels: Tensor, batch: int, *, short: bool) -> nn.Module:
    """One epoch as a user would write it."""
    module = copy.deepcopy(network).train()
    optimiser = torch.optim.SGD(module.parameters(), LR, momentum=MOMENTUM, nesterov=True, weight_decay=DECAY)
    for rows in torch.randperm(len(images))[: len(images) // batch * batch].view(-1, batch):
        part = shifted(images[rows])
        with torch.autocast("cpu", torch.bfloat16, enabled=short):
            outputs = module(part)
        loss = cross_entropy(outputs.float(), labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return module


def plain_attack(network: nn.Module, images: Tensor, targets: Tensor, steps: int, block: int, *, short: bool) -> float:
    """PGD in L2 as a user would write it: parameters frozen, the last iterate, and whether it succeeds in float32."""
    network.requires_grad_(False).eval()
    success = 0
    for sources, labels in zip(images.split(block), targets.split(block), strict=True):
        points = sources.clone()
        for _ in range(steps):
            leaf = points.requires_grad_()
            with torch.autocast("cpu", torch.bfloat16, enabled=short):
                outputs = network(leaf)
            (gradient,) = torch.autograd.grad(cross_entropy(outputs.float(), labels, reduction="sum"), leaf)
            length = gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            change = points.detach() - 0.1 * gradient / length - sources
            size = change.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            points = (sources + change * (0.5 / size).clamp(max=1)).clamp(0, 1)
        with torch.no_grad():
            success += int((network(points).argmax(dim=1) == labels).sum())
    network.requires_grad_(True)
    return success / len(images)


def compare(what: str, plain: Callable[[], object], ours: Callable[[], object], repeats: int) -> Times:
    """Both in turn."""
    plain()
    ours()
    pairs = []
    for _ in range(repeats):
        pair = []
        for work in (plain, ours):
            started = time.process_time()
            work()
            pair.append(time.process_time() - started)
        pairs.append(pair)
    ratios = [one / other for one, other in pairs]
    plain_seconds, our_seconds = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    return Times(what, plain_seconds, our_seconds, statistics.median(ratios), min(ratios), max(ratios))


def measure(model: str, options: argparse.Namespace) -> list[Times]:
    """Training and attack of one kind of network."""
    network = network_of(model, options.width, options.side)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(options.batch * options.batches, 3, options.side, options.side, generator=generator)
    labels = torch.randint(10, (len(images),), generator=generator)
    short = options.products == "bfloat16"
    descent = MinibatchDescent(
        "logistic", LR, 1, options.batch, MOMENTUM, DECAY, "constant", ("crop", "flip"), short, crop_padding=SHIFT
    )
    few, targets = images[: 4 * options.batch], labels[: 4 * options.batch]
    attacked = network.eval()
    return [
        compare(
            f"{model}: training",
            lambda: plain_training(network, images, labels, options.batch, short=short),
            lambda: descent.train(network, images, labels, seed=0),
            options.repeats,
        ),
        compare(
            f"{model}: attack",
            lambda: plain_attack(attacked, few, targets, options.steps, options.batch, short=short),
            lambda: pgd(
                attacked, few, targets, norm="l2", epsilon=0.5, steps=options.steps, block=options.batch,
                value_range=(0, 1), bfloat16=short,
            ),
            options.repeats,
        ),
    ]  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["mlp", "resnet9"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--products", choices=["exact", "bfloat16"], default="bfloat16")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{'':28}{'plain s':>10}{'ours s':>10}{'ratio':>8}{'least':>8}{'largest':>9}")
    rows = [row for model in options.models for row in measure(model, options)]
    for row in rows:
        print(
            f"{row.what:28}{row.plain:10.3f}{row.ours:10.3f}{row.ratio:8.2f}{row.least:8.2f}{row.largest:9.2f}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
