"""The real files, where PERTURBLEARN_DATA names them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from perturblearn.config import DataConfig
from perturblearn.data import load_dataset
from perturblearn.data.idx import hash_idx, read_idx
from perturblearn.data.mnist import MNIST, locate_idx

# SHA-256 of the four unpacked files as published, however they are compressed here.
MNIST_CONTENT = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def needed(data_dir: Path, name: str) -> Path:
    if not (data_dir / name).exists():
        pytest.skip(f"there is no {name} in PERTURBLEARN_DATA")
    return data_dir / name


def test_mnist_is_the_published_one(data_dir: Path) -> None:
    needed(data_dir, "MNIST")
    assert {name: hash_idx(path) for name, path in locate_idx(MNIST, data_dir).items()} == MNIST_CONTENT


@pytest.mark.parametrize(
    ("name", "folder", "classes", "n_samples", "n_heldout"),
    [("mnist", "MNIST", ("1", "2"), 12_700, 2_167), ("fashion_mnist", "FashionMNIST", ("0", "9"), 12_000, 2_000)],
)
def test_the_papers_two_classes(
    data_dir: Path, name: str, folder: str, classes: tuple[str, str], n_samples: int, n_heldout: int
) -> None:
    raw = needed(data_dir, folder) / "raw"
    data = load_dataset(DataConfig(name=name, classes=classes), data_dir=data_dir)
    assert (data.n_samples, data.n_heldout, data.input_dim) == (n_samples, n_heldout, 784)
    images = next(
        path for path in (raw / "train-images-idx3-ubyte", raw / "train-images-idx3-ubyte.gz") if path.exists()
    )
    # The published mean pixel is rounded to four digits.
    assert read_idx(images).mean(dtype=np.float64) / 255 == pytest.approx(data.mean, abs=5e-5)
    low, high = data.value_range
    assert (float(data.inputs.min()), float(data.inputs.max())) == (low, high)


@pytest.mark.long  # 60,000 images are decoded; tests/data/test_folder.py reads archives of every form
def test_cifar10_as_jpeg_images_in_a_tar_file(data_dir: Path) -> None:
    path = needed(data_dir, "cifar10-jpeg.tar.xz")
    data = load_dataset(DataConfig(name=f"folder:{path}", centre=False, flatten=False))
    assert data.inputs.shape == (50_000, 3, 32, 32)
    assert data.heldout_inputs.shape == (10_000, 3, 32, 32)
    assert data.class_names[:3] == ("airplane", "automobile", "bird")
    assert torch.bincount(data.labels).tolist() == [5_000] * 10
    # The channel means known of CIFAR-10, to the digits given; JPEG moves them by less than a grey level.
    assert data.inputs.mean((0, 2, 3), dtype=torch.float64).tolist() == pytest.approx(
        [0.4914, 0.4822, 0.4465], abs=1 / 255
    )
