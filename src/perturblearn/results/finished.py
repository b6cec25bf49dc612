"""What all results of finished work have in common."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Self

from perturblearn.results.files import File, Form, write_folder
from perturblearn.results.shown import Shown
from perturblearn.store import ArtefactStore, versions


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
        return cls.form.read(folder, cls._from_dict)

    @classmethod
    @abstractmethod
    def _from_dict(cls, content: dict[str, Any], folder: Path) -> Self:
        """The result whose `to_dict` this is; a ValueError, KeyError or TypeError says that it is damaged."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values: the content of its file and of ``--json``."""

    @abstractmethod
    def files(self) -> Iterator[File]:
        """The files of its folder, one after the other."""

    def write(self, store: ArtefactStore, folder: Path, more: Iterable[File] = ()) -> Self:
        """Write its folder whole or not at all; an older one in its place is replaced.

        Args:
            store: lends the scratch space, on the same disk as the folder.
            folder: where to.
            more: files besides its own.

        Returns:
            The result, which now knows its folder.

        Raises:
            StoreError: the folder cannot be written.
        """
        finished = self.in_folder(folder)
        write_folder(store, folder, chain(finished.files(), more))
        return finished

    def in_folder(self, folder: Path) -> Self:
        """The same result, as one that lies in a folder."""
        return replace(self, folder=folder)

    def _describe(self, *about: str) -> str:
        """A short ``repr``."""
        place = () if self.folder is None else (f"in {self.folder}",)
        return f"{type(self).__name__}({', '.join((*about, *place))})"
