"""MNIST and Fashion-MNIST in torchvision's folders; downloads only from a pretended network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest
import requests
import torch
from tests.data.writers import idx_bytes, write_idx_dataset

from perturblearn.config import DataConfig
from perturblearn.data import data_fingerprint, depends_on_seed, load_dataset
from perturblearn.data.mnist import FASHION_MNIST, IDX_DATASETS, MNIST, warn_of_order
from perturblearn.errors import DataError


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    ("name", "folder", "mean"), [("mnist", "MNIST", 0.1307), ("fashion_mnist", "FashionMNIST", 0.286)]
)
def test_two_classes_centred_and_flat(tmp_path: Path, name: str, folder: str, mean: float, compress: bool) -> None:
    arrays = write_idx_dataset(tmp_path, f"{folder}/raw", compress=compress)
    data = load_dataset(DataConfig(name=name, classes=("2", "1")), data_dir=tmp_path)
    labels = arrays["train-labels-idx1-ubyte"]
    kept = np.isin(labels, (1, 2))
    expected = arrays["train-images-idx3-ubyte"][kept].reshape(-1, 20) / 255 - mean
    # One division and one subtraction in float32, each rounded by at most 2**-24 of values up to 1.
    assert np.abs(data.inputs.numpy() - expected).max() <= 2 * 2.0**-24
    assert data.labels.tolist() == [1 if label == 2 else -1 for label in labels[kept]]
    assert data.n_heldout == 4
    assert data.mean == mean
    assert data.image_shape == (1, 4, 5)
    assert data.value_range == pytest.approx((-mean, 1 - mean), abs=2.0**-23)


def test_fashion_classes_by_index_and_name(tmp_path: Path) -> None:
    write_idx_dataset(tmp_path, "FashionMNIST/raw", compress=True)
    by_index = load_dataset(DataConfig(name="fashion_mnist", classes=("0", "9")), data_dir=tmp_path)
    by_name = load_dataset(DataConfig(name="fashion_mnist", classes=("T-shirt/top", "Ankle boot")), data_dir=tmp_path)
    assert by_index.class_names == by_name.class_names == ("T-shirt/top", "Ankle boot")
    assert by_index.content_hash() == by_name.content_hash()


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_another_order_than_the_published_one_is_told(tmp_path: Path, name: str) -> None:
    dataset = IDX_DATASETS[name]
    write_idx_dataset(tmp_path, dataset.folder, compress=False)
    with pytest.warns(UserWarning, match="another order, so published draws of targets fall on other images"):
        warn_of_order(name, tmp_path)
    labels = np.array([*dataset.first_labels, 3, 4], dtype=np.uint8)
    (tmp_path / dataset.folder / "train-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    warn_of_order(name, tmp_path)  # a warning would be an error
    warn_of_order("digits", tmp_path)


def test_identity_is_that_of_the_content_not_of_place_or_packing(tmp_path: Path) -> None:
    config = DataConfig(name="mnist")
    for place, compress, per_class in (("a", False, 3), ("b", True, 3), ("c", True, 4)):
        write_idx_dataset(tmp_path / place, "MNIST/raw", compress=compress, per_class=per_class)
    a, b, c = (data_fingerprint(config, data_dir=tmp_path / place) for place in "abc")
    assert a == b != c
    assert not depends_on_seed(config)
    assert depends_on_seed(DataConfig(name="mnist", n_samples=20))


@pytest.mark.parametrize(
    ("name", "array", "complaint"),
    [
        ("train-labels-idx1-ubyte", np.zeros(29, np.uint8), "has 30 images but .*train-labels-idx1-ubyte 29 labels"),
        ("train-labels-idx1-ubyte", np.full(30, 10, np.uint8), "has the label 10, beyond 9"),
        ("t10k-labels-idx1-ubyte", np.zeros((20, 1), np.uint8), "in 2 dimensions, not bytes in 1"),
        (
            "train-images-idx3-ubyte",
            np.zeros((30, 4, 5), np.float32),
            "holds float32 numbers in 3 dimensions, not bytes",
        ),
    ],
)
def test_files_that_do_not_fit_are_named(tmp_path: Path, name: str, array: Any, complaint: str) -> None:
    write_idx_dataset(tmp_path, "MNIST/raw", compress=False)
    (tmp_path / "MNIST/raw" / name).write_bytes(idx_bytes(array))
    with pytest.raises(DataError, match=complaint):
        load_dataset(DataConfig(name="mnist"), data_dir=tmp_path)


def test_without_a_network_the_sentence_says_where_to_put_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def unreachable(url: str, **_: Any) -> None:
        calls.append(url)
        raise requests.exceptions.ConnectionError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", unreachable)
    folder = re.escape(str(tmp_path / "MNIST/raw"))
    complaint = f"could not be downloaded from .*ConnectionError.*train-images-idx3-ubyte.* into {folder}, .*--data-dir"
    with pytest.raises(DataError, match=complaint):
        load_dataset(DataConfig(name="mnist"), data_dir=tmp_path)
    assert calls == [f"{MNIST.url}train-images-idx3-ubyte.gz"]  # no second try


def test_a_download_that_is_not_the_published_file_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forge(self: Any, url: str, output_file: Any, pooch: Any, check_only: bool = False) -> None:
        Path(output_file.name if hasattr(output_file, "name") else output_file).write_bytes(b"something else")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", forge)
    with pytest.raises(DataError, match=r"did not return the published train-images-idx3-ubyte.gz"):
        load_dataset(DataConfig(name="mnist"), data_dir=tmp_path)
    assert not list(tmp_path.rglob("*ubyte*"))


def test_a_download_is_checked_quiet_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_idx_dataset(tmp_path / "server", "MNIST/raw", compress=True)
    hashes = {path.stem: pooch.file_hash(str(path)) for path in (tmp_path / "server/MNIST/raw").iterdir()}
    for name in MNIST.sha256:
        monkeypatch.setitem(MNIST.sha256, name, hashes[name])

    def serve(self: Any, url: str, output_file: Any, pooch: Any, check_only: bool = False) -> None:
        content = (tmp_path / "server/MNIST/raw" / url.rpartition("/")[2]).read_bytes()
        Path(output_file.name if hasattr(output_file, "name") else output_file).write_bytes(content)

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", serve)
    data = load_dataset(DataConfig(name="mnist"), data_dir=tmp_path / "new")
    assert data.n_samples == 30
    assert len(list((tmp_path / "new/MNIST/raw").iterdir())) == 4
    assert capfd.readouterr() == ("", "")


def test_a_directory_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"file/MNIST/raw, and the folder is not writable \(.*\); put train-images"):
        load_dataset(DataConfig(name="mnist"), data_dir=tmp_path / "file")


def test_pinned_checksums_are_sha256() -> None:
    for dataset in (MNIST, FASHION_MNIST):
        assert all(re.fullmatch("[0-9a-f]{64}", value) for value in dataset.sha256.values())
        assert len(dataset.class_names) == 10


def test_all_ten_classes_unflattened_without_centring(tmp_path: Path) -> None:
    arrays = write_idx_dataset(tmp_path, "MNIST/raw", compress=False)
    data = load_dataset(DataConfig(name="mnist", centre=False, flatten=False), data_dir=tmp_path)
    assert data.inputs.shape == (30, 1, 4, 5)
    assert torch.equal(
        (data.inputs[:, 0] * 255).round().to(torch.uint8), torch.tensor(arrays["train-images-idx3-ubyte"])
    )
    assert data.labels.tolist() == arrays["train-labels-idx1-ubyte"].tolist()
    assert data.value_range == (0.0, 1.0)
