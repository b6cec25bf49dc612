from __future__ import annotations

import pytest
import torch

from perturblearn.attacks import geometry_inspired
from perturblearn.errors import ConfigError

Q = torch.tensor([3.0, -4.0, 0.0, 0.5], dtype=torch.float64)
TARGETS = torch.tensor([1, -1, -1])


@pytest.mark.parametrize(
    ("norm", "pixels", "step"),
    [
        ("l2", None, Q / Q.norm()),
        ("linf", None, torch.tensor([1.0, -1.0, 0.0, 1.0])),
        ("l0", 2, torch.tensor([0.6, -0.8, 0.0, 0.0], dtype=torch.float64)),
        ("l0", 4, Q / Q.norm()),
    ],
)
def test_formulas(norm: str, pixels: int | None, step: torch.Tensor) -> None:
    found = geometry_inspired(Q, TARGETS, norm=norm, epsilon=0.2, pixels=pixels)
    for row, sign in zip(found, TARGETS.tolist(), strict=True):
        assert torch.allclose(row, 0.2 * sign * step.double(), rtol=0, atol=1e-15)
    # The normal's length does not count.
    assert torch.allclose(found, geometry_inspired(1e-30 * Q, TARGETS, norm=norm, epsilon=0.2, pixels=pixels))


def test_edges() -> None:
    assert float(geometry_inspired(Q, TARGETS, norm="l2", epsilon=0.0).abs().max()) == 0
    assert float(geometry_inspired(0 * Q, TARGETS, norm="l2", epsilon=0.2).abs().max()) == 0
    assert geometry_inspired(Q.float(), TARGETS, norm="l2", epsilon=0.2).dtype == torch.float32
    with pytest.raises(ConfigError, match=r"attack.norm = 'l1'"):
        geometry_inspired(Q, TARGETS, norm="l1", epsilon=0.2)
    with pytest.raises(ConfigError, match=r"attack.pixels = 5, but inputs have 4 coordinates"):
        geometry_inspired(Q, TARGETS, norm="l0", epsilon=0.2, pixels=5)
