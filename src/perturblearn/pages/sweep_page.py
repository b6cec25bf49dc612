"""A sweep's page: what was varied, where g does best and worst, curves and tables that the reader cuts to size."""

from __future__ import annotations

import json
import shlex
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from perturblearn.config import describe
from perturblearn.experiment import MEASURES
from perturblearn.pages.page import Card, render
from perturblearn.report.charts.palette import AGREEMENT, OF_MEASURES, SERIES
from perturblearn.report.runs import SHOWN_MEASURES
from perturblearn.report.words import percent, plural, short_keys, shown_number, size_text
from perturblearn.results import SweepPoint, SweepResult, SweepRun, columns_of

G = "perturbation_accuracy_heldout"
"""The measure that the answer tells of."""
_CONTROLS = {
    "": ("unperturbed_control", "permuted_control"),
    "_heldout": ("unperturbed_control_heldout", "permuted_control_heldout"),
}
"""By where they are measured."""
_ACCURACIES = ("standard_accuracy", "perturbation_accuracy", "linear_probe")
"""Measures beside which controls are drawn, each with its twin on held-out inputs."""
_MOST_SERIES = 12
"""Values of a key up to which the first view has a curve for each."""
_LOG_SPAN = 20
"""Ratio of the largest to the smallest value from which on an axis starts out logarithmic."""
_SHOWN_ERRORS = 20
"""Different errors that are listed on top; the table of runs has each run's own."""


def sweep_page(sweep: SweepResult) -> str:
    """A sweep's page, as text."""
    data = sweep_data(sweep)
    return render(
        "sweep.html",
        ["sweep.js"],
        name=sweep.sweep.name,
        kind=f"Sweep, {_many(len(sweep.table), 'point')}, {_many(len(sweep.runs), 'run')}{size_text(sweep.size)}",
        question=sweep_question(sweep),
        answer=sweep_answer(sweep),
        remarks=sweep_remarks(sweep),
        cards=_cards(sweep),
        errors=_errors(sweep),
        more_errors=max(0, len(data["errors"]) - _SHOWN_ERRORS),
        data=data,
        command=f"perturblearn sweep {shlex.quote(str((sweep.folder or Path()) / 'sweep.toml'))}",
        toml=sweep.sweep.to_toml(),
        made_with=sweep.versions,
        key=sweep.key,
        seconds=sweep.seconds,
    )


def sweep_question(sweep: SweepResult) -> str:
    """What a sweep asks, in one sentence."""
    runs, points = _many(len(sweep.runs), "run"), _many(len(sweep.table), "point")
    if not sweep.varied:
        return f"How much does g's accuracy on clean held-out inputs vary from seed to seed? {runs.capitalize()}."
    per_point = Counter(run.point for run in sweep.runs)
    fewest, most = min(per_point.values()), max(per_point.values())
    each = "one run" if most == 1 else plural(most, "run") if fewest == most else f"{fewest} to {most} runs"
    keys = _listed(sweep.varied)
    return f"How does g's accuracy on clean held-out inputs depend on {keys}? {points}, {each} each: {runs}."


def sweep_answer(sweep: SweepResult) -> str:
    """Where g does best and worst, and what its controls do there: two sentences."""
    known = _known(sweep)
    total, failed = _many(len(sweep.runs), "run"), len(sweep.failed)
    if not known:
        why = f"{failed:,} of {total} failed" if failed else "no run has an accuracy of g on held-out inputs"
        return f"Nothing was measured: {why}."
    without = f" ({failed:,} of {total} failed and are left out)" if failed else ""
    best, worst = max(known, key=_g), min(known, key=_g)
    of_what = "of clean held-out inputs correctly"
    if len(known) == 1:
        place = f" at {_place(sweep, best)}" if sweep.varied else ""
        first = (
            f"g classifies {_spread(best, G)} % {of_what}{place}, the mean of {_many(best.finished, 'run')}{without}"
        )
    elif _g(best) == _g(worst):
        first = f"g classifies {percent(_g(best))} % {of_what} at each of {_many(len(known), 'point')}{without}"
    else:
        first = (
            f"g classifies between {_spread(worst, G)} % ({_places(sweep, known, worst)}) and {_spread(best, G)} % "
            f"({_places(sweep, known, best)}) {of_what}; the largest of {len(known):,} means is partly luck{without}"
        )
    return f"{first}. {_against_controls(known, best)}"


def _against_controls(known: Sequence[SweepPoint], best: SweepPoint) -> str:
    controls = [name for name in _CONTROLS["_heldout"] if any(point.spread(name).mean is not None for point in known)]
    if not controls:
        return "Without controls, nothing shows how much of that comes from the perturbations."
    means = [(point, [mean for name in controls if (mean := point.spread(name).mean) is not None]) for point in known]
    compared = [point for point, of_controls in means if len(of_controls) == len(controls)]
    above = sum(_g(point) > max(of_controls) for point, of_controls in means if point in compared)
    every = "that of its control" if len(controls) == 1 else "those of both controls"
    counted = f"g's mean is above {every} at {above:,} of {_many(len(compared), 'point')}"
    reached = [f"the {_control(name)} reaches {_spread(best, name)} %" for name in controls if best in compared]
    if not reached:
        return f"{counted[0].upper()}{counted[1:]}."
    there = f"{'There' if len(known) == 1 else 'At the best point'} {_listed(reached)}"
    return f"{there}." if len(known) == 1 else f"{there}; {counted}."


def sweep_remarks(sweep: SweepResult) -> list[str]:
    """What makes the numbers weaker than they look."""
    known = _known(sweep)
    found = []
    if known and max(point.finished for point in known) == 1:
        found.append("There is one run per point, so the spread over seeds is unknown.")
    missing = len(sweep.table) - len(known)
    if known and missing:
        found.append(f"No run has finished at {_many(missing, 'point')}.")
    return found


def _known(sweep: SweepResult) -> list[SweepPoint]:
    """The points at which g's accuracy was measured."""
    return [point for point in sweep.table if point.spread(G).mean is not None]


def _g(point: SweepPoint) -> float:
    mean = point.spread(G).mean
    assert mean is not None, "only of known points"
    return mean


def _place(sweep: SweepResult, point: SweepPoint) -> str:
    """A point for a sentence, with keys by their last parts."""
    return describe(dict(zip(short_keys(sweep.varied), (point.values[name] for name in sweep.varied), strict=True)))


def _places(sweep: SweepResult, known: Sequence[SweepPoint], point: SweepPoint) -> str:
    """A point, and how many more have the same mean: shares of small data sets are often equal."""
    equal = sum(_g(other) == _g(point) for other in known) - 1
    return _place(sweep, point) + (f", and {_many(equal, 'point')} more" if equal else "")


def _spread(point: SweepPoint, measure: str) -> str:
    """Mean and deviation in percent, without the sign."""
    found = point.spread(measure)
    assert found.mean is not None, "only where it was measured"
    return percent(found.mean) + ("" if found.std is None else f" ± {percent(found.std)}")


def _control(name: str) -> str:
    return name.removesuffix("_heldout").replace("_", " ")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" + "s" * (count != 1)


def _listed(parts: Sequence[str]) -> str:
    return " and ".join((", ".join(parts[:-1]), parts[-1]) if len(parts) > 1 else parts)


def _cards(sweep: SweepResult) -> list[Card]:
    """The headline numbers."""
    known = _known(sweep)
    finished = len(sweep.runs) - len(sweep.failed)
    cards = []
    if known:
        best, worst = max(known, key=_g), min(known, key=_g)
        middle = f"{percent(statistics.median(map(_g, known)))} %"
        many = _many(len(known), "point")
        if len(known) > 1:
            cards += [
                Card("g", "g, best point", f"{percent(_g(best))} %", f"the largest of {len(known):,} means"),
                Card("g", "g, median", middle, f"of the means at {many}"),
                Card("g", "g, worst point", f"{percent(_g(worst))} %", "the smallest of them"),
            ]
        else:
            cards.append(Card("g", "g, accuracy", f"{percent(_g(best))} %", "clean held-out inputs"))
        for kind, name, title in (
            ("f", "standard_accuracy_heldout", "f, accuracy"),
            *(("control", name, _control(name)) for name in _CONTROLS["_heldout"]),
        ):
            means = [mean for point in known if (mean := point.spread(name).mean) is not None]
            if means:
                about = f"median of {many}" if len(means) > 1 else "clean held-out inputs"
                cards.append(Card(kind, title, f"{percent(statistics.median(means))} %", about))
    return [*cards, Card("control", "runs finished", f"{finished:,}", f"of {_many(len(sweep.runs), 'run')}")]


def _errors(sweep: SweepResult) -> list[tuple[str, str, str]]:
    """The different errors, most frequent first: the sentence, how many runs, and the first of them."""
    counts = Counter(_in_one_line(run.error) for run in sweep.failed)
    first = {_in_one_line(run.error): run for run in reversed(sweep.failed)}
    return [(f"{count:,}", _told(first[text]), text) for text, count in counts.most_common(_SHOWN_ERRORS)]


def _told(run: SweepRun) -> str:
    """What tells a run from the others."""
    return describe({**{name: value for name, value in run.values.items() if name != "seeds"}, "seed": run.seed})


def _in_one_line(text: str | None) -> str:
    return " ".join((text or "").split())


@dataclass(frozen=True)
class _Varied:
    """A key that varies.

    Args:
        name: dotted.
        axis: the number of its axis; keys of one axis vary together. That of the seeds, where no axis has them, is -1.
        kind: of the axis: grid, zip, random, or seeds.
        values: of every point, of seeds of every run.
    """

    name: str
    axis: int
    kind: str
    values: Sequence[Any]

    @cached_property
    def is_numeric(self) -> bool:
        """Whether every value is a number."""
        return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in self.values)

    @cached_property
    def levels(self) -> list[Any]:
        """The different values: numbers by size, all else in the order of the axis."""
        different = list({json.dumps(value): value for value in self.values}.values())
        return sorted(set(different)) if self.is_numeric else different

    def to_dict(self, label: str) -> dict[str, Any]:
        """What the page's script reads: levels, and of every point or run the number of its level."""
        levels = self.levels
        texts = list(map(shown_number, levels))
        if len(set(texts)) < len(texts):
            texts = list(map(str, levels))
        place = {value if self.is_numeric else json.dumps(value): number for number, value in enumerate(levels)}
        return {
            "name": self.name,
            "label": label,
            "axis": self.axis,
            "kind": self.kind,
            "numeric": self.is_numeric,
            "levels": levels if self.is_numeric else [_cell(value) for value in levels],
            "texts": texts,
            "at": [place[value if self.is_numeric else json.dumps(value)] for value in self.values],
        }


def _cell(value: Any) -> Any:
    """A value as a cell of a file holds it."""
    return json.dumps(value) if isinstance(value, (list, dict, bool)) else value


def sweep_data(sweep: SweepResult) -> dict[str, Any]:
    """Everything the page's script draws and lists, column by column, each text once."""
    keys = _varied(sweep)
    numbers = [run.numbers for run in sweep.runs]
    measures = [name for name in columns_of(numbers) if any(each.get(name) is not None for each in numbers)]
    errors = list(dict.fromkeys(_in_one_line(run.error) for run in sweep.failed))
    place = {text: number for number, text in enumerate(errors)}
    return {
        "name": sweep.sweep.name,
        "keys": [key.to_dict(label) for key, label in zip(keys, _labels(keys), strict=True)],
        "n_points": len(sweep.table),
        "point": [run.point - 1 for run in sweep.runs],
        "run_key": [run.key for run in sweep.runs],
        "error": [None if run.error is None else place[_in_one_line(run.error)] for run in sweep.runs],
        "errors": errors,
        "measures": [
            {
                "name": name,
                "label": SHOWN_MEASURES.get(name, name),
                "about": MEASURES[name].measured_on if name in MEASURES else "",
                "share": name in MEASURES and MEASURES[name].is_heldout_share,
                "colour": f"@{OF_MEASURES.get(name.removesuffix('_heldout'), AGREEMENT).colour}",
                "controls": [control for control in _controls_beside(name) if control in measures],
                "values": [each.get(name) for each in numbers],
            }
            for name in measures
        ],
        "colours": [f"@{name}" for name in SERIES],
        "n_heldout": [None if point.size is None else point.size.n_heldout for point in sweep.table],
        "with_interval": G,
        "shown": [name for name in SHOWN_MEASURES if name in measures],
        "start": _start(keys, measures),
    }


def _varied(sweep: SweepResult) -> list[_Varied]:
    found = [
        _Varied(name, number, axis.kind, [point.values[name] for point in sweep.table])
        for number, axis in enumerate(sweep.sweep.axes)
        for name in axis.settings
        if name != "seeds"
    ]
    of_seeds = next(
        ((number, axis.kind) for number, axis in enumerate(sweep.sweep.axes) if "seeds" in axis.settings), (-1, "seeds")
    )
    return [*found, _Varied("seed", *of_seeds, [run.seed for run in sweep.runs])]


def _labels(keys: Sequence[_Varied]) -> list[str]:
    return short_keys([key.name for key in keys])


def _controls_beside(measure: str) -> tuple[str, ...]:
    part = "_heldout" if measure.endswith("_heldout") else ""
    return _CONTROLS[part] if measure.removesuffix("_heldout") in _ACCURACIES else ()


def _start(keys: Sequence[_Varied], measures: Sequence[str]) -> dict[str, Any]:
    """What is drawn at first: over the first numbers that vary, a curve for each value of another axis' key."""
    several = [key for key in keys if len(key.levels) > 1] or list(keys)
    over = _first(several, lambda key: key.is_numeric and key.kind in ("grid", "zip"))
    over = over or _first(several, lambda key: key.is_numeric and key.kind == "random") or several[0]
    by = _first(
        several,
        lambda key: key.axis != over.axis and key.kind in ("grid", "zip") and 1 < len(key.levels) <= _MOST_SERIES,
    )
    low, high = (over.levels[0], over.levels[-1]) if over.is_numeric else (0, 0)
    return {
        "x": over.name,
        "y": G if G in measures else next(iter(measures), None),
        "colour": None if by is None else by.name,
        "log": low > 0 and high / low >= _LOG_SPAN,
    }


def _first(keys: Iterable[_Varied], fits: Callable[[_Varied], bool]) -> _Varied | None:
    return next((key for key in keys if fits(key)), None)
