"""Small perturbed sets, written to disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from perturblearn.classifiers import Classifier, initialise
from perturblearn.config import TwoLayerConfig, config_tree, resolve_config
from perturblearn.perturbed import PerturbedSet
from perturblearn.perturbed.manifest import manifest_text, sealed
from perturblearn.perturbed.write_set import ShardSource, write_set
from perturblearn.store import separate

CONFIG = resolve_config(None, {"seeds": [4]})
DIM = 6
STANDARD = Classifier(initialise(TwoLayerConfig(hidden_dim=4), DIM, seed=0, role="f"))
SHARD = "training/shard-00001.safetensors"
ALL_FILES = (
    "manifest.json", "standard.safetensors", "training/shard-00000.safetensors", SHARD,
    "training/shard-00002.safetensors", "heldout/shard-00000.safetensors",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """What a set for the tests is like."""

    shape: tuple[int, ...] = (DIM,)
    image_shape: tuple[int, int, int] | None = None
    n_classes: int = 2
    dtype: torch.dtype = torch.float32
    has_labels: bool = True
    has_sizes: bool = True

    @property
    def label_values(self) -> list[int]:
        return [1, -1] if self.n_classes == 2 else list(range(self.n_classes))


KINDS = {
    "flat images": Kind(image_shape=(1, 2, 3)),
    "images": Kind(shape=(1, 2, 3), image_shape=(1, 2, 3), n_classes=5),
    "vectors of noise": Kind(has_labels=False, has_sizes=False, dtype=torch.float64),
}


def made(kind: Kind, n: int, seed: int = 0) -> PerturbedSet:
    generator = torch.Generator().manual_seed(seed)
    values = torch.tensor(kind.label_values)
    draw = lambda: torch.randint(2, (n,), generator=generator).bool()  # noqa: E731
    return PerturbedSet(
        inputs=torch.randn((n, *kind.shape), generator=generator, dtype=kind.dtype),
        target_labels=values[torch.randint(len(values), (n,), generator=generator)],
        true_labels=values[torch.randint(len(values), (n,), generator=generator)] if kind.has_labels else None,
        source_index=torch.arange(n),
        success=draw(),
        redirected=draw(),
        source="natural" if kind.has_labels else "gauss",
        norm="l2",
        epsilon=0.1,
        classifier_hash=STANDARD.hash,
        zero_gradients=0,
        sizes=torch.rand(n, generator=generator) if kind.has_sizes else None,
    )


def cut(whole: PerturbedSet, rows: range) -> PerturbedSet:
    cut_fields = {
        field.name: value[rows.start : rows.stop]
        for field in fields(whole)
        if isinstance(value := getattr(whole, field.name), Tensor)
    }
    return replace(whole, **cut_fields, zero_gradients=rows.start % 3)


def about(kind: Kind) -> dict[str, Any]:
    return {
        "name": "tiny",
        "key": "0123456789" * 6 + "abcd",
        "seed": 4,
        "attack": config_tree(CONFIG)["attack"],
        "norm": "l2",
        "epsilon": 0.1,
        "source": "natural" if kind.has_labels else "gauss",
        "targets": "uniform",
        "dtype": str(kind.dtype).removeprefix("torch."),
        "input_shape": kind.shape,
        "image_shape": kind.image_shape,
        "value_range": [-1.0, None],
        "offset": 0.3,
        "signature": {"input_shape": list(kind.shape)},
        "data": {"name": "digits", "fingerprint": "ab" * 32},
        "config": config_tree(CONFIG),
    }


def classes(kind: Kind) -> dict[str, int]:
    return {f"Ä{position}": label for position, label in enumerate(kind.label_values)}


def source(whole: PerturbedSet, rows: range) -> ShardSource:
    part = cut(whole, rows)
    artefact = part.dump()
    return ShardSource(rows, part.zero_gradients, lambda path: save_file(separate(artefact.tensors), path))


def write(folder: Path, kind: Kind = KINDS["flat images"], n: int = 20, step: int = 8, **changes: Any) -> Path:
    """A set of n training samples in shards of so many, and of 3 held-out ones."""
    folder.mkdir()
    training, heldout = made(kind, n, seed=0), made(kind, 3, seed=1)
    shards = [range(start, min(start + step, n)) for start in range(0, n, step)]
    said = {**about(kind), **changes}
    write_set(
        folder,
        # In the order of a set of names, which is another one in every process.
        about={name: said[name] for name in set(said)},
        classes=classes(kind),
        parts={
            "training": (source(training, rows) for rows in shards),
            "heldout": [source(heldout, range(3))],
        },
        standard=STANDARD.dump(),
        accuracy={"heldout": 0.75},
    )
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Write another manifest with the right checksum."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    del manifest["sha256"]
    change(manifest)
    (folder / "manifest.json").write_text(manifest_text(sealed(manifest)), encoding="utf-8")
