"""Loading weights from files without executing any code in them."""

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

from perturblearn.classifiers.importing import describe_error
from perturblearn.errors import ModelError
from perturblearn.store import file_hash

_NESTED = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts store the state dict, beside the optimiser's."""
_PREFIXES = ("", "module.", "body.", "module.body.")
"""Prefixes of parameter names: none, DistributedDataParallel's, our networks', and our stored classifiers'."""
_DAMAGED = (
    pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, TypeError, LookupError, AttributeError,
    OverflowError, MemoryError, AssertionError, struct.error, zipfile.BadZipFile,
)  # fmt: skip
"""Errors raised by reading a damaged file, depending on the position of the damage."""


def load_weights(module: nn.Module, path: str | PathLike[str]) -> None:
    """Load the weights of a file into a network's body.

    Args:
        module: the body; its parameters and buffers are replaced, in its own precision.
        path: a safetensors file (recognised by its content), or a file written by torch.save that contains a state dict
            and no code. The state dict may be stored under ``state_dict``, ``model_state_dict`` or ``model``. Names may
            begin with ``module.`` (DistributedDataParallel) or as in our own classifiers' files.

    Raises:
        ModelError: the file does not exist or cannot be read, or contains more than tensors, NaN, or the weights of
            another network.
    """
    path = Path(path)
    # Everything is checked before anything is changed, so that an error leaves the network as it was.
    state = _those_of(module, _read_state(path), path)
    module.load_state_dict(state)


def checkpoint_fingerprint(path: str | PathLike[str]) -> str:
    """SHA-256 of a checkpoint's content.

    Raises:
        ModelError: the file does not exist or cannot be read.
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
    # A safetensors file begins with the length of a JSON object (below 2^32, so four of its eight bytes are 0) and the
    # object itself.
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
        # An open file, because torch treats some file names specially. Its warnings are about formats that it refuses.
        with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
            return torch.load(file, map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        # So torch's restricted unpickler reports unknown types and TorchScript programs. It executes neither.
        refused = isinstance(error, pickle.UnpicklingError) and "unsupported" in str(error).lower()
        if refused or "TorchScript" in str(error):
            raise ModelError(
                f"the checkpoint {path} contains more than tensors, and loading it could run code; save the state dict "
                "with torch.save(model.state_dict(), ...) or as safetensors"
            ) from None
        # Torch's own message is not shown, because it advises loading the file without the restriction.
        raise ModelError(f"the checkpoint {path} is damaged or truncated; replace it with an intact copy") from None


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
        f"the checkpoint {path} contains no state dict, a mapping of names to tensors; save one with "
        "torch.save(model.state_dict(), ...) or as safetensors"
    )


def _those_of(module: nn.Module, found: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The entries for this module, under the module's names.

    Raises:
        ModelError: entries are missing or left over, differ in shape or type, or are not finite.
    """
    wanted = module.state_dict()
    candidates = [
        {name.removeprefix(prefix): tensor for name, tensor in found.items() if name.startswith(prefix)}
        for prefix in _PREFIXES
    ]
    state = max(candidates, key=lambda candidate: len(candidate.keys() & wanted.keys()))
    wrong = "contains the weights of another network"
    advice = "give the file that belongs to this model and these data, or change the model's configuration"
    for name in wanted:
        if name not in state:
            raise ModelError(f"the checkpoint {path} {wrong}: {name} is missing; {advice}")
    for name in state:
        if name not in wanted:
            raise ModelError(f"the checkpoint {path} {wrong}: this network has no {name}; {advice}")
    for name, target in wanted.items():
        tensor = state[name]
        if tensor.shape != target.shape:
            raise ModelError(
                f"the checkpoint {path} {wrong}: its {name} has shape {tuple(tensor.shape)} instead of "
                f"{tuple(target.shape)}; {advice}"
            )
        if tensor.is_floating_point() != target.is_floating_point() or tensor.layout != target.layout:
            raise ModelError(
                f"the checkpoint {path} {wrong}: its {name} is of type {tensor.dtype} instead of {target.dtype}; "
                f"{advice}"
            )
        broken = int((~torch.isfinite(tensor)).sum())
        if broken:
            raise ModelError(
                f"the checkpoint {path} has {broken} values in {name} that are NaN or infinite; give the checkpoint "
                "of a training that did not diverge"
            )
    return state


def _require_file(path: Path) -> None:
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise ModelError(f"the checkpoint {path} {problem}; give a file of weights")


def _unreadable(path: Path, error: BaseException) -> ModelError:
    return ModelError(f"the checkpoint {path} cannot be read ({describe_error(error)}); replace it with an intact copy")
