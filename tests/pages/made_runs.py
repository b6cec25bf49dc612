"""Runs, figures, audits and matrices whose names try to be more than text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tests.report.cells import cell

from perturblearn import Audit, Dataset, Reproduction, Result, TransferMatrix, learn_from_perturbations
from perturblearn.experiment import FoolingSummary, summarise
from perturblearn.papers import Analysis, Chart, Line, Table
from perturblearn.results import ControlsOfWay, Examples, FailedRun, PointRow, ShownPanel

HOSTILE = (
    '<script>document.title = "owned"</script>',
    "<img src=x onerror=\"document.title='owned'\">",
    "@g</script>'\"&amp;\u202eright to left",
)
"""As names of classes, of networks, in messages."""


def hostile_data(classes: int = 3, *, side: int = 6, channels: int = 1) -> Dataset:
    """Small images of classes with such names."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.rand(classes, channels, side, side, generator=generator)

    def part(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.arange(count) % classes
        noise = 0.1 * torch.randn(count, channels, side, side, generator=generator)
        return (centres[labels] + noise).clamp(0, 1), labels

    inputs, labels = part(90)
    heldout, heldout_labels = part(45)
    return Dataset(
        inputs,
        labels,
        heldout,
        heldout_labels,
        value_range=(0.0, 1.0),
        class_names=HOSTILE[:classes],
        image_shape=(channels, side, side),
    )


def hostile_run(out: Path, **data: int) -> Result:
    """A finished run of three such classes, with two learning rates of g."""
    keys = {
        "seeds": 2,
        "attack.source": "natural",
        "standard.model.name": "mlp",
        "perturbation.model.name": "mlp",
        "standard.model.hidden_dim": 8,
        "perturbation.model.hidden_dim": 8,
        "standard.epochs": 3,
        "perturbation.epochs": 3,
        "perturbation.lr": [0.01, 0.1],
        "controls.draws": 1,
    }
    return learn_from_perturbations(data=hostile_data(**data), overrides=keys, out=out)


def made_reproduction(**more: Any) -> Reproduction:
    """Two panels of one figure with published values, a second way of computing, and a failed run."""
    rows = []
    for number, x in enumerate((1, 10, 100, 1000)):
        for name, way in (("perturbation_accuracy", ""), ("standard_accuracy", ""), ("perturbation_accuracy", "limit")):
            mean = 0.5 + 0.1 * number + (0.05 if way else 0.0)
            known = None if x == 1000 else 0.5 + 0.08 * number
            difference = None if known is None else mean - known
            verdict = "not given" if difference is None else "inside our spread" if difference <= 0.05 else "outside"
            shown = f"{name} ({way})" if way else name
            for panel in (1, 2):
                std = 0.01 * (number + 1)
                rows.append(PointRow("paper/figure", panel, x, shown, mean, std, 3, known, difference, verdict))
    panels = [ShownPanel(1, "n_adv", "n_adv", True), ShownPanel(2, HOSTILE[0], "n_samples", False)]
    given: dict[str, Any] = {"scale": "full", "smaller": "", "seeds": [0, 1, 2], "key": "k" * 64, **more}
    failed = [FailedRun(1, 10, "limit", 2, HOSTILE[1])]
    controls = [ControlsOfWay("", {"permuted_control": {"mean": 0.5, "std": 0.1, "median": 0.5, "values": [0.4, 0.6]}})]
    return Reproduction(
        "paper/figure",
        f"What it shows: {HOSTILE[0]}",
        panels=panels,
        rows=rows,
        failed=failed,
        controls=controls,
        **given,
    )


def made_study() -> Reproduction:
    """A study with sentences, a table and a chart."""
    lines = [Line(HOSTILE[0], [1, 2, 4], [0.5, 0.7, 0.9], [0.1, 0.1, 0.0]), Line("law", [1, 4], [0.4, 1.0], None, True)]
    table = Table("slopes", "Fitted.", ["name", "slope"], [[HOSTILE[2], 0.25], ["d", None]])
    chart = Chart("accuracy", "d", "share", lines, log_x=True)
    analysis = Analysis(["It grows.", HOSTILE[1]], [table], [chart])
    return Reproduction("studies/made", "Why?", "full", "", "k" * 64, [0, 1], [], [], analysis=analysis)


def made_examples(name: str = "", *, shape: tuple[int, int, int] | None = (1, 4, 4), bare: bool = False) -> Examples:
    """Four samples of 16 or more coordinates."""
    generator = torch.Generator().manual_seed(1)
    size = 16 if shape is None else shape[0] * shape[1] * shape[2]
    sources = torch.zeros(4, size) if bare else torch.rand(4, size, generator=generator)
    steps = 0.1 * torch.randn(4, size, generator=generator)
    limits = (-0.5, 0.5) if bare else (-0.2, 1.2)
    truths = None if bare else (HOSTILE[0], "b", HOSTILE[2], "b")
    return Examples(
        sources, sources + steps, truths, (HOSTILE[1], "b", "b", HOSTILE[0]), (True, False, True, True), shape, limits,
        bare, 3, name,
    )  # fmt: skip


def made_audit() -> Audit:
    """Three sizes in one norm and one in another, two learners, one of them with such a name."""
    cells = [
        cell(
            [0.2 + 0.3 * epsilon, 0.3 + 0.3 * epsilon],
            linear=[0.2, 0.3],
            names=("mlp", learner),
            epsilon=epsilon,
            norm=norm,
        )
        for learner in ("mlp", "convnet")
        for norm, epsilon in (("l2", 0.5), ("l2", 1.0), ("l2", 2.0), ("linf", 0.1))
    ]
    return Audit(cells, "k" * 64, "audit")


def made_matrix() -> TransferMatrix:
    """Two architectures, with one pair that was not fooled because it was not asked."""
    cells = {
        (f, g): cell([0.4 + 0.2 * (f == g), 0.45 + 0.2 * (f == g)], names=(f, g))
        for f in ("mlp", "convnet")
        for g in ("mlp", "convnet")
    }
    fooling = {pair: FoolingSummary(summarise([0.2, 0.4])) for pair in cells}
    fooling.pop(("mlp", "mlp"))
    return TransferMatrix(cells, fooling, "k" * 64, "transfer")
