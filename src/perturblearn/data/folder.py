"""Images in one folder per class, on disk or inside an archive."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from perturblearn.data.images import decode_image, image_suffixes
from perturblearn.data.labels import choose_classes
from perturblearn.data.members import Parts, walk_members
from perturblearn.data.raw import RawData, mean_value
from perturblearn.errors import DataError

TRAINING_FOLDERS = ("train", "training")
HELDOUT_FOLDERS = ("test", "val", "valid", "validation")
"""Names of a held-out folder, the one that is taken first if there are several."""


@dataclass(frozen=True)
class FolderLayout:
    """Which images there are: the paths of each part's images by class, sorted; ``heldout`` is None without a split."""

    class_names: tuple[str, ...]
    training: dict[str, list[Parts]]
    heldout: dict[str, list[Parts]] | None


def scan_folder(path: Path) -> FolderLayout:
    """Find the parts, the classes and the images by their names alone.

    Single folders around everything are looked through. If the top folders are ``train`` and one of ``test``,
    ``val``, ``valid``, ``validation``, they are the split; of several held-out folders the first in this order is taken
    and the others are left out. Hidden files, and files that are no images by their name, are ignored.

    Args:
        path: a folder, or a .zip or .tar file.

    Raises:
        DataError: no images, fewer than two classes, a class folder without images, an image outside the class
            folders, a held-out class that is not a training class.
    """
    images, folders = _list_images(path)
    if not images:
        raise DataError(f"there are no images in {path}; put them into one folder per class")
    root = _common_root(images, folders)
    tops = {folder[len(root)] for folder in folders if len(folder) > len(root) and folder[: len(root)] == root}
    split = _split_folders(tops)
    if split is None:
        training, heldout = _by_class(path, root, images, folders), None
    else:
        training, heldout = (_by_class(path, (*root, top), images, folders) for top in split)
    names = tuple(sorted(training))
    if len(names) < 2:
        raise DataError(f"{path} has one class only ({', '.join(names)}); put the images into one folder per class")
    unknown = sorted(set(heldout or ()) - set(names))
    if unknown:
        raise DataError(f"{path} has held-out images of the class {unknown[0]}, but no training images; add some")
    return FolderLayout(names, training, heldout)


def read_folder(path: Path, classes: Sequence[str] | None = None) -> RawData:
    """Decode the images of the wanted classes, in the sorted order of their paths.

    Args:
        path: a folder, or a .zip or .tar file (packed by gzip, bzip2 or xz), whose members are read as a stream.
        classes: classes to decode, by name or index; None decodes all.

    Returns:
        Inputs (N, channels, height, width) uint8, one channel if all images are grey, else three; all class names,
        sorted; the mean over the training images that were decoded (all of them where there is no split).

    Raises:
        DataError: as ``scan_folder``, and an unreadable image, or images of several sizes.
    """
    layout = scan_folder(path)
    wanted = choose_classes(layout.class_names, classes)
    training = _Pile(layout, layout.training, wanted)
    heldout = None if layout.heldout is None else _Pile(layout, layout.heldout, wanted)
    _decode(path, [training] if heldout is None else [training, heldout])
    channels = max(pile.channels for pile in (training, heldout) if pile is not None)
    inputs, labels = training.tensors(channels)
    heldout_inputs, heldout_labels = (None, None) if heldout is None else heldout.tensors(channels)
    return RawData(
        inputs=inputs,
        labels=labels,
        class_names=layout.class_names,
        value_range=(0.0, 1.0),
        mean=mean_value(inputs),
        heldout_inputs=heldout_inputs,
        heldout_labels=heldout_labels,
    )


def folder_hash(path: Path) -> str:
    """SHA-256 over the images' relative names and contents; of an archive, over the archive."""
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


class _Pile:
    """The images of one part, put in their places one by one."""

    def __init__(self, layout: FolderLayout, images: dict[str, list[Parts]], wanted: list[int]) -> None:
        names = [layout.class_names[index] for index in wanted]
        places = sorted((parts, name) for name in names for parts in images.get(name, ()))
        self.row = {parts: row for row, (parts, _) in enumerate(places)}
        index = {name: position for position, name in enumerate(layout.class_names)}
        self._labels = [index[name] for _, name in places]
        self._pixels: NDArray[np.uint8] | None = None

    @property
    def channels(self) -> int:
        return 0 if self._pixels is None else self._pixels.shape[1]

    def put(self, parts: Parts, image: NDArray[np.uint8]) -> None:
        if self._pixels is None:
            self._pixels = np.zeros((len(self.row), *image.shape), dtype=np.uint8)
        elif self._pixels.shape[1] < image.shape[0]:
            self._pixels = np.repeat(self._pixels, image.shape[0], axis=1)
        # A grey image among coloured ones gets the same value in each channel.
        self._pixels[self.row[parts]] = image

    def tensors(self, channels: int) -> tuple[Tensor, Tensor]:
        labels = torch.tensor(self._labels, dtype=torch.int64)
        if self._pixels is None:
            return torch.zeros((0, channels, 0, 0), dtype=torch.uint8), labels
        pixels = self._pixels
        return torch.from_numpy(pixels if pixels.shape[1] == channels else np.repeat(pixels, channels, axis=1)), labels


def _decode(path: Path, piles: list[_Pile]) -> None:
    first: tuple[str, tuple[int, ...]] | None = None
    for member in walk_members(path):
        pile = next((pile for pile in piles if member.parts in pile.row), None)
        if pile is None:
            continue
        name = "/".join(member.parts)
        image = decode_image(member.read(), name=f"{name} in {path}")
        size = image.shape[1:]
        first = first or (name, size)
        if size != first[1]:
            raise DataError(
                f"{name} in {path} has {size[1]} x {size[0]} pixels but {first[0]} {first[1][1]} x {first[1][0]}; "
                "bring all images to one size"
            )
        pile.put(member.parts, image)


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
        # An archive need not list its folders.
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
    for image in images:
        if image[:depth] != root:
            continue
        if len(image) == depth + 1:
            raise DataError(f"{'/'.join(image)} in {path} lies in no class folder; move it into one or remove it")
        classes[image[depth]].append(image)
    empty = sorted(name for name, members in classes.items() if not members)
    if empty:
        raise DataError(
            f"the class folder {'/'.join((*root, empty[0]))} in {path} holds no images; add some or remove the folder"
        )
    return classes
