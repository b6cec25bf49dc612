"""The perturbed set: what it is made of, against a direct computation."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from perturblearn.attacks import make_attack, one_step
from perturblearn.classifiers import Classifier, TwoLayer, initialise, is_target
from perturblearn.config import AttackConfig, TrainedTwoLayerConfig, TwoLayerConfig
from perturblearn.data import Components, Dataset
from perturblearn.errors import ConfigError, DataError
from perturblearn.perturbed import PerturbedSet, perturb
from perturblearn.store import ArtefactStore

DIM = 6
F = Classifier(initialise(TwoLayerConfig(hidden_dim=10, slope=0.1), DIM, seed=0, role="f").double())


def made(n: int = 40, m: int = 30) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    signs = torch.tensor([1, -1])
    return Dataset(
        inputs=torch.rand(n, DIM, generator=generator, dtype=torch.float64) * 2 - 1,
        labels=signs[torch.randint(2, (n,), generator=generator)],
        heldout_inputs=torch.rand(m, DIM, generator=generator, dtype=torch.float64) * 2 - 1,
        heldout_labels=signs[torch.randint(2, (m,), generator=generator)],
        value_range=(-1.0, 1.0),
        class_names=("+1", "-1"),
        given_targets=signs[torch.randint(2, (n,), generator=generator)],
    )


DATA = made()


def attack(**keys: Any) -> AttackConfig:
    return AttackConfig.model_validate({"epsilon": 0.4, **keys})


def plain_outputs(inputs: Tensor) -> Tensor:
    module = F.module
    assert module.bias is not None
    hidden = inputs @ module.weight.detach().T + module.bias.detach()
    return torch.maximum(hidden, module.slope * hidden) @ module.readout


def plain_steps(points: Tensor, targets: Tensor, epsilon: float) -> Tensor:
    """eps y' grad f / |grad f|, the gradient in closed form."""
    module = F.module
    assert module.bias is not None
    hidden = points @ module.weight.detach().T + module.bias.detach()
    gradient = (
        torch.where(hidden > 0, torch.ones_like(hidden), module.slope) * module.readout
    ) @ module.weight.detach()
    return gradient * targets[:, None] * epsilon / gradient.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("heldout", [False, True])
@pytest.mark.parametrize(
    ("source", "targets"),
    [
        *((source, rule) for source in ("natural", "none") for rule in ("uniform", "other", "next", "given")),
        *((source, rule) for source in ("uniform", "gauss") for rule in ("uniform", "given")),
    ],
)
def test_against_a_direct_computation(source: str, heldout: bool, targets: str) -> None:
    found = perturb(F, DATA, attack(source=source, targets=targets), seed=3, heldout=heldout)
    inputs, labels = (DATA.heldout_inputs, DATA.heldout_labels) if heldout else (DATA.inputs, DATA.labels)
    assert found.sources is not None
    points = inputs if source in ("natural", "none") else found.sources
    steps = plain_steps(points, found.target_labels, 0.4)
    # A dozen roundings of numbers below 10 in either computation.
    assert torch.allclose(found.inputs, (0 if source == "none" else points) + steps, rtol=0, atol=24 * 10 * 2**-53)
    if targets in ("other", "next"):
        assert torch.equal(found.target_labels, -labels)
    if targets == "given" and not heldout:
        assert DATA.given_targets is not None
        assert torch.equal(found.target_labels, DATA.given_targets)
    reached = torch.sign(plain_outputs(found.inputs)) == found.target_labels
    assert torch.equal(found.success, reached)
    if source in ("natural", "none"):
        assert found.true_labels is not None
        assert torch.equal(found.true_labels, labels)
        redirected = found.target_labels != labels
    else:
        assert found.true_labels is None
        redirected = found.target_labels != torch.sign(plain_outputs(found.sources))
    assert torch.equal(found.redirected, redirected)
    assert bool(redirected.any())
    assert found.success_rate == pytest.approx(float(reached[redirected].double().mean()))
    assert found.source_index.tolist() == list(range(len(inputs)))
    assert found.classifier_hash == F.hash
    assert (found.source, found.norm, found.epsilon, found.zero_gradients) == (source, "l2", 0.4, 0)


def test_none_gives_the_bare_steps() -> None:
    bare, natural = (perturb(F, DATA, attack(source=source), seed=0) for source in ("none", "natural"))
    assert torch.equal(bare.target_labels, natural.target_labels)
    assert bare.sources is not None
    assert not bool(bare.sources.any())
    # x + r - x is r but for the rounding of x + r, below 2.
    assert torch.allclose(natural.inputs - DATA.inputs, bare.inputs, rtol=0, atol=2**-53)
    assert natural.sources is not None
    assert natural.sources.data_ptr() == DATA.inputs.data_ptr()  # no second copy


@pytest.mark.parametrize(
    ("keys", "size"),
    [
        ({"norm": "l2"}, lambda r: r.norm(dim=1)),
        ({"norm": "linf"}, lambda r: r.abs().amax(dim=1)),
        ({"norm": "l0", "pixels": 2}, lambda r: r.norm(dim=1)),
    ],
)
def test_sizes(keys: dict[str, Any], size: Any) -> None:
    bare = perturb(F, DATA, attack(source="none", **keys), seed=0)
    # An ulp for each of few roundings.
    assert size(bare.inputs).tolist() == pytest.approx([0.4] * 40, rel=8 * 2**-52)
    if "pixels" in keys:
        assert (bare.inputs != 0).sum(dim=1).tolist() == [2] * 40


def test_zero_gradients_are_counted_and_not_moved() -> None:
    # One unit that is alive on x_0 > 0 alone.
    half = Classifier(TwoLayer(torch.eye(1, DIM).double(), torch.ones(1).double(), torch.zeros(1).double(), 0.0))
    found = perturb(half, DATA, attack(), seed=0)
    dead = DATA.inputs[:, 0] <= 0
    assert 0 < int(dead.sum()) < 40
    assert found.zero_gradients == int(dead.sum())
    assert torch.equal(found.inputs[dead], DATA.inputs[dead])
    assert bool((found.inputs[~dead] != DATA.inputs[~dead]).any(dim=1).all())
    # An output of exactly 0 is neither label.
    assert not bool(found.success[dead].any())


@pytest.mark.parametrize("heldout", [False, True])
def test_rebuilt_inputs_have_the_labels_of_the_originals_and_nearly_their_features(heldout: bool) -> None:
    config = AttackConfig.model_validate({"name": "rebuild", "steps": 200, "step": 0.02})
    found = perturb(F, DATA, config, seed=3, heldout=heldout)
    inputs, labels = (DATA.heldout_inputs, DATA.heldout_labels) if heldout else (DATA.inputs, DATA.labels)
    assert torch.equal(found.target_labels, labels)
    assert found.sources is not None
    assert torch.equal(found.sources, inputs[found.source_index])
    assert found.true_labels is not None
    assert torch.equal(found.true_labels, labels[found.source_index])
    assert torch.equal(found.redirected, found.true_labels != labels)
    assert torch.equal(found.success, torch.sign(plain_outputs(found.inputs)) == labels)

    def hidden(x: Tensor) -> Tensor:
        module = F.module
        assert module.bias is not None
        h = x @ module.weight.detach().T + module.bias.detach()
        return torch.maximum(h, module.slope * h)

    before, after = (hidden(x).sub(hidden(inputs)).norm(dim=1) for x in (found.sources, found.inputs))
    assert bool((after < before).all())
    assert float(after.mean()) < 0.2 * float(before.mean())  # of 6 coordinates f sees all, through kinks
    assert float(found.inputs.abs().max()) <= 1
    assert found.sizes is not None
    assert torch.allclose(found.sizes, found.perturbations.norm(dim=1))
    assert (found.source, found.epsilon) == ("another", None)


def test_perturbations_lie_in_the_band_of_the_configuration() -> None:
    free = replace(DATA, value_range=(-math.inf, math.inf))
    config = AttackConfig.model_validate({"name": "pgd", "steps": 4, "epsilon": 0.4, "band": "not components:0-2"})
    found = perturb(F, free, config, seed=3)
    first = Components.of(DATA.inputs).directions[:2]
    assert float((found.perturbations @ first.T).abs().max()) < 1e-12
    assert found.sizes is not None
    assert float(found.sizes.min()) > 0.1
    assert float(found.sizes.max()) <= 0.4


def test_part_of_a_rebuilt_set_has_the_bits_that_it_has_in_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perturblearn.perturbed.shards.BLOCK", 16)
    config = AttackConfig.model_validate({"name": "rebuild", "steps": 3})
    whole, part = perturb(F, DATA, config, seed=3), perturb(F, DATA, config, seed=3, rows=range(16, 40))
    for name in ("inputs", "target_labels", "source_index", "success"):
        assert torch.equal(getattr(whole, name)[16:], getattr(part, name))


def test_epsilon_zero_moves_nothing() -> None:
    found = perturb(F, DATA, attack(epsilon=0.0), seed=0)
    assert torch.equal(found.inputs, DATA.inputs)
    assert found.zero_gradients == 0


def test_seeds_and_parts() -> None:
    keys = {"source": "uniform", "n_sources": 30}  # as many as the held-out part
    first, again = (perturb(F, DATA, attack(**keys), seed=1) for _ in range(2))
    assert torch.equal(first.inputs, again.inputs)
    assert torch.equal(first.target_labels, again.target_labels)
    for other in (perturb(F, DATA, attack(**keys), seed=2), perturb(F, DATA, attack(**keys), seed=1, heldout=True)):
        assert other.inputs.shape == first.inputs.shape
        assert not torch.equal(other.target_labels, first.target_labels)
        assert not bool(torch.isin(other.inputs, first.inputs).any())


def test_the_number_of_sources_is_for_training_alone() -> None:
    keys = {"source": "gauss", "n_sources": 7}
    assert len(perturb(F, DATA, attack(**keys), seed=0)) == 7
    assert len(perturb(F, DATA, attack(**keys), seed=0, heldout=True)) == DATA.n_heldout
    assert len(perturb(F, DATA, attack(source="gauss"), seed=0)) == DATA.n_samples


def test_errors_pass_through() -> None:
    with pytest.raises(ConfigError, match=r"attack\.pixels = 7, but inputs have 6 coordinates"):
        perturb(F, DATA, attack(norm="l0", pixels=7), seed=0)
    with pytest.raises(ConfigError, match="draws over the data's value range"):
        perturb(F, replace(DATA, value_range=(-math.inf, math.inf)), attack(source="uniform"), seed=0)
    with pytest.raises(DataError, match="the data contain no targets"):
        perturb(F, replace(DATA, given_targets=None), attack(targets="given"), seed=0)


@pytest.mark.parametrize("source", ["natural", "uniform"])
def test_round_trip_through_the_store(tmp_path: Path, source: str) -> None:
    found = perturb(F, DATA, attack(source=source), seed=0)
    store = ArtefactStore(tmp_path)
    store.write("k" * 64, found.dump(), origin={})
    back = PerturbedSet.load(store.read("k" * 64))
    for name in ("inputs", "target_labels", "source_index", "success", "redirected"):
        assert torch.equal(getattr(back, name), getattr(found, name))
    if found.true_labels is None:
        assert back.true_labels is None
    else:
        assert back.true_labels is not None
        assert torch.equal(back.true_labels, found.true_labels)
    assert back.sources is None
    for name in ("source", "norm", "epsilon", "classifier_hash", "zero_gradients", "success_rate"):
        assert getattr(back, name) == getattr(found, name)
    assert repr(back) == repr(found)


@pytest.mark.parametrize("name", ["target_labels", "true_labels", "source_index", "success", "redirected"])
def test_columns_that_do_not_fit(name: str) -> None:
    found = perturb(F, DATA, attack(), seed=0)
    for wrong in (getattr(found, name)[:-1], getattr(found, name)[:, None]):
        with pytest.raises(ValueError, match=r"a column of shape .* does not fit 40 perturbed inputs"):
            replace(found, **{name: wrong})


def narrow(dtype: torch.dtype, name: Any = "two_layer") -> Classifier:
    return Classifier(
        initialise(TrainedTwoLayerConfig(name=name, hidden_dim=4, slope=0.1), DIM, seed=0, role="f").to(dtype)
    )


@pytest.mark.parametrize("heldout", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["two_layer", "one_hidden"])
def test_bare_steps_of_a_narrow_network_come_as_factors(heldout: bool, dtype: torch.dtype, name: str) -> None:
    f, data = narrow(dtype, name), DATA.to(dtype=dtype)
    found = perturb(f, data, attack(source="none"), seed=0, heldout=heldout)
    assert found.factors is not None
    coefficients, basis = found.factors
    assert (coefficients.shape, basis.shape) == ((len(found), 4), (4, DIM))
    assert coefficients.dtype == basis.dtype == dtype
    rounding = torch.finfo(dtype).eps
    assert torch.allclose(basis @ basis.T, torch.eye(4, dtype=dtype), rtol=0, atol=16 * rounding)
    assert torch.equal(found.inputs, coefficients @ basis)
    points = data.heldout_inputs if heldout else data.inputs
    steps = one_step(f.module, points, found.target_labels, norm="l2", epsilon=0.4)
    # Some roundings in float64, or one in float32 for each of a dozen operations, where terms cancel by 100 at most.
    assert float((found.inputs - steps).norm(dim=1).max()) <= 0.4 * (1e-12 if dtype == torch.float64 else 2e-5)


def test_factors_of_images() -> None:
    data = replace(DATA, inputs=DATA.inputs.view(-1, 1, 2, 3), heldout_inputs=DATA.heldout_inputs.view(-1, 1, 2, 3))
    found = perturb(narrow(torch.float64), data, attack(source="none"), seed=0)
    assert found.factors is not None
    coefficients, basis = found.factors
    assert found.inputs.shape == (40, 1, 2, 3)
    assert torch.equal(found.inputs.flatten(1), coefficients @ basis)


def test_zero_gradients_of_factors_are_counted() -> None:
    half = Classifier(TwoLayer(torch.eye(1, DIM).double(), torch.ones(1).double(), torch.zeros(1).double(), 0.0))
    found = perturb(half, DATA, attack(source="none"), seed=0)
    assert found.factors is not None
    assert found.zero_gradients == int((DATA.inputs[:, 0] <= 0).sum())
    assert perturb(half, DATA, attack(source="none", epsilon=0.0), seed=0).zero_gradients == 0


@pytest.mark.parametrize(
    ("width", "keys"),
    [
        (4, {}),
        (4, {"source": "gauss"}),
        (4, {"source": "uniform"}),
        (4, {"source": "none", "norm": "linf"}),
        (4, {"source": "none", "norm": "l0", "pixels": 2}),
        (4, {"name": "radial_pgd", "steps": 2}),
        (DIM, {"source": "none"}),
        (10, {"source": "none"}),
    ],
    ids=str,
)
def test_other_sets_have_no_factors(width: int, keys: dict[str, Any]) -> None:
    f = Classifier(initialise(TwoLayerConfig(hidden_dim=width, slope=0.1), DIM, seed=0, role="f").double())
    found = perturb(f, DATA, attack(**keys), seed=0)
    assert found.factors is None
    assert not make_attack(attack(**keys), DIM).has_factors(f.module.hidden_dim, f.module.input_dim)


def test_factors_go_along_to_a_device_but_not_to_disk() -> None:
    found = perturb(narrow(torch.float64), DATA, attack(source="none"), seed=0)
    assert found.factors is not None
    moved = found.to("cpu").factors
    assert moved is not None
    assert all(torch.equal(one, other) for one, other in zip(moved, found.factors, strict=True))
    assert PerturbedSet.load(found.dump()).factors is None


@pytest.mark.parametrize("source", ["natural", "none", "gauss"])
def test_perturbations_of_some_rows(source: str) -> None:
    found = perturb(F, DATA, attack(source=source), seed=0)
    assert found.sources is not None
    assert torch.equal(found.perturbations, found.inputs - found.sources)
    for rows in (slice(0, 7), slice(7, 40), slice(39, 60), slice(40, None)):
        assert torch.equal(found.perturbations_of(rows), found.perturbations[rows])


def test_success_rate_by_hand() -> None:
    found = perturb(F, DATA, attack(), seed=0)
    columns = {
        "inputs": torch.zeros(4, 2),
        "target_labels": torch.tensor([1, 1, -1, -1]),
        "true_labels": None,
        "source_index": torch.arange(4),
        "success": torch.tensor([True, False, True, True]),
    }
    # Of the three redirected samples two have reached their target.
    some = replace(found, **columns, redirected=torch.tensor([True, True, True, False]))
    assert some.success_rate == 2 / 3
    assert "success 0.667" in repr(some)
    none = replace(found, **columns, redirected=torch.zeros(4, dtype=torch.bool))
    assert none.success_rate is None
    assert "no target differs from its label" in repr(none)


def test_is_target() -> None:
    outputs, targets = torch.tensor([0.5, -0.5, 0.0, 0.0, -0.0, 1e-38]), torch.tensor([1, 1, 1, -1, -1, 1])
    assert is_target(outputs, targets).tolist() == [True, False, False, False, False, True]
