"""A perturbed set on disk, for training with any program of one's own."""

from __future__ import annotations

import operator
import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.utils.data import Dataset

from perturblearn.config import ExperimentConfig, resolve_config
from perturblearn.data import Standardisation
from perturblearn.errors import StoreError
from perturblearn.perturbed.disk_tensor import room_for
from perturblearn.perturbed.manifest import STANDARD, Shard, read_manifest, shards_of
from perturblearn.perturbed.perturbed_set import PerturbedSet
from perturblearn.perturbed.set_files import DamagedFile, read_shard, read_standard, repairable
from perturblearn.store import Artefact

MOST_OPEN = 16
"""Shards that are open at the same time in one process."""


class StoredSet(Dataset[tuple[Tensor, int]]):
    """One part of a perturbed set that ``perturblearn perturb`` wrote, as a data set of PyTorch.

    A sample is a perturbed input in the units of the original data (centring undone, nothing clipped), a float32
    tensor (channels, height, width) where the inputs are images, else of the shape they are stored in; and the position
    of its target label in ``class_names``, from 0 on. Opening a set reads its manifest alone, and a sample reads its
    own row of a shard, so a set may be larger than memory. Files are not compared with their checksums here; `load` and
    `perturblearn.perturbed.verify` do that.

    Args:
        folder: the set's folder.
        part: training, or heldout for the samples that choose a learning rate.

    Attributes:
        folder, part: as given.
        manifest: all that the set says of itself.
        key: hash of what the set was made from.
        seed: of the run that made it.
        class_names: one name per class.
        n_samples: of this part.
        statistics: of this part: the attack's success, sizes of perturbations, samples and success per target class.

    Raises:
        StoreError: there is no set or no such part, the manifest is damaged, or a newer version wrote it.

    Example:
        >>> samples = StoredSet("sets/digits-seed-0-0123456789")
        >>> loader = DataLoader(samples, batch_size=128, shuffle=True, num_workers=4)
    """

    def __init__(self, folder: str | os.PathLike[str], part: str = "training") -> None:
        self.folder = Path(folder)
        self.part = part
        self.manifest: Mapping[str, Any] = read_manifest(self.folder)
        if part not in self.manifest["parts"]:
            known = " or ".join(sorted(self.manifest["parts"], reverse=True))
            raise StoreError(f"{folder} has no part {part!r}; choose {known}")
        self.key: str = self.manifest["key"]
        self.hash: str = self.manifest["sha256"]
        self.name: str = self.manifest["name"]
        self.data_fingerprint: str | None = self.manifest["data"]["fingerprint"]
        self.standard_hash: str = self.manifest["standard"]["hash"]
        self.standard_accuracy: float | None = self.manifest["standard"]["accuracy"].get("standard_accuracy_heldout")
        self.seed: int = self.manifest["seed"]
        self.class_names: tuple[str, ...] = tuple(self.manifest["class_names"])
        self.n_samples: int = self.manifest["parts"][part]["n_samples"]
        self.statistics: Mapping[str, Any] = self.manifest["parts"][part]["statistics"]
        self._shards = shards_of(self.manifest, part)
        self._ends = [shard.rows.stop for shard in self._shards]
        self._shape: list[int] = self.manifest["image_shape"] or self.manifest["input_shape"]
        standardisation = self.manifest.get("standardisation")
        self._standardisation = None if standardisation is None else Standardisation.from_dict(standardisation)
        self._open: dict[int, tuple[Any, Any]] = {}

    @cached_property
    def config(self) -> ExperimentConfig:
        """The experiment that made the set."""
        return resolve_config(self.manifest["config"])

    def __len__(self) -> int:
        return self.n_samples

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """A perturbed input and the position of its target class; see the class.

        Raises:
            IndexError: there is no such sample.
            StoreError: its shard is missing or damaged.
        """
        position = operator.index(index)
        if position < 0:
            position += self.n_samples
        if not 0 <= position < self.n_samples:
            raise IndexError(f"sample {index} of {self.n_samples}")
        number = bisect_right(self._ends, position)
        inputs, labels = self._columns(number)
        row = position - self._shards[number].rows.start
        values, targets = self._as_samples(self._shards[number], inputs[row : row + 1], labels[row : row + 1])
        return values[0], int(targets)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The samples of one shard after the other, compared with its checksum: inputs (n, ...) and classes (n,).

        Raises:
            StoreError: a shard is missing or damaged.
        """
        for shard in self._shards:
            columns = self._intact(shard)
            yield self._as_samples(shard, columns["inputs"], columns["target_labels"])

    def _as_samples(self, shard: Shard, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs in the units of the original data, and the positions of their target classes."""
        # In float64, so that only the result is rounded.
        values = inputs.double()
        scale = self._standardisation
        original = values + self.manifest["offset"] if scale is None else scale.undo(values)
        matches = labels[:, None] == torch.tensor(self.manifest["label_values"])
        if not bool(matches.any(dim=1).all()):
            raise repairable(self.folder, shard.file)
        return original.float().reshape(-1, *self._shape), matches.int().argmax(dim=1)

    def load(self, memory: int | None = None, scratch: Path | None = None) -> PerturbedSet:
        """The whole part, checked against its checksums, to train on it with this package.

        Args:
            memory: bytes that the inputs may take; larger ones go to a file on the disk, behind an ordinary tensor.
                None for half of what is available.
            scratch: folder for that file, which has no name in it; None for the system's folder of temporary files.

        Returns:
            The part without sources, inputs as they are stored (the offset subtracted).

        Raises:
            StoreError: a shard is missing or damaged, or the disk has no room for the file.
        """
        shape = [self.n_samples, *self.manifest["input_shape"]]
        dtype = getattr(torch, self.manifest["dtype"])
        inputs = room_for(shape, dtype, memory=memory, scratch=scratch)
        # Room for the small columns too, at once: pieces of them that stay where large shards come and go would leave
        # holes that the allocator cannot fill, together as large as the set.
        types: dict[str, str] = self.manifest["parts"][self.part]["tensors"]
        whole = {name: torch.empty(self.n_samples, dtype=getattr(torch, types[name])) for name in types}
        whole["inputs"] = inputs
        for shard in self._shards:
            for name, tensor in self._intact(shard).items():
                whole[name][shard.rows.start : shard.rows.stop] = tensor
        content = {name: self.manifest[name] for name in ("source", "norm", "epsilon")}
        content["classifier_hash"] = self.standard_hash
        content["zero_gradients"] = self.statistics["zero_gradients"]
        return PerturbedSet.load(Artefact(content, whole))

    def standard(self) -> Artefact:
        """The standard classifier that was attacked, for ``Classifier.load``.

        Raises:
            StoreError: its file is missing or damaged.
        """
        try:
            return read_standard(self.folder, self.manifest)
        except DamagedFile:
            raise repairable(self.folder, STANDARD) from None

    def close(self) -> None:
        """Close the shards that are open; they are opened again when they are needed."""
        self._open.clear()

    def _intact(self, shard: Shard) -> dict[str, Tensor]:
        try:
            return read_shard(self.folder, shard, self.manifest)
        except DamagedFile:
            raise repairable(self.folder, shard.file) from None

    def _columns(self, number: int) -> tuple[Any, Any]:
        """Inputs and target labels of a shard, to be read row by row."""
        columns = self._open.pop(number, None)
        if columns is None:
            columns = self._opened(self._shards[number])
            while len(self._open) >= MOST_OPEN:
                del self._open[next(iter(self._open))]
        self._open[number] = columns  # at the end: the first is the one not used for longest
        return columns

    def _opened(self, shard: Shard) -> tuple[Any, Any]:
        path = self.folder / shard.file
        try:
            is_whole = path.stat().st_size == shard.size
            file = safe_open(path, "pt")
            columns = file.get_slice("inputs"), file.get_slice("target_labels")
        except (OSError, SafetensorError):
            raise repairable(self.folder, shard.file) from None
        shapes = [column.get_shape() for column in columns]
        if not is_whole or shapes != [[len(shard.rows), *self.manifest["input_shape"]], [len(shard.rows)]]:
            raise repairable(self.folder, shard.file)
        return columns

    def to_dict(self) -> dict[str, Any]:
        """What the set is, without what it holds, as JSON values."""
        parts = {
            part: {name: content[name] for name in ("n_samples", "statistics")}
            for part, content in self.manifest["parts"].items()
        }
        left_out = ("config", "parts", "signature")
        about = {name: value for name, value in self.manifest.items() if name not in left_out}
        return {"folder": str(self.folder), **about, "parts": parts}

    def __getstate__(self) -> dict[str, Any]:
        # Another process opens files of its own.
        return {**self.__dict__, "_open": {}}

    def __repr__(self) -> str:
        manifest, rate = self.manifest, self.statistics["success_rate"]
        shards = f"{len(self._shards)} shard{'s' * (len(self._shards) > 1)}"
        success = "no target differs from its label" if rate is None else f"success {rate:.3f}"
        epsilon = manifest["epsilon"]
        bound = "rebuilt" if epsilon is None else f"{manifest['norm']} epsilon {epsilon:g}"
        return (
            f"StoredSet({manifest['name']} seed {self.seed}, {self.part}: {self.n_samples} inputs of "
            f"{' x '.join(map(str, self._shape))} in {shards}, {len(self.class_names)} classes, "
            f"source {manifest['source']}, {bound}, {success}, "
            f"key {self.key[:10]})"
        )
