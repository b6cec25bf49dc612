"""Weights from files, read without running anything in them."""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from perturblearn.classifiers.importing import described
from perturblearn.errors import ModelError
from perturblearn.store import file_hash

_NESTED = ("state_dict", "model_state_dict", "model")
"""Where training scripts keep the state dict beside the optimiser's."""
_PREFIXES = ("", "module.", "body.", "module.body.")
"""What may stand before a body's names: nothing; DistributedDataParallel's; our networks'; our stored classifiers'."""
_DAMAGED = (
    pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, TypeError, LookupError, AttributeError,
    OverflowError, MemoryError, AssertionError, struct.error, zipfile.BadZipFile,
)  # fmt: skip
"""What reading a damaged file raises, by where the damage lies."""


def load_weights(module: nn.Module, path: str | PathLike[str]) -> None:
    """Give a network's body the weights of a file.

    Args:
        module: the body; its parameters and buffers are replaced, in its own precision.
        path: a safetensors file (told by its content), or one written by torch.save that holds a state dict and nothing
            that would run code: the state dict itself, or under ``state_dict``, ``model_state_dict`` or ``model``.
            Names may begin with ``module.`` (DistributedDataParallel), and those of our own classifiers' files are
            understood.

    Raises:
        ModelError: there is no such file, it cannot be read, or it holds more than tensors, NaN or another network's
            weights.
    """
    path = Path(path)
    # Before anything is changed: a network with half of the weights would be no network at all.
    state = _those_of(module, _read_state(path), path)
    module.load_state_dict(state)


def checkpoint_fingerprint(path: str | PathLike[str]) -> str:
    """SHA-256 of a checkpoint's content.

    Raises:
        ModelError: there is no such file, or it cannot be read.
    """
    path = Path(path)
    _require_file(path)
    try:
        return file_hash(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _read_state(path: Path) -> Mapping[str, Tensor]:
    _require_file(path)
    try:
        with path.open("rb") as file:
            beginning = file.read(9)
    except OSError as error:
        raise _unreadable(path, error) from error
    # A safetensors file is the length of a JSON object of less than 2^32 bytes, then the object.
    if beginning[4:] == b"\0\0\0\0{":
        return _read_safetensors(path)
    if beginning.startswith((b"PK\x03\x04", b"\x80")):
        return _state_in(_read_torch(path), path)
    raise ModelError(
        f"the checkpoint {path} is neither a safetensors file nor one written by torch.save; save the weights with "
        "torch.save(model.state_dict(), ...) or as safetensors"
    )


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, *_DAMAGED) as error:
        raise _unreadable(path, error) from error


def _read_torch(path: Path) -> Any:
    try:
        # By the open file, because torch would judge by the name. It warns of forms that it may not be able to read.
        with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
            return torch.load(file, map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        # Torch's restricted unpickler says so of what it does not know, and of programs. It executes neither.
        refused = isinstance(error, pickle.UnpicklingError) and "unsupported" in str(error).lower()
        if refused or "TorchScript" in str(error):
            raise ModelError(
                f"the checkpoint {path} holds more than tensors, and reading it could run code; save the state dict "
                "with torch.save(model.state_dict(), ...) or as safetensors"
            ) from None
        # Not in torch's words, which advise to read the file without the restriction.
        raise ModelError(f"the checkpoint {path} is damaged or cut off; replace it by an intact copy") from None


def _state_in(content: Any, path: Path) -> Mapping[str, Tensor]:
    for key in (None, *_NESTED):
        state = content if key is None else content.get(key) if isinstance(content, Mapping) else None
        if (
            isinstance(state, Mapping)
            and state
            and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items())
        ):
            return state
    raise ModelError(
        f"the checkpoint {path} holds no state dict, a mapping of names to tensors; save one with "
        "torch.save(model.state_dict(), ...) or as safetensors"
    )


def _those_of(module: nn.Module, found: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The entries for this module, under its own names.

    Raises:
        ModelError: some are missing or left over, of another shape or type, or not finite.
    """
    wanted = module.state_dict()
    candidates = [
        {name.removeprefix(prefix): tensor for name, tensor in found.items() if name.startswith(prefix)}
        for prefix in _PREFIXES
    ]
    state = max(candidates, key=lambda candidate: len(candidate.keys() & wanted.keys()))
    wrong = "holds the weights of another network"
    advice = "give the file that belongs to this model and these data, or change the model's configuration"
    for name in wanted:
        if name not in state:
            raise ModelError(f"the checkpoint {path} {wrong}: it has no {name}; {advice}")
    for name in state:
        if name not in wanted:
            raise ModelError(f"the checkpoint {path} {wrong}: its {name} is none of this one's; {advice}")
    for name, target in wanted.items():
        tensor = state[name]
        if tensor.shape != target.shape:
            raise ModelError(
                f"the checkpoint {path} {wrong}: its {name} has shape {tuple(tensor.shape)}, this one's "
                f"{tuple(target.shape)}; {advice}"
            )
        if tensor.is_floating_point() != target.is_floating_point() or tensor.layout != target.layout:
            raise ModelError(
                f"the checkpoint {path} {wrong}: its {name} is of type {tensor.dtype}, this one's {target.dtype}; "
                f"{advice}"
            )
        broken = int((~torch.isfinite(tensor)).sum())
        if broken:
            raise ModelError(
                f"the checkpoint {path} has {broken} values in {name} that are NaN or infinite; give one of a training "
                "that did not diverge"
            )
    return state


def _require_file(path: Path) -> None:
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise ModelError(f"the checkpoint {path} {problem}; name a file of weights")


def _unreadable(path: Path, error: BaseException) -> ModelError:
    return ModelError(f"the checkpoint {path} cannot be read ({described(error)}); replace it by an intact copy")
