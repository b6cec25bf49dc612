"""A run's page: the question, the answer with its controls, pictures, theory, and how to reproduce it."""

from __future__ import annotations

import base64
import shlex
import struct
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from perturblearn.config import ExperimentConfig, PythonConfig, to_toml
from perturblearn.errors import StoreError
from perturblearn.experiment import Summary
from perturblearn.pages.page import Card, render, shown_toml
from perturblearn.report.attribution import PARTS
from perturblearn.report.charts.palette import LOOK_OF_PARTY
from perturblearn.report.charts.run import accuracies_chart, confusion_chart, losses_chart, percent_text, rates_chart
from perturblearn.report.charts.theory import map_charts, plane_names, theory_charts
from perturblearn.report.features import FEATURES_NOTE
from perturblearn.report.run import HEADS, RunReport
from perturblearn.report.theory import HEADS as THEORY_HEADS
from perturblearn.report.theory import TheoryReport
from perturblearn.report.words import attack_text, title
from perturblearn.results import (
    ATTRIBUTED,
    EXAMPLES,
    FEATURES,
    AttributedInputs,
    Examples,
    Result,
    ShownFeatures,
    TheoryComparison,
)

_MOST_COORDINATES = 2000
"""Of a sample that is no image; the first ones are shown."""
_MOST_SEEDS = 8
"""Seeds whose training is drawn."""
_OF_FEATURES = "features_"
"""Measures that are numbers of a band each, dozens of them, which stand apart."""
_COLOUR_TYPES = {3: 2, 4: 6}
"""What PNG calls pixels of so many numbers, where they are more than a grey."""


def run_page(result: Result, folder: Path) -> str:
    """A run's page.

    Args:
        result: what was measured, with the folder that it is, or will be, in.
        folder: where its files lie now.

    Raises:
        StoreError: a file of the folder is damaged.
    """
    config, place = result.config, result.folder or folder
    examples = Examples.load(folder / EXAMPLES) if (folder / EXAMPLES).is_file() else None
    attributed = AttributedInputs.load(folder / ATTRIBUTED) if (folder / ATTRIBUTED).is_file() else None
    features = [
        shown_features(ShownFeatures.load(path), title)
        for name, title in FEATURES.items()
        if (path := folder / f"{name}.safetensors").is_file()
    ]
    theory = TheoryComparison.load(folder / "theory") if (folder / "theory" / "comparison.json").is_file() else None
    curves = _curves(result, folder)
    report = RunReport(result)
    has_grid = len(config.standard.lr) * len(config.perturbation.lr) > 1
    return render(
        "run.html",
        ["examples.js"],
        name=config.name,
        question=report.question,
        answer=result.conclusion,
        remarks=result.remarks,
        cards=_cards(result),
        title=f"Run: {title(config, result.size).removeprefix(f'{config.name}: ')}",
        heads=HEADS,
        rows=[row for row in report.rows if not row[0].startswith(_OF_FEATURES)],
        feature_rows=[row for row in report.rows if row[0].startswith(_OF_FEATURES)],
        accuracies=accuracies_chart(result),
        examples=None if examples is None else shown_examples(examples, config),
        losses=losses_chart(curves) if curves else None,
        classes=report.class_lines,
        confusion=confusion_chart(result) if len(result.seeds[0].classes.names) > 2 else None,
        groups=report.group_lines,
        attribution=report.attribution_lines,
        attributed=None if attributed is None else shown_attributed(attributed),
        features=features,
        features_note=FEATURES_NOTE,
        rates=rates_chart(result) if has_grid else None,
        theory=None if theory is None else _theory_part(theory),
        no_theory=result.no_theory,
        theory_advice=None if result.command is not None else _theory_advice(config, place),
        command=shlex.join(("perturblearn", "run", str(place / "config.toml")))
        if result.command is None
        else result.command,
        objects=isinstance(config.data, PythonConfig) or "python:" in to_toml(config),
        toml=shown_toml(to_toml(config)),
        made_with=result.versions,
        key=result.key,
        seconds=result.seconds,
    )


def shown_examples(examples: Examples, config: ExperimentConfig, *, what: str | None = None) -> dict[str, Any]:
    """Examples as the page's template and script take them: numbers in one byte each, of vectors the first ones.

    Args:
        examples: what to show.
        config: of the run.
        what: what the perturbations are; None for the run's norm and size.
    """
    low, high = examples.limits
    steps, sources = examples.perturbations.flatten(1).double(), examples.sources.flatten(1).double()
    cut = examples.image_shape is None and steps.shape[1] > _MOST_COORDINATES
    if cut:
        steps, sources = steps[:, :_MOST_COORDINATES], sources[:, :_MOST_COORDINATES]
    is_perturbed = bool(steps.any())
    size = float(steps.abs().max()) or 1.0
    half = (high - low) / 2 or 1.0
    samples = [
        {
            "source": _bytes(255 * (source - low) / (high - low or 1.0), torch.uint8),
            "step": _bytes(127 * step / size, torch.int8),
        }
        for source, step in zip(sources, steps, strict=True)
    ]
    if examples.originals is not None:
        for sample, original in zip(samples, examples.originals.flatten(1).double(), strict=True):
            sample["original"] = _bytes(255 * (original[: sources.shape[1]] - low) / (high - low or 1.0), torch.uint8)
    truths = examples.true_labels or ("noise",) * len(samples)
    labels = [
        {
            "source": truth,
            "target": target,
            "verdict": f"; f {'agrees' if reached else 'disagrees'}" if is_perturbed else "",
        }
        for truth, target, reached in zip(truths, examples.target_labels, examples.success, strict=True)
    ]
    about = attack_text(config.attack) if what is None else what
    seen = (
        "these alone" if examples.is_bare else "the sources plus these" if is_perturbed else "the sources as they are"
    )
    caption = f"First seed, {about}. g is trained on {seen}, under the labels shown."
    if examples.originals is not None:
        caption += (
            " Each source was moved until f's features of it are those of the original, whose true label it gets."
        )
    if examples.image_shape is not None and examples.image_shape[0] not in (1, 3):
        caption += f" Only the first of {examples.image_shape[0]} channels is shown."
    if cut:
        caption += f" Only the first {_MOST_COORDINATES:,} of {examples.inputs[0].numel():,} coordinates are shown."
    return {
        "has_sources": is_perturbed and not examples.is_bare,
        "has_perturbations": is_perturbed,
        "has_originals": examples.originals is not None,
        "caption": caption,
        "labels": labels,
        "data": {
            "shape": examples.image_shape,
            "low": low,
            "high": high,
            "size": size,
            "fill": half / size,
            "samples": samples,
        },
    }


def shown_attributed(attributed: AttributedInputs) -> list[dict[str, Any]]:
    """Held-out inputs as the page's template takes them: a picture, a label, and a bar for each part.

    Args:
        attributed: what to show.
    """
    low, high = attributed.limits
    largest = max((abs(value) for values in attributed.signals.values() for value in values), default=0.0) or 1.0
    shown: list[dict[str, Any]] = []
    for number, label in enumerate(attributed.true_labels):
        right, without = attributed.is_right[number], attributed.is_right_without[number]
        needs = ", and would not without the perturbations" if right and not without else ""
        # In shares of the bar's width, from its middle to the side of the sign.
        bars = [
            {
                "name": {**PARTS, "total": "in all"}[part],
                "value": f"{values[number]:+.2f}",
                "sign": "less" if values[number] < 0 else "more",
                "left": f"{50 + 50 * min(values[number], 0.0) / largest:.1f}",
                "width": f"{50 * abs(values[number]) / largest:.1f}",
            }
            for part, values in attributed.signals.items()
        ]
        picture = None
        if attributed.image_shape is not None:
            image = attributed.inputs[number].double().reshape(attributed.image_shape)
            picture = _png(((image - low) / (high - low or 1.0)).clamp(0, 1))
        verdict = f"g is {'right' if right else 'wrong'}{needs}"
        shown.append({"label": label, "verdict": verdict, "bars": bars, "picture": picture})
    return shown


def shown_features(features: ShownFeatures, title: str) -> dict[str, Any]:
    """Features as the page's template takes them: pictures, names, and a bar for f, the perturbations and g.

    Args:
        features: what to show.
        title: what they are called.
    """
    largest = max((value for values in features.shares.values() for value in values), default=0.0) or 1.0
    items: list[dict[str, Any]] = []
    for number, name in enumerate(features.names):
        bars = [
            {
                "name": party,
                "value": f"{100 * values[number]:.0f} %",
                "colour": LOOK_OF_PARTY[party],
                "width": f"{100 * values[number] / largest:.1f}",
            }
            for party, values in features.shares.items()
        ]
        picture = None
        if features.image_shape is not None:
            picture = _png(_signed(features.patterns[number].reshape(features.image_shape) / features.size))
        items.append({"label": name, "bars": bars, "picture": picture})
    return {"title": title, "items": items}


def _signed(image: Tensor) -> Tensor:
    """Values in [-1, 1] as colours: of three channels around grey, else blue and orange that fade out at 0."""
    if image.shape[0] == 3:
        return (image + 1) / 2
    below, above = (torch.tensor(each)[:, None, None] / 255 for each in ((86, 180, 233), (230, 120, 40)))
    first = image[:1]
    return torch.cat((torch.where(first < 0, below, above), first.abs()))


def _png(image: Tensor) -> str:
    """An image (channels, height, width) of values in [0, 1] in base64.

    It is in colours if it has three channels, or four with how opaque these are; else its first one is grey.
    """
    channels, height, width = image.shape
    pixels = (255 * (image if channels in _COLOUR_TYPES else image[:1])).round().to(torch.uint8).permute(1, 2, 0)
    lines = b"".join(b"\0" + line.contiguous().numpy().tobytes() for line in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES.get(channels, 0), 0, 0, 0)
    chunks = [
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    ]
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(chunks)).decode()


def _bytes(values: Tensor, dtype: torch.dtype) -> str:
    info = torch.iinfo(dtype)
    return base64.b64encode(values.round().clamp(info.min, info.max).to(dtype).numpy().tobytes()).decode()


def _cards(result: Result) -> list[Card]:
    """The headline numbers."""
    summary, part = result.summary, RunReport(result).told_part
    where = "clean held-out inputs" if part.is_heldout else "the clean samples of f"
    shown = [
        ("f", "f, accuracy", part.standard, where),
        ("g", "g, accuracy", part.perturbation, "the same inputs; no true label seen"),
        ("agreement", "f and g agree", "agreement", "on clean held-out inputs"),
        ("control", "unperturbed control", part.controls["unperturbed"], "the labels alone"),
        ("control", "permuted control", part.controls["permuted"], "perturbations under other labels"),
    ]
    cards = [
        Card(kind, name, percent_text(summary[key]["mean"], summary[key]["std"]), f"{about}{_sampling(summary[key])}")
        for kind, name, key, about in shown
        if key in summary
    ]
    return [*cards, Card("control", "chance", f"{100 * result.chance:.3g} %", "guessing")]


def _sampling(values: Summary) -> str:
    """The sampling interval beside the spread over seeds; empty where there is none."""
    if "interval" not in values:
        return ""
    low, high = values["interval"]
    return f"; 95 % interval {100 * low:.1f}–{100 * high:.1f}"


def _curves(result: Result, folder: Path) -> list[tuple[int, str, Tensor]]:
    """Training losses of f and g, for the first seeds; none of networks that were not trained by descent."""
    found: list[tuple[int, str, Tensor]] = []
    for seed in [seed.seed for seed in result.seeds][:_MOST_SEEDS]:
        for role, name in (("f", "standard"), ("g", "perturbation")):
            path = folder / f"seed-{seed}" / f"{name}.safetensors"
            if not path.is_file():
                continue
            try:
                with safe_open(path, "pt") as file:
                    losses = file.get_tensor("losses")
            except (SafetensorError, OSError) as error:
                raise StoreError(f"{path} is damaged ({error!r}); run the experiment again with --force") from None
            if len(losses):
                found.append((seed, role, losses))
    return found


def _theory_part(theory: TheoryComparison) -> dict[str, Any]:
    return {
        "conclusion": theory.conclusion,
        "notes": theory.notes,
        "heads": THEORY_HEADS,
        "rows": TheoryReport(theory).rows,
        "charts": theory_charts(theory),
        "maps": map_charts(theory.drawn, **plane_names(has_bias=theory.has_bias)),
    }


def _theory_advice(config: ExperimentConfig, folder: Path) -> str | None:
    """How theory gets beside the experiment; None where it has nothing to say."""
    is_changed = config.mixing.is_mixed or config.saving.is_saved
    if is_changed or config.standard.model.is_network or config.perturbation.model.is_network:
        return None
    return shlex.join(("perturblearn", "theory", str(folder)))
