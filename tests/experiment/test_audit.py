"""One experiment over norms, epsilons and learners: what an audit is made of, and what its parts share."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.experiment.tiny import DEEP, DIM, MLP, blobs, same_artefact

from perturblearn.api import audit, prepare_audit
from perturblearn.classifiers import hand_over
from perturblearn.config import AttackConfig, ExperimentConfig, resolve_config, value_of
from perturblearn.data import Signature
from perturblearn.errors import ConfigError
from perturblearn.experiment import (
    DEEP_DEFAULTS,
    Experiment,
    audit_configs,
    default_epsilons,
    default_learner,
    default_targets,
    key_of,
    plan_together,
    run_together,
)
from perturblearn.experiment.audit import L2_SHARE, LINF_SHARE, attack_keys, network_keys
from perturblearn.store import ArtefactStore

pytestmark = pytest.mark.usefixtures("one_thread")


def signature(shape: tuple[int, ...], stds: tuple[float, ...], n_classes: int = 10) -> Signature:
    return Signature(shape, n_classes, 0.0, (0.0,) * len(stds), stds)


@pytest.mark.parametrize(
    ("shape", "stds", "root", "scale"),
    [
        ((784,), (0.3,), 28, 0.3),
        ((1, 28, 28), (0.3081,), 28, 0.3081),
        # sqrt(3072), and the root of the mean variance: (0.2^2 + 0.1^2 + 0.2^2) / 3 = 0.03.
        ((3, 32, 32), (0.2, 0.1, 0.2), 55.4256, 0.173205),
        ((1,), (100.0,), 1, 100),
        ((10_000,), (1e-4,), 100, 1e-4),
    ],
)
def test_default_epsilons(shape: tuple[int, ...], stds: tuple[float, ...], root: float, scale: float) -> None:
    # A share of the deviation in every coordinate, to two digits.
    expected = {"l2": (float(f"{L2_SHARE * scale * root:.1e}"),), "linf": (float(f"{LINF_SHARE * scale:.1e}"),)}
    assert default_epsilons(signature(shape, stds)) == expected


def test_default_epsilons_follow_the_scale_of_the_data() -> None:
    one, ten = (default_epsilons(signature((784,), (std,))) for std in (0.1, 1.0))
    for norm in ("l2", "linf"):
        assert ten[norm][0] == pytest.approx(10 * one[norm][0], rel=1e-12)
    # Channels count by their variance, as coordinates of one vector do.
    assert default_epsilons(signature((3, 8, 8), (0.3, 0.3, 0.3))) == default_epsilons(signature((192,), (0.3,)))


@pytest.mark.parametrize(
    ("shape", "learner"),
    [
        ((784,), "mlp"),
        ((1, 28, 28), "convnet"),
        ((3, 32, 32), "convnet"),
        ((1, 11, 11), "convnet"),
        ((1, 10, 11), "mlp"),
        ((1, 11, 10), "mlp"),
        ((1, 8, 8), "mlp"),
    ],
)
def test_default_learner(shape: tuple[int, ...], learner: str) -> None:
    assert default_learner(signature(shape, (1.0,) * shape[0] if len(shape) == 3 else (1.0,))) == learner


@pytest.mark.parametrize(("n_classes", "rule"), [(2, "uniform"), (3, "other"), (1000, "other")])
def test_default_targets(n_classes: int, rule: str) -> None:
    assert default_targets(signature((12,), (1.0,), n_classes)) == rule


@pytest.mark.parametrize(
    ("norm", "epsilon", "attack"),
    [
        ("l2", 0.5, {"name": "pgd", "steps": 20, "norm": "l2", "epsilon": 0.5}),
        ("linf", 1, {"name": "pgd", "steps": 20, "norm": "linf", "epsilon": 1.0}),
        ("l2", 0, {"name": "pgd", "steps": 20, "norm": "l2", "epsilon": 0.0}),
        ("l0", 20, {"name": "radial_pgd", "norm": "l0", "pixels": 20}),
        ("l0", 3.0, {"name": "radial_pgd", "norm": "l0", "pixels": 3}),
    ],
)
def test_attack_keys(norm: str, epsilon: float, attack: dict[str, Any]) -> None:
    found = resolve_config({}, attack_keys(norm, epsilon), defaults={"attack": DEEP_DEFAULTS["attack"]})
    assert found.attack == AttackConfig.model_validate(attack)
    # Over an attack that has keys of its own.
    assert resolve_config({"attack": {"name": "pgd", "steps": 20}}, attack_keys(norm, epsilon)).attack == found.attack


@pytest.mark.parametrize("size", [0, -1, 0.5, 2.5, math.inf, -math.inf, math.nan])
def test_no_number_of_coordinates(size: float) -> None:
    with pytest.raises(ConfigError, match=r"^l0:.* is no number of coordinates; give a whole number, such as l0:20$"):
        attack_keys("l0", size)


@pytest.mark.parametrize("norm", ["l1", "L2", "", "l3"])
def test_unknown_norms(norm: str) -> None:
    with pytest.raises(ConfigError, match=rf"^the norm '{norm}' is not known; choose l2, linf, l0$"):
        attack_keys(norm, 1.0)


def base(**keys: Any) -> ExperimentConfig:
    return resolve_config({}, {**DEEP, "data.name": "python", **keys})


EPSILONS = {"l2": (0.3, 0.6), "linf": [0.2]}
LEARNERS: dict[str, dict[str, Any]] = {"mlp": {**MLP, "model.hidden_dim": 16}, "convnet": {"epochs": 12}}


def test_the_cells_of_an_audit() -> None:
    # Networks of other kinds have other keys, so the base says nothing of them.
    keys = {name: value for name, value in DEEP.items() if name != "perturbation.model.hidden_dim"}
    configs = audit_configs(resolve_config({}, {**keys, "data.name": "python"}), EPSILONS, LEARNERS)
    found = [
        (each.perturbation.model.name, value_of(each, "perturbation.epochs"), each.attack.norm, each.attack.epsilon)
        for each in configs
    ]
    # A learner's own keys are its own: the others keep the base's.
    assert found == [
        ("mlp", 3, "l2", 0.3),
        ("mlp", 3, "l2", 0.6),
        ("mlp", 3, "linf", 0.2),
        ("convnet", 12, "l2", 0.3),
        ("convnet", 12, "l2", 0.6),
        ("convnet", 12, "linf", 0.2),
    ]
    assert len({(each.standard, each.data, each.seeds, value_of(each, "attack.steps")) for each in configs}) == 1


def test_network_keys() -> None:
    assert network_keys("standard", "mlp", {"epochs": 3, "model.width": 0.5}) == {
        "standard.model.name": "mlp",
        "standard.epochs": 3,
        "standard.model.width": 0.5,
    }


@pytest.mark.parametrize(("epsilons", "learners"), [({}, LEARNERS), ({"l2": []}, LEARNERS), (EPSILONS, {})], ids=str)
def test_an_audit_of_nothing(epsilons: Any, learners: Any) -> None:
    with pytest.raises(ConfigError, match="an audit needs at least one learner and one epsilon"):
        audit_configs(base(), epsilons, learners)


@pytest.mark.parametrize(
    ("epsilons", "learners", "words"),
    [
        ({"l2": [-1.0]}, LEARNERS, r"attack\.epsilon = -1\.0, but it must be at least 0"),
        ({"l5": [1.0]}, LEARNERS, "the norm 'l5' is not known"),
        (EPSILONS, {"mlq": {}}, "mlq"),
        (EPSILONS, {"mlp": {"epoch": 3}}, r"there is no key perturbation\.epoch"),
    ],
    ids=str,
)
def test_values_that_do_not_go_together(epsilons: Any, learners: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        audit_configs(base(), epsilons, learners)


OTHER = {**MLP, "model.hidden_dim": 12}
SEEDS = [2, 5]


def experiments(**keys: Any) -> list[Experiment]:
    """Two epsilons of one norm and one of the other, each learned by two networks."""
    wide, narrow = (
        audit_configs(base(seeds=SEEDS, **keys), EPSILONS, {"mlp": own}) for own in (MLP, {**OTHER, "epochs": 2})
    )
    return [Experiment(each, dataset=blobs()) for each in (*wide, *narrow)]


def test_the_cells_share_data_f_and_the_sets() -> None:
    cells = experiments()
    for seed in SEEDS:
        stages = [cell.seeds[seed] for cell in cells]
        assert len({of_cell.data for of_cell in stages}) == 1
        assert len({of_cell.branches[0].standard for of_cell in stages}) == 1
        assert len({of_cell.branches[0].measures for of_cell in stages}) == 1
        assert len({of_cell.branches[0].perturbed for of_cell in stages}) == 3
        assert len({of_cell.branches[0].heldout_perturbed for of_cell in stages}) == 3
        assert len({of_cell.branches[0].learners[0].perturbation for of_cell in stages}) == 6
        assert len({of_cell.controls["unperturbed"] for of_cell in stages}) == 2
        assert len({of_cell.controls["permuted"] for of_cell in stages}) == 6
        # What a linear classifier learns does not depend on who learns besides.
        assert len({of_cell.linear_probe for of_cell in stages}) == 3


def test_shared_stages_run_once() -> None:
    started: Counter[str] = Counter()
    kinds: Counter[str] = Counter()

    def count(progress: Any) -> None:
        if progress.finished:
            started[progress.stage.key] += 1
            kinds[progress.stage.label.split(",")[0]] += progress.number > 0

    run_together(experiments(), watch=count)
    assert set(started.values()) == {1}
    per_seed = {
        "standard classifier": 1,
        "measures of f": 1,
        "perturbed set": 3,
        "perturbed held-out set": 3,
        "perturbation classifier": 6,
        "measures of g": 6,
        "selection of learning rates": 6,
        "unperturbed control": 2,
        "permuted control": 6,
        "linear probe": 3,
    }
    assert {label: number for label, number in kinds.items() if number} == {
        label: number * len(SEEDS) for label, number in per_seed.items()
    }


def test_each_cell_is_the_experiment_alone() -> None:
    cells = experiments()
    together = run_together(cells)
    for cell in (cells[0], cells[2], cells[5]):
        alone = cell.run()
        assert cell.measures(alone) == cell.measures(together)
        for of_seed in cell.seeds.values():
            g = of_seed.branches[0].learners[0].perturbation
            same_artefact(alone.result(g).dump(), together.result(g).dump())


def test_what_is_finished_alone_is_finished_together(tmp_path: Path) -> None:
    cells, store = experiments(), ArtefactStore(tmp_path)
    cells[0].run(store)
    plan = plan_together(cells, store)
    assert {stage.key for stage in cells[0].targets} <= {stage.key for stage in plan.finished}
    assert not {stage.key for stage in cells[0].targets} & {stage.key for stage in plan.to_run}
    run_together(cells, store)
    assert plan_together(cells, store).to_run == ()
    assert plan_together(cells, store, force=True).to_run


def test_the_key_of_several_experiments() -> None:
    cells = experiments()
    extra = [cells[0].seeds[2].data]
    keys = [key_of(cells), key_of(cells[:-1]), key_of(cells[::-1]), key_of(cells, extra), cells[0].key]
    assert len(set(keys)) == len(keys)
    assert key_of(experiments()) == keys[0]


SMALL = {"mlp": {"epochs": 3, "model.hidden_dim": 16}}


def small_audit(keys: Mapping[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
    """Arguments of an audit of an MLP that is trained first, with other keys or arguments."""
    overrides = {"seeds": 1, "attack.steps": 3, "standard.epochs": 3, "standard.model.hidden_dim": 16}
    return {
        "data": blobs(), "train": True, "learners": SMALL, "overrides": {**overrides, **(keys or {})}, **arguments,
    }  # fmt: skip


def test_from_python() -> None:
    found = audit("mlp", **small_audit(), epsilons={"l2": [0.3, 0.6], "l0": 2})
    assert [(cell.config.attack.name, cell.config.attack.norm) for cell in found.cells] == [
        ("pgd", "l2"), ("pgd", "l2"), ("radial_pgd", "l0"),
    ]  # fmt: skip
    for cell in found.cells:
        assert cell.config.attack.targets == "other"
        alone = Experiment(cell.config, dataset=blobs())
        (of_seed,) = alone.measures(alone.run())
        assert of_seed == cell.seeds[0]


def test_sizes_and_learner_by_the_data() -> None:
    prepared = prepare_audit("mlp", **small_audit(learners=None))
    sizes = default_epsilons(Signature.of(blobs()))
    found = [(each.config.attack.norm, each.config.attack.epsilon) for each in prepared.experiments]
    assert found == [("l2", *sizes["l2"]), ("linf", *sizes["linf"])]
    assert {each.config.perturbation.model.name for each in prepared.experiments} == {"mlp"}
    given = prepare_audit("mlp", **small_audit({"attack.epsilon": 0.7, "attack.norm": "linf"}))
    assert [(each.config.attack.norm, each.config.attack.epsilon) for each in given.experiments] == [("linf", 0.7)]


def test_targets_that_were_asked_for_stay() -> None:
    (cell, *_) = prepare_audit("mlp", **small_audit({"attack.targets": "next"})).experiments
    assert cell.config.attack.targets == "next"


def test_an_audited_model_is_taken_as_it_stands() -> None:
    model = torch.nn.Linear(DIM, 3)
    keys = {"seeds": [2, 5], "attack.steps": 3, "controls.draws": 0}
    prepared = prepare_audit(model, **small_audit(overrides=keys, train=False), epsilons={"l2": 0.5})
    (experiment,) = prepared.experiments
    executor = experiment.run()
    data = blobs()
    expected = model(data.heldout_inputs).argmax(dim=1)
    for of_seed in experiment.seeds.values():
        f = executor.result(of_seed.branches[0].standard)
        assert torch.equal(f.outputs(data.heldout_inputs).argmax(dim=1), expected)


class Chosen(torch.nn.Module):
    """The outputs that `MAPPED` takes of a network of nine."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.network(inputs)[:, [7, 0, 3]]


MAPPED = replace(blobs(), model_classes=((7,), (0,), (3,)))


def test_f_is_attacked_and_measured_on_the_outputs_of_its_classes() -> None:
    model = torch.nn.Linear(DIM, 9)
    keys = {"seeds": [2, 5], "attack.steps": 3, "controls.draws": 1}
    options: dict[str, Any] = {"overrides": keys, "learners": SMALL, "epsilons": {"l2": 0.5}}
    # A learner of many outputs is trained on those of the classes.
    options["learners"] = {"mlp": SMALL["mlp"], hand_over(torch.nn.Linear(DIM, 9)): {"epochs": 2}}
    mapped = audit(model, MAPPED, **options)
    options["learners"] = {"mlp": SMALL["mlp"], hand_over(Chosen(torch.nn.Linear(DIM, 9))): {"epochs": 2}}
    chosen = audit(Chosen(model), blobs(), **options)
    assert [cell.seeds for cell in mapped.cells] == [cell.seeds for cell in chosen.cells]
    assert all(0 < of_seed.measures["attack_success"] < 1 for cell in mapped.cells for of_seed in cell.seeds)


def test_outputs_of_classes_are_part_of_the_identity_only_if_they_are_named() -> None:
    model = hand_over(torch.nn.Linear(DIM, 9))
    asked = {name: value for name, value in DEEP.items() if not name.startswith("standard.")}
    asked |= {"data.name": "digits", "data.classes": ["0", "1", "2"]}
    asked |= {"standard.model.name": model, "standard.training": "none"}

    def key(**keys: Any) -> str:
        return Experiment(resolve_config({}, {**asked, **keys})).key

    named = {"0": 7, "1": 0, "2": 3}
    assert key(**{"data.model_classes": None}) == key()
    assert "model_classes" not in str(Experiment(resolve_config({}, asked)).seeds[2].data.options)
    assert len({key(), key(**{"data.model_classes": named}), key(**{"data.model_classes": {**named, "2": 4}})}) == 3
    swapped = {"2": [3], "1": 0, "0": 7}
    assert key(**{"data.model_classes": named}) == key(**{"data.model_classes": swapped})


@pytest.mark.parametrize(
    ("model", "changes", "words"),
    [
        ("two_layer", {}, "two_layer is a network of the theory; audit a deep network"),
        ("mlp", {"train": False}, "mlp comes without weights; name a file of weights with --checkpoint, or train"),
        ("mlp", {"learners": ["mlp", "mlp"]}, "the network mlp is named twice"),
        ("mlp", {"learners": []}, "an audit needs at least one learner and one epsilon"),
        ("mlp", {"epsilons": {"l0": math.nan}}, "l0:nan is no number of coordinates"),
    ],
    ids=str,
)
def test_audits_that_cannot_be(model: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        prepare_audit(model, **small_audit(**changes))


FILE: dict[str, Any] = {
    "standard": {"training": "sgd", "lr": 0.3, "epochs": 5, "model": {"name": "convnet", "width": 0.5}},
    "perturbation": {"model": {"name": "resnet18"}},
}


def test_f_is_taken_as_it_stands_whatever_a_file_says_of_another() -> None:
    model = hand_over(torch.nn.Linear(DIM, 3))
    prepared = prepare_audit(model, blobs(), config=FILE)
    for experiment in prepared.experiments:
        assert value_of(experiment.config, "standard.training") == "none"
        assert experiment.config.standard.model.name == model
        assert experiment.config.perturbation.model.name == "resnet18"
    taught = prepare_audit("mlp", blobs(), config=FILE, train=True)
    section = taught.experiments[0].config.standard
    assert (value_of(section, "training"), section.lr, value_of(section, "epochs"), section.model.name) == (
        "sgd",
        (0.3,),
        5,
        "mlp",
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"overrides": {"standard.training": "sgd"}}, "--train settles the key standard.training"),
        ({"overrides": {"attack.norm": "l0"}}, "attack.norm = 'l0' needs numbers of coordinates; use --epsilons"),
        ({"config": {"attack": {"norm": "l0", "pixels": 3}}}, "attack.norm = 'l0' needs numbers of coordinates"),
        (
            {"overrides": {"attack.name": "pgd"}, "epsilons": {"l0": 3}},
            "attack.name = 'pgd', but l0 perturbations",
        ),
        ({"overrides": {"mixing.perturbed_share": 0.2}}, "mixing.perturbed_share = 0.2 also shows g clean samples"),
        ({"learners": {"mlp": {"model.name": "convnet"}}}, "the keys of mlp name another network, convnet"),
    ],
)
def test_what_would_be_ignored_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        prepare_audit("mlp", blobs(), train=True, **options)
