"""Loading weights from files without executing any code in them."""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from perturblearn.classifiers.copying import copied
from perturblearn.classifiers.importing import describe_error
from perturblearn.errors import ModelError
from perturblearn.store import file_hash

_NESTED = ("state_dict", "model_state_dict", "model", "net", "network")
"""Keys under which training scripts store the state dict, or a dict around it, beside the optimiser's."""
_PREFIXES = ("module.", "_orig_mod.", "body.", "model.", "net.", "network.")
"""Beginnings of names: DistributedDataParallel's, torch.compile's, our networks', and those of attributes that hold the
network. Stored classifiers have several of them, and so have compiled networks trained in parallel."""
_MOST_PREFIXES = 3
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
            and no code. The state dict may be stored under ``state_dict``, ``model_state_dict``, ``model``, ``net`` or
            ``network``. Names may begin with ``module.`` (DistributedDataParallel), ``_orig_mod.`` (torch.compile),
            ``model.``, ``net.`` or ``network.``, or as in our own classifiers' files. Whatever torch itself would load
            strictly is loaded, such as files from before a module renamed its parameters.

    Raises:
        ModelError: the file does not exist or cannot be read, or contains more than tensors, NaN, or the weights of
            another network.
    """
    path = Path(path)
    # Everything is checked before anything is changed, so that an error leaves the network as it was.
    state = _those_of(module, _read_state(path), path)
    module.load_state_dict(state, strict=False)


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
    state = _find_state(content)
    if state is None:
        raise ModelError(
            f"the checkpoint {path} contains no state dict, a mapping of names to tensors; save one with "
            "torch.save(model.state_dict(), ...) or as safetensors"
        )
    return state


def _find_state(content: Any) -> Mapping[str, Tensor] | None:
    if not isinstance(content, Mapping) or not content:
        return None
    if all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()):
        return content
    inner = (_find_state(content[key]) for key in _NESTED if key in content)
    return next((state for state in inner if state is not None), None)


def _those_of(module: nn.Module, found: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The entries for this module, under the names that its `load_state_dict` takes.

    Raises:
        ModelError: entries are missing or left over, differ in shape or type, or are not finite.
    """
    wanted = module.state_dict()
    # The most promising first: names may have changed since the file was written, so few need be the same.
    candidates = sorted(_without_prefixes(found), key=lambda candidate: -len(candidate.keys() & wanted.keys()))
    refusals = [_refusal(module, wanted, candidate) for candidate in candidates]
    if None not in refusals:
        raise ModelError(
            f"the checkpoint {path} contains the weights of another network: {refusals[0]}; give the file that belongs "
            "to this model and these data, or change the model's configuration"
        )
    state = candidates[refusals.index(None)]
    for name, tensor in state.items():
        broken = int((~torch.isfinite(tensor)).sum())
        if broken:
            raise ModelError(
                f"the checkpoint {path} has {broken} values in {name} that are NaN or infinite; give the checkpoint "
                "of a training that did not diverge"
            )
    return state


def _refusal(module: nn.Module, wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str | None:
    """Why a network cannot have these entries; None if it can."""
    for name in (name for name in wanted if name in state):
        tensor, target = state[name], wanted[name]
        if tensor.shape != target.shape:
            return f"its {name} has shape {tuple(tensor.shape)} instead of {tuple(target.shape)}"
        if tensor.is_floating_point() != target.is_floating_point() or tensor.layout != target.layout:
            return f"its {name} is of type {tensor.dtype} instead of {target.dtype}"
    # Only torch knows which names fit: modules rename entries of earlier versions, or add what these lack.
    try:
        missing, unexpected = copied(module, type(module).__name__).load_state_dict(dict(state), strict=False)
    except RuntimeError as error:
        return describe_error(error)
    shared = _shared_with(module, state)
    lacking = next((name for name in missing if name not in shared), None)
    if lacking is not None:
        return f"{lacking} is missing"
    return f"this network has no {unexpected[0]}" if unexpected else None


def _without_prefixes(found: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """The entries as they are, and those that begin with known prefixes without these."""
    candidates = [dict(found)]
    for _ in range(_MOST_PREFIXES + 1):
        yield from candidates
        candidates = [
            inner
            for candidate in candidates
            for prefix in _PREFIXES
            if (inner := {name.removeprefix(prefix): candidate[name] for name in candidate if name.startswith(prefix)})
        ]


def _shared_with(module: nn.Module, state: Mapping[str, Tensor]) -> set[str]:
    """Names of parameters that a file may omit, because it has them under another name."""
    tensors = {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers())}
    present = {id(tensor) for name, tensor in tensors.items() if name in state}
    return {name for name, tensor in tensors.items() if id(tensor) in present}


def _require_file(path: Path) -> None:
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise ModelError(f"the checkpoint {path} {problem}; give a file of weights")


def _unreadable(path: Path, error: BaseException) -> ModelError:
    return ModelError(f"the checkpoint {path} cannot be read ({describe_error(error)}); replace it with an intact copy")
