"""Where data are looked for, and what a name stands for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.writers import class_images, png_bytes, write_files

import perturblearn.data.folder as folder_module
import perturblearn.data.load as load_module
import perturblearn.data.scan as scan_module
from perturblearn.config import DataConfig
from perturblearn.data import data_fingerprint, data_outline, depends_on_seed, load_dataset, resolve_data_dir
from perturblearn.data.decoded import DecodedCache
from perturblearn.errors import DataError


def test_the_argument_then_the_variable_then_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PERTURBLEARN_DATA", str(tmp_path / "variable"))
    assert resolve_data_dir(tmp_path / "argument") == tmp_path / "argument"
    assert resolve_data_dir() == tmp_path / "variable"
    monkeypatch.setenv("PERTURBLEARN_DATA", "")
    assert resolve_data_dir().parts[-2:] == ("perturblearn", "data")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_data_dir("~/data") == tmp_path / "data"


def test_objects_in_python_have_no_loader() -> None:
    config = DataConfig(name="python")
    for use in (load_dataset, data_fingerprint, depends_on_seed):
        with pytest.raises(DataError, match="python stands for data passed as Python objects"):
            use(config)


def aged(path: Path, seconds: int = 60) -> Path:
    """The files as if they had been changed so long ago."""
    for file in (path, *path.rglob("*")):
        changed = file.stat().st_mtime_ns - seconds * 10**9
        os.utime(file, ns=(changed, changed))
    return path


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that are decoded, with nothing kept from other tests."""
    monkeypatch.setattr(load_module, "_last_decoded", DecodedCache())
    names: list[str] = []
    real = folder_module.decode_image

    def note(encoded: bytes, *, name: str) -> Any:
        names.append(name)
        return real(encoded, name=name)

    monkeypatch.setattr(folder_module, "decode_image", note)
    return names


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_folder_is_decoded_once_for_outline_and_seeds(tmp_path: Path, decoded: list[str], form: str) -> None:
    path = aged(write_files(tmp_path / "set", class_images(split=False), form))
    config = DataConfig(name=f"folder:{path}")
    outline = data_outline(config)
    hashes = [load_dataset(config, seed=seed).content_hash() for seed in (0, 1, 2, 0)]
    assert len(decoded) == 5
    assert outline.n_samples == 3
    assert hashes[0] == hashes[3]
    # Other preparation reads the same images; other classes or rules of reading do not.
    load_dataset(config.model_copy(update={"centre": False, "flatten": False, "n_samples": 2}))
    assert len(decoded) == 5
    load_dataset(config.model_copy(update={"classes": ("bee", "ant")}))
    assert len(decoded) == 10
    load_dataset(config.model_copy(update={"classes": ("bee", "ant"), "skip_bad": True}))
    assert len(decoded) == 15


def test_what_is_kept_is_what_is_read(tmp_path: Path) -> None:
    paths = [aged(write_files(tmp_path / name, class_images(split=False), "folder")) for name in ("a", "b")]
    (paths[1] / "ant/0.png").write_bytes(png_bytes(np.full((4, 6, 3), 200, np.uint8)))
    configs = [DataConfig(name=f"folder:{path}", centre=False) for path in paths]
    first = [load_dataset(config).content_hash() for config in configs]
    assert first[0] != first[1]
    assert [load_dataset(config).content_hash() for config in configs] == first


def test_changed_files_are_read_again(tmp_path: Path, decoded: list[str]) -> None:
    path = aged(write_files(tmp_path / "set", class_images(split=False), "folder"))
    config = DataConfig(name=f"folder:{path}", centre=False, n_samples=3)
    before, outline = load_dataset(config), data_outline(config)
    assert len(decoded) == 5
    (path / "bee/7.png").write_bytes(png_bytes(np.full((4, 6, 3), 250, np.uint8)))
    (path / "ant/0.png").write_bytes(png_bytes(np.full((4, 6, 3), 251, np.uint8)))
    after = load_dataset(config)
    assert len(decoded) == 11
    assert before.provenance["sha256"] != after.provenance["sha256"]
    assert (after.n_samples, after.n_heldout) == (3, 2)
    assert data_outline(config) != outline
    (path / "bee/7.png").unlink()
    aged(path)
    assert data_fingerprint(config) not in (before.provenance["sha256"], after.provenance["sha256"])


def test_a_folder_that_has_not_changed_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = aged(write_files(tmp_path / "set", class_images(split=False), "folder"))
    config = DataConfig(name=f"folder:{path}")
    first = data_fingerprint(config)
    monkeypatch.setattr(scan_module, "hashlib", None)  # hashing once more would fail
    assert data_fingerprint(config) == first


def test_the_same_bytes_elsewhere_are_the_same_data(tmp_path: Path, decoded: list[str]) -> None:
    paths = [aged(write_files(tmp_path / name / "set", class_images(split=False), "folder")) for name in ("a", "b")]
    made = [load_dataset(DataConfig(name=f"folder:{path}")) for path in paths]
    assert made[0].provenance == made[1].provenance
    assert len(decoded) == 5
