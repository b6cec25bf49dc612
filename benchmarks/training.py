"""Full-batch training against the plain loop that a user would write, side by side in one run.

    python benchmarks/training.py [--parts cases grid scaling memory rates] [--repeats 3] [--device cpu]
                                  [--json FILE] [--plot FILE]

Both start from the same weights and see the same inputs. The plain loop is autograd, torch.optim.SGD and
ReduceLROnPlateau, one network after the other. Our times include all preparation (Gram matrices, factorisations). The
two are timed alternately, after one short warm-up round. Where the plain loop would take minutes, it runs for fewer
epochs and its time is extrapolated; such times are marked with a *.

cases    the settings of the papers and other users
grid     every N, d in 10, 100, 1,000, 10,000 and m in 1, 10, 100, 1,000: nothing should be slower than plain
scaling  time against N, d, m and the number of networks, with fitted exponents (and a plot)
memory   peak memory of training, beside the plan's estimate
rates    the share of the measured rate of matrix products that each form reaches
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perturblearn.classifiers import Classifier, TwoLayer, initialise
from perturblearn.config import TwoLayerConfig
from perturblearn.training import (
    FORMS,
    LOSSES,
    Descent,
    Form,
    Group,
    Job,
    form_cost,
    measure_rates,
    train_side_by_side,
)


@dataclass(frozen=True)
class Case:
    """N inputs of dimension d, networks of m units, one per learning rate.

    Args:
        shift: of the two classes' means in every coordinate; 0 for labels that are random.
        rank: for bare perturbations: N points in so many dimensions, with known factors.
        copies: networks per learning rate, each with its own weights (and, for the second on, random labels).
        plain_epochs: for how many the plain loop runs; 0 for all.
    """

    name: str
    n_samples: int
    input_dim: int
    hidden_dim: int
    epochs: int
    lr: tuple[float, ...] = (0.1,)
    loss: str = "identity"
    shift: float = 0.0
    rank: int = 0
    copies: int = 1
    plain_epochs: int = 0


CASES = (
    Case("f, d = 10,000, N = 1,000", 1000, 10_000, 100, 1000, plain_epochs=100),
    Case("f, d = 10,000, N = 1,000, lr 1", 1000, 10_000, 100, 1000, (1.0,), plain_epochs=100),
    Case("f, the same, logistic", 1000, 10_000, 100, 1000, loss="logistic", plain_epochs=100),
    Case("g, bare, d = 10,000, N = 1,000", 1000, 10_000, 100, 1000, rank=100, plain_epochs=100),
    Case("g, the same, logistic", 1000, 10_000, 100, 1000, loss="logistic", rank=100, plain_epochs=100),
    Case("g, bare, d = N = 10,000", 10_000, 10_000, 100, 1000, rank=100, plain_epochs=10),
    Case("g, the same, logistic", 10_000, 10_000, 100, 1000, loss="logistic", rank=100, plain_epochs=10),
    Case("f, d = N = 10,000", 10_000, 10_000, 100, 1000, plain_epochs=10),
    Case("f, d = N = 10,000, lr 1, 200 epochs", 10_000, 10_000, 100, 200, (1.0,), plain_epochs=10),
    Case("MNIST-sized f, two rates", 12_700, 784, 100, 100, (0.01, 0.001)),
    Case("MNIST-sized g, bare, two rates", 12_700, 784, 100, 100, (0.01, 0.001), rank=100),
    Case("digits, f, logistic", 285, 64, 100, 300, (0.5,), loss="logistic"),
    Case("digits, 10 control draws, logistic", 285, 64, 100, 300, (0.5,), loss="logistic", copies=10),
)


def problem(case: Case, device: str) -> tuple[list[TwoLayer], Tensor, list[Tensor], tuple[Tensor, Tensor] | None]:
    """Initial networks, inputs, labels of each network, and the inputs' factors if they are known."""
    generator = torch.Generator().manual_seed(0)
    labels = 2 * torch.randint(2, (case.n_samples,), generator=generator) - 1
    factors = None
    if case.rank:
        basis = torch.linalg.qr(torch.randn(case.input_dim, case.rank, generator=generator))[0].T.contiguous()
        factors = torch.randn(case.n_samples, case.rank, generator=generator) * 0.01, basis
        inputs = factors[0] @ basis
        factors = factors[0].to(device), basis.to(device)
    else:
        inputs = torch.randn(case.n_samples, case.input_dim, generator=generator) + case.shift * labels[:, None]
    model = TwoLayerConfig(hidden_dim=case.hidden_dim)
    count = len(case.lr) * case.copies
    networks = [initialise(model, case.input_dim, seed=seed, role="benchmark").to(device) for seed in range(count)]
    rows = [labels] + [labels[torch.randperm(case.n_samples, generator=generator)] for _ in range(case.copies - 1)]
    return networks, inputs.to(device), [rows[index // len(case.lr)].to(device) for index in range(count)], factors


def plain_loop(
    networks: Sequence[TwoLayer], inputs: Tensor, labels: Sequence[Tensor], descents: Sequence[Descent]
) -> list[TwoLayer]:
    """What a user would write: autograd, SGD with momentum, ReduceLROnPlateau, one network at a time."""
    trained = []
    for start, own, descent in zip(networks, labels, descents, strict=True):
        network = copy.deepcopy(start)
        optimizer = torch.optim.SGD(network.parameters(), lr=descent.lr, momentum=descent.momentum)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        for _ in range(descent.epochs):
            optimizer.zero_grad()
            loss = LOSSES[descent.loss](own * network(inputs)).mean()
            loss.backward()
            optimizer.step()
            scheduler.step(loss.item())
        trained.append(network)
    return trained


def ours(
    networks: Sequence[TwoLayer],
    inputs: Tensor,
    labels: Sequence[Tensor],
    descents: Sequence[Descent],
    **keys: Any,
) -> list[Classifier[TwoLayer]]:
    """The same networks, trained by the engine."""
    jobs = [Job(*parts) for parts in zip(networks, labels, descents, strict=True)]
    outcomes = dict(train_side_by_side(jobs, inputs, **keys))
    return [outcomes[index].after(job.descent.epochs) for index, job in enumerate(jobs)]


def seconds_of(work: Callable[[], object], device: str) -> float:
    """The time of a piece of work on its device."""
    if device != "cpu":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def measure(case: Case, repeats: int, device: str, **keys: Any) -> dict[str, Any]:
    """Times of both, their ratio pair by pair, and the distance of the final weights relative to how far they moved."""
    networks, inputs, labels, factors = problem(case, device)
    rates = [case.lr[index % len(case.lr)] for index in range(len(networks))]
    descents = [Descent(case.loss, lr, case.epochs) for lr in rates]
    plain_epochs = case.plain_epochs or case.epochs
    short = [replace(descent, epochs=plain_epochs) for descent in descents]
    warm = [replace(descent, epochs=3) for descent in descents]
    plain_loop(networks, inputs, labels, warm)
    ours(networks, inputs, labels, warm, factors=factors, **keys)
    plain_seconds, our_seconds = [], []
    last: list[Classifier[TwoLayer]] = []

    def engine() -> None:
        last[:] = ours(networks, inputs, labels, descents, factors=factors, **keys)

    for _ in range(repeats):
        taken = seconds_of(lambda: plain_loop(networks, inputs, labels, short), device)
        plain_seconds.append(taken * case.epochs / plain_epochs)
        our_seconds.append(seconds_of(engine, device))
    check = [replace(descent, epochs=min(case.epochs, 10)) for descent in descents]
    plain = plain_loop(networks, inputs, labels, check)
    trained = ours(networks, inputs, labels, check, factors=factors, **keys)
    difference = max(
        float(
            (a.weight.detach() - b.module.weight.detach()).norm() / (a.weight.detach() - start.weight.detach()).norm()
        )
        for a, b, start in zip(plain, trained, networks, strict=True)
    )
    ratios = [a / b for a, b in zip(plain_seconds, our_seconds, strict=True)]
    return {
        **asdict(case),
        "form": last[0].training["form"],
        "plain_seconds": statistics.median(plain_seconds),
        "our_seconds": statistics.median(our_seconds),
        "ratio": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_largest": max(ratios),
        "difference_after_10_epochs": difference,
    }


HEADER = f"{'':40}{'plain s':>10}{'ours s':>9}{'ratio':>8}{'least':>8}{'largest':>9}{'differ':>9}  form"


def show(row: dict[str, Any]) -> None:
    """One line of the table."""
    star = "*" if row["plain_epochs"] else " "
    print(
        f"{row['name']:40}{row['plain_seconds']:9.3f}{star}{row['our_seconds']:9.3f}{row['ratio']:8.1f}"
        f"{row['ratio_least']:8.1f}{row['ratio_largest']:9.1f}{row['difference_after_10_epochs']:9.0e}  {row['form']}",
        flush=True,
    )


def cases(repeats: int, device: str) -> list[dict[str, Any]]:
    """Every case, and the shifted-Gauss experiment from f to g."""
    print(HEADER)
    rows = []
    for case in CASES:
        rows.append(measure(case, repeats, device))
        show(rows[-1])
    for incremental in (True, False):
        rows.append(shifted_gauss(repeats, device, incremental=incremental))
        show(rows[-1])
    return rows


def shifted_gauss(repeats: int, device: str, *, incremental: bool) -> dict[str, Any]:
    """Shifted Gauss (a) at its default point: f at two rates, their perturbations, g at two rates for each."""
    from perturblearn.attacks import gate_basis, one_step, one_step_factors

    case = Case("", 1000, 100, 100, 1000, (1.0, 0.1), shift=0.3)
    networks, inputs, labels, _ = problem(case, device)
    starts = [initialise(TwoLayerConfig(hidden_dim=100), 100, seed=9, role="g").to(device) for _ in case.lr]
    targets = 2 * torch.randint(2, (1000,), generator=torch.Generator().manual_seed(1)).to(device) - 1
    descents = [Descent("identity", lr, case.epochs) for lr in case.lr]

    def plainly() -> None:
        for f in plain_loop(networks, inputs, labels, descents):
            steps = one_step(f, inputs, targets, norm="l2", epsilon=0.01)
            plain_loop(starts, steps, [targets, targets], descents)

    def engine() -> list[Classifier[TwoLayer]]:
        found = []
        for f in ours(networks, inputs, labels, descents, incremental=incremental):
            module = f.module
            assert module.bias is not None
            weight, bias = module.weight.detach(), module.bias.detach()
            lower, basis = gate_basis(weight, module.readout)
            coefficients = one_step_factors(weight, bias, module.slope, inputs, targets, lower=lower, epsilon=0.01)
            found += ours(
                starts, coefficients @ basis, [targets, targets], descents,
                factors=(coefficients, basis), incremental=incremental,
            )  # fmt: skip
        return found

    pairs = [(seconds_of(plainly, device), seconds_of(engine, device)) for _ in range(repeats)]
    ratios = [a / b for a, b in pairs]
    return {
        **asdict(replace(case, name="shifted Gauss (a), f and g, 4 pairs" + ("" if incremental else ", dense"))),
        "form": "each its own",
        "plain_seconds": statistics.median(a for a, _ in pairs),
        "our_seconds": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_largest": max(ratios),
        "difference_after_10_epochs": math.nan,
    }


def grid(repeats: int, device: str) -> list[dict[str, Any]]:
    """Every size, with as many epochs as take the plain loop about a second."""
    rows = []
    print(HEADER)
    for loss in ("identity", "logistic"):
        for n_samples in (10, 100, 1000, 10_000):
            for input_dim in (10, 100, 1000, 10_000):
                for hidden_dim in (1, 10, 100, 1000):
                    epoch = 4.0 * n_samples * input_dim * hidden_dim / 1e11 + 5e-4
                    epochs = max(5, min(300, round(0.5 / epoch)))
                    name = f"N {n_samples}, d {input_dim}, m {hidden_dim}, {loss}, {epochs} epochs"
                    case = Case(name, n_samples, input_dim, hidden_dim, epochs, loss=loss)
                    rows.append(measure(case, repeats, device))
                    show(rows[-1])
    slow = [row for row in rows if row["ratio"] < 1 / 1.1]
    print(f"{len(rows)} sizes, {len(slow)} of them more than 10 % slower than the plain loop:")
    for row in slow:
        show(row)
    return rows


SCALING: dict[str, list[Case]] = {
    "N": [Case("", n, 200, 100, 100, loss="logistic") for n in (1000, 2000, 4000, 8000, 16_000, 32_000)],
    "d": [Case("", 4000, d, 100, 100, loss="logistic") for d in (50, 100, 200, 400, 800, 1600)],
    "m": [Case("", 4000, 200, m, 100, loss="logistic") for m in (25, 50, 100, 200, 400, 800)],
    "networks": [Case("", 4000, 200, 100, 100, loss="logistic", copies=k) for k in (1, 2, 4, 8, 16)],
}
VALUES: dict[str, Callable[[Case], float]] = {
    "N": lambda case: case.n_samples,
    "d": lambda case: case.input_dim,
    "m": lambda case: case.hidden_dim,
    "networks": lambda case: case.copies,
}


def scaling(repeats: int, device: str) -> list[dict[str, Any]]:
    """Time against each size in turn, and the exponent of a fitted power law."""
    rows = []
    for name, along in SCALING.items():
        for loss in ("logistic", "identity"):
            found = []
            for case in along:
                row = measure(replace(case, loss=loss), repeats, device)
                found.append({"along": name, "value": VALUES[name](case), **row})
            for who in ("plain", "our"):
                exponent = _exponent([(row["value"], row[f"{who}_seconds"]) for row in found])
                times = "  ".join(f"{row['value']:,}: {row[f'{who}_seconds']:.3f}" for row in found)
                print(f"{name:9} {loss:9} {who:6} time ~ {name}^{exponent:.2f}   seconds at {times}", flush=True)
                for row in found:
                    row[f"{who}_exponent"] = exponent
            rows += found
    return rows


def _exponent(points: Sequence[tuple[float, float]]) -> float:
    xs, ys = ([math.log(value) for value in column] for column in zip(*points, strict=True))
    x, y = statistics.mean(xs), statistics.mean(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """The scaling as a figure: a panel per size, both losses, plain and ours."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(SCALING), figsize=(3.2 * len(SCALING), 3.2), sharey=True)
    for axis, name in zip(panels, SCALING, strict=True):
        xs: list[float] = []
        for loss, colour in (("logistic", "#0072b2"), ("identity", "#d55e00")):
            found = [row for row in rows if row["along"] == name and row["loss"] == loss]
            xs = [row["value"] for row in found]
            for who, style in (("plain", "--"), ("our", "-")):
                label = f"{'plain loop' if who == 'plain' else 'engine'}, {loss} ({found[0][f'{who}_exponent']:.2f})"
                axis.plot(xs, [row[f"{who}_seconds"] for row in found], style, color=colour, marker=".", label=label)
        axis.set(xscale="log", yscale="log", xlabel=name)
        axis.set_xticks(xs, [f"{x:,}" for x in xs], fontsize=7)
        axis.minorticks_off()
        axis.legend(fontsize=6, loc="lower right")
        axis.grid(alpha=0.3)
    panels[0].set_ylabel("seconds")
    figure.tight_layout()
    figure.savefig(path, dpi=150)


MEMORY_CASES: tuple[tuple[Form, Case], ...] = (
    ("plain", Case("", 20_000, 784, 200, 3, loss="logistic")),
    ("plain", Case("", 20_000, 784, 200, 3)),
    ("row_space", Case("", 20_000, 784, 200, 3, loss="logistic")),
    ("low_rank", Case("", 20_000, 784, 200, 3, rank=100)),
    ("gram", Case("", 6000, 10_000, 200, 3, loss="logistic")),
    ("gram", Case("", 6000, 10_000, 200, 3)),
)


def memory(repeats: int, device: str) -> list[dict[str, Any]]:
    """Peak resident memory beyond inputs and networks, each in its own process on the CPU."""
    rows = []
    for index, (form, case) in enumerate(MEMORY_CASES):
        command = [sys.executable, os.fspath(Path(__file__)), "--memory-of", str(index)]
        measured = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        groups = [Group(case.hidden_dim, case.epochs, case.loss == "identity", case.hidden_dim)]
        planned = form_cost(form, case.n_samples, case.input_dim, groups, rank=case.rank or None).memory
        rows.append({**asdict(case), "form": form, "planned_bytes": planned, "measured_bytes": measured})
        print(
            f"{form:10} N {case.n_samples}, d {case.input_dim}, m {case.hidden_dim}, {case.loss:9}"
            f"{planned / 2**20:8.0f} MiB planned{measured / 2**20:8.0f} MiB measured",
            flush=True,
        )
    return rows


def memory_of(index: int) -> int:
    """Bytes by which peak resident memory grew while one case trained (Linux)."""

    def held(name: str) -> int:
        # Not getrusage, whose peak of a process includes the memory of its parent at the fork.
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
        return int(line.split()[1]) * 1024

    form, case = MEMORY_CASES[index]
    networks, inputs, labels, factors = problem(case, "cpu")
    # Warm-up: libraries allocate memory at their first products.
    small = torch.randn(64, 64)
    torch.linalg.eigh((small @ small.T).double())
    before = held("VmRSS")
    ours(networks, inputs, labels, [Descent(case.loss, 0.01, case.epochs)], factors=factors, form=form)
    return held("VmHWM") - before


def rates(repeats: int, device: str) -> list[dict[str, Any]]:
    """Operations per second of each form's dense epochs, relative to a large product."""
    machine = measure_rates(device=device)
    print(", ".join(f"{name} {rate / 1e9:.0f} GFLOP/s" for name, rate in machine.products.items()))
    rows = []
    shapes: dict[Form, Case] = {
        "plain": Case("", 12_700, 784, 100, 20, loss="logistic"),
        "row_space": Case("", 12_700, 784, 100, 20, loss="logistic"),
        "low_rank": Case("", 10_000, 10_000, 100, 100, loss="logistic", rank=100),
        "gram": Case("", 4000, 4000, 100, 100, loss="logistic"),
    }
    for form in FORMS:
        for bfloat16 in (False, True):
            case = shapes[form]

            def seconds(epochs: int, form: Form = form, bfloat16: bool = bfloat16) -> float:
                case = shapes[form]
                networks, inputs, labels, factors = problem(case, device)
                descents = [Descent(case.loss, 0.01, epochs)]
                keys = {"factors": factors, "form": form, "bfloat16": bfloat16}
                return seconds_of(lambda: ours(networks, inputs, labels, descents, **keys), device)

            # The cost of preparation cancels in the difference of a long and a short training.
            taken = [(seconds(1 + case.epochs) - seconds(1)) / case.epochs for _ in range(repeats)]
            q = case.rank or case.input_dim
            operations = 2.0 * case.n_samples**2 if form == "gram" else 4.0 * case.n_samples * q
            rate = operations * case.hidden_dim / statistics.median(taken)
            name = "bfloat16" if bfloat16 else "float32"
            share = rate / machine.products[name]
            rows.append({"form": form, "products": name, "rate": rate, "share": share, **asdict(case)})
            print(f"{form:10}{name:9}{rate / 1e9:8.0f} GFLOP/s, {share:.0%} of a large product's", flush=True)
    return rows


PARTS: dict[str, Callable[[int, str], list[dict[str, Any]]]] = {
    "cases": cases,
    "rates": rates,
    "memory": memory,
    "scaling": scaling,
    "grid": grid,
}


def main() -> None:
    """Measure the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["cases", "rates", "memory", "scaling"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    parser.add_argument("--plot", type=Path, help="draw the scaling here")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of is not None:
        print(memory_of(arguments.memory_of))
        return
    machine = f"torch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.device}"
    print(f"{machine}, float32, medians of {arguments.repeats}")
    found: dict[str, Any] = {"machine": machine, "repeats": arguments.repeats}
    for part in _chosen(arguments.parts):
        print(f"\n{part}")
        found[part] = PARTS[part](arguments.repeats, arguments.device)
        if arguments.json:
            arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if arguments.plot and "scaling" in found:
        plot(found["scaling"], arguments.plot)


def _chosen(parts: Sequence[str]) -> Iterator[str]:
    return (part for part in PARTS if part in parts)


if __name__ == "__main__":
    main()
