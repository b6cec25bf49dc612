"""What the controls are trained on, and what splitting them into groups may change."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from tests.experiment.tiny import DEEP, TWO_LAYER, blobs, experiment_of
from torch import Tensor

from perturblearn.classifiers import Classifier, TwoLayer, initialise
from perturblearn.config import AttackConfig, ClassifierConfig, DescentConfig, OneStepConfig, TwoLayerConfig
from perturblearn.data import Dataset
from perturblearn.experiment import learn, run_control
from perturblearn.experiment.controls import CONTROLS, attack_of_control, unperturbed_set
from perturblearn.experiment.measured import ControlAccuracies
from perturblearn.perturbed import PerturbedSet, perturb
from perturblearn.store import Drafts
from perturblearn.training import Descent, Job, Outcome, Resumption, train_side_by_side

DIM, DRAWS = 6, 5
CONFIG = DescentConfig(epochs=10, model=TwoLayerConfig(hidden_dim=8))


def made(n: int = 40, m: int = 31) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    signs = torch.tensor([1, -1])
    return Dataset(
        inputs=torch.randn(n, DIM, generator=generator, dtype=torch.float64),
        labels=signs[torch.randint(2, (n,), generator=generator)],
        heldout_inputs=torch.randn(m, DIM, generator=generator, dtype=torch.float64),
        heldout_labels=signs[torch.randint(2, (m,), generator=generator)],
        value_range=(-math.inf, math.inf),
        class_names=("+1", "-1"),
    )


DATA = made()
F = Classifier(initialise(TwoLayerConfig(hidden_dim=10), DIM, seed=0, role="f").double())


class Seen:
    """What `train_side_by_side` was called with, draw by draw, and what came out."""

    def __init__(self) -> None:
        self.calls: list[Sequence[Job]] = []
        self.jobs: list[Job] = []
        self.inputs: list[Tensor] = []
        self.trained: list[Classifier[TwoLayer]] = []

    @property
    def networks(self) -> list[TwoLayer]:
        return [job.network for job in self.jobs]

    @property
    def labels(self) -> list[Tensor]:
        return [job.labels for job in self.jobs]

    def __call__(self, jobs: Sequence[Job], inputs: Tensor, **keys: Any) -> Iterator[tuple[int, Outcome]]:
        self.calls.append(jobs)
        self.jobs += jobs
        self.inputs += [inputs] * len(jobs)
        trained = dict(train_side_by_side(jobs, inputs, **keys))
        self.trained += [trained[index].after(job.descent.epochs) for index, job in enumerate(jobs)]
        yield from trained.items()


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    recorder = Seen()
    monkeypatch.setattr(learn, "train_side_by_side", recorder)
    return recorder


def run(control: Any, attack: AttackConfig, perturbed: PerturbedSet, **keys: Any) -> ControlAccuracies:
    seen = perturbed if control == "permuted" else unperturbed_set(DATA, attack, seed=4)
    config: ClassifierConfig = keys.pop("config", CONFIG)
    made = CONTROLS[control](DATA, seen, attack, config.with_rate(0.3), keys.pop("seed", 4))
    options: dict[str, Any] = {"draws": DRAWS, "report": lambda *_: None, **keys}
    return run_control(made, device="cpu", resumption=Resumption(Drafts()), **options)


def attacked(**keys: Any) -> tuple[AttackConfig, PerturbedSet]:
    attack = AttackConfig.model_validate({"epsilon": 0.4, **keys})
    return attack, perturb(F, DATA, attack, seed=4)


def all_different(rows: Sequence[Tensor]) -> bool:
    return all(not torch.equal(rows[i], rows[j]) for i in range(len(rows)) for j in range(i))


@pytest.mark.parametrize("source", ["natural", "gauss"])
def test_unperturbed(seen: Seen, source: str) -> None:
    attack, perturbed = attacked(source=source)
    run("unperturbed", attack, perturbed)
    assert perturbed.sources is not None
    for inputs in seen.inputs:
        assert torch.equal(inputs, perturbed.sources)
    if source == "natural":
        assert torch.equal(seen.inputs[0], DATA.inputs)
    assert torch.equal(seen.labels[0], perturbed.target_labels)
    assert all_different(seen.labels)
    assert all_different([network.weight for network in seen.networks])


def test_the_unperturbed_control_of_rebuilt_inputs_pairs_starts_with_other_originals(seen: Seen) -> None:
    config = AttackConfig.model_validate({"name": "rebuild", "steps": 1})
    rebuilt = perturb(F, DATA, config, seed=4)
    run("unperturbed", attack_of_control(config), rebuilt)
    for inputs in seen.inputs:
        assert torch.equal(inputs, DATA.inputs[rebuilt.source_index])
    assert torch.equal(seen.labels[0], DATA.labels)
    assert rebuilt.true_labels is not None
    assert all_different(seen.labels)
    for labels in seen.labels:
        assert labels.sum() == DATA.labels.sum()  # an order of the same labels
        assert not torch.equal(labels, rebuilt.true_labels)  # never those that the inputs have


def test_unperturbed_where_the_source_is_nothing(seen: Seen) -> None:
    attack, perturbed = attacked(source="none")
    run("unperturbed", attack, perturbed)
    assert torch.equal(seen.labels[0], perturbed.target_labels)
    assert all_different(seen.inputs)
    for inputs in seen.inputs:
        # A few roundings of the length.
        assert inputs.norm(dim=1).tolist() == pytest.approx([0.4] * 40, rel=8 * 2**-52)
        # 40 random directions: their mean has squared length 0.4^2 / 40 on average; of 40 draws the mean cosine with
        # the perturbations has standard error 1 / sqrt(40 * 6).
        cosine = (inputs * perturbed.inputs).sum(dim=1) / 0.4**2
        assert abs(float(cosine.mean())) < 5 / math.sqrt(40 * DIM)


@pytest.mark.parametrize("keys", [{"norm": "linf"}, {"norm": "l0", "pixels": 2}])
def test_random_directions_of_other_norms(seen: Seen, keys: dict[str, Any]) -> None:
    attack, perturbed = attacked(source="none", **keys)
    run("unperturbed", attack, perturbed, draws=2)
    for inputs in seen.inputs:
        if attack.norm == "linf":
            assert bool((inputs.abs() == 0.4).all())
        else:
            assert (inputs != 0).sum(dim=1).tolist() == [2] * 40
            assert inputs.norm(dim=1).tolist() == pytest.approx([0.4] * 40, rel=8 * 2**-52)


@pytest.mark.parametrize("source", ["natural", "none", "gauss"])
def test_permuted(seen: Seen, source: str) -> None:
    attack, perturbed = attacked(source=source)
    run("permuted", attack, perturbed)
    for inputs, labels in zip(seen.inputs, seen.labels, strict=True):
        assert torch.equal(inputs, perturbed.inputs)
        assert int(labels.sum()) == int(perturbed.target_labels.sum())
        assert set(labels.tolist()) == {1, -1}
    assert all_different([*seen.labels, perturbed.target_labels])
    assert all_different([network.weight for network in seen.networks])


def test_deterministic_targets_stay(seen: Seen) -> None:
    attack, perturbed = attacked(targets="next")
    run("unperturbed", attack, perturbed)
    for labels in seen.labels:
        assert torch.equal(labels, -DATA.labels)


def test_trained_as_g_and_measured_on_clean_data(seen: Seen) -> None:
    attack, perturbed = attacked()
    config = DescentConfig(
        loss="identity", epochs=7, momentum=0.5, schedule="constant", model=TwoLayerConfig(hidden_dim=4)
    )
    found = run("permuted", attack, perturbed, config=config)
    assert {job.descent for job in seen.jobs} == {Descent("identity", 0.3, 7, 0.5, plateau=False)}
    assert {network.hidden_dim for network in seen.networks} == {4}
    for accuracies, inputs, labels in (
        (found.accuracy, DATA.inputs, DATA.labels),
        (found.accuracy_heldout, DATA.heldout_inputs, DATA.heldout_labels),
    ):
        expected = [float((classifier.module(inputs) * labels > 0).double().mean()) for classifier in seen.trained]
        assert list(accuracies) == pytest.approx(expected, rel=1e-15)


def test_controls_share_no_network_with_g_or_each_other(seen: Seen) -> None:
    attack, perturbed = attacked()
    run("unperturbed", attack, perturbed, draws=2)
    run("permuted", attack, perturbed, draws=2)
    others = [initialise(CONFIG.model, DIM, seed=4, role=role).double() for role in ("standard", "perturbation")]
    assert all_different([network.weight for network in (*seen.networks, *others)])


def test_seeded() -> None:
    attack, perturbed = attacked()
    first = run("permuted", attack, perturbed)
    assert first == run("permuted", attack, perturbed)
    assert first != run("permuted", attack, perturbed, seed=5)
    # Draws do not depend on how many follow; batched products of other width, so accuracies are the same.
    assert run("permuted", attack, perturbed, draws=2).accuracy == first.accuracy[:2]


# Directions of a draw's own are inputs of its own; the permuted draws all see the perturbed set.
@pytest.mark.parametrize(("control", "calls"), [("unperturbed", [1] * DRAWS), ("permuted", [DRAWS])])
def test_draws_over_the_same_inputs_train_together(seen: Seen, control: Any, calls: list[int]) -> None:
    attack, perturbed = attacked(source="none")
    heard: list[tuple[int, int, str]] = []
    run(control, attack, perturbed, report=lambda *words: heard.append(words))
    assert [len(jobs) for jobs in seen.calls] == calls
    for job, inputs, found in zip(seen.jobs, seen.inputs, seen.trained, strict=True):
        alone = job.descent.train(job.network, inputs, job.labels)
        # 10 epochs of float64 rounding in other blocks.
        assert torch.allclose(found.module.weight, alone.module.weight, rtol=0, atol=1e-12)
    # 10 epochs of 5 draws; the words count up to all of them.
    done = [word[0] for word in heard]
    assert done == sorted(done)
    assert done[-1] == DRAWS * 10
    assert {word[1] for word in heard} == {DRAWS * 10}


def test_permuted_draws_train_in_the_factors_of_the_set(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = Classifier(initialise(TwoLayerConfig(hidden_dim=DIM - 1), DIM, seed=0, role="f").double())
    attack = OneStepConfig(source="none", epsilon=0.4)
    perturbed = perturb(narrow, DATA, attack, seed=4)
    assert perturbed.factors is not None
    given: list[Any] = []

    def note(jobs: Sequence[Job], inputs: Tensor, **keys: Any) -> Iterator[tuple[int, Outcome]]:
        given.append(keys["factors"])
        return train_side_by_side(jobs, inputs, **keys)

    monkeypatch.setattr(learn, "train_side_by_side", note)
    # Random directions of 6 coordinates have no factors of rank 5.
    for control, factors in (("permuted", perturbed.factors), ("unperturbed", None)):
        given.clear()
        run(control, attack, perturbed)
        assert all(found == factors for found in given)
        assert given


def keys_of(**changes: Any) -> dict[str, str]:
    (stages,) = experiment_of({**DEEP, **changes}, blobs()).seeds.values()
    return {name: stage.key for name, stage in stages.controls.items()}


@pytest.mark.parametrize(
    "changes",
    [
        {"attack.epsilon": 0.3},
        {"attack.norm": "linf"},
        {"attack.steps": 5},
        {"attack.name": "one_step", "attack.steps": None},
        {"attack.name": "minimum_norm"},
        {"attack.random_start": True, "attack.restarts": 2},
        {"standard.epochs": 4},
        {"standard.model.hidden_dim": 17},
        {"standard.lr": 0.01},
    ],
    ids=str,
)
def test_the_unperturbed_control_knows_neither_f_nor_the_attack(changes: dict[str, Any]) -> None:
    before, after = keys_of(), keys_of(**changes)
    assert before["unperturbed"] == after["unperturbed"]
    assert before["permuted"] != after["permuted"]


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": [3]},
        {"attack.targets": "next"},
        {"attack.source": "uniform", "attack.targets": "uniform"},
        {"mixing.perturbed_share": 0.5},
        {"perturbation.epochs": 4},
        {"perturbation.lr": 0.01},
        {"perturbation.model.hidden_dim": 17},
        {"controls.draws": 3},
        {"dtype": "float64"},
        # Which rate counts is known when f is.
        {"perturbation.lr": [0.05, 0.01]},
        {"standard.lr": [0.05, 0.01]},
    ],
    ids=str,
)
def test_what_the_unperturbed_control_depends_on(changes: dict[str, Any]) -> None:
    assert keys_of()["unperturbed"] != keys_of(**changes)["unperturbed"]


def test_noise_sources_are_those_of_the_set() -> None:
    noise = {"attack.source": "uniform", "attack.targets": "uniform"}
    assert keys_of(**noise)["unperturbed"] != keys_of(**noise, **{"attack.n_sources": 30})["unperturbed"]
    assert keys_of(**noise)["unperturbed"] == keys_of(**noise, **{"attack.epsilon": 0.3})["unperturbed"]


def test_with_a_grid_of_learning_rates_a_control_waits_for_the_selection() -> None:
    """With a grid, another epsilon may choose another rate: then nothing is shared."""
    grid = {"perturbation.lr": [0.05, 0.01]}
    assert keys_of(**grid)["unperturbed"] != keys_of(**grid, **{"attack.epsilon": 0.3})["unperturbed"]


def test_random_directions_are_as_long_as_perturbations() -> None:
    bare = {"attack.name": "one_step", "attack.steps": None, "attack.source": "none"}
    one = keys_of(**bare)["unperturbed"]
    assert one == keys_of(**bare, **{"standard.epochs": 4})["unperturbed"]
    assert one != keys_of(**bare, **{"attack.epsilon": 0.3})["unperturbed"]
    assert one != keys_of(**bare, **{"attack.norm": "linf"})["unperturbed"]


@pytest.mark.parametrize("keys", [DEEP, TWO_LAYER], ids=["deep", "two-layer"])
@pytest.mark.parametrize("source", ["natural", "gauss"])
@pytest.mark.parametrize("name", ["one_step", "pgd"])
def test_the_unperturbed_set_is_the_set_without_perturbations(keys: dict[str, Any], source: str, name: str) -> None:
    changes = {"attack.source": source, "attack.name": name, "attack.steps": None, "attack.targets": "uniform"}
    if source == "gauss" and name == "pgd":
        changes["attack.source"] = "uniform"  # normal noise leaves the data's range
    data = blobs(2)
    experiment = experiment_of({**keys, **changes, "controls.draws": 0}, data)
    (stages,) = experiment.seeds.values()
    perturbed = experiment.run().result(stages.branches[0].perturbed)
    found = unperturbed_set(data.to(dtype=perturbed.inputs.dtype), experiment.config.attack, seed=2)
    assert perturbed.sources is not None
    assert torch.equal(found.inputs, perturbed.sources)
    assert torch.equal(found.target_labels, perturbed.target_labels)
    assert torch.equal(found.source_index, perturbed.source_index)
    assert not bool(found.redirected.any())
