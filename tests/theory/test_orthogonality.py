from __future__ import annotations

import pytest
import torch
from tests.theory.reference import normal

from perturblearn.errors import ConfigError, DataError
from perturblearn.theory import orthogonality


@pytest.mark.parametrize("workspace", [None, 1])
def test_against_a_loop(workspace: int | None) -> None:
    x = normal(30, 40, seed=0) * torch.linspace(0.5, 2, 30, dtype=torch.float64)[:, None]
    lengths = [float(row @ row) ** 0.5 for row in x]
    largest = max(abs(float(x[n] @ x[k])) for n in range(30) for k in range(30) if n != k)
    found = orthogonality(x, slope=0.3, workspace=workspace)
    assert found.right == pytest.approx(largest, rel=1e-12)
    assert (found.shortest, found.longest) == pytest.approx((min(lengths), max(lengths)), rel=1e-12)
    left = 0.3**3 * min(lengths) ** 4 / (3 * 30 * max(lengths) ** 2)
    assert found.left == pytest.approx(left, rel=1e-12)
    assert found.factor == pytest.approx(largest / left, rel=1e-12)
    assert not found.holds


def test_orthogonal_samples_meet_the_condition() -> None:
    found = orthogonality(3 * torch.eye(5), slope=0.5)
    assert found.holds
    assert (found.right, found.factor) == (0, 0)
    assert found.left == pytest.approx(0.125 * 81 / (15 * 9))


def test_at_a_slope_of_zero_it_never_holds() -> None:
    found = orthogonality(normal(4, 9, seed=0), slope=0.0)
    assert (found.holds, found.left, found.factor) == (False, 0, float("inf"))
    assert not orthogonality(torch.eye(3), slope=0.0).holds
    assert not orthogonality(torch.zeros(3, 2), slope=0.5).holds


def test_the_papers_own_setting_misses_it_by_eight_orders() -> None:
    x = 2 * torch.rand(1000, 10_000, generator=torch.Generator().manual_seed(0)) - 1
    # Products of noise reach 4 to 5 standard deviations sqrt(d)/3 = 33; the left side is known from the settings.
    factor = orthogonality(x, slope=0.01).factor
    assert 1e8 < factor < 3e8


@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_input() -> None:
    with pytest.raises(DataError, match="x has 1 samples, but orthogonality is about pairs"):
        orthogonality(torch.ones(1, 3), slope=0.1)
    with pytest.raises(DataError, match="NaN"):
        orthogonality(torch.full((2, 3), float("nan")), slope=0.1)
    with pytest.raises(ConfigError, match=r"slope = 1\.5"):
        orthogonality(torch.ones(2, 3), slope=1.5)
