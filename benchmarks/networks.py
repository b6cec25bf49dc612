"""Minibatch training and attacks of deep networks against the plain loops that a user would write, in one run.

    python benchmarks/networks.py [--repeats 5] [--threads 1] [--width 0.125] [--side 32] [--batch 64] [--steps 10]
                                  [--products bfloat16] [--profile] [--json FILE]

Both start from the same weights, see the same images and take the same number of steps: SGD with momentum, flips and
shifts by 2 pixels, autocast. They are timed alternately after a warm-up, in processor time, and the ratio is taken pair
by pair, because the machine's speed varies. Use one thread: processor time adds up over threads. The plain loop keeps
all data at hand, augments a whole batch at once, and looks at success once, after the last step of an attack.

A network's convolutions alone, on inputs of the same shapes and precision, forward and back as training or the attack
needs them, are timed against ours in the same way: the ratio is the share of their rate that we reach. ``--profile``
says which operations take the processor's time.
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

from perturblearn.attacks import L2, PGD, AttackContext
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


def convolutions(network: nn.Module, images: Tensor, *, short: bool, trains: bool) -> Callable[[], object]:
    """All convolutions of one pass forward and back over a batch, and nothing else.

    Args:
        network: whose convolutions they are.
        images: the batch.
        short: in bfloat16.
        trains: back to weights and inputs, but for the first layer's inputs; otherwise to all inputs alone.
    """
    seen: list[tuple[nn.Conv2d, Tensor]] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], _: object) -> None:
        assert isinstance(layer, nn.Conv2d)
        seen.append((layer, inputs[0]))

    hooks = [layer.register_forward_hook(note) for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    dtype = torch.bfloat16 if short else torch.float32
    work: list[Callable[[], object]] = []
    for number, (layer, inputs) in enumerate(seen):
        alone = copy.deepcopy(layer).to(dtype).requires_grad_(trains)
        nn.utils.convert_conv2d_weight_memory_format(alone, torch.channels_last)
        leaf = inputs.detach().to(dtype=dtype, memory_format=torch.channels_last)
        leaf.requires_grad_(bool(number) or not trains)
        back = torch.rand_like(alone(leaf))
        wanted = [each for each in (leaf, alone.weight) if each.requires_grad]
        work.append(
            lambda alone=alone, leaf=leaf, back=back, wanted=wanted: torch.autograd.grad(alone(leaf), wanted, back)
        )
    return lambda: [each() for each in work]


def repeated(work: Callable[[], object], times: int) -> Callable[[], object]:
    """The same work several times."""
    return lambda: [work() for _ in range(times)]


def profiled(what: str, work: Callable[[], object]) -> str:
    """Which operations take most of the processor's time, in per cent."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        work()
    spent = {event.key.removeprefix("aten::"): event.self_cpu_time_total for event in profile.key_averages()}
    whole = sum(spent.values())
    largest = sorted(spent.items(), key=lambda item: -item[1])[:12]
    return f"{what}: " + ", ".join(f"{name} {100 * time / whole:.1f}" for name, time in largest)


def measure(model: str, options: argparse.Namespace) -> list[Times]:
    """Training and attack of one kind of network, beside plain loops and beside its convolutions alone."""
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

    def train() -> object:
        return descent.train(network, images, labels, seed=0)

    def attack() -> object:
        attack = PGD(L2(), epsilon=0.5, steps=options.steps, bfloat16=short)
        return attack.search(attacked, few, targets, AttackContext(value_range=(0, 1), block=options.batch))

    plain: list[tuple[str, Callable[[], object], Callable[[], object]]] = [
        ("training", lambda: plain_training(network, images, labels, options.batch, short=short), train),
        ("attack", lambda: plain_attack(attacked, few, targets, options.steps, options.batch, short=short), attack),
    ]
    if any(isinstance(layer, nn.Conv2d) for layer in network.modules()):
        batch = images[: options.batch]
        for what, ours, times in (("training", train, options.batches), ("attack", attack, 4 * options.steps)):
            alone = convolutions(network, batch, short=short, trains=what == "training")
            plain.append((f"{what}, convolutions", repeated(alone, times), ours))
    if options.profile:
        for what, ours in (("training", train), ("attack", attack)):
            print(profiled(f"{model}: {what}", ours))
    return [compare(f"{model}: {what}", theirs, ours, options.repeats) for what, theirs, ours in plain]


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
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{'':32}{'plain s':>10}{'ours s':>10}{'ratio':>8}{'least':>8}{'largest':>9}")
    rows = [row for model in options.models for row in measure(model, options)]
    for row in rows:
        print(
            f"{row.what:32}{row.plain:10.3f}{row.ours:10.3f}{row.ratio:8.2f}{row.least:8.2f}{row.largest:9.2f}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
