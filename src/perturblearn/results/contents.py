"""Networks and sets of a run's folder, written from artefacts and read back."""

# Safetensors is not typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from perturblearn.classifiers import Classifier
from perturblearn.errors import StoreError
from perturblearn.perturbed import PerturbedSet
from perturblearn.store import Artefact, separate, versions

Found = TypeVar("Found")

STANDARD, PERTURBATION = "standard.safetensors", "perturbation.safetensors"
TRAINING_SET, HELDOUT_SET = "perturbed.safetensors", "perturbed-heldout.safetensors"
"""Files in the folder of a seed."""


def artefact_file(artefact: Artefact) -> Callable[[Path], None]:
    """What writes an artefact to a path: tensors, with all else as JSON values in the header."""

    def write(path: Path) -> None:
        header = {name: json.dumps(value) for name, value in {**artefact.content, "versions": versions()}.items()}
        save_file(separate(artefact.tensors), path, header)

    return write


def read_network(path: Path) -> nn.Module:
    """The trained network of a file.

    Raises:
        StoreError: the file is missing or damaged.
        ModelError: the network is the user's own, and is not there any more or is another one now.
    """
    return _read(path, Classifier.load).module


def read_set(path: Path) -> PerturbedSet:
    """The perturbed set of a file, without its sources.

    Raises:
        StoreError: the file is missing or damaged.
    """
    return _read(path, PerturbedSet.load)


def _read(path: Path, load: Callable[[Artefact], Found]) -> Found:
    try:
        with safe_open(path, "pt") as file:
            header: dict[str, str] = file.metadata() or {}
            names: list[str] = list(file.keys())
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in names}
        content: dict[str, Any] = {name: json.loads(value) for name, value in header.items() if name != "versions"}
        return load(Artefact(content, tensors))
    except FileNotFoundError:
        raise StoreError(f"there is no {path}; run the experiment again with --force to write it") from None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error!r}); run the experiment again with --force") from None
