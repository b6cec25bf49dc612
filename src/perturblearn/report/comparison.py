"""Results side by side: settings in which they differ, and their numbers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from perturblearn.errors import ConfigError
from perturblearn.report.entries import Entry, Span, read_entry
from perturblearn.report.runs import SHOWN_MEASURES
from perturblearn.report.words import aligned, html_lines, html_table, shown_number

COMPARISON_SCHEMA = 1
"""Version of the JSON form; raised when a key changes its meaning or goes."""


@dataclass(frozen=True)
class Comparison:
    """Results side by side.

    Args:
        entries: at least two, in the order in which they were named.
    """

    entries: Sequence[Entry]

    @classmethod
    def of(cls, folders: Sequence[str | os.PathLike[str]], *, page: str) -> Comparison:
        """Read folders of results.

        Args:
            folders: which.
            page: what an entry's report for the browser is called.

        Raises:
            ConfigError: there are fewer than two.
            StoreError: one of them holds no result, or cannot be read.
        """
        if len(folders) < 2:
            raise ConfigError(f"a comparison takes two folders of results or more, not {len(folders)}; name another")
        return cls([read_entry(folder, page=page) for folder in folders])

    @property
    def settings(self) -> dict[str, list[Any]]:
        """The settings in which they differ, by dotted key, with the value in each; None where one has no such key."""
        names = dict.fromkeys(name for entry in self.entries for name in entry.settings)
        values = {name: [entry.settings.get(name) for entry in self.entries] for name in names}
        return {name: each for name, each in values.items() if len(set(map(str, each))) > 1}

    @property
    def numbers(self) -> dict[str, list[Span | None]]:
        """The measures that any of them has, with its mean in each."""
        names = [name for name in SHOWN_MEASURES if any(name in entry.numbers for entry in self.entries)]
        return {name: [entry.numbers.get(name) for entry in self.entries] for name in names}

    @property
    def lines(self) -> list[tuple[str, ...]]:
        """The table: heads, then a line for each setting and each measure."""
        lines = [
            ("", *(entry.folder for entry in self.entries), "difference"),
            ("kind", *(entry.kind for entry in self.entries), ""),
            ("number of seeds", *(str(entry.seeds) for entry in self.entries), ""),
            *((name, *map(shown_number, values), "") for name, values in self.settings.items()),
            *((name, *map(_span_text, spans), _difference(spans)) for name, spans in self.numbers.items()),
        ]
        return lines if len(self.entries) == 2 else [line[:-1] for line in lines]

    @property
    def conclusions(self) -> list[str]:
        """What each says of itself."""
        return [f"{entry.folder}: {entry.conclusion}" for entry in self.entries]

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        return {
            "schema": COMPARISON_SCHEMA,
            "kind": "comparison",
            "settings": self.settings,
            "numbers": {
                name: [None if span is None else asdict(span) for span in spans] for name, spans in self.numbers.items()
            },
            "entries": [asdict(entry) for entry in self.entries],
        }

    def __str__(self) -> str:
        return "\n".join((*aligned(self.lines), "", *self.conclusions))

    def _repr_html_(self) -> str:
        heads, *lines = self.lines
        return html_table(heads, lines) + html_lines(self.conclusions)


def _span_text(span: Span | None) -> str:
    """A mean with its deviation over the seeds, or the range of the means over combinations of settings."""
    if span is None:
        return "-"
    if span.low != span.high:
        return f"{span.low:.3f} to {span.high:.3f}"
    return f"{span.low:.3f}" if span.std is None else f"{span.low:.3f} ± {span.std:.3f}"


def _difference(spans: Sequence[Span | None]) -> str:
    """The second mean less the first, where both are one number."""
    means = [span.low for span in spans if span is not None and span.low == span.high]
    return f"{means[1] - means[0]:+.3f}" if len(means) == 2 else ""
