"""What a stored set says of itself: the manifest beside its shards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perturblearn.errors import StoreError
from perturblearn.graph import content_key

MANIFEST = "manifest.json"
STANDARD = "standard.safetensors"
PARTS = ("training", "heldout")
KIND = "perturbed set"
SCHEMA = 1
ABOUT = (
    "name", "key", "seed", "attack", "norm", "epsilon", "source", "targets", "dtype", "input_shape", "image_shape",
    "value_range", "offset", "class_names", "label_values", "signature", "data", "config",
)  # fmt: skip
"""What a manifest says of the set as a whole."""


@dataclass(frozen=True)
class Shard:
    """One file of samples, as the manifest describes it.

    Args:
        part: training or heldout.
        file: its place in the set's folder, such as ``training/shard-00003.safetensors``.
        rows: the samples it holds, by their position in the part.
        sha256: of the file's content.
        size: bytes of the file.
    """

    part: str
    file: str
    rows: range
    sha256: str
    size: int


def shard_file(part: str, number: int) -> str:
    """Place of a shard in the set's folder."""
    return f"{part}/shard-{number:05d}.safetensors"


def sealed(body: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest with the SHA-256 of its canonical form, by which damage is noticed."""
    # By way of JSON: what is hashed is what will be read.
    plain = json.loads(json.dumps(body, allow_nan=False))
    return {"sha256": content_key(plain), **plain}


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """A manifest as it is written: equal manifests are equal texts."""
    return json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False) + "\n"


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a stored set.

    Raises:
        StoreError: there is no set, its manifest is damaged or cannot be read, or a newer version wrote it.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise StoreError(f"there is no folder {folder}; name a set that 'perturblearn perturb' wrote")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise StoreError(
            f"{folder} holds no perturbed set, which is a folder with {MANIFEST} and shards of samples; name one, or "
            "if 'perturblearn perturb' was interrupted, run the same command again to continue it"
        ) from None
    except OSError as error:
        raise StoreError(f"cannot read {path} ({error.strerror}); make it readable") from error
    try:
        manifest = json.loads(content.decode("utf-8"))
        body = {name: value for name, value in manifest.items() if name != "sha256"}
        if manifest["sha256"] != content_key(body) or body["kind"] != KIND:
            raise ValueError("not what was written")
        is_newer = body["schema"] > SCHEMA
        if not is_newer:
            _check_form(body)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise StoreError(
            f"{path} is damaged or is not the manifest of a perturbed set; restore it from a copy, or move {folder} "
            "away and write the set again with 'perturblearn perturb'"
        ) from None
    if is_newer:
        raise StoreError(f"{folder} was written by a newer version of perturblearn; update it")
    return manifest


def shards_of(manifest: Mapping[str, Any], part: str) -> list[Shard]:
    """The shards of a part, in the order of their samples."""
    shards: list[Shard] = []
    for number, entry in enumerate(manifest["parts"][part]["shards"]):
        start, stop = entry["rows"]
        shards.append(Shard(part, shard_file(part, number), range(start, stop), entry["sha256"], entry["bytes"]))
    return shards


def _check_form(body: Mapping[str, Any]) -> None:
    """Raise a KeyError, TypeError or ValueError for a manifest that this version would not write."""
    missing = {*ABOUT, "standard", "versions"} - body.keys()
    if missing or body["standard"]["file"] != STANDARD or not set(body["parts"]) <= set(PARTS):
        raise ValueError("not the entries of a manifest")
    for part, content in body["parts"].items():
        shards = shards_of(body, part)
        ends = [0, *(shard.rows.stop for shard in shards)]
        # Nothing outside the set's folder is ever read or replaced, whatever a manifest says.
        named = [entry["file"] for entry in content["shards"]]
        if (
            named != [shard.file for shard in shards]
            or [shard.rows.start for shard in shards] != ends[:-1]
            or any(len(shard.rows) == 0 for shard in shards)
            or ends[-1] != content["n_samples"]
        ):
            raise ValueError("not the shards of a part")
