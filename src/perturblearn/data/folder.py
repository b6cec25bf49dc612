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
from perturblearn.data.images import Resize, decode_image, resized
from perturblearn.data.labels import choose_classes
from perturblearn.data.members import Parts, walk_members
from perturblearn.data.raw import RawData, mean_value
from perturblearn.data.scan import FolderLayout, scan_folder
from perturblearn.errors import DataError

_USUAL_SIZE = 64
"""Large enough for most photos to be recognised, and small enough to train on a laptop."""
NAMED_IMAGES = 2
"""How many unreadable images a warning names."""


def read_folder(
    path: Path,
    classes: Sequence[str] | None = None,
    *,
    skip_bad: bool = False,
    image_size: int | None = None,
    resize: Resize = "crop",
) -> RawData:
    """Decode the images of the chosen classes, in the sorted order of their paths.

    The folders between a class and its images are groups if every decoded image lies in exactly one such folder and
    these have at least two names. Otherwise they are searched for images.

    Args:
        path: a folder, or a .zip or .tar file (compressed by gzip, bzip2 or xz), whose members are read as a stream.
        classes: classes to decode, by name or index; None decodes all.
        skip_bad: skip images that ``decode_image`` refuses, with a warning, instead of raising an error.
        image_size: height and width to which every image is brought; None leaves them as they are.
        resize: how; see ``resized``.

    Returns:
        Inputs (N, channels, height, width) uint8, with one channel if all images are grey, otherwise three; all class
        names, sorted; the mean over the decoded training images (over all images if there is no split); groups; the
        skipped images.

    Raises:
        DataError: as ``scan_folder``; an image is unreadable, or all of a class are; images differ in size.
    """
    layout = scan_folder(path)
    wanted = choose_classes(layout.class_names, classes)
    training = _PartReader(layout, layout.training, wanted)
    heldout = None if layout.heldout is None else _PartReader(layout, layout.heldout, wanted)
    readers = [training] if heldout is None else [training, heldout]
    skipped = tuple(sorted(_decode(path, readers, skip_bad=skip_bad, image_size=image_size, resize=resize)))
    if skipped:
        _check_classes(path, layout, training, wanted)
        _warn_of_skipped(path, skipped)
    channels = max(reader.channels for reader in readers)
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


class _PartReader:
    """Collects the images of one part, which may arrive in any order (that of an archive), in sorted order."""

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
        """Labels of the images that were not skipped."""
        return self._labels[self._kept]

    @property
    def paths(self) -> list[Parts]:
        """Paths of the images that were not skipped."""
        return [parts for parts, kept in zip(self.row, self._kept, strict=True) if kept]

    @property
    def channels(self) -> int:
        return 0 if self._pixels is None else self._pixels.shape[1]

    def put(self, parts: Parts, image: NDArray[np.uint8]) -> None:
        if self._pixels is None:
            self._pixels = np.zeros((len(self.row), *image.shape), dtype=np.uint8)
        elif self._pixels.shape[1] < image.shape[0]:
            self._pixels = np.repeat(self._pixels, image.shape[0], axis=1)
        # Broadcasting gives a grey image among coloured ones the same value in each channel.
        self._pixels[self.row[parts]] = image

    def skip(self, parts: Parts) -> None:
        self._kept[self.row[parts]] = False

    def tensors(self, channels: int) -> tuple[Tensor, Tensor]:
        labels = torch.from_numpy(self.labels)
        if self._pixels is None:
            return torch.zeros((0, channels, 0, 0), dtype=torch.uint8), labels
        # Indexing copies all images, so it is done only if some were skipped.
        pixels = self._pixels if self._kept.all() else self._pixels[self._kept]
        return torch.from_numpy(pixels if pixels.shape[1] == channels else np.repeat(pixels, channels, axis=1)), labels


def _decode(
    path: Path, readers: list[_PartReader], *, skip_bad: bool, image_size: int | None, resize: Resize
) -> list[str]:
    """Decode every image into its part; returns the names of the skipped ones."""
    first: tuple[str, tuple[int, ...]] | None = None
    skipped: list[str] = []
    for member in walk_members(path):
        reader = next((reader for reader in readers if member.parts in reader.row), None)
        if reader is None:
            continue
        name = "/".join(member.parts)
        content = member.read()
        try:
            image = decode_image(content, name=f"{name} in {path}")
        except DataError as error:
            if not skip_bad:
                raise DataError(f"{error}, or skip unreadable images with --data.skip_bad true") from error
            reader.skip(member.parts)
            skipped.append(name)
            continue
        if image_size is not None:
            image = resized(image, image_size, resize)
        size = image.shape[1:]
        first = first or (name, size)
        if size != first[1]:
            small = min(_USUAL_SIZE, *size, *first[1])
            raise DataError(
                f"{name} in {path} has {size[1]} x {size[0]} pixels but {first[0]} has {first[1][1]} x {first[1][0]}; "
                f"resize all images to the same size, for example with --data.image_size {small}"
            )
        reader.put(member.parts, image)
    return skipped


def _check_classes(path: Path, layout: FolderLayout, training: _PartReader, wanted: list[int]) -> None:
    counts = np.bincount(training.labels, minlength=len(layout.class_names))
    for index in wanted:
        if counts[index] == 0:
            name = layout.class_names[index]
            part = "" if layout.heldout is None else "training "
            first = "/".join(layout.training[name][0])
            raise DataError(
                f"every {part}image of the class {name} in {path} is unreadable, the first being {first}; replace "
                "them, or choose other classes with data.classes"
            )


def _warn_of_skipped(path: Path, skipped: tuple[str, ...]) -> None:
    more = len(skipped) - NAMED_IMAGES
    named = ", ".join(skipped[:NAMED_IMAGES]) + (f" and {more} more" if more > 0 else "")
    images = "1 unreadable image" if len(skipped) == 1 else f"{len(skipped)} unreadable images"
    warnings.warn(f"skipped {images} in {path}: {named}", stacklevel=2)


def _groups(
    class_level: int, training: _PartReader, heldout: _PartReader | None
) -> tuple[Tensor | None, Tensor | None, tuple[str, ...]]:
    parts = [reader.paths for reader in (training, heldout) if reader is not None]
    # A path consists of the folders above, the class, the group and the file.
    if any(len(image) != class_level + 3 for paths in parts for image in paths):
        return None, None, ()
    names = [np.array([image[class_level + 1] for image in paths], dtype=np.str_) for paths in parts]
    groups, heldout_groups, group_names = group_positions(names[0], names[1] if len(names) > 1 else None, what="groups")
    # A single name for all, such as the folder ``images`` of Tiny ImageNet, distinguishes nothing.
    return (groups, heldout_groups, group_names) if len(group_names) > 1 else (None, None, ())
