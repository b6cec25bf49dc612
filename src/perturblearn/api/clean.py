"""How much results take on the disk, and removing what is not wanted any more."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perturblearn.api.options import PathLike
from perturblearn.api.stores import artefact_store, record_store
from perturblearn.errors import StoreError
from perturblearn.perturbed.manifest import MANIFEST
from perturblearn.results import PAGE_NAME
from perturblearn.store import ArtefactStore, Collection, Record, RecordStore

if TYPE_CHECKING:
    from perturblearn.report.entries import Entry

_OURS = (".csv", ".html", ".json", ".md", ".pdf", ".png", ".safetensors", ".svg", ".tex", ".toml")
"""Endings of the files of results; a folder with a file of another kind is not removed."""


@dataclass(frozen=True)
class DiskUse:
    """What the results in a folder take.

    Args:
        out: the folder.
        folders: the results, the latest first, each with its files' bytes.
        n_stages, stages: how many finished stages are stored, and their bytes.
        n_unused, unused: those that no recorded run needs.
        n_drafts, drafts: how many drafts of unfinished stages are stored, and their bytes.
        total: bytes of all files in the folder, where a file that a result and the store share counts once.
    """

    out: Path
    folders: Sequence[tuple[Entry, int]]
    n_stages: int
    stages: int
    n_unused: int
    unused: int
    n_drafts: int
    drafts: int
    total: int

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        folders = [
            {"folder": entry.folder, "kind": entry.kind, "name": entry.name, "written": entry.written, "bytes": size}
            for entry, size in self.folders
        ]
        stages = {"n": self.n_stages, "bytes": self.stages, "n_unused": self.n_unused, "bytes_unused": self.unused}
        drafts = {"n": self.n_drafts, "bytes": self.drafts}
        told = {"folders": folders, "stages": stages, "drafts": drafts, "bytes": self.total}
        return {"kind": "disk use", "out": str(self.out), **told}

    def __str__(self) -> str:
        from perturblearn.report.words import aligned

        lines = [("folder", "kind", "written (UTC)", "size")]
        lines += [(entry.folder, entry.kind, entry.written, size_text(size)) for entry, size in self.folders]
        unused = f", of which {size_text(self.unused)} in {self.n_unused:,} that no recorded run needs"
        drafts = f"Drafts of unfinished stages: {size_text(self.drafts)} in {self.n_drafts:,}."
        return "\n".join(
            (
                *aligned(lines, left=(0, 1, 2)),
                f"Finished stages: {size_text(self.stages)} in {self.n_stages:,}{unused if self.n_unused else ''}.",
                *((drafts,) if self.n_drafts else ()),
                f"Total: {size_text(self.total)}. A file that a result shares with the finished stages counts once.",
            )
        )


@dataclass(frozen=True)
class Cleaning:
    """What is removed from a folder of results, or would be.

    Args:
        out: the folder.
        folders: results.
        stages: keys of finished stages.
        drafts: keys of parts of stages that are finished, or that no recorded run has to finish.
        freed: bytes that this frees.
        kept: why no stages are removed; None if they are.
        is_done: whether it has been removed.
    """

    out: Path
    folders: Sequence[Path]
    stages: Sequence[str]
    drafts: Sequence[str]
    freed: int
    kept: str | None
    is_done: bool

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "kind": "cleaning",
            "out": str(self.out),
            "folders": [str(folder) for folder in self.folders],
            "stages": list(self.stages),
            "drafts": list(self.drafts),
            "bytes": self.freed,
            "kept": self.kept,
            "is_done": self.is_done,
        }

    def __str__(self) -> str:
        from perturblearn.report.words import plural

        what = [*map(str, self.folders)]
        if self.stages:
            what.append(f"{plural(len(self.stages), 'finished stage')} that no recorded run needs")
        if self.drafts:
            what.append(f"{plural(len(self.drafts), 'draft')} that no unfinished run needs")
        lines = [f"- {each}" for each in what]
        if self.kept is not None:
            lines.append(f"Finished stages stay: {self.kept}.")
        if not what:
            return "\n".join((*lines, f"There is nothing to remove in {self.out}."))
        if self.is_done:
            return "\n".join(("Removed:", *lines, f"This freed {size_text(self.freed)}."))
        return "\n".join(
            ("This would be removed:", *lines, f"Add --yes to remove it and free {size_text(self.freed)}.")
        )


def disk_use(out: PathLike = "runs") -> DiskUse:
    """How much the results in a folder take on the disk.

    Args:
        out: the folder that results were written to; it is only read.

    Raises:
        StoreError: there is no such folder, or it cannot be read.
    """
    from perturblearn.report import Entries

    place = Path(out)
    found = Entries.of(place, page=PAGE_NAME).found
    sizes = [(entry, sum(_bytes(_files(place / entry.folder)).values())) for entry in found]
    stages = _Stages(place)
    unused = stages.unused([]) if stages.why_kept([], [], set()) is None else []
    return DiskUse(
        place,
        sizes,
        n_stages=len(stages.finished),
        stages=stages.size(stages.finished),
        n_unused=len(unused),
        unused=stages.size(unused),
        n_drafts=len(stages.drafts),
        drafts=stages.size(stages.drafts),
        total=sum(_bytes(_files(place)).values()),
    )


def clean(*folders: PathLike, out: PathLike = "runs", dry_run: bool = True) -> Cleaning:
    """Remove results, with their records, and finished stages and drafts that no recorded run needs any more.

    Nothing but what perturblearn wrote is removed: a folder that is a link, that holds no result, or that holds a link
    or a file of another kind is refused. The finished stages stay if some run in the folder may still need them and it
    is not known which: while one is running, for sweeps that have not ended, and beside perturbed sets.

    Args:
        folders: results to remove.
        out: the folder that they lie in.
        dry_run: remove nothing, and say what would be removed.

    Returns:
        What was removed, or would be.

    Raises:
        StoreError: a folder is refused, or something cannot be removed.
    """
    place = Path(out)
    if not place.is_dir():
        raise StoreError(f"there is no folder {place}; name the one that results were written to with --out")
    chosen = [_checked(folder, place) for folder in dict.fromkeys(Path(folder) for folder in folders)]
    records, stages = record_store(place), _Stages(place)
    dropped, shared, collections = _records_of([folder.name for folder in chosen], records)
    running = [record.name for record in dropped if record.state == "running"]
    if running:
        raise StoreError(f"{running[0]} is running in {place}; wait until it has ended, or interrupt it")
    without = {folder.name for folder in chosen}
    kept = stages.why_kept(dropped, collections, without)
    unused = [] if kept is not None else stages.unused(dropped)
    drafts = stages.unused_drafts(None if kept is not None else dropped)
    gone = [*chosen, *(stages.folders[key] for key in (*unused, *drafts))]
    freed = _freed(gone)
    if not dry_run:
        if dropped or collections or shared:
            records.remove(dropped, collections)
            records.write_many(replace(record, folder=None) for record in shared)
        store = artefact_store(place)
        for key in (*unused, *drafts):
            store.remove(key)
        for folder in chosen:
            _remove(folder, store)
    return Cleaning(place, chosen, unused, drafts, freed, kept, is_done=not dry_run)


class _Stages:
    """The finished stages in a folder of results, and who needs them."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._records = record_store(out)
        self.folders: dict[str, Path] = {}
        self.drafts: dict[str, str] = {}
        self._inputs: dict[str, frozenset[str]] = {}
        if (out / ".store").is_dir():
            for known in artefact_store(out).artefacts():
                self.folders[known.key] = known.folder
                if known.draft_of is not None:
                    self.drafts[known.key] = known.draft_of
                self._inputs[known.key] = known.inputs

    @property
    def finished(self) -> list[str]:
        """The keys of all that is no draft."""
        return [key for key in self.folders if key not in self.drafts]

    def size(self, keys: Iterable[str]) -> int:
        """Bytes of some stages."""
        return sum(_bytes(file for key in keys for file in _files(self.folders[key])).values())

    def why_kept(self, dropped: Sequence[Record], collections: Sequence[Collection], without: set[str]) -> str | None:
        """Why it is not known which stages are needed once these records and folders are gone; None if it is."""
        records = self._remaining(dropped)
        known = {record.key for record in records}
        for record in records:
            if record.state == "running":
                return f"{record.name} is running"
            if not record.seconds:
                return f"the record of {record.name} does not say which it needs; run it again with --force"
        for each in self._records.collections():
            if each not in collections and (
                each.state in ("running", "interrupted") or not known.issuperset(each.runs)
            ):
                return f"{each.name} has not ended and may need them; give its command again"
        # Making a set leaves no record.
        sets = [path.parent.name for path in self._out.glob(f"*/{MANIFEST}") if path.parent.name not in without]
        return f"the perturbed set {sets[0]} may need them" if sets else None

    def unused(self, dropped: Sequence[Record]) -> list[str]:
        """The finished stages that no record but these needs."""
        needed = self._needed(self._remaining(dropped))
        return [key for key in self.finished if key not in needed]

    def unused_drafts(self, dropped: Sequence[Record] | None) -> list[str]:
        """The drafts of finished stages, and of those that no unfinished run but these records' needs (None: any)."""
        if dropped is None:
            return [draft for draft, key in self.drafts.items() if key in self.folders]
        unfinished = [record for record in self._remaining(dropped) if record.state != "finished"]
        needed = self._needed(unfinished).difference(self.folders)
        return [draft for draft, key in self.drafts.items() if key not in needed]

    def _needed(self, records: Iterable[Record]) -> set[str]:
        """The keys of all stages behind these records, whether or not they are stored."""
        needed: set[str] = set()
        waiting = [key for record in records for key in record.seconds]
        while waiting:
            key = waiting.pop()
            if key not in needed:
                needed.add(key)
                waiting.extend(self._inputs.get(key, ()))
        return needed

    def _remaining(self, dropped: Sequence[Record]) -> list[Record]:
        gone = {(record.key, record.name) for record in dropped}
        return [record for record in self._records.all() if (record.key, record.name) not in gone]


def _records_of(names: Sequence[str], records: RecordStore) -> tuple[list[Record], list[Record], list[Collection]]:
    """The records of the results in some folders.

    Returns:
        Those of runs that belong to nothing else; those of runs that belong to a sweep or figure which stays; the
        sweeps and figures.
    """
    every, collections = records.all(), records.collections()
    gone = [each for each in collections if f"{each.name}-{each.key[:10]}" in names]
    elsewhere = {key for each in collections if each not in gone for key in each.runs}
    inside = {key for each in gone for key in each.runs}
    found = [record for record in every if record.folder in names or (record.folder is None and record.key in inside)]
    dropped = [record for record in found if record.key not in elsewhere]
    return dropped, [record for record in found if record.key in elsewhere and record.folder], gone


def _checked(folder: Path, out: Path) -> Path:
    """A folder that may be removed.

    Raises:
        StoreError: it may not.
    """
    from perturblearn.report.entries import read_entry

    if folder.is_symlink() or folder.resolve().parent != out.resolve():
        raise StoreError(f"{folder} is not a folder in {out}; name a result in it, or its place with --out")
    read_entry(folder, page=PAGE_NAME)
    for path in _files(folder):
        if path.is_symlink() or path.suffix not in _OURS:
            raise StoreError(
                f"{folder} holds {path.relative_to(folder)}, which perturblearn did not write; move it away, and give "
                "the command again"
            )
    return folder


def _remove(folder: Path, store: ArtefactStore) -> None:
    # By one rename first, so that nobody ever sees half a result.
    with store.scratch() as scratch:
        os.rename(folder, scratch / "removed")
        shutil.rmtree(scratch / "removed")


def _files(folder: Path) -> Iterator[Path]:
    """All that lies in a folder but folders; links are not followed."""
    for place, inside, names in os.walk(folder):
        links = [name for name in inside if os.path.islink(os.path.join(place, name))]
        yield from (Path(place) / name for name in (*names, *links))


def _bytes(files: Iterable[Path]) -> dict[tuple[int, int], int]:
    """By inode, the bytes of files; one that has several names counts once."""
    found = (path.lstat() for path in files)
    return {(each.st_dev, each.st_ino): each.st_size for each in found}


def _freed(folders: Sequence[Path]) -> int:
    """Bytes of the files that have no name outside these folders."""
    names: dict[tuple[int, int], int] = {}
    total = 0
    for path in (path for folder in folders for path in _files(folder)):
        each = path.lstat()
        inode = (each.st_dev, each.st_ino)
        names[inode] = names.get(inode, 0) + 1
        total += each.st_size if names[inode] == each.st_nlink else 0
    return total


def size_text(size: float) -> str:
    """A size in bytes for people, in powers of 1000 as ``--cache-size`` takes them."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
