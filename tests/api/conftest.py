from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _undrawn(undrawn_pictures: None) -> None: ...
