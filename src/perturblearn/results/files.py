"""Files of results: one way to read them, one way to write a folder of them."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from perturblearn.errors import StoreError
from perturblearn.results.drawing import Drawing, drawn_or_warned
from perturblearn.store import ArtefactStore

PAGE_NAME = "report.html"
"""What a page is called in the folder that it tells of."""
TRACKING = "tracking"
"""Folder among results in which trackers without a server write."""
Some = TypeVar("Some")
File = tuple[str, str | Callable[[Path], object] | Drawing]
"""A file of a folder: its name, and its text, what writes it to a path, or what is drawn of the others."""


@dataclass(frozen=True)
class Form:
    """The JSON file of a kind of result.

    Args:
        file: its name.
        kind: what the file calls itself.
        schema: version of its form; raised when a key changes its meaning or goes.
        name: what errors call the result.
        again: how to make it again, for errors.
    """

    file: str
    kind: str
    schema: int
    name: str
    again: str

    def read(self, folder: str | os.PathLike[str], build: Callable[[dict[str, Any], Path], Some]) -> Some:
        """The result that lies in a folder.

        Args:
            folder: where it was written to.
            build: makes it of the file's content and the folder.

        Raises:
            StoreError: there is none, it is damaged, or another version wrote it.
        """
        path = Path(folder) / self.file
        try:
            content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
            schema = content["schema"]
            if schema > self.schema:
                raise StoreError(
                    f"{path} was written by a newer version of perturblearn; update it to read this {self.name}"
                )
            if schema < self.schema:
                raise StoreError(f"{path} was written by an older version of perturblearn; {self.again}")
            return build(content, path.parent)
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(
                f"cannot read {path} ({error.strerror}); name the folder of a finished {self.name}"
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # It was readable JSON, so what is in it can be anything.
            raise StoreError(f"{path} is damaged ({error!r}); {self.again} with --force") from None


def write_folder(store: ArtefactStore, folder: Path, files: Iterable[File]) -> None:
    """Write a folder whole or not at all; an older one in its place is replaced.

    Args:
        store: lends the scratch space, on the same disk as the folder.
        folder: where to.
        files: each is made and written before the next one is asked for, so large ones need not fit memory together.

    Raises:
        StoreError: the folder cannot be written.

    Warns:
        UserWarning: a picture or page could not be made; everything else is written.
    """
    with store.scratch() as scratch:
        inside = scratch / folder.name
        inside.mkdir()
        drawings: list[tuple[str, Drawing]] = []
        for name, content in files:
            if isinstance(content, Drawing):
                drawings.append((name, content))
                continue
            path = inside / name
            path.parent.mkdir(exist_ok=True)
            if isinstance(content, str):
                path.write_text(content, encoding="utf-8", newline="\n")
            else:
                content(path)
        for name, drawing in drawings:
            shown = drawn_or_warned(partial(drawing.make, inside), folder / name)
            if shown is not None:
                (inside / name).write_bytes(shown)
        store.move_into_place(inside, folder, replace=True)


def json_text(content: Mapping[str, Any]) -> str:
    """JSON values as the text of a file; numbers that are not finite are refused."""
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any] | Sequence[Any]]) -> str:
    """Rows as CSV, with empty cells where a value is None or missing.

    Args:
        columns: heads, and keys of the rows that are mappings.
        rows: values by column, or in the order of the columns.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([row.get(name) for name in columns] if isinstance(row, Mapping) else row)
    return text.getvalue()


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number that a result can hold")
