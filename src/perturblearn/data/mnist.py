"""MNIST and Fashion-MNIST in the folders that torchvision uses."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from perturblearn.data.fetch import fetch
from perturblearn.data.idx import read_idx
from perturblearn.data.raw import RawData
from perturblearn.errors import DataError

PARTS = ("train", "t10k")


@dataclass(frozen=True)
class IdxDataset:
    """Location and source of four IDX files, the first training labels, and the mean pixel that the papers subtract."""

    folder: str
    url: str
    sha256: dict[str, str]
    first_labels: tuple[int, ...]
    mean: float
    class_names: tuple[str, ...]


MNIST = IdxDataset(
    folder="MNIST/raw",
    url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    sha256={
        "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    first_labels=(5, 0, 4, 1, 9, 2, 1, 3, 1, 4),
    mean=0.1307,
    class_names=tuple(str(digit) for digit in range(10)),
)
"""LeCun's digits: 60,000 + 10,000 grey images of 28 x 28; the checksums are those of the published .gz files."""

FASHION_MNIST = IdxDataset(
    folder="FashionMNIST/raw",
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    sha256={
        "train-images-idx3-ubyte": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
    first_labels=(9, 0, 0, 3, 0, 2, 7, 2, 5, 5),
    mean=0.2860,
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
)
"""Zalando's images of clothing, in the same format."""

IDX_DATASETS = {"mnist": MNIST, "fashion_mnist": FASHION_MNIST}
"""Both data sets by their names in a configuration."""


def locate_idx(dataset: IdxDataset, directory: Path) -> dict[str, Path]:
    """The four files by their names without ``.gz``; missing ones are downloaded.

    Raises:
        DataError: a file is missing and cannot be downloaded.
    """
    folder = directory / dataset.folder
    advice = (
        f"put {', '.join(dataset.sha256)} (each plain or .gz) into {folder}, "
        "or give the data directory with --data-dir or PERTURBLEARN_DATA"
    )
    files = {}
    for name, sha256 in dataset.sha256.items():
        packed = folder / f"{name}.gz"
        files[name] = folder / name if (folder / name).is_file() else packed
        if not files[name].is_file():
            fetch(f"{dataset.url}{packed.name}", packed, sha256=sha256, advice=advice)
    return files


def read_idx_dataset(dataset: IdxDataset, directory: Path) -> RawData:
    """Images and labels of both parts.

    Args:
        dataset: which of the two.
        directory: the data directory, with the folder ``MNIST/raw`` or ``FashionMNIST/raw``; missing files are
            downloaded into it.

    Returns:
        Inputs (N, 1, height, width) uint8; the published mean pixel.

    Raises:
        DataError: files are missing, damaged, or do not match.
    """
    files = locate_idx(dataset, directory)
    (inputs, labels), (heldout_inputs, heldout_labels) = (_read_part(dataset, files, part) for part in PARTS)
    return RawData(
        inputs=inputs,
        labels=labels,
        class_names=dataset.class_names,
        value_range=(0.0, 1.0),
        mean=dataset.mean,
        heldout_inputs=heldout_inputs,
        heldout_labels=heldout_labels,
    )


def warn_of_order(name: str, directory: Path) -> None:
    """Warn if the training images are not in the published order, by which scripts pair them with what they draw.

    Args:
        name: of a data set; nothing is said of those that are not in `IDX_DATASETS`.
        directory: the data directory.

    Raises:
        DataError: files are missing or damaged.
    """
    if name not in IDX_DATASETS:
        return
    dataset = IDX_DATASETS[name]
    path = locate_idx(dataset, directory)[f"{PARTS[0]}-labels-idx1-ubyte"]
    labels = tuple(int(label) for label in read_idx(path)[: len(dataset.first_labels)])
    if labels != dataset.first_labels:
        found, published = (", ".join(map(str, of)) for of in (labels, dataset.first_labels))
        warnings.warn(
            f"{path} begins with the labels {found}, but the published file with {published}: the images are in "
            "another order, so published draws of targets fall on other images and g may differ from the paper's; put "
            f"the published files into {path.parent}",
            stacklevel=2,
        )


def _read_part(dataset: IdxDataset, files: dict[str, Path], part: str) -> tuple[Tensor, Tensor]:
    images_path, labels_path = files[f"{part}-images-idx3-ubyte"], files[f"{part}-labels-idx1-ubyte"]
    images, labels = read_idx(images_path), read_idx(labels_path)
    for path, array, dimensions in ((images_path, images, 3), (labels_path, labels, 1)):
        if array.ndim != dimensions or array.dtype != np.uint8:
            raise DataError(
                f"{path} holds {array.dtype} numbers in {array.ndim} dimensions, not bytes in {dimensions}; "
                "replace it with the original"
            )
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} has {len(images)} images but {labels_path} {len(labels)} labels; "
            "replace both with the originals"
        )
    if len(labels) and int(labels.max()) >= len(dataset.class_names):
        raise DataError(f"{labels_path} has the label {labels.max()}, beyond 9; replace it with the original")
    return torch.from_numpy(images)[:, None], torch.from_numpy(labels.astype(np.int64))
