from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.cli.commands import DEEP, run_folders, words

from perturblearn.cli import main

F = words(
    "--seeds 1 --attack.name pgd --attack.steps 2 --standard.model.name mlp --standard.model.hidden_dim 8 "
    "--standard.epochs 2"
)


@pytest.fixture(autouse=True)
def _undrawn(undrawn_pictures: None) -> None: ...


@pytest.fixture
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PERTURBLEARN_DATA", raising=False)


@pytest.fixture(scope="session")
def of_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of the digits, only to be read."""
    out = tmp_path_factory.mktemp("digits")
    assert main(["perturb", *DEEP, "--out", str(out), "--quiet"]) == 0
    return run_folders(out)[0]


@pytest.fixture(scope="session")
def of_a_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of random images in ``images.npz`` beside it, whose g would be a two-layer network; only to be read."""
    out = tmp_path_factory.mktemp("file")
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (60, 8, 8)).astype(np.uint8), np.arange(60) % 2
    np.savez(out / "images.npz", inputs=images, labels=labels)
    np.savez(out / "others.npz", inputs=255 - images, labels=labels)
    assert main(["perturb", *F, "--data.name", f"npz:{out}/images.npz", "--out", str(out / "sets"), "--quiet"]) == 0
    return run_folders(out / "sets")[0]


@pytest.fixture
def own_set(of_a_file: Path, tmp_path: Path) -> Path:
    """A copy of that set, called set, to be damaged."""
    shutil.copytree(of_a_file, tmp_path / "set")
    return Path("set")
