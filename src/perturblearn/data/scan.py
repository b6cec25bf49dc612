"""The images and classes in a folder or an archive, found by their names alone, and their hash."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from perturblearn.data.images import image_suffixes
from perturblearn.data.members import Parts, walk_members
from perturblearn.errors import DataError

TRAINING_FOLDERS = ("train", "training")
HELDOUT_FOLDERS = ("test", "val", "valid", "validation")
"""Names of a held-out folder, in the order of preference if there are several."""


@dataclass(frozen=True)
class FolderLayout:
    """The images of a folder by part and class.

    Args:
        class_names: sorted.
        class_level: number of folders above a class folder, in every path.
        training, heldout: the paths of each part's images by class, sorted; ``heldout`` is None without a split.
    """

    class_names: tuple[str, ...]
    class_level: int
    training: dict[str, list[Parts]]
    heldout: dict[str, list[Parts]] | None


def scan_folder(path: Path) -> FolderLayout:
    """Find the parts, the classes and the images by their names alone.

    A single folder around everything is skipped. If the top folders are ``train`` and one of ``test``, ``val``,
    ``valid``, ``validation``, they are the split. Of several held-out folders the first in this order is used and the
    others are ignored. Hidden files, and files whose names do not end like an image's, are ignored too.

    Args:
        path: a folder, or a .zip or .tar file.

    Raises:
        DataError: there are no images or fewer than two classes, a class folder is empty, images are outside the class
            folders, or a held-out class is not a training class.
    """
    images, folders = _list_images(path)
    if not images:
        raise DataError(f"there are no images in {path}; put them into one subfolder per class")
    root = _common_root(images, folders)
    tops = {folder[len(root)] for folder in folders if len(folder) > len(root) and folder[: len(root)] == root}
    split = _split_folders(tops)
    if split is None:
        level = len(root)
        training, heldout = _by_class(path, root, images, folders), None
    else:
        level = len(root) + 1
        training, heldout = (_by_class(path, (*root, top), images, folders) for top in split)
    names = tuple(sorted(training))
    for name in names:
        if not name.isascii() and name.encode("utf-8", "ignore").decode() != name:
            raise DataError(f"the class folder {os.fsencode(name)!r} in {path} has a name that is not text; rename it")
    if len(names) < 2:
        raise DataError(f"{path} has only one class ({', '.join(names)}); put the images into one subfolder per class")
    unknown = sorted(set(heldout or ()) - set(names))
    if unknown:
        raise DataError(f"{path} has held-out images of the class {unknown[0]}, but no training images; add some")
    return FolderLayout(names, level, training, heldout)


def image_files(path: Path) -> list[Path]:
    """The files that ``folder_hash`` reads: the images of a folder, or the archive itself."""
    if path.is_file():
        return [path]
    return [path.joinpath(*parts) for parts in _list_images(path)[0]]


def folder_hash(path: Path) -> str:
    """SHA-256 over the images' relative names and contents, or over an archive file itself."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    suffixes = image_suffixes()
    digests = [
        ("/".join(member.parts), hashlib.sha256(member.read()).hexdigest())
        for member in walk_members(path)
        if not member.is_folder and _suffix(member.parts) in suffixes
    ]
    return hashlib.sha256(repr(sorted(digests)).encode()).hexdigest()


def _suffix(parts: Parts) -> str:
    return Path(parts[-1]).suffix.lower()


def _list_images(path: Path) -> tuple[list[Parts], set[Parts]]:
    suffixes = image_suffixes()
    images: set[Parts] = set()
    folders: set[Parts] = set()
    for member in walk_members(path):
        if member.is_folder:
            folders.add(member.parts)
        elif _suffix(member.parts) in suffixes:
            images.add(member.parts)
        # Archives need not list their folders.
        folders.update(member.parts[:depth] for depth in range(1, len(member.parts)))
    return sorted(images), folders


def _common_root(images: list[Parts], folders: set[Parts]) -> Parts:
    """The innermost single folder around all class folders or parts."""
    root: Parts = ()
    while True:
        depth = len(root) + 1
        tops = {folder[:depth] for folder in folders if len(folder) >= depth and folder[: len(root)] == root}
        inner = {folder[:depth] for folder in folders if len(folder) > depth}
        loose = any(len(image) == depth and image[: len(root)] == root for image in images)
        if len(tops) != 1 or loose or not tops <= inner:
            return root
        (root,) = tops


def _split_folders(tops: set[str]) -> tuple[str, str] | None:
    by_name = {top.lower(): top for top in tops}
    if len(by_name) < len(tops) or not set(by_name) <= {*TRAINING_FOLDERS, *HELDOUT_FOLDERS}:
        return None
    training = [by_name[name] for name in TRAINING_FOLDERS if name in by_name]
    heldout = [by_name[name] for name in HELDOUT_FOLDERS if name in by_name]
    return (training[0], heldout[0]) if training and heldout else None


def _by_class(path: Path, root: Parts, images: list[Parts], folders: set[Parts]) -> dict[str, list[Parts]]:
    depth = len(root)
    classes: dict[str, list[Parts]] = {
        folder[depth]: [] for folder in folders if len(folder) > depth and folder[:depth] == root
    }
    loose: list[str] = []
    for image in images:
        if image[:depth] != root:
            continue
        if len(image) == depth + 1:
            loose.append("/".join(image))
        else:
            classes[image[depth]].append(image)
    if len(loose) == 1:
        raise DataError(f"{loose[0]} in {path} is not in a class folder; move it into one or remove it")
    if loose:
        raise DataError(
            f"{loose[0]} and {len(loose) - 1} more in {path} are not in a class folder, so they have no label; put "
            "the images of each class into a folder named after it"
        )
    empty = sorted(name for name, members in classes.items() if not members)
    if empty:
        raise DataError(
            f"the class folder {'/'.join((*root, empty[0]))} in {path} contains no images; add some or remove it"
        )
    return classes
