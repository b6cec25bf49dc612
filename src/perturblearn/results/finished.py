"""What all results of finished work have in common."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Self

from perturblearn.errors import StoreError
from perturblearn.results.drawing import DrawFigure, Drawing, FigureOptions, Style, drawn_or_warned, figure_files
from perturblearn.results.files import File, Form, write_folder
from perturblearn.results.shown import Shown
from perturblearn.store import ArtefactStore, replacing, versions


@dataclass(frozen=True, kw_only=True, repr=False)
class Finished(Shown, ABC):
    """The result of finished work: numbers, their way to a folder and back, and what is said of them.

    Args:
        folder: where it was written to; None if nowhere.
        seconds: time spent on it; 0 if everything was finished before.
        versions: of the packages that made it.
    """

    form: ClassVar[Form]

    folder: Path | None = None
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=versions)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """The result that lies in a folder.

        Raises:
            StoreError: there is none, it is damaged, or another version wrote it.
        """

        def build(content: dict[str, Any], place: Path) -> Self:
            return replace(cls._from_dict(content, place), folder=place, versions=content["versions"])

        return cls.form.read(folder, build)

    @classmethod
    @abstractmethod
    def _from_dict(cls, content: dict[str, Any], folder: Path) -> Self:
        """The result whose `to_dict` this is; a ValueError, KeyError or TypeError says that it is damaged."""

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values: the content of its file and of ``--json``."""
        folder = None if self.folder is None else str(self.folder)
        form = {"schema": self.form.schema, "kind": self.form.kind}
        return {**form, **self._content(), "folder": folder, "versions": dict(self.versions)}

    @abstractmethod
    def _content(self) -> dict[str, Any]:
        """What its JSON values hold besides form, folder and versions."""

    @abstractmethod
    def to_csv(self) -> str:
        """Its table in CSV, with numbers in full."""

    @abstractmethod
    def files(self) -> Iterator[File]:
        """The files of its folder besides ``table.csv`` and ``table.tex``, one after the other."""

    def figures(self) -> Iterator[tuple[str, DrawFigure]]:
        """The figures of its folder, by their name."""
        yield from ()

    def write(
        self,
        store: ArtefactStore,
        folder: Path,
        more: Iterable[File] = (),
        figures: FigureOptions = FigureOptions(),
    ) -> Self:
        """Write its folder whole or not at all; an older one in its place is replaced.

        Args:
            store: lends the scratch space, on the same disk as the folder.
            folder: where to.
            more: files besides its own.
            figures: formats and style of its figures.

        Returns:
            The result, which now knows its folder.

        Raises:
            StoreError: the folder cannot be written.
        """
        finished = self.in_folder(folder)
        write_folder(store, folder, chain(finished.files(), self._tables(), more, self._figure_files(figures)))
        return finished

    def save_figures(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        formats: Sequence[str] = ("png",),
        style: Style | None = None,
    ) -> list[Path]:
        """Draw its figures into a folder, of the files in its own.

        Args:
            folder: where to; None for its own.
            formats: some of png, pdf and svg.
            style: settings of matplotlib by their name, a style file or the name of a style; colours of f, g and
                controls stay.

        Returns:
            The files, older ones replaced; none for results that have no figures.

        Raises:
            ConfigError: there is no such format or style.
            StoreError: the result lies in no folder, or a file cannot be written.
        """
        if self.folder is None:
            raise StoreError("this result lies in no folder; make it with out=..., or save what plot() returns")
        place = self.folder if folder is None else Path(folder)
        written: list[Path] = []
        for name, drawing in self._figure_files(FigureOptions(tuple(formats), style)):
            with replacing(place / name) as scratch:
                scratch.write_bytes(drawing.make(self.folder))
            written.append(place / name)
        return written

    def complete_figures(self, figures: FigureOptions) -> None:
        """Draw the figures that its folder lacks; all of them in a style that is asked for.

        Warns:
            UserWarning: a figure could not be drawn.
        """
        assert self.folder is not None
        for name, drawing in self._figure_files(figures):
            path = self.folder / name
            if figures.style is None and path.is_file():
                continue
            content = drawn_or_warned(partial(drawing.make, self.folder), path)
            if content is not None:
                with replacing(path) as scratch:
                    scratch.write_bytes(content)

    def _tables(self) -> Iterator[File]:
        yield "table.csv", self.to_csv()
        yield "table.tex", self.to_latex()

    def _figure_files(self, options: FigureOptions) -> Iterator[tuple[str, Drawing]]:
        for name, draw in self.figures():
            yield from figure_files(name, draw, options)

    def in_folder(self, folder: Path) -> Self:
        """The same result, as one that lies in a folder."""
        return replace(self, folder=folder)

    def _describe(self, *about: str) -> str:
        """A short ``repr``."""
        place = () if self.folder is None else (f"in {self.folder}",)
        return f"{type(self).__name__}({', '.join((*about, *place))})"
