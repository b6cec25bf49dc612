"""Whether a set on disk is still what was written, and its repair."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perturblearn.errors import StoreError
from perturblearn.graph import Report
from perturblearn.perturbed.manifest import MANIFEST, STANDARD, Shard, manifest_text, shards_of
from perturblearn.perturbed.perturbed_set import PerturbedSet
from perturblearn.perturbed.set_files import DamagedFile, read_shard, read_standard, shard_bytes, standard_bytes
from perturblearn.perturbed.stored_set import StoredSet
from perturblearn.store import Artefact, replacing, versions


@dataclass(frozen=True)
class Damage:
    """A file that is not as the manifest says.

    Args:
        file: its place in the set's folder.
        reason: what is wrong, to be read after the file's name: "is missing".
        is_extra: it is one that the set does not have, which does no harm and which `repair` leaves alone.
    """

    file: str
    reason: str
    is_extra: bool = False


def verify(stored: StoredSet, *, report: Report = lambda done, total, note: None) -> list[Damage]:
    """Read every file of a set, of all its parts, and compare it with the manifest.

    Args:
        stored: any part of the set.
        report: called with files done, files in all and the file's name.

    Returns:
        What differs: files that are missing, have another length, checksum or content, and files that are not the
        set's. Empty for a set that is whole.
    """
    folder, manifest = stored.folder, stored.manifest
    checks: dict[str, Callable[[], object]] = {
        MANIFEST: lambda: _check_manifest(folder, manifest),
        STANDARD: lambda: read_standard(folder, manifest),
    }
    for shard in _all_shards(manifest):
        checks[shard.file] = lambda shard=shard: read_shard(folder, shard, manifest)
    damages: list[Damage] = []
    for number, (file, check) in enumerate(checks.items(), start=1):
        try:
            check()
        except DamagedFile as fault:
            damages.append(Damage(file, str(fault)))
        report(number, len(checks), file)
    present = (path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir())
    files = (path.relative_to(folder).as_posix() for path in present)
    extra = "does not belong to this set"
    return damages + [Damage(file, extra, is_extra=True) for file in files if file not in checks]


def repair(
    stored: StoredSet,
    damages: Iterable[Damage],
    recompute: Callable[[str, range], PerturbedSet],
    *,
    standard: Callable[[], Artefact],
) -> list[str]:
    """Make damaged files again, each in its place by one rename.

    A file that comes out otherwise than the manifest says is not taken, so a set never mixes samples of two kinds. What
    was repaired before stays repaired.

    Args:
        stored: any part of the set.
        damages: as `verify` found them.
        recompute: ``(part, rows)`` to the samples of one shard, on the CPU or elsewhere.
        standard: ``Classifier.dump()`` of f, called if its file is damaged.

    Returns:
        The files that were repaired.

    Raises:
        StoreError: a file comes out differently, or cannot be written.
    """
    stored.close()  # what it reads from now on is what is repaired here
    shards = {shard.file: shard for shard in _all_shards(stored.manifest)}
    repaired: list[str] = []
    for damage in damages:
        if damage.is_extra:
            continue
        if damage.file == MANIFEST:
            content = manifest_text(stored.manifest).encode()
        elif damage.file == STANDARD:
            content = standard_bytes(standard())
            _check_equal(stored, damage.file, content, stored.manifest["standard"]["sha256"])
        else:
            shard = shards[damage.file]
            content = shard_bytes(recompute(shard.part, shard.rows))
            _check_equal(stored, damage.file, content, shard.sha256)
        _put(stored.folder / damage.file, content)
        repaired.append(damage.file)
    return repaired


def _all_shards(manifest: Mapping[str, Any]) -> list[Shard]:
    return [shard for part in sorted(manifest["parts"], reverse=True) for shard in shards_of(manifest, part)]


def _check_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Compare the text too, of which a part may change without changing what it says."""
    try:
        text = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise DamagedFile("is missing") from None
    except OSError as error:
        raise DamagedFile(f"cannot be read ({error.strerror})") from error
    if text != manifest_text(manifest).encode():
        raise DamagedFile("differs from what was written")


def _check_equal(stored: StoredSet, file: str, content: bytes, sha256: str) -> None:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise StoreError(
            f"{file} of {stored.folder} was recomputed but differs from the original, so it was not replaced; the "
            f"set was made with {_listed(stored.manifest['versions'])} and this is {_listed(versions())}: repair it "
            "with those versions, or write a new set with 'perturblearn perturb'"
        )


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {versions[name]}" for name in sorted(versions))


def _put(path: Path, content: bytes) -> None:
    """Put a new file in the place of an old one, which may be shared with a cache and stays what it is there."""
    with replacing(path, "repair a copy of the set in another folder") as beside:
        beside.parent.mkdir(exist_ok=True)
        beside.write_bytes(content)
