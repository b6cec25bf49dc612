"""Attacks within a band, where it is known what f sees inside and outside of it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from perturblearn.attacks import L2, PGD, AttackContext, AttackResult, LInf
from perturblearn.data.bands import Band, ComponentBand, FrequencyBand, WithoutBand
from perturblearn.errors import ConfigError

SHAPE = (1, 4, 4)
LOW = FrequencyBand(SHAPE, 0.0, 0.5)


def made() -> tuple[nn.Module, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 1)).double()
    module[1].weight.data = torch.randn(1, 16, generator=generator, dtype=torch.float64)
    sources = torch.rand(9, *SHAPE, generator=generator, dtype=torch.float64)
    return module, sources, 2 * torch.randint(2, (9,), generator=generator) - 1


def run(attack: PGD, value_range: tuple[float, float] = (-math.inf, math.inf)) -> AttackResult:
    return attack.search(*made(), AttackContext(value_range=value_range))


@pytest.mark.parametrize("band", [LOW, WithoutBand(LOW), ComponentBand(torch.eye(16).double()[:3])])
def test_of_a_linear_f_the_best_perturbation_is_its_weight_s_part_in_the_band(band: Band) -> None:
    module, sources, targets = made()
    result = run(PGD(L2(), 0.7, steps=10, band=band))
    part = band(module.state_dict()["1.weight"])
    expected = 0.7 * targets[:, None] * part / part.norm()
    # The search stops short of epsilon by what somebody who measures in another order might find too much.
    assert torch.allclose((result.inputs - sources).flatten(1), expected, rtol=0, atol=1e-7)


def test_within_the_range_a_perturbation_leaves_the_band_by_what_clipping_takes_off() -> None:
    _, sources, _ = made()
    result = run(PGD(L2(), 2.0, steps=10, band=LOW), (0.0, 1.0))
    change = (result.inputs - sources).flatten(1)
    assert (float(result.inputs.min()), float(result.inputs.max())) == (0.0, 1.0)  # it was clipped
    assert bool((change.norm(dim=1) <= 2).all())
    # Where it is not clipped, it is the change of a point of the band: of 9 images some have no pixel at an edge.
    outside = (change - LOW(change)).norm(dim=1)
    assert float(outside.max()) > 0
    assert bool((outside < 0.5 * change.norm(dim=1)).all())


def test_all_frequencies_are_no_restriction() -> None:
    free, banded = (run(PGD(L2(), 0.7, steps=5, band=band)) for band in (None, FrequencyBand(SHAPE, 0.0, 1.0)))
    assert torch.allclose(free.inputs, banded.inputs, rtol=0, atol=1e-12)


def test_signs_would_leave_the_band() -> None:
    with pytest.raises(ConfigError, match="a band applies to l2, whose steps stay in it, not to linf; choose l2"):
        PGD(LInf(), 0.1, band=LOW)
