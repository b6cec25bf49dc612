"""Perturbations of every architecture, learned by every architecture, and how often they fool it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import torch
from tests.experiment.tiny import DEEP, DIM, MLP, blobs, same_artefact
from torch import Tensor, nn

from perturblearn.api import transfer
from perturblearn.classifiers import hand_over
from perturblearn.config import resolve_config, value_of
from perturblearn.errors import ConfigError
from perturblearn.experiment import Experiment, Transfer, run_together
from perturblearn.experiment.measures import measure_fooling
from perturblearn.graph import Executor

pytestmark = pytest.mark.usefixtures("one_thread")

SEEDS = [2, 5, 3]
TRAINED = {name: value for name, value in MLP.items() if not name.startswith("model.")}


def linear() -> nn.Module:
    return nn.Linear(DIM, 3)


def linear_of_two() -> nn.Module:
    return nn.Linear(DIM, 1)


@cache
def architectures(network: Any = linear) -> dict[str, dict[str, Any]]:
    return {"mlp": MLP, hand_over(network): TRAINED}


def matrix(seeds: list[int], keys: Mapping[str, Any] | None = None, *, n_classes: int = 3) -> Transfer:
    attack = {name: value for name, value in DEEP.items() if name.startswith("attack.")}
    base = {**attack, "seeds": seeds, "controls.draws": 1, "data.name": "python", **(keys or {})}
    placeholders = {f"{role}.model.name": "mlp" for role in ("standard", "perturbation")}
    networks = architectures(linear if n_classes == 3 else linear_of_two)
    return Transfer(resolve_config({}, {**placeholders, **base}), networks, dataset=blobs(n_classes))


def ran(of: Transfer, **options: Any) -> Executor:
    return run_together(of.experiments.values(), beside=of.beside, **options)


def label(outputs: list[float] | float) -> int:
    if isinstance(outputs, list):
        return max(range(len(outputs)), key=lambda position: outputs[position])
    return 1 if outputs > 0 else -1 if outputs < 0 else 0


def plain_fooling(classifier: Any, perturbed: Any) -> dict[str, float | None]:
    """Counted one sample at a time."""
    asked = reached = known = lost = 0
    outputs, before = classifier.outputs(perturbed.inputs).tolist(), classifier.outputs(perturbed.sources).tolist()
    for row, target in enumerate(perturbed.target_labels.tolist()):
        truth = None if perturbed.true_labels is None else int(perturbed.true_labels[row])
        if bool(perturbed.redirected[row]):
            asked += 1
            reached += label(outputs[row]) == target
        if truth is not None and label(before[row]) == truth:
            known += 1
            lost += label(outputs[row]) != truth
    return {"success": reached / asked if asked else None, "error": lost / known if known else None}


@pytest.mark.parametrize(
    ("keys", "n_classes"),
    [
        ({}, 3),
        ({"attack.targets": "uniform"}, 3),
        ({"attack.targets": "uniform"}, 2),
        ({"attack.source": "uniform", "attack.targets": "uniform"}, 3),
        ({"mixing.perturbed_share": 0.5}, 3),
    ],
    ids=str,
)
def test_fooling_against_a_plain_loop(keys: dict[str, Any], n_classes: int) -> None:
    of = matrix(SEEDS[:2], keys, n_classes=n_classes)
    executor = ran(of)
    for (attacked, fooled), stages in of.fooling.items():
        for (seed, stage), other in zip(stages.items(), (5, 2), strict=True):
            assert stage is not None
            # The network that is asked was trained by another seed; the set is what its attacked one was moved by.
            perturbed = executor.result(of.experiments[attacked, fooled].seeds[seed].branches[0].heldout_perturbed)
            classifier = executor.result(of.experiments[fooled, attacked].seeds[other].branches[0].standard)
            assert perturbed.clean is None
            expected = plain_fooling(classifier, perturbed)
            # The shares are taken in float32.
            assert executor.result(stage) == {
                name: None if value is None else pytest.approx(value, rel=2**-23) for name, value in expected.items()
            }
            assert (expected["error"] is None) == (keys.get("attack.source") == "uniform")


class Fixed:
    """A classifier whose outputs are the inputs."""

    def outputs(self, inputs: Tensor) -> Tensor:
        return inputs


def a_set(**changes: Any) -> Any:
    of = matrix([2])
    perturbed = ran(of).result(next(iter(of.experiments.values())).seeds[2].branches[0].heldout_perturbed)
    logits = torch.eye(3)
    values = {
        "inputs": logits[[0, 1, 2, 0]], "sources": logits[[0, 0, 2, 1]], "target_labels": torch.tensor([0, 1, 1, 2]),
        "true_labels": torch.tensor([0, 0, 2, 0]), "redirected": torch.tensor([False, True, True, True]),
        "success": torch.ones(4, dtype=torch.bool), "source_index": torch.arange(4), "sizes": None,
    }  # fmt: skip
    return dataclasses.replace(perturbed, **{**values, **changes})


def test_fooling_by_hand() -> None:
    classifier: Any = Fixed()
    # Of three redirected samples one gets its target; of three that are recognised one is so no longer.
    assert measure_fooling(classifier, a_set()) == {"success": pytest.approx(1 / 3), "error": pytest.approx(1 / 3)}
    nothing = torch.zeros(4, dtype=torch.bool)
    assert measure_fooling(classifier, a_set(redirected=nothing))["success"] is None
    unknown = a_set(true_labels=torch.tensor([1, 1, 1, 2]))
    assert measure_fooling(classifier, unknown) == {"success": pytest.approx(1 / 3), "error": None}
    assert measure_fooling(classifier, a_set(true_labels=None))["error"] is None


def test_who_is_fooled_is_the_next_seed_s() -> None:
    of = matrix(SEEDS)
    for (attacked, fooled), stages in of.fooling.items():
        for seed, other in ((2, 5), (5, 3), (3, 2)):
            stage = stages[seed]
            assert stage is not None
            assert stage.perturbed == of.experiments[attacked, attacked].seeds[seed].branches[0].heldout_perturbed
            assert stage.classifier == of.experiments[fooled, fooled].seeds[other].branches[0].standard
    assert len(of.beside) == 4 * 3


def test_one_seed_asks_no_network_about_its_own_perturbations() -> None:
    of = matrix([2])
    for (attacked, fooled), stages in of.fooling.items():
        stage = stages[2]
        assert (stage is None) == (attacked == fooled)
        if stage is not None:
            assert stage.classifier == of.experiments[fooled, fooled].seeds[2].branches[0].standard
    assert len(of.beside) == 2
    executor = ran(of)
    for (attacked, fooled), found in of.measures_of_fooling(executor).items():
        for measured in (found.success, found.error):
            assert measured is not None
            assert measured["std"] is None
            if attacked == fooled:
                assert (measured["mean"], measured["values"]) == (None, [None])
            else:
                assert measured["mean"] == measured["values"][0]


def test_seeds_summed_up() -> None:
    of = matrix(SEEDS)
    executor = ran(of)
    found = of.measures_of_fooling(executor)
    assert list(found) == [(f, g) for f in of.architectures for g in of.architectures] == list(of.experiments)
    for pair, stages in of.fooling.items():
        values = [executor.result(stage)["success"] for stage in stages.values() if stage is not None]
        success = found[pair].success
        assert success is not None
        assert success["values"] == values
        assert success["mean"] == pytest.approx(sum(values) / 3)
        assert success["std"] == pytest.approx(float(torch.tensor(values).double().std()))


def wide() -> nn.Module:
    return nn.Linear(DIM, 9)


class Chosen(nn.Module):
    """Three outputs of such a network."""

    def __init__(self) -> None:
        super().__init__()
        self.network = wide()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(inputs)[:, [7, 0, 3]]


def test_a_network_with_other_outputs_too() -> None:
    """It is trained and attacked on those of the classes; our own networks have no others."""
    base = {name: value for name, value in DEEP.items() if name.startswith("attack.")}
    keys = {**base, "seeds": 2, "controls.draws": 0, "controls.linear_probe": False}
    data = dataclasses.replace(blobs(), model_classes=((7,), (0,), (3,)))
    mapped, chosen = (
        transfer({"mlp": MLP, hand_over(network): TRAINED}, given, overrides=keys)
        for network, given in ((wide, data), (Chosen, blobs()))
    )
    assert [cell.seeds for cell in mapped.cells.values()] == [cell.seeds for cell in chosen.cells.values()]
    assert list(mapped.fooling.values()) == list(chosen.fooling.values())


def test_what_the_matrix_shares() -> None:
    of = matrix(SEEDS)
    for seed in SEEDS:
        stages = {pair: experiment.seeds[seed] for pair, experiment in of.experiments.items()}
        first, second = of.architectures
        assert len({of_pair.data for of_pair in stages.values()}) == 1
        for name in of.architectures:
            # Rows share f and its set, columns the control that knows no f.
            assert stages[name, first].standards == stages[name, second].standards
            assert stages[name, first].branches[0].perturbed == stages[name, second].branches[0].perturbed
            assert stages[first, name].controls["unperturbed"] == stages[second, name].controls["unperturbed"]
        assert len({of_pair.perturbations for of_pair in stages.values()}) == 4
        # F and g of one architecture are two networks.
        assert stages[first, first].standards[0] != stages[first, first].perturbations[0][0]


def test_shared_stages_run_once() -> None:
    of, kinds, runs = matrix(SEEDS), Counter[str](), Counter[str]()

    def count(progress: Any) -> None:
        if progress.finished:
            runs[progress.stage.key] += 1
            if progress.number:
                kinds[progress.stage.kind] += 1

    ran(of, watch=count)
    assert set(runs.values()) == {1}
    shared = ("standard network", "perturbation network", "shard of a perturbed set", "control", "fooling")
    # Per seed: two f and four g; one shard of each of four sets; two unperturbed and four permuted controls.
    assert {kind: kinds[kind] for kind in shared} == {
        "standard network": 3 * 2,
        "perturbation network": 3 * 4,
        "shard of a perturbed set": 3 * 4,
        "control": 3 * (2 + 4),
        "fooling": 3 * 4,
    }


def test_each_pair_is_the_experiment_alone() -> None:
    of = matrix(SEEDS[:2])
    together = ran(of)
    for pair, experiment in of.experiments.items():
        assert experiment.config.standard.model.name == pair[0]
        assert experiment.config.perturbation.model.name == pair[1]
        alone = Experiment(experiment.config, dataset=blobs())
        executor = alone.run()
        assert alone.measures(executor) == experiment.measures(together)
        for seed, stages in alone.seeds.items():
            g = experiment.seeds[seed].perturbations[0][0]
            same_artefact(
                executor.result(stages.branches[0].learners[0].perturbation).dump(), together.result(g).dump()
            )


def test_own_keys_apply_in_both_roles() -> None:
    of = matrix([2])
    for (f, g), experiment in of.experiments.items():
        for name, section in ((f, experiment.config.standard), (g, experiment.config.perturbation)):
            assert value_of(section, "batch_size") == 32
            if name == "mlp":
                assert value_of(section, "model.hidden_dim") == 16


def test_the_key_is_of_all_that_is_wanted() -> None:
    other = {"attack.steps": 4}
    keys = [of.key for of in (matrix(SEEDS), matrix(SEEDS[:2]), matrix([5, 2, 3]), matrix(SEEDS, other))]
    assert len(set(keys)) == len(keys)
    assert matrix(SEEDS).key == keys[0]


def test_from_python() -> None:
    keys = {"seeds": 2, "attack.steps": 3, "controls.draws": 1}
    found = transfer({"mlp": MLP, hand_over(linear): TRAINED}, blobs(), overrides=keys)
    assert list(found.cells) == [(f, g) for f in architectures() for g in architectures()]
    for pair, cell in found.cells.items():
        assert (cell.config.standard.model.name, cell.config.perturbation.model.name) == pair
        success = found.fooling[pair].success
        assert success is not None
        assert len(success["values"]) == 2
    again = transfer({"mlp": MLP, hand_over(linear): TRAINED}, blobs(), overrides=keys)
    assert (again.key, again.fooling) == (found.key, found.fooling)


def test_matrices_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"a transfer matrix needs at least two architectures, not only mlp"):
        transfer("mlp", blobs())
    with pytest.raises(ConfigError, match=r"standard\.lr of mlp has several values, but a transfer matrix trains each"):
        transfer(["mlp", hand_over(linear)], blobs(), overrides={"standard.lr": [0.1, 0.01]})


def test_where_seeds_draw_their_own_held_out_part_the_fooled_network_is_of_the_same_seed() -> None:
    """Another seed's network has been trained on most of the samples that this one holds out."""
    base = resolve_config(
        {}, {"data.name": "digits", "seeds": SEEDS, "standard.model.name": "mlp", "perturbation.model.name": "mlp"}
    )
    of = Transfer(base, {"mlp": {}, "resnet18": {}})
    for (attacked, fooled), stages in of.fooling.items():
        for seed, stage in stages.items():
            if attacked == fooled:
                assert stage is None
            else:
                assert stage is not None
                own = of.experiments[fooled, fooled].seeds[seed].branches[0].standard
                assert stage.classifier == own
