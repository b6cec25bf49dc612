"""A perturbed set as a folder for people and other programs."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from perturblearn.config import Keys
from perturblearn.errors import StoreError
from perturblearn.perturbed.manifest import (
    ABOUT,
    KIND,
    MANIFEST,
    PARTS,
    SCHEMA,
    STANDARD,
    manifest_text,
    sealed,
    shard_file,
)
from perturblearn.perturbed.set_files import DamagedFile, check_fit, decoded, standard_bytes, types_of
from perturblearn.store import Artefact, versions


@dataclass(frozen=True)
class ShardSource:
    """Where one shard comes from.

    Args:
        rows: the samples it holds, by their position in the part.
        zero_gradients: how many of them could not be moved, as `PerturbedSet` counts them.
        place: puts the shard's file, as the artefact store writes it, where it is told.
    """

    rows: range
    zero_gradients: int
    place: Callable[[Path], None]


def write_set(
    folder: Path,
    *,
    about: Keys,
    classes: Mapping[str, int],
    parts: Mapping[str, Iterable[ShardSource]],
    standard: Artefact,
    accuracy: Mapping[str, float],
) -> None:
    """Fill a folder with a perturbed set: shards, the standard classifier, and a manifest that describes them.

    One shard is in memory at a time. Equal sets are equal to the byte, wherever and whenever they are written.

    Args:
        folder: an empty one; it is a set once the manifest, written last, is there.
        about: JSON values for every name in ``ABOUT`` but those of the classes, and more: ``dtype`` as in the
            configuration, ``input_shape`` of one input as it is stored, ``image_shape`` or None, ``offset`` that was
            subtracted from the original data, and ``standardisation`` where every feature was standardised instead.
        classes: the label of every class by its name, in order.
        parts: the shards of the training and the held-out part, in the order of their samples.
        standard: ``Classifier.dump()`` of f, whose hash the shards name.
        accuracy: of f, by what it was measured on.

    Raises:
        StoreError: a shard's file is damaged.
        OSError: the folder cannot be written.
    """
    assert not any(folder.iterdir()), "a set is written into an empty folder"
    labels: Keys = {"class_names": list(classes), "label_values": list(classes.values())}
    assert not about.keys() & labels.keys(), "the classes are given by themselves"
    about = {**about, **labels}
    assert about.keys() >= set(ABOUT), f"about does not say {sorted(set(ABOUT) - about.keys())}"
    assert parts.keys() <= set(PARTS), f"a set has the parts {PARTS}"
    weights = standard_bytes(standard)
    (folder / STANDARD).write_bytes(weights)
    own = {
        "schema": SCHEMA,
        "kind": KIND,
        "versions": versions(),
        "standard": {
            "file": STANDARD,
            "sha256": hashlib.sha256(weights).hexdigest(),
            "bytes": len(weights),
            "hash": standard.content["hash"],
            "accuracy": dict(accuracy),
        },
        "parts": {part: _write_part(folder, part, sources, about, classes) for part, sources in parts.items()},
    }
    assert not own.keys() & about.keys(), "about says what the manifest says by itself"
    (folder / MANIFEST).write_bytes(manifest_text(sealed({**about, **own})).encode())


def _write_part(
    folder: Path, part: str, sources: Iterable[ShardSource], about: Keys, classes: Mapping[str, int]
) -> dict[str, Any]:
    """Put the shards of a part in their places; returns what the manifest says of it."""
    (folder / part).mkdir()
    counts = _Counts()
    shards: list[dict[str, Any]] = []
    types: dict[str, str] = {}
    for number, source in enumerate(sources):
        assert source.rows == range(counts.n_samples, source.rows.stop), "shards follow one after the other"
        file = shard_file(part, number)
        source.place(folder / file)
        content = (folder / file).read_bytes()
        try:
            tensors = decoded(content)
            types = types or types_of(tensors)
            check_fit(tensors, source.rows, about, types)
        except DamagedFile as fault:
            raise StoreError(
                f"samples {source.rows.start} to {source.rows.stop - 1} of the {part} part were cached in a file that "
                f"{fault}; remove the cache folder (--cache-dir), and run the same command again"
            ) from None
        counts.add(tensors, source.zero_gradients)
        checksum = hashlib.sha256(content).hexdigest()
        rows = [source.rows.start, source.rows.stop]
        shards.append({"file": file, "rows": rows, "sha256": checksum, "bytes": len(content)})
    assert shards, "a part has at least one sample"
    assert types["inputs"] == about["dtype"], f"inputs are {types['inputs']}, not {about['dtype']}"
    return {
        "n_samples": counts.n_samples,
        "tensors": types,
        "statistics": counts.statistics(classes),
        "shards": shards,
    }


class _Counts:
    """What is counted over the shards of a part, in whole numbers or sums that depend on no order of rounding."""

    def __init__(self) -> None:
        self.n_samples = 0
        self._zero_gradients = 0
        self._kinds: Counter[tuple[int, bool, bool]] = Counter()
        self._size_sums: list[float] = []
        self._largest = 0.0

    def add(self, tensors: Mapping[str, Tensor], zero_gradients: int) -> None:
        columns = (tensors[name].tolist() for name in ("target_labels", "redirected", "success"))
        self._kinds.update(zip(*columns, strict=True))
        self.n_samples += len(tensors["inputs"])
        self._zero_gradients += zero_gradients
        if "sizes" in tensors:
            sizes = tensors["sizes"].tolist()
            self._size_sums.append(math.fsum(sizes))
            self._largest = max(self._largest, *sizes)

    def statistics(self, classes: Mapping[str, int]) -> dict[str, Any]:
        redirected = sum(count for (_, is_redirected, _), count in self._kinds.items() if is_redirected)
        return {
            "success_rate": self._success_rate(classes.values()),
            "redirected_share": redirected / self.n_samples,
            "zero_gradients": self._zero_gradients,
            "mean_size": math.fsum(self._size_sums) / self.n_samples if self._size_sums else None,
            "largest_size": self._largest if self._size_sums else None,
            "targets": [
                {
                    "class": name,
                    "n_samples": sum(count for (target, *_), count in self._kinds.items() if target == label),
                    "success_rate": self._success_rate([label]),
                }
                for name, label in classes.items()
            ],
        }

    def _success_rate(self, labels: Collection[int]) -> float | None:
        """Share of the redirected samples with these targets that f gives their target; None without any."""
        reached, missed = (sum(self._kinds[label, True, success] for label in labels) for success in (True, False))
        return reached / (reached + missed) if reached + missed else None
