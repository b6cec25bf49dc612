"""A folder's page: all its results in one table, with their reports, and the ticked ones side by side."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence

from perturblearn.config import JSON, Keys
from perturblearn.pages.page import render
from perturblearn.report.entries import KINDS, Entries, Entry, Span, readable
from perturblearn.report.runs import SHOWN_MEASURES

INDEX_NAME = "index.html"
"""What the page is called in the folder that it tells of."""
_WITHOUT_REPORT = "perturbed set"


def index_page(entries: Entries) -> str:
    """The page of a folder of results."""
    counts = Counter(entry.kind for entry in entries.found)
    return render(
        "index.html",
        ["index.js"],
        has_charts=False,
        folder=readable(entries.folder.resolve().name or str(entries.folder)),
        kinds=[(kind, counts[kind]) for kind in KINDS if counts[kind]],
        total=len(entries.found),
        unread=[(one.folder, one.reason) for one in entries.unread],
        command=readable(shlex.join(["perturblearn", "index", str(entries.folder)])),
        data=_data(entries),
    )


def _data(entries: Entries) -> dict[str, JSON]:
    """The entries as the page's script takes them: settings that most have are told once."""
    common = _common([entry.settings for entry in entries.found])
    taken = [name for name in SHOWN_MEASURES if any(name in entry.numbers for entry in entries.found)]
    return {
        "measures": [{"name": name, "label": SHOWN_MEASURES[name]} for name in taken],
        "has_inside": any(entry.inside is not None for entry in entries.found),
        "common": common,
        "entries": [_row(entry, entries, common) for entry in entries.found],
    }


def _row(entry: Entry, entries: Entries, common: Keys) -> dict[str, JSON]:
    command = None
    if entry.page is None and entry.kind != _WITHOUT_REPORT:
        command = shlex.join(["perturblearn", "report", str(entries.folder / entry.folder)])
    return {
        "folder": entry.folder,
        "kind": entry.kind,
        "name": entry.name,
        "about": entry.about,
        "conclusion": entry.conclusion,
        "numbers": {name: _span(span) for name, span in entry.numbers.items()},
        "inside": entry.inside,
        "combinations": entry.combinations,
        "seeds": entry.seeds,
        "failed": entry.failed,
        "written": entry.written,
        "page": entry.page,
        "command": command,
        # What differs from the common settings; null takes one away.
        "settings": {
            name: entry.settings.get(name)
            for name in (*common, *(name for name in entry.settings if name not in common))
            if entry.settings.get(name) != common.get(name)
        },
    }


def _span(span: Span) -> list[float | None]:
    return [round(span.low, 6), round(span.high, 6), None if span.std is None else round(span.std, 6)]


def _common(settings: Sequence[Keys]) -> dict[str, JSON]:
    """By key the value that most have, for keys that more than half have."""
    names = dict.fromkeys(name for one in settings for name in one)
    counts = {name: Counter(one[name] for one in settings if name in one) for name in names}
    return {name: values.most_common(1)[0][0] for name, values in counts.items() if 2 * values.total() > len(settings)}
