"""Single files: written whole or not at all, and artefacts in one file of their own."""

# Safetensors is not typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import errno
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from perturblearn.errors import PerturbLearnError, StoreError
from perturblearn.store.artefact import Artefact
from perturblearn.store.versions import versions

if TYPE_CHECKING:
    from torch import Tensor

Built = TypeVar("Built")
_ADVICE = (
    "run the experiment again with --force, or name a file that perturblearn wrote, such as "
    "seed-0/standard.safetensors in the folder of a run"
)
_WHOLE = "artefact"
"""Key of a header that holds an artefact's whole content, as in the folder of a perturbed set."""


def cannot_write(place: Path, error: OSError, other: str) -> StoreError:
    """The error for a place that cannot be written.

    Args:
        place: a file or folder.
        error: why not.
        other: what can be done instead, such as "choose another folder with --out".
    """
    advice = ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = "free some space and give the same command again, or "
    elif error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
        advice = "make it writable, or "
    return StoreError(f"cannot write to {place} ({error.strerror or error}); {advice}{other}")


@contextmanager
def replacing(path: Path, other: str = "name a file in another folder") -> Iterator[Path]:
    """Write a file whole or not at all: it takes the place of an older one by a single rename when the block ends.

    Args:
        path: where the file belongs.
        other: what can be done if it cannot be written, see `cannot_write`.

    Yields:
        A path in the same folder, to be written.

    Raises:
        StoreError: the file cannot be written.
    """
    # In the same folder, because a rename is a single step within one file system only.
    scratch = path.parent / f".perturblearn-{uuid.uuid4().hex}"
    try:
        yield scratch
        os.replace(scratch, path)
    except OSError as error:
        raise cannot_write(path, error, other) from error
    finally:
        with suppress(OSError):
            scratch.unlink()


def write_tensors(tensors: Mapping[str, Tensor], path: Path, header: Mapping[str, str] | None = None) -> None:
    """Write named tensors as a safetensors file; equal tensors give equal files.

    Args:
        tensors: by name.
        path: where to.
        header: texts by name that the file holds besides.

    Raises:
        OSError: the path cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path.touch()
    mode = path.stat().st_mode
    try:
        save_file(separate(tensors), path, dict(header) if header else None)
    except SafetensorError as error:
        # safetensors reports a full disk as its own type of error.
        number = re.search(r"os error ([0-9]+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
    path.chmod(mode)  # safetensors makes files that only their owner can read, whatever the umask


def separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors requires them: on the CPU and without shared memory, copied only if necessary."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        storage = own.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != own.nbytes:
            own = own.clone()
        seen.add(own.untyped_storage().data_ptr())
        found[name] = own
    return found


def write_artefact(artefact: Artefact, path: Path) -> None:
    """Write an artefact as one file: its tensors, with all else as JSON values in the header.

    Raises:
        OSError: the path cannot be written.
    """
    header = {name: json.dumps(value) for name, value in {**artefact.content, "versions": versions()}.items()}
    write_tensors(artefact.tensors, path, header)


def load_from(source: Artefact | str | os.PathLike[str], what: str, build: Callable[[Artefact], Built]) -> Built:
    """What an artefact holds, or a file with one in the folder of a run or of a perturbed set.

    Args:
        source: the artefact, or the file's path.
        what: what it should hold, for errors.
        build: makes it of the artefact; errors about a file's content become one sentence.

    Raises:
        StoreError: there is no such file, it is damaged, or it holds something else.
    """
    if isinstance(source, Artefact):
        return build(source)
    artefact = _read_artefact(Path(source))
    try:
        return build(artefact)
    except PerturbLearnError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise StoreError(f"{source} holds no {what} ({error!r}); {_ADVICE}") from None


def _read_artefact(place: Path) -> Artefact:
    from safetensors import SafetensorError, safe_open

    if place.is_dir():
        raise StoreError(f"{place} is a folder; {_ADVICE}")
    try:
        with safe_open(place, "pt") as file:
            header: dict[str, str] = file.metadata() or {}
            names: list[str] = list(file.keys())
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in names}
        content: dict[str, Any] = {name: json.loads(value) for name, value in header.items() if name != "versions"}
    except FileNotFoundError:
        raise StoreError(f"there is no {place}; {_ADVICE}") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise StoreError(f"{place} is damaged or no file of perturblearn ({error}); {_ADVICE}") from None
    return Artefact(content.get(_WHOLE, content), tensors)
