"""Where g's knowledge comes from, in words and lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perturblearn.experiment import AttributionMeasures, Summaries
from perturblearn.report.words import percent, percent_with_spread
from perturblearn.results import Result

MOST_ERROR = 0.02
"""Share of what g has learned above which parts that miss it are not to be relied on."""
MOST_CANCELLATION = 10.0
"""Times the total, up to which the parts' sizes say something about it."""
PARTS = {
    "perturbation": "perturbations",
    "source": "sources under their target labels",
    "start": "start",
    "decay": "weight decay",
    "statistics": "running statistics",
}
"""What the parts are called."""


def attribution_remarks(result: Result) -> Iterator[str]:
    """What taught g the classes, with what has to be known about it; nothing if it was not asked for."""
    summary = result.summary
    if "attribution_total" not in summary:
        return
    told = ", ".join(
        f"{name} {_signed(summary, part)}" for part, name in PARTS.items() if f"attribution_{part}" in summary
    )
    alone = (
        f" Trained on the sources alone it would be {_signed(summary, 'unperturbed')}."
        if "attribution_unperturbed" in summary
        else ""
    )
    yield (
        "g's class signal on held-out inputs (output for the true class minus the others') is "
        f"{_signed(summary, 'total')}, the sum of {told}.{alone}"
    )
    cancellation = summary.get("attribution_cancellation")
    if cancellation is None or not cancellation["median"] <= MOST_CANCELLATION:
        times = "without limit" if cancellation is None else f"{cancellation['median']:.0f} times over"
        yield (
            f"These parts cancel {times}, so the split does not decide what g's knowledge is due to; the controls do."
        )
    else:
        share = percent_with_spread(summary["attribution_needs_perturbation"])
        yield f"g gets {share} of held-out inputs right only because of the perturbations' part."
    error = max(value for value in summary["attribution_error"]["values"] if value is not None)
    if error > MOST_ERROR:
        yield (
            f"The parts miss up to {percent(error)} % of what g has learned; set measures.attribution_merged = 1, or "
            "lower the learning rate."
        )


def attribution_cell(result: Result) -> str:
    """What perturbations and sources taught g, and the total, for a table."""
    return " / ".join(_signed(result.summary, part) for part in ("perturbation", "source", "total"))


def attribution_lines(measured: Sequence[AttributionMeasures]) -> list[tuple[str, ...]]:
    """Heads, and a line per class with the class signal of each part, in means over the seeds.

    Args:
        measured: per seed.
    """
    names, parts = measured[0].names, list(measured[0].signals)
    lines: list[tuple[str, ...]] = [("class signal", *parts)]
    for row, name in enumerate(names):
        cells: list[str] = []
        for part in parts:
            values = [value for of_seed in measured if (value := of_seed.signals[part][row]) is not None]
            cells.append(f"{sum(values) / len(values):+.3f}" if values else "-")
        lines.append((name, *cells))
    return lines


def _signed(summary: Summaries, part: str) -> str:
    values = summary[f"attribution_{part}"]
    spread = "" if values["std"] is None else f" ± {values['std']:.2f}"
    return f"{values['mean']:+.2f}{spread}"
