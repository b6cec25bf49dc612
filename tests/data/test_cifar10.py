"""CIFAR-10's batches, as published and as an attacker would write them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest
import requests
import torch
from tests.data.writers import cifar_files, python2_pickle, write_files

from perturblearn.config import DataConfig
from perturblearn.data import data_fingerprint, load_dataset
from perturblearn.data.inert_pickle import read_inert_pickle
from perturblearn.errors import DataError

CONFIG = DataConfig(name="cifar10", centre=False, flatten=False)


def place(directory: Path, files: dict[str, bytes], form: str = "folder") -> None:
    inside = {f"cifar-10-batches-py/{name}": content for name, content in files.items()}
    if form == "folder":
        write_files(directory, inside, "folder")
    else:
        write_files(directory / "x", inside, "tar.gz").rename(directory / "cifar-10-python.tar.gz")


@pytest.mark.parametrize("form", ["folder", "tar.gz"])
@pytest.mark.parametrize("python2", [True, False])
def test_reads_the_batches_in_order(tmp_path: Path, form: str, python2: bool) -> None:
    files = cifar_files(python2=python2)
    # Even the real pickle module reads back what the writer made.
    array = pickle.loads(files["data_batch_2"], encoding="bytes")[b"data"]
    place(tmp_path, files, form)
    data = load_dataset(CONFIG, data_dir=tmp_path)
    assert data.inputs.shape == (100, 3, 32, 32)
    assert data.heldout_inputs.shape == (20, 3, 32, 32)
    pixels = (data.inputs * 255).round()
    assert pixels[:, 0, 0, 0].tolist() == list(range(100))
    assert torch.equal(pixels[20:40].flatten(1), torch.from_numpy(array.copy()).float())
    assert data.labels.tolist() == [index % 10 for index in range(20)] * 5
    assert data.class_names == tuple(f"class{index}" for index in range(10))


def test_folder_and_archive_are_one_identity_and_one_mean(tmp_path: Path) -> None:
    files = cifar_files()
    for form in ("folder", "tar.gz"):
        (tmp_path / form).mkdir()
        place(tmp_path / form, files, form)
    assert data_fingerprint(CONFIG, data_dir=tmp_path / "folder") == data_fingerprint(
        CONFIG, data_dir=tmp_path / "tar.gz"
    )
    two = load_dataset(DataConfig(name="cifar10", classes=("3", "class5")), data_dir=tmp_path / "folder")
    everything = load_dataset(CONFIG, data_dir=tmp_path / "folder")
    # The mean is that of all classes; float32 sums of 3e5 values in blocks stay within 1e-6.
    assert two.mean == pytest.approx(float(everything.inputs.double().mean()), abs=1e-6)
    assert two.n_samples == 20


class Malicious:
    """Makes a file when it is unpickled by the book."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_malicious_batch_is_refused_and_not_executed(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "executed"
    payload = pickle.dumps({b"data": Malicious(trace), b"labels": []}, protocol=protocol)
    place(tmp_path, {**cifar_files(), "data_batch_3": payload})
    with pytest.raises(DataError, match=r"data_batch_3 tries to run \w+\.mkdir, .*this was refused and not executed"):
        load_dataset(CONFIG, data_dir=tmp_path)
    assert not trace.exists()
    pickle.loads(payload)  # the trap works
    assert trace.exists()


@pytest.mark.parametrize(
    "target",
    ["builtins eval", "builtins getattr", "numpy load", "numpy ndarray.tofile", "copyreg _reconstructor", "os system"],
)
def test_no_other_name_is_looked_up(target: str) -> None:
    module, name = target.split()
    with pytest.raises(DataError, match="refused and not executed"):
        read_inert_pickle(f"c{module}\n{name}\n.".encode(), name="batch")


def test_what_a_pickle_sets_on_a_stand_in_does_not_outlive_it() -> None:
    # BUILD with a slot state sets attributes on whatever is on the stack, here the stand-in itself.
    name = b"cnumpy.core.multiarray\n_reconstruct\n"
    changed: Any = read_inert_pickle(name + b"(N(dVmark\nVowned\nstb.", name="batch")
    assert changed.mark == "owned"
    assert not hasattr(read_inert_pickle(name + b".", name="batch"), "mark")


def test_arrays_of_objects_are_refused() -> None:
    content = pickle.dumps({b"data": np.array([{}], dtype=object)}, protocol=2)
    with pytest.raises(DataError, match="not one of unsigned bytes"):
        read_inert_pickle(content, name="batch")


def changed(**changes: Any) -> bytes:
    content: dict[bytes, Any] = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1]}
    for key, value in changes.items():
        content.pop(key.encode()) if value is None else content.update({key.encode(): value})
    return python2_pickle(content)


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (b"", "is not a readable pickle"),
        (b"garbage", "is not a readable pickle"),
        (cifar_files()["data_batch_1"][:500], "is not a readable pickle"),
        (changed(data=None), "has no entry 'data'"),
        (changed(labels=None), "has no entry 'labels'"),
        (changed(data=np.zeros((2, 100), np.uint8)), "has no array of 3072 bytes per image"),
        (changed(data=[1, 2]), "has no array of 3072 bytes per image"),
        (changed(labels=[0]), "has 2 images but 1 labels"),
        (changed(labels=[b"cat", b"dog"]), "has no list of integer labels"),
        (pickle.dumps([1, 2], protocol=2), "has no entry 'data'"),
    ],
)
def test_a_damaged_batch_is_named(tmp_path: Path, payload: bytes, complaint: str) -> None:
    place(tmp_path, {**cifar_files(), "data_batch_4": payload})
    with pytest.raises(DataError, match=f"cifar-10-batches-py/data_batch_4 {complaint}"):
        load_dataset(CONFIG, data_dir=tmp_path)


def test_labels_beyond_the_class_names(tmp_path: Path) -> None:
    place(tmp_path, {**cifar_files(), "test_batch": changed(labels=[0, 10])})
    with pytest.raises(DataError, match="labels from 0 to 10 for 10 classes"):
        load_dataset(CONFIG, data_dir=tmp_path)


@pytest.mark.parametrize("form", ["folder", "tar.gz"])
def test_a_missing_batch_is_named(tmp_path: Path, form: str) -> None:
    files = cifar_files()
    del files["data_batch_5"]
    place(tmp_path, files, form)
    with pytest.raises(DataError, match=r"lacks data_batch_5; replace it"):
        load_dataset(CONFIG, data_dir=tmp_path)


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    place(tmp_path, cifar_files(), "tar.gz")
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(archive.read_bytes()[:50_000])
    with pytest.raises(DataError, match=r"cifar-10-python.tar.gz cannot be read"):
        load_dataset(CONFIG, data_dir=tmp_path)
    archive.write_bytes(b"no archive at all")
    with pytest.raises(DataError, match=r"cifar-10-python.tar.gz cannot be read"):
        load_dataset(CONFIG, data_dir=tmp_path)


def test_absent_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise requests.exceptions.ConnectTimeout("too slow")

    monkeypatch.setattr(pooch, "retrieve", unreachable)
    with pytest.raises(DataError, match=r"could not be downloaded .*ConnectTimeout.*put cifar-10-python.tar.gz into"):
        load_dataset(CONFIG, data_dir=tmp_path)
