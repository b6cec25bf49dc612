"""Where data are looked for, and what a name stands for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from perturblearn.config import DataConfig
from perturblearn.data import data_fingerprint, depends_on_seed, load_dataset, resolve_data_dir
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
        with pytest.raises(DataError, match="python stands for data handed over as objects"):
            use(config)


def test_heavy_libraries_are_imported_only_when_needed() -> None:
    code = (
        "import sys; from perturblearn.config import DataConfig; from perturblearn.data import load_dataset; "
        "load_dataset(DataConfig(name='gauss')); sys.exit(sum(m in sys.modules for m in ('pooch', 'PIL', 'sklearn')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
