"""Perturbed sets as files of plain tensors, as other programs load them."""

from __future__ import annotations

from pathlib import Path

import torch

from perturblearn.api.options import PathLike
from perturblearn.api.stored import SetLike, open_set
from perturblearn.errors import ConfigError
from perturblearn.store import replacing


def export(perturbed: SetLike, out: PathLike, *, prefix: str = "CIFAR") -> tuple[Path, Path]:
    """Write the training part of a perturbed set as two files of ``torch.save``, as Ilyas19's users load them.

    Each file holds a list of tensors, one per shard, to be joined by ``torch.cat(torch.load(file))``: float32 inputs in
    the units of the original data, images as (n, channels, height, width), and int64 positions of their target classes
    in the set's ``class_names``. Every shard is compared with its checksum. The whole part passes through memory.

    Args:
        perturbed: the set, or its folder.
        out: folder for the files; it is made if there is none, and files of these names are replaced.
        prefix: of their names, ``<prefix>_ims`` and ``<prefix>_lab``.

    Returns:
        The paths of inputs and labels.

    Raises:
        ConfigError: a prefix that is no name of a file.
        StoreError: there is no set, a shard is missing or damaged, or the files cannot be written.

    [Ilyas19] Ilyas et al., Adversarial examples are not bugs, they are features, NeurIPS 2019.
    """
    if not prefix or Path(prefix).name != prefix:
        raise ConfigError(
            f"prefix = {prefix!r} is no beginning of a file's name; write letters and digits, as in CIFAR"
        )
    folder = Path(out)
    columns = tuple(list(column) for column in zip(*open_set(perturbed).batches(), strict=True))
    images, labels = (folder / f"{prefix}_{name}" for name in ("ims", "lab"))
    for path, tensors in zip((images, labels), columns, strict=True):
        with replacing(path, "choose another folder with --out") as scratch:
            folder.mkdir(parents=True, exist_ok=True)
            with scratch.open("wb") as file:
                torch.save(tensors, file)
    return images, labels
