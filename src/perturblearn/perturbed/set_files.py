"""The files of a stored set: how they are written, and whether they are what the manifest says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from perturblearn.errors import StoreError
from perturblearn.perturbed.manifest import STANDARD, Shard
from perturblearn.perturbed.perturbed_set import PerturbedSet
from perturblearn.store import Artefact, separate


class DamagedFile(Exception):
    """A file of a stored set is not what the manifest says; the text says how it differs."""


def repairable(folder: Path, file: str) -> StoreError:
    """The error for a damaged file that somebody wanted to use."""
    if file == STANDARD:
        return lost_standard(folder)
    return StoreError(f"{file} of {folder} is damaged; repair it with 'perturblearn verify {folder} --repair'")


def lost_standard(folder: Path) -> StoreError:
    """The error for an f that is damaged: the samples cannot bring it back."""
    return StoreError(
        f"{STANDARD} of {folder} is damaged, and the standard classifier cannot be recovered from the samples; restore "
        "it from a copy, or move the set away and write it again with 'perturblearn perturb'"
    )


def shard_bytes(perturbed: PerturbedSet) -> bytes:
    """Content of a shard's file, equal to what the artefact store writes for these samples."""
    return save(separate(perturbed.dump().tensors))


def standard_bytes(standard: Artefact) -> bytes:
    """Content of the standard classifier's file."""
    # One key of metadata: several would be written in no fixed order.
    text = json.dumps(dict(standard.content), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return save(separate(standard.tensors), {"artefact": text})


def read_intact(folder: Path, file: str, *, sha256: str, size: int) -> bytes:
    """A file's content.

    Raises:
        DamagedFile: it is not there, cannot be read, or has another content.
    """
    path = folder / file
    try:
        actual = path.stat().st_size
        content = path.read_bytes() if actual == size else b""
    except (FileNotFoundError, NotADirectoryError):
        raise DamagedFile("is missing") from None
    except OSError as error:
        raise DamagedFile(f"cannot be read ({error.strerror})") from error
    if actual != size:
        raise DamagedFile(f"has {actual} bytes instead of {size}")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedFile("does not have the checksum that the manifest gives")
    return content


def read_shard(folder: Path, shard: Shard, manifest: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a shard, by their names.

    Raises:
        DamagedFile: the file is not what was written, or does not fit the rest of the set.
    """
    content = read_intact(folder, shard.file, sha256=shard.sha256, size=shard.size)
    tensors = decoded(content)
    check_fit(tensors, shard.rows, manifest, manifest["parts"][shard.part]["tensors"])
    return tensors


def read_standard(folder: Path, manifest: Mapping[str, Any]) -> Artefact:
    """The standard classifier's artefact.

    Raises:
        DamagedFile: the file is not what was written.
    """
    entry = manifest["standard"]
    content = read_intact(folder, STANDARD, sha256=entry["sha256"], size=entry["bytes"])
    tensors = decoded(content)
    try:
        with safe_open(folder / STANDARD, "pt") as file:
            return Artefact(json.loads(file.metadata()["artefact"]), tensors)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        raise DamagedFile("does not say which network its weights belong to") from None


def decoded(content: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        DamagedFile: it is none.
    """
    try:
        return load(content)
    except SafetensorError:
        raise DamagedFile("is not a safetensors file") from None


def types_of(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Names of the tensors with their types."""
    return {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.items()}


def check_fit(tensors: Mapping[str, Tensor], rows: range, about: Mapping[str, Any], types: Mapping[str, str]) -> None:
    """Check that a shard's tensors can be samples of the set.

    Args:
        tensors: of one shard.
        rows: the samples that it should hold.
        about: what the manifest says of the set as a whole.
        types: which tensors a shard of this part has, and of which types.

    Raises:
        DamagedFile: other tensors, shapes, labels outside the classes, or values that are not finite.
    """
    actual = types_of(tensors)
    if actual != dict(types):
        raise DamagedFile(f"holds the tensors {_listed(actual)} instead of {_listed(types)}")
    for name, tensor in tensors.items():
        shape = [len(rows), *about["input_shape"]] if name == "inputs" else [len(rows)]
        if list(tensor.shape) != shape:
            raise DamagedFile(f"holds {name} of shape {list(tensor.shape)} instead of {shape}")
        if name in ("target_labels", "true_labels") and not _are_labels(tensor, about["label_values"]):
            raise DamagedFile(f"holds {name} that are not labels of the classes")
        if not bool(tensor.isfinite().all()):
            raise DamagedFile(f"holds {name} that are not finite")


def _are_labels(labels: Tensor, values: list[int]) -> bool:
    return bool(torch.isin(labels, torch.tensor(values)).all())


def _listed(types: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({types[name]})" for name in sorted(types))
