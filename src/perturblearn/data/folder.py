"""Images in one folder per class, on disk or inside an archive."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from perturblearn.data.groups import group_positions
from perturblearn.data.images import decode_image
from perturblearn.data.labels import choose_classes
from perturblearn.data.members import Parts, walk_members
from perturblearn.data.raw import RawData, mean_value
from perturblearn.data.scan import FolderLayout, scan_folder
from perturblearn.errors import DataError

NAMED_IMAGES = 2
"""Unreadable images that a warning names."""


def read_folder(path: Path, classes: Sequence[str] | None = None, *, skip_bad: bool = False) -> RawData:
    """Decode the images of the wanted classes, in the sorted order of their paths.

    The folders between a class and its images are groups if every decoded image lies in exactly one such folder and
    these have at least two names; else they are looked through.

    Args:
        path: a folder, or a .zip or .tar file (packed by gzip, bzip2 or xz), whose members are read as a stream.
        classes: classes to decode, by name or index; None decodes all.
        skip_bad: leave out images that ``decode_image`` refuses, with a warning, instead of raising.

    Returns:
        Inputs (N, channels, height, width) uint8, one channel if all images are grey, else three; all class names,
        sorted; the mean over the training images that were decoded (all of them where there is no split); groups; the
        images that were left out.

    Raises:
        DataError: as ``scan_folder``; an unreadable image, or a class that has no others; images of several sizes.
    """
    layout = scan_folder(path)
    wanted = choose_classes(layout.class_names, classes)
    training = _Pile(layout, layout.training, wanted)
    heldout = None if layout.heldout is None else _Pile(layout, layout.heldout, wanted)
    piles = [training] if heldout is None else [training, heldout]
    skipped = tuple(sorted(_decode(path, piles, skip_bad=skip_bad)))
    if skipped:
        _check_classes(path, layout, training, wanted)
        _warn_of_skipped(path, skipped)
    channels = max(pile.channels for pile in piles)
    inputs, labels = training.tensors(channels)
    heldout_inputs, heldout_labels = (None, None) if heldout is None else heldout.tensors(channels)
    groups, heldout_groups, group_names = _groups(layout.class_level, training, heldout)
    return RawData(
        inputs=inputs,
        labels=labels,
        class_names=layout.class_names,
        value_range=(0.0, 1.0),
        mean=mean_value(inputs),
        heldout_inputs=heldout_inputs,
        heldout_labels=heldout_labels,
        groups=groups,
        heldout_groups=heldout_groups,
        group_names=group_names,
        skipped=skipped,
    )


class _Pile:
    """The images of one part, put in their places one by one."""

    def __init__(self, layout: FolderLayout, images: dict[str, list[Parts]], wanted: list[int]) -> None:
        names = [layout.class_names[index] for index in wanted]
        places = sorted((parts, name) for name in names for parts in images.get(name, ()))
        self.row = {parts: row for row, (parts, _) in enumerate(places)}
        index = {name: position for position, name in enumerate(layout.class_names)}
        self._labels = np.array([index[name] for _, name in places], dtype=np.int64)
        self._kept = np.ones(len(places), dtype=np.bool_)
        self._pixels: NDArray[np.uint8] | None = None

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of the images that are kept."""
        return self._labels[self._kept]

    @property
    def paths(self) -> list[Parts]:
        """Of the images that are kept."""
        return [parts for parts, kept in zip(self.row, self._kept, strict=True) if kept]

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

    def leave_out(self, parts: Parts) -> None:
        self._kept[self.row[parts]] = False

    def tensors(self, channels: int) -> tuple[Tensor, Tensor]:
        labels = torch.from_numpy(self.labels)
        if self._pixels is None:
            return torch.zeros((0, channels, 0, 0), dtype=torch.uint8), labels
        # Indexing would copy all images for nothing.
        pixels = self._pixels if self._kept.all() else self._pixels[self._kept]
        return torch.from_numpy(pixels if pixels.shape[1] == channels else np.repeat(pixels, channels, axis=1)), labels


def _decode(path: Path, piles: list[_Pile], *, skip_bad: bool) -> list[str]:
    """Put every image into its pile; the names of those that were left out."""
    first: tuple[str, tuple[int, ...]] | None = None
    skipped: list[str] = []
    for member in walk_members(path):
        pile = next((pile for pile in piles if member.parts in pile.row), None)
        if pile is None:
            continue
        name = "/".join(member.parts)
        content = member.read()
        try:
            image = decode_image(content, name=f"{name} in {path}")
        except DataError as error:
            if not skip_bad:
                raise DataError(f"{error}, or go on without unreadable images by --data.skip_bad true") from error
            pile.leave_out(member.parts)
            skipped.append(name)
            continue
        size = image.shape[1:]
        first = first or (name, size)
        if size != first[1]:
            raise DataError(
                f"{name} in {path} has {size[1]} x {size[0]} pixels but {first[0]} {first[1][1]} x {first[1][0]}; "
                "bring all images to one size"
            )
        pile.put(member.parts, image)
    return skipped


def _check_classes(path: Path, layout: FolderLayout, training: _Pile, wanted: list[int]) -> None:
    counts = np.bincount(training.labels, minlength=len(layout.class_names))
    for index in wanted:
        if counts[index] == 0:
            name = layout.class_names[index]
            part = "" if layout.heldout is None else "training "
            first = "/".join(layout.training[name][0])
            raise DataError(
                f"every {part}image of the class {name} in {path} is unreadable, the first being {first}; replace "
                "them, or choose other classes by data.classes"
            )


def _warn_of_skipped(path: Path, skipped: tuple[str, ...]) -> None:
    more = len(skipped) - NAMED_IMAGES
    named = ", ".join(skipped[:NAMED_IMAGES]) + (f" and {more} more" if more > 0 else "")
    images = "1 unreadable image" if len(skipped) == 1 else f"{len(skipped)} unreadable images"
    warnings.warn(f"left out {images} of {path}: {named}", stacklevel=2)


def _groups(
    class_level: int, training: _Pile, heldout: _Pile | None
) -> tuple[Tensor | None, Tensor | None, tuple[str, ...]]:
    parts = [pile.paths for pile in (training, heldout) if pile is not None]
    # A path is what lies above, the class, the group, the file.
    if any(len(image) != class_level + 3 for paths in parts for image in paths):
        return None, None, ()
    names = [np.array([image[class_level + 1] for image in paths], dtype=np.str_) for paths in parts]
    groups, heldout_groups, group_names = group_positions(names[0], names[1] if len(names) > 1 else None, what="groups")
    # One name for all, such as the folder ``images`` of Tiny ImageNet, tells nothing apart.
    return (groups, heldout_groups, group_names) if len(group_names) > 1 else (None, None, ())
