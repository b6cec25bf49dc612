"""What perturbing and measuring a large data set takes beside the data."""

from __future__ import annotations

import pytest
from tests.experiment.large_set import STATUS, D, N
from tests.store.killing import printed_by


# Must be held, in sizes of the inputs (80 MB): x', the noise that it starts from, and the coefficients C, half as wide.
@pytest.mark.parametrize(("source", "held"), [("natural", 1), ("none", 1.5), ("gauss", 2)])
@pytest.mark.skipif(not STATUS.exists(), reason="only Linux says how much memory a program has held")
def test_memory_of_a_large_set(source: str, held: float) -> None:
    taken = int(printed_by("tests.experiment.large_set", source))
    size = 4 * N * D
    # Labels, targets and marks of success are a tenth of a size, and blocks of activations and gradients less than a
    # half. Gradients of all samples at once would be two sizes more, activations of 50 units half a size each.
    assert size < taken < (held + 1) * size
