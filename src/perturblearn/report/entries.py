"""What lies in a folder of results: an entry for each run, sweep, figure, study, audit, matrix and perturbed set."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from perturblearn.config import JSON, ExperimentConfig, Keys, fields, resolve_config, value_of
from perturblearn.errors import PerturbLearnError, StoreError
from perturblearn.perturbed import StoredSet
from perturblearn.report.reproduction import compared_with_published
from perturblearn.report.runs import SHOWN_MEASURES
from perturblearn.report.words import (
    attack_text,
    data_text,
    percent,
    percent_range,
    plural,
    shown_number,
    size_text,
    source_text,
    title,
)
from perturblearn.results import (
    FILES,
    TRACKING,
    Audit,
    Finished,
    Reproduction,
    Result,
    SweepResult,
    TransferMatrix,
    load,
    report_on,
)

ENTRIES_SCHEMA = 1
"""Version of the JSON form; raised when a key changes its meaning or goes."""
KINDS = ("run", "sweep", "figure", "study", "audit", "transfer matrix", "perturbed set")
_SET = "manifest.json"
"""The file that a perturbed set has."""
_FILES = (*FILES, _SET)
_NO_SETTINGS = ("name", "checkpoint_minutes", "device")
"""Keys of a configuration that say nothing of the experiment."""
_NO_CHARACTER = re.compile("[\ud800-\udfff]")
"""What Python has for bytes in a file's name that are no text."""
_LISTED = 6
"""Values of a key up to which all are named."""


@dataclass(frozen=True)
class Span:
    """A measure on clean held-out inputs, over the combinations of settings that an entry has.

    Args:
        low, high: smallest and largest mean over the seeds; equal for one combination.
        std: deviation over the seeds; None for one seed, and for several combinations.
    """

    low: float
    high: float
    std: float | None = None


@dataclass(frozen=True)
class Entry:
    """One folder of results.

    Args:
        kind: one of `KINDS`.
        name: as the user calls it.
        about: what was done, in one line.
        conclusion: what came of it.
        numbers: by measure, those of `SHOWN_MEASURES` that were taken.
        inside: of a figure, the share of the readable published points that are inside our spread.
        combinations: of settings: 1 for a run, the points of a sweep or a figure, the cells of an audit or a matrix.
        seeds: how many each has.
        failed: runs that failed.
        settings: by dotted key of the configuration, its value; where there are several, in words.
        folder: its name in the folder that holds all.
        written: when, in UTC, to the second.
        page: address of its report for the browser, from the folder that holds all; None where it has none.
    """

    kind: str
    name: str
    about: str
    conclusion: str
    numbers: Mapping[str, Span] = field(default_factory=dict)
    inside: float | None = None
    combinations: int = 1
    seeds: int = 1
    failed: int = 0
    settings: Keys = field(default_factory=dict)
    folder: str = ""
    written: str = ""
    page: str | None = None


@dataclass(frozen=True)
class Unread:
    """A folder that is no entry.

    Args:
        folder: its name.
        reason: why not, in a sentence.
    """

    folder: str
    reason: str


@dataclass(frozen=True)
class Entries:
    """A folder of results.

    Args:
        folder: which.
        found: what lies there, the latest first.
        unread: folders in it that are not ours, or cannot be read.
        page: the page over them; None if none was written.
    """

    folder: Path
    found: Sequence[Entry]
    unread: Sequence[Unread]
    page: Path | None = None

    @classmethod
    def of(cls, folder: str | os.PathLike[str], *, page: str) -> Entries:
        """Read a folder of results.

        Args:
            folder: which.
            page: what an entry's report for the browser is called.

        Raises:
            StoreError: there is no such folder, it cannot be read, or it is itself an entry.
        """
        place = Path(folder)
        found: list[Entry] = []
        unread: list[Unread] = []
        for path in _folders(place):
            try:
                found.append(_entry(path, page))
            except PerturbLearnError as error:
                unread.append(Unread(readable(path.name), " ".join(readable(str(error)).split())))
        found.sort(key=lambda entry: (entry.written, entry.folder), reverse=True)
        return cls(place, found, unread)

    def to_dict(self) -> dict[str, JSON]:
        """The folder as JSON values."""
        return {
            "schema": ENTRIES_SCHEMA,
            "kind": "index",
            "folder": str(self.folder),
            "page": None if self.page is None else str(self.page),
            "entries": [asdict(entry) for entry in self.found],
            "unread": [asdict(one) for one in self.unread],
        }

    def __str__(self) -> str:
        counts = {kind: sum(entry.kind == kind for entry in self.found) for kind in KINDS}
        listed = ", ".join(_counted(count, kind) for kind, count in counts.items() if count) or "nothing to show"
        lines = [f"{self.folder}: {listed}."]
        if self.unread:
            lines.append(f"{plural(len(self.unread), 'folder')} left out; the page says why.")
        if self.page is not None:
            lines.append(f"Index: {self.page}")
        return "\n".join(lines)


def read_entry(folder: str | os.PathLike[str], *, page: str) -> Entry:
    """The entry that one folder is.

    Args:
        folder: which.
        page: as for `Entries.of`.

    Raises:
        StoreError: it holds no result, or cannot be read.
    """
    try:
        return _entry(Path(folder), page)
    except PerturbLearnError as error:
        raise StoreError(f"{readable(str(folder))}: {error}") from None


def _counted(count: int, kind: str) -> str:
    several = {"study": "studies", "transfer matrix": "transfer matrices"}
    return f"{count:,} {several.get(kind, kind + 's') if count != 1 else kind}"


def _folders(place: Path) -> list[Path]:
    try:
        inside = sorted(place.iterdir())
    except FileNotFoundError:
        raise StoreError(f"there is no folder {place}; name the one that results were written to") from None
    except OSError as error:
        raise StoreError(f"cannot read {place} ({error.strerror}); name a folder of results") from None
    file = next((path.name for path in inside if path.name in _FILES and path.is_file()), None)
    if file is not None:
        raise StoreError(f"{place} is itself a result ({file} is in it); name the folder that it lies in")
    # Not Path.is_dir, which raises where another user's folder may not be looked into.
    return [path for path in inside if os.path.isdir(path) and not path.name.startswith(".") and path.name != TRACKING]


def _entry(folder: Path, page: str) -> Entry:
    """The entry that a folder is.

    Raises:
        PerturbLearnError: it is none, or cannot be read.
    """
    try:
        file = next((name for name in _FILES if (folder / name).is_file()), None)
        if file is None:
            raise StoreError("holds no result; if results lie deeper inside it, give that folder an index of its own")
        written = datetime.fromtimestamp((folder / file).stat().st_mtime, UTC)
        link = f"{quote(os.fsencode(folder.name))}/{page}" if (folder / page).is_file() else None
        about = _set(folder) if file == _SET else _about(load(folder))
    except PerturbLearnError:
        raise
    except OSError as error:
        raise StoreError(f"cannot be read ({error.strerror})") from None
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        # It was readable JSON, so what is in it can be anything.
        raise StoreError(f"is damaged ({error!r})") from None
    if not isinstance(about.name, str):  # it comes from a file
        raise StoreError("is damaged (its name is no text)")
    return replace(about, folder=readable(folder.name), written=f"{written:%Y-%m-%d %H:%M:%S}", page=link)


def readable(name: str) -> str:
    """A file's name, or what contains one, as text that can be written whatever its bytes are."""
    return _NO_CHARACTER.sub("\ufffd", name)


def _about(result: Finished) -> Entry:
    """What an entry says of a result."""
    if isinstance(result, Result):
        return _run(result)
    if isinstance(result, Reproduction):
        return _figure(result)
    if isinstance(result, SweepResult):
        return _sweep(result)
    if isinstance(result, Audit):
        return _audit(result)
    assert isinstance(result, TransferMatrix), "there is no other kind of folder"
    return _transfer(result)


def _run(result: Result) -> Entry:
    return Entry(
        kind="run",
        name=result.config.name,
        about=title(result.config, result.size).removeprefix(f"{result.config.name}: "),
        conclusion=result.conclusion,
        numbers=_numbers([result]),
        seeds=len(result.seeds),
        settings=_settings([result.config]),
    )


def _figure(figure: Reproduction) -> Entry:
    report = report_on(figure)
    told = compared_with_published(figure)
    if not told or figure.analysis is not None:
        told = next(iter(report.lines), figure.caption)
    changed = {name: shown_number(value) for name, value in figure.changed.items()}
    return Entry(
        kind="figure" if figure.analysis is None else "study",
        name=figure.name,
        about=report.title.removeprefix(f"{figure.name}, "),
        conclusion=told,
        inside=figure.share_inside,
        combinations=len({(row.panel, str(row.x)) for row in figure.rows}),
        seeds=len(figure.seeds),
        failed=len(figure.failed),
        settings={"scale": figure.scale, "seeds": _in_words([*figure.seeds]), **changed},
    )


def _audit(audit: Audit) -> Entry:
    learned = sum(cell.has_learned is True for cell in audit.cells)
    beaten = f"g beats its controls and chance in {learned} of {plural(len(audit.cells), 'combination')}"
    about = f"{audit.model}: {_data_and_attack(audit.cells)}; {beaten}"
    return _grid("audit", audit.name, about, audit.verdict, audit.cells)


def _transfer(matrix: TransferMatrix) -> Entry:
    cells, networks = list(matrix.cells.values()), ", ".join(dict.fromkeys((*matrix.rows, *matrix.columns)))
    return _grid("transfer matrix", matrix.name, f"{networks}: {_data_and_attack(cells)}", matrix.reading, cells)


def _grid(kind: str, name: str, about: str, conclusion: str, cells: Sequence[Result]) -> Entry:
    """An audit or a transfer matrix."""
    return Entry(
        kind,
        name,
        about,
        conclusion,
        numbers=_numbers(cells),
        combinations=len(cells),
        seeds=len(cells[0].seeds),
        settings=_settings([cell.config for cell in cells]),
    )


def _data_and_attack(cells: Sequence[Result]) -> str:
    first = cells[0].config
    return f"{data_text(first)}, {first.attack.name}{size_text(cells[0].size)}"


def _sweep(found: SweepResult) -> Entry:
    spans = {
        name: _span([(point.spread(name).mean, point.spread(name).std) for point in found.table])
        for name in SHOWN_MEASURES
    }
    over = f" over {', '.join(found.varied)}" if found.varied else ""
    g = spans["perturbation_accuracy_heldout"]
    return Entry(
        kind="sweep",
        name=found.sweep.name,
        about=f"{plural(len(found.runs), 'run')} at {plural(len(found.table), 'point')}{over}",
        conclusion="No run has finished."
        if g is None
        else f"g classifies {percent_range([g.low, g.high])} % of clean held-out inputs correctly.",
        numbers={name: span for name, span in spans.items() if span is not None},
        combinations=len(found.table),
        seeds=len({run.seed for run in found.runs}),
        failed=len(found.failed),
        settings={
            **_settings([resolve_config(found.sweep.base)]),
            **{name: _in_words([point.values[name] for point in found.table]) for name in found.varied},
        },
    )


def _set(folder: Path) -> Entry:
    stored = StoredSet(folder)
    success = stored.statistics["success_rate"]
    attack = stored.config.attack
    reached = "" if success is None else f" f gives {percent(success)} % of those with a wrong target that target."
    if attack.rebuilds and success is not None:
        reached = f" f gives {percent(success)} % of those that started from another class their original's label."
    accuracy = stored.standard_accuracy
    return Entry(
        kind="perturbed set",
        name=stored.name,
        about=f"{data_text(stored.config)}, {attack.name}, {attack_text(attack)}, {source_text(attack)}, "
        f"seed {stored.seed}",
        conclusion=f"{stored.n_samples:,} {'rebuilt' if attack.rebuilds else 'perturbed'} samples.{reached}",
        numbers={} if accuracy is None else {"standard_accuracy_heldout": Span(accuracy, accuracy)},
        settings=_settings([stored.config]),
    )


def _numbers(cells: Sequence[Result]) -> dict[str, Span]:
    spans: dict[str, Span] = {}
    for name in SHOWN_MEASURES:
        known = [cell.summary.get(name) for cell in cells]
        span = _span([(None, None) if values is None else (values["mean"], values["std"]) for values in known])
        if span is not None:
            spans[name] = span
    return spans


def _span(points: Sequence[tuple[float | None, float | None]]) -> Span | None:
    """Of mean and deviation at each combination of settings; None where no mean is known."""
    known = [mean for mean, _ in points if mean is not None and math.isfinite(mean)]
    return Span(min(known), max(known), points[0][1] if len(points) == 1 else None) if known else None


def _settings(configs: Sequence[ExperimentConfig]) -> dict[str, JSON]:
    """By dotted key its value, where all have the same; else the values in words."""
    return {name: _in_words(values) for name, values in _values(configs) if any(value is not None for value in values)}


def _values(configs: Sequence[ExperimentConfig]) -> Iterator[tuple[str, list[Any]]]:
    for name, _ in fields():
        if name not in _NO_SETTINGS:
            yield name, [value_of(config, name) for config in configs]


def _in_words(values: Sequence[Any]) -> str:
    """Values of a key, each once: all if they are few, else the ends and how many there are."""
    texts = list(dict.fromkeys(_in_a_word(value) for value in values))
    if len(texts) <= _LISTED:
        return ", ".join(texts)
    numbers = [value for value in values if isinstance(value, (int, float))]
    if len(numbers) == len(values):
        return f"{shown_number(min(numbers))} to {shown_number(max(numbers))}, {len(texts)} values"
    return f"{', '.join(texts[:_LISTED])} and {len(texts) - _LISTED} more"


def _in_a_word(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_in_a_word, value)) or "none"
    return shown_number(value)
