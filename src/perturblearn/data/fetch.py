"""Download of a known file, verified by its checksum."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from perturblearn.errors import DataError

TIMEOUT_SECONDS = 10


def fetch(url: str, path: Path, *, sha256: str, advice: str) -> None:
    """Download ``url`` to ``path``, once, without retries.

    Args:
        url: where the file is published.
        path: its destination; the folder is created.
        sha256: the checksum of its content; a file with another checksum is not kept.
        advice: a clause that says what the user can do without a network.

    Raises:
        DataError: the folder is not writable, the download failed, or the checksum differs.
    """
    new_folders = [folder for folder in path.parents if not folder.exists()]
    try:
        _check_writable(path.parent, advice)
        _download(url, path, sha256=sha256, advice=advice)
    finally:
        for folder in new_folders:  # innermost first; folders that contain the file are not empty and stay
            with suppress(OSError):
                folder.rmdir()


def _download(url: str, path: Path, *, sha256: str, advice: str) -> None:
    import pooch

    downloader: Any = pooch.HTTPDownloader(progressbar=False, timeout=TIMEOUT_SECONDS)
    with _quiet(pooch.get_logger()):
        try:
            pooch.retrieve(
                url,
                known_hash=f"sha256:{sha256}",
                fname=path.name,
                path=path.parent,
                downloader=downloader,
            )
        # Network errors are OSErrors; pooch raises ValueError for a wrong checksum.
        except OSError as error:
            reason = type(error).__name__
            raise DataError(
                f"{path} does not exist and could not be downloaded from {url} ({reason}); {advice}"
            ) from error
        except ValueError as error:
            raise DataError(
                f"{url} did not return the published {path.name} (its checksum differs); {advice}"
            ) from error


def _check_writable(folder: Path, advice: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"the data are not in {folder}, and the folder is not writable ({reason}); {advice}") from error


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    # pooch reports each download on stderr, but only our command line may write to the terminal.
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
