"""Clean samples among perturbed ones, row by row against what they have to be."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from perturblearn.classifiers import Classifier, initialise
from perturblearn.config import AttackConfig, TwoLayerConfig
from perturblearn.data import Dataset
from perturblearn.errors import DataError
from perturblearn.perturbed import PerturbedSet, perturb
from perturblearn.perturbed.mixing import mix

DIM, COUNT = 6, 40
F = Classifier(initialise(TwoLayerConfig(hidden_dim=10, slope=0.1), DIM, seed=0, role="f").double())
SHARES = (0.0, 0.1, 0.3, 0.5, 0.75, 0.97)


def made(n: int = COUNT, m: int = 25) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    signs = torch.tensor([1, -1])
    return Dataset(
        inputs=torch.rand(n, DIM, generator=generator, dtype=torch.float64) * 2 - 1,
        labels=signs[torch.randint(2, (n,), generator=generator)],
        heldout_inputs=torch.rand(m, DIM, generator=generator, dtype=torch.float64) * 2 - 1,
        heldout_labels=signs[torch.randint(2, (m,), generator=generator)],
        value_range=(-1.0, 1.0),
        class_names=("+1", "-1"),
    )


DATA = made()


def perturbed_by(heldout: bool = False, **keys: Any) -> PerturbedSet:
    return perturb(F, DATA, AttackConfig.model_validate({"epsilon": 0.4, **keys}), seed=3, heldout=heldout)


def clean_rows(mixed: PerturbedSet) -> list[int]:
    assert mixed.clean is not None
    return mixed.clean.nonzero()[:, 0].tolist()


def columns_of(perturbed: PerturbedSet) -> dict[str, Tensor]:
    values = {field.name: getattr(perturbed, field.name) for field in fields(perturbed)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


@pytest.mark.parametrize("heldout", [False, True])
@pytest.mark.parametrize("source", ["natural", "uniform", "gauss"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.97])
def test_every_row_is_clean_or_as_it_was(source: str, share: float, heldout: bool) -> None:
    seen = perturbed_by(heldout, source=source)
    before = {name: column.clone() for name, column in columns_of(seen).items()}
    mixed = mix(seen, DATA, share, seed=5, heldout=heldout)
    part, labels = (DATA.heldout_inputs, DATA.heldout_labels) if heldout else (DATA.inputs, DATA.labels)
    clean = clean_rows(mixed)
    assert len(mixed) == len(seen)
    assert len(seen) - len(clean) == round(share * len(seen))
    assert mixed.sources is not None
    for row in range(len(mixed)):
        if row not in clean:
            for name in before:
                assert torch.equal(columns_of(mixed)[name][row], before[name][row]), name
            continue
        place = int(mixed.source_index[row])
        assert place == row or source != "natural"
        assert torch.equal(mixed.inputs[row], part[place])
        assert torch.equal(mixed.sources[row], part[place])
        assert int(mixed.target_labels[row]) == int(labels[place])
        assert not bool(mixed.redirected[row])
        assert not bool(mixed.success[row])
    assert len({int(mixed.source_index[row]) for row in clean}) == len(clean), "no sample is taken twice"
    if source == "natural":
        assert mixed.true_labels is not None
        assert torch.equal(mixed.true_labels, labels)
        assert mixed.sources is seen.sources, "natural sources stay shared with the data"
    else:
        assert mixed.true_labels is None
    for name, column in columns_of(seen).items():
        assert torch.equal(column, before[name]), "the set itself stays as it was"
    for name in ("source", "norm", "epsilon", "classifier_hash", "zero_gradients"):
        assert getattr(mixed, name) == getattr(seen, name)


@pytest.mark.parametrize("source", ["natural", "gauss"])
def test_a_smaller_share_s_perturbed_rows_are_a_larger_one_s(source: str) -> None:
    seen = perturbed_by(source=source)
    mixtures = [mix(seen, DATA, share, seed=5) for share in SHARES]
    for smaller, larger in pairwise(mixtures):
        clean = clean_rows(larger)
        assert set(clean) <= set(clean_rows(smaller))
        # What is clean at the larger share is the same sample at the smaller one.
        assert torch.equal(larger.source_index[clean], smaller.source_index[clean])


def test_a_share_of_one_is_the_set_itself() -> None:
    seen = perturbed_by()
    assert mix(seen, DATA, 1.0, seed=5) is seen
    assert mix(seen, DATA, 0.999, seed=5) is seen  # 39.96 of 40 samples, rounded
    assert seen.clean is None


def test_the_seed_fixes_which_rows() -> None:
    seen = perturbed_by(source="uniform")
    first, second, other = (mix(seen, DATA, 0.5, seed=seed) for seed in (5, 5, 6))
    for name, column in columns_of(first).items():
        assert torch.equal(columns_of(second)[name], column)
    assert clean_rows(first) != clean_rows(other)


def test_every_row_stays_perturbed_about_as_often() -> None:
    seen = perturbed_by()
    draws = 400
    counts = torch.zeros(COUNT)
    for seed in range(draws):
        mixed = mix(seen, DATA, 0.25, seed=seed)
        assert mixed.clean is not None
        counts += ~mixed.clean
    # Each row is perturbed with probability 1/4: a deviation of 5 standard errors has probability 6e-7 per row.
    assert float((counts / draws - 0.25).abs().max()) < 5 * math.sqrt(0.25 * 0.75 / draws)


def test_the_attack_s_success_is_counted_over_what_it_attacked() -> None:
    seen = perturbed_by(targets="other")
    mixed = mix(seen, DATA, 0.5, seed=5)
    assert mixed.clean is not None
    kept = ~mixed.clean
    assert mixed.success_rate == int(seen.success[kept].sum()) / int(kept.sum())
    assert mix(seen, DATA, 0.0, seed=5).success_rate is None


def test_sizes_of_clean_samples_are_zero_and_factors_go() -> None:
    seen = replace(
        perturbed_by(),
        sizes=torch.full((COUNT,), 0.4),
        coefficients=torch.ones(COUNT, 2),
        basis=torch.eye(2, DIM),
    )
    mixed = mix(seen, DATA, 0.5, seed=5)
    assert mixed.sizes is not None
    assert mixed.clean is not None
    assert torch.equal(mixed.sizes, torch.where(mixed.clean, 0.0, 0.4))
    assert mixed.factors is None
    assert mix(seen, DATA, 1.0, seed=5).factors is not None


def test_a_set_without_its_sources_is_mixed_alike() -> None:
    for source in ("natural", "gauss"):
        seen = perturbed_by(source=source)
        whole, bare = (mix(one, DATA, 0.3, seed=5) for one in (seen, replace(seen, sources=None)))
        assert bare.sources is None
        for name, column in columns_of(bare).items():
            assert torch.equal(columns_of(whole)[name], column)


def test_three_classes_and_images() -> None:
    generator = torch.Generator().manual_seed(1)
    data = Dataset(
        inputs=torch.rand(9, 1, 2, 3, generator=generator),
        labels=torch.arange(9) % 3,
        heldout_inputs=torch.rand(3, 1, 2, 3, generator=generator),
        heldout_labels=torch.arange(3),
        value_range=(0.0, 1.0),
        class_names=("a", "b", "c"),
        image_shape=(1, 2, 3),
    )
    seen = PerturbedSet(
        data.inputs + 1, (data.labels + 1) % 3, data.labels, torch.arange(9), torch.ones(9, dtype=torch.bool),
        torch.ones(9, dtype=torch.bool), "natural", "l2", 1.0, "hash", 0, sources=data.inputs,
    )  # fmt: skip
    mixed = mix(seen, data, 1 / 3, seed=0)
    clean = clean_rows(mixed)
    assert len(clean) == 6
    assert torch.equal(mixed.inputs[clean], data.inputs[clean])
    assert torch.equal(mixed.target_labels[clean], data.labels[clean])


def test_more_noise_than_samples_is_refused_only_where_they_are_needed() -> None:
    seen = perturbed_by(source="gauss", n_sources=100)
    assert len(clean_rows(mix(seen, DATA, 0.6, seed=0))) == 40
    with pytest.raises(DataError) as told:
        mix(seen, DATA, 0.59, seed=0)
    assert str(told.value) == (
        "mixing.perturbed_share = 0.59 of 100 noise sources asks for 41 clean samples, but the data have 40; raise it, "
        "or lower attack.n_sources"
    )
