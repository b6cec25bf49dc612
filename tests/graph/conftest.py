from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.graph.clusters import Machines


@pytest.fixture(scope="package")
def ray_machines() -> Iterator[Machines]:
    """Two machines for all of this folder's tests on Ray: those that die are replaced, and starting them takes long."""
    from tests.graph.clusters import machines

    with machines(2) as found:
        yield found
