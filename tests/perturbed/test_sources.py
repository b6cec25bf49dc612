"""What is perturbed: inputs, nothing, or noise."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from perturblearn.config import OneStepConfig, RebuildConfig
from perturblearn.data import Dataset
from perturblearn.errors import ConfigError, DataError
from perturblearn.perturbed import Sources, draw_sources

NOISE = ["uniform", "gauss"]


def data(
    n: int = 6, m: int = 4, *shape: int, bounds: tuple[float, float] = (-2.0, 3.0), dtype: torch.dtype = torch.float32
) -> Dataset:
    shape = shape or (5,)
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([1, -1])
    return Dataset(
        inputs=torch.rand(n, *shape, generator=generator).to(dtype),
        labels=labels[torch.arange(n) % 2],
        heldout_inputs=torch.rand(m, *shape, generator=generator).to(dtype),
        heldout_labels=labels[(torch.arange(m) + 1) % 2],
        value_range=bounds,
        class_names=("+1", "-1"),
    )


def drawn(source: str, of: Dataset, *, heldout: bool = False, count: int | None = None, seed: int = 0) -> Sources:
    everything = of.n_heldout if heldout else of.n_samples
    attack = RebuildConfig() if source == "another" else OneStepConfig(source=source)
    return draw_sources(attack, of, heldout=heldout, count=count or everything, seed=seed)


@pytest.mark.parametrize("heldout", [False, True])
@pytest.mark.parametrize("source", ["natural", "none"])
def test_data_sources(source: str, heldout: bool) -> None:
    of = data()
    inputs, labels = (of.heldout_inputs, of.heldout_labels) if heldout else (of.inputs, of.labels)
    sources = drawn(source, of, heldout=heldout)
    assert torch.equal(sources.inputs, inputs if source == "natural" else torch.zeros_like(inputs))
    # The attack looks at f at the data, also where it adds to nothing.
    assert torch.equal(sources.points, inputs)
    assert sources.labels is not None
    assert torch.equal(sources.labels, labels)
    assert sources.index.tolist() == list(range(len(inputs)))


@pytest.mark.parametrize("heldout", [False, True])
@pytest.mark.parametrize("count", [None, 3])
def test_another_sample_of_the_part_stands_for_each_at_random(count: int | None, heldout: bool) -> None:
    of = data(60, 40)
    inputs, labels = (of.heldout_inputs, of.heldout_labels) if heldout else (of.inputs, of.labels)
    sources = drawn("another", of, heldout=heldout, count=count)
    own = Sources.index_of(len(inputs), count or len(inputs))
    assert not bool((sources.index == own).any())
    assert torch.equal(sources.inputs, inputs[sources.index])
    assert sources.labels is not None
    assert torch.equal(sources.labels, labels[sources.index])
    assert sources.originals is not None
    assert torch.equal(sources.originals, inputs[own])
    assert torch.equal(sources.index, drawn("another", of, heldout=heldout, count=count).index)
    assert not torch.equal(sources.index, drawn("another", of, heldout=heldout, count=count, seed=1).index)


def test_every_other_sample_is_drawn_as_often() -> None:
    # 3 samples: either of the other two with probability 1/2; of 400 draws 5 standard errors are 5 * 10.
    firsts = [int(drawn("another", data(3), seed=seed).index[0]) for seed in range(400)]
    assert set(firsts) == {1, 2}
    assert abs(firsts.count(1) - 200) < 50


def test_a_single_sample_has_no_other_one() -> None:
    with pytest.raises(DataError, match="a part of the data has a single one; add samples"):
        drawn("another", data(1))


@pytest.mark.parametrize("count", [None, 2])
def test_nothing_takes_no_memory(count: int | None) -> None:
    sources = drawn("none", data(6, 4, 3, 2), count=count)
    assert sources.inputs.shape == (count or 6, 3, 2)
    assert sources.inputs.untyped_storage().nbytes() == 4


@pytest.mark.parametrize("source", ["natural", "none"])
def test_all_of_the_data_are_not_copied(source: str) -> None:
    of = data()
    sources = drawn(source, of)
    assert sources.points.data_ptr() == of.inputs.data_ptr()
    assert sources.labels is not None
    assert sources.labels.data_ptr() == of.labels.data_ptr()


@pytest.mark.parametrize("heldout", [False, True])
@pytest.mark.parametrize("source", ["natural", "none"])
def test_some_of_the_data_evenly_spaced(source: str, heldout: bool) -> None:
    of = data(9, 5)
    inputs, labels = (of.heldout_inputs, of.heldout_labels) if heldout else (of.inputs, of.labels)
    sources = drawn(source, of, heldout=heldout, count=3)
    expected = [0, 2, 4] if heldout else [0, 4, 8]
    assert sources.index.tolist() == expected
    assert torch.equal(sources.points, inputs[expected])
    assert torch.equal(sources.inputs, inputs[expected] if source == "natural" else torch.zeros(3, 5))
    assert sources.labels is not None
    assert torch.equal(sources.labels, labels[expected])


# From 2^24 on float32 does not know every position.
@pytest.mark.parametrize("available", [1000, 1001, 1010, 1500, 1999, 10_000, 2**24 + 4, 10**9 + 7])
@pytest.mark.parametrize("double", [False, True])
def test_positions_are_evenly_spaced(available: int, double: bool, request: pytest.FixtureRequest) -> None:
    if double:
        request.getfixturevalue("double_by_default")
    index = Sources.index_of(available, 1000)
    assert (int(index[0]), int(index[-1])) == (0, available - 1)
    # Each is the nearest whole number, so two are apart by the mean distance rounded down or up.
    mean = (available - 1) / 999
    assert set(index.diff().tolist()) <= {math.floor(mean), math.ceil(mean)}
    assert int(index.diff().min()) >= 1


def test_no_more_are_taken_than_there_are() -> None:
    assert Sources.index_of(3, 3).tolist() == Sources.index_of(3, 100).tolist() == [0, 1, 2]
    assert Sources.index_of(3, 1).tolist() == [0]


@pytest.mark.parametrize("source", ["natural", "none", *NOISE])
def test_a_part_has_the_same_rows(source: str) -> None:
    whole = drawn(source, data())
    part = whole.part(slice(2, 5))
    for name in ("inputs", "points", "index"):
        assert torch.equal(getattr(part, name), getattr(whole, name)[2:5])
    if whole.labels is None:
        assert part.labels is None
    else:
        assert part.labels is not None
        assert torch.equal(part.labels, whole.labels[2:5])


@pytest.mark.parametrize("source", NOISE)
@pytest.mark.parametrize("heldout", [False, True])
@pytest.mark.parametrize("count", [None, 1, 9])
@pytest.mark.parametrize("shape", [(5,), (1, 2, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_sources(
    source: str, heldout: bool, count: int | None, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    of = data(6, 4, *shape, dtype=dtype)
    sources = drawn(source, of, heldout=heldout, count=count)
    expected = count or (4 if heldout else 6)
    assert sources.inputs.shape == (expected, *shape)
    assert sources.inputs.dtype == dtype
    assert torch.equal(sources.points, sources.inputs)
    assert sources.labels is None
    assert sources.index.tolist() == list(range(expected))
    # Drawn in float32 whatever the data's precision.
    single = drawn(source, of.to(dtype=torch.float32), heldout=heldout, count=count)
    assert torch.equal(sources.inputs, single.inputs.to(dtype))


def within_five_errors(values: Tensor, mean: float, variance: float, fourth: float) -> None:
    """Chance of a false alarm 6e-7 each; `fourth` is the fourth central moment."""
    centred = values.double().flatten() - mean
    assert abs(float(centred.mean())) < 5 * math.sqrt(variance / len(centred))
    assert abs(float(centred.square().mean()) - variance) < 5 * math.sqrt((fourth - variance**2) / len(centred))


@pytest.mark.parametrize("bounds", [(-2.0, 3.0), (0.0, 1.0), (-0.1307, 0.8693)])
def test_laws(bounds: tuple[float, float]) -> None:
    of, width = data(bounds=bounds), bounds[1] - bounds[0]
    noise = drawn("uniform", of, count=20_000).inputs
    # U(a, b): mean (a + b)/2, variance w^2/12, fourth central moment w^4/80.
    within_five_errors(noise, sum(bounds) / 2, width**2 / 12, width**4 / 80)
    # The range is filled: of n draws the extremes miss it by about w/n, and by 20 w/n with chance e^-20.
    slack = 20 * width / noise.numel()
    # One float32 rounding at the bounds.
    rounding = 2**-23 * max(abs(bounds[0]), abs(bounds[1]))
    assert bounds[0] - rounding <= float(noise.min()) < bounds[0] + slack
    assert bounds[1] - slack < float(noise.max()) <= bounds[1] + rounding
    within_five_errors(drawn("gauss", of, count=20_000).inputs, 0, 1, 3)


@pytest.mark.parametrize("source", NOISE)
def test_seeded(source: str) -> None:
    of, before = data(), torch.random.get_rng_state()
    first = drawn(source, of).inputs
    assert torch.equal(first, drawn(source, of).inputs)
    assert not torch.equal(first, drawn(source, of, seed=1).inputs)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("source", NOISE)
@pytest.mark.usefixtures("double_by_default")
def test_the_default_dtype_does_not_move_the_noise(source: str) -> None:
    of = data(dtype=torch.float32)
    noise = drawn(source, of).inputs
    torch.set_default_dtype(torch.float32)
    assert torch.equal(noise, drawn(source, of).inputs)


@pytest.mark.parametrize("bounds", [(-math.inf, math.inf), (0.0, math.inf), (-math.inf, 1.0)])
def test_uniform_noise_needs_bounds(bounds: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match=r"attack.source = 'uniform' draws over the data's value range.*choose gauss"):
        drawn("uniform", data(bounds=bounds))
    assert len(drawn("gauss", data(bounds=bounds)).inputs) == 6
