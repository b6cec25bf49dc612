"""Drawn data: their laws, and what depends on which seed."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from perturblearn.config import DataConfig
from perturblearn.data import Dataset, data_fingerprint, depends_on_seed, load_dataset
from perturblearn.errors import DataError

NAMES = ["gauss", "shifted_gauss", "correlated", "uniform"]


def drawn(name: str, seed: int = 0, **options: int | float) -> Dataset:
    return load_dataset(DataConfig.model_validate({"name": name, **options}), seed=seed)


@pytest.mark.parametrize("name", NAMES)
def test_defaults(name: str) -> None:
    data = drawn(name)
    assert data.inputs.shape == data.heldout_inputs.shape == (1000, 100)
    assert data.inputs.dtype == torch.float32
    assert data.class_names == ("+1", "-1")
    assert data.mean == 0.0
    assert data.image_shape is None
    assert data.value_range == ((-1.0, 1.0) if name == "uniform" else (-math.inf, math.inf))
    assert data_fingerprint(DataConfig(name=name)) is None
    assert depends_on_seed(DataConfig(name=name))


def within_five_errors(sample: Tensor, mean: float, variance: float, fourth: float) -> bool:
    """Mean and variance within five standard errors: chance of a false alarm 6e-7 each, and the seed is fixed."""
    number = sample.numel()
    mean_error = (variance / number) ** 0.5
    variance_error = ((fourth - variance**2) / number) ** 0.5
    centred = (sample.double() - mean).square().mean()
    return (
        abs(float(sample.double().mean()) - mean) < 5 * mean_error
        and abs(float(centred) - variance) < 5 * variance_error
    )


@pytest.mark.parametrize("part", ["training", "heldout"])
def test_laws(part: str) -> None:
    def of(data: Dataset) -> tuple[Tensor, Tensor]:
        return (data.inputs, data.labels) if part == "training" else (data.heldout_inputs, data.heldout_labels)

    inputs, labels = of(drawn("gauss", seed=3))
    assert within_five_errors(inputs, 0.0, 1.0, 3.0)  # E x^4 = 3
    assert abs(int(labels.sum())) < 5 * 1000**0.5  # a sum of 1000 signs

    inputs, labels = of(drawn("uniform", seed=3))
    assert within_five_errors(inputs, 0.0, 1 / 3, 1 / 5)  # E x^2 = 1/3, E x^4 = 1/5
    assert float(inputs.abs().max()) <= 1
    assert abs(int(labels.sum())) < 5 * 1000**0.5

    # Samples of one seed share a component, so whole draws are independent only from seed to seed.
    inputs = torch.stack(
        [of(drawn("correlated", seed=seed, n_samples=40, n_heldout=40, rho=0.6))[0][7] for seed in range(40)]
    )
    assert within_five_errors(inputs, 0.0, 1.0, 3.0)

    inputs, labels = of(drawn("shifted_gauss", seed=3, shift=0.7))
    assert int(labels.sum()) == 0
    for sign in (1, -1):
        assert within_five_errors(inputs[labels == sign], 0.7 * sign, 1.0, 3.0)


@pytest.mark.parametrize("name", NAMES)
def test_reproducible_and_seeded(name: str) -> None:
    first, again, other = drawn(name), drawn(name), drawn(name, seed=1)
    assert first.content_hash() == again.content_hash() != other.content_hash()
    assert not torch.equal(first.inputs, first.heldout_inputs)


@pytest.mark.parametrize("name", NAMES)
def test_parts_do_not_move_each_other(name: str) -> None:
    base, more_held, more_training = drawn(name), drawn(name, n_heldout=10), drawn(name, n_samples=20)
    assert torch.equal(base.inputs, more_held.inputs)
    assert torch.equal(base.labels, more_held.labels)
    assert torch.equal(base.heldout_inputs, more_training.heldout_inputs)
    assert torch.equal(base.heldout_labels, more_training.heldout_labels)
    # The labels have a generator of their own, so the dimension does not move them.
    assert torch.equal(base.labels, drawn(name, input_dim=7).labels)


def test_the_shift_only_shifts() -> None:
    with_shift, without = drawn("shifted_gauss", shift=0.25), drawn("shifted_gauss", shift=0.0)
    # One rounding of values below 8 in float32.
    assert float((with_shift.inputs - without.inputs - 0.25 * with_shift.labels[:, None]).abs().max()) <= 2.0**-21


def test_global_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    for name in NAMES:
        drawn(name)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(("key", "number"), [("n_samples", 7), ("n_heldout", 9)])
def test_half_and_half_needs_even_numbers(key: str, number: int) -> None:
    with pytest.raises(DataError, match=f"{key} = {number} is odd.*choose an even number"):
        drawn("shifted_gauss", **{key: number})


def test_what_is_common_to_correlated_samples() -> None:
    d, rho = 20_000, 0.3
    data = drawn("correlated", seed=3, n_samples=6, n_heldout=5, input_dim=d, rho=rho)
    rows = torch.cat((data.inputs, data.heldout_inputs)).double()
    cosines = torch.nn.functional.cosine_similarity(rows[:, None], rows[None], dim=2)
    pairs = cosines[~torch.eye(11, dtype=torch.bool)]
    # A cosine is a mean over d coordinates of terms with variance below 2: 5 standard errors, over both parts.
    assert float((pairs - rho).abs().max()) < 5 * math.sqrt(2 / d)
    assert data.provenance["rho"] == rho
    other = drawn("correlated", seed=4, n_samples=6, n_heldout=5, input_dim=d, rho=rho)
    between = torch.nn.functional.cosine_similarity(rows[:6, None], other.inputs.double()[None], dim=2)
    assert float(between.abs().max()) < 5 / math.sqrt(d), "another seed has another component"
    # Each sample's own part is that of gauss; only its share changes.
    alone = drawn("gauss", seed=3, n_samples=6, n_heldout=5, input_dim=d)
    own = rows[:6] - math.sqrt(1 - rho) * alone.inputs.double()
    assert float((own - own[0]).abs().max()) < 2.0**-20  # roundings of values below 8 in float32


def test_correlated_without_a_common_component_is_gauss() -> None:
    assert torch.equal(drawn("correlated", rho=0.0).inputs, drawn("gauss").inputs)
    assert torch.equal(drawn("correlated").heldout_inputs, drawn("gauss").heldout_inputs)


@pytest.mark.parametrize("name", ["gauss", "correlated", "uniform"])
def test_one_class_only(name: str) -> None:
    with pytest.raises(DataError, match="all 1 random training labels of seed 0 came out equal; draw more"):
        drawn(name, n_samples=1)


def test_a_given_centre_moves_the_range() -> None:
    data, plain = drawn("uniform", centre=0.5), drawn("uniform")
    assert data.value_range == (-1.5, 0.5)
    assert torch.equal(data.inputs, plain.inputs - 0.5)
    assert data.mean == 0.5
