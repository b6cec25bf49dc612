from __future__ import annotations

from pathlib import Path

import pytest
from tests.perturbed.sets import write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set of 20 training samples in three shards, and of 3 held-out ones, to be damaged."""
    return write(tmp_path / "set")
