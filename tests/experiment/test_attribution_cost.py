"""Whether a run that leaves attribution open has it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.experiment.tiny import DEEP, DIM, TWO_LAYER, M, N, blobs
from torch.utils.flop_counter import FlopCounterMode

from perturblearn import compare_with_theory, learn_from_perturbations, plan, sweep
from perturblearn.api import UserObjects, make_experiment
from perturblearn.api.audit import prepare_audit
from perturblearn.classifiers import linearised, make_network
from perturblearn.config import NetworkConfig, resolve_config
from perturblearn.data import Signature
from perturblearn.experiment import Experiment
from perturblearn.experiment.attribution_cost import attribution_operations
from perturblearn.experiment.network_costs import Operations, forward_operations


def attributes(keys: dict[str, Any], n_classes: int = 3, *, by_default: bool = True) -> bool:
    data = UserObjects(data=blobs(n_classes))
    experiment = make_experiment({}, data, overrides=keys, attributes=by_default)
    return all(graph.attribution is not None for graph in experiment.seeds.values())


@pytest.mark.parametrize(("keys", "n_classes"), [(DEEP, 3), (TWO_LAYER, 2)], ids=["deep", "two layers"])
def test_small_runs_have_it_unless_told_otherwise(keys: dict[str, Any], n_classes: int) -> None:
    assert attributes(keys, n_classes)
    assert not attributes({**keys, "measures.attribution": False}, n_classes)
    assert not attributes(keys, n_classes, by_default=False)
    assert attributes({**keys, "measures.attribution": True}, n_classes, by_default=False)


@pytest.mark.parametrize(
    ("keys", "n_classes"),
    [
        ({**TWO_LAYER, "perturbation.training": "flow"}, 2),
        ({**TWO_LAYER, "dtype": "float32", "perturbation.products": "float16"}, 2),
        ({**TWO_LAYER, "perturbation.epochs": 10_001}, 2),
        ({**TWO_LAYER, "perturbation.epochs": 1000, "perturbation.model.hidden_dim": 10_000}, 2),
        ({**DEEP, "mixing.perturbed_share": 0.5}, 3),
        ({**DEEP, "perturbation.ema_decay": 0.9}, 3),
        ({**DEEP, "perturbation.epochs": 251}, 3),  # of two steps
        ({**DEEP, "perturbation.model.hidden_dim": 10_000}, 3),
    ],
)
def test_what_cannot_be_followed_or_takes_longer_is_left_out_silently(keys: dict[str, Any], n_classes: int) -> None:
    assert not attributes(keys, n_classes)


def test_a_network_of_the_user_s_is_followed_where_this_is_asked() -> None:
    for asked in (None, True):
        objects = UserObjects(data=blobs(), perturbation=torch.nn.Linear(DIM, 3))
        keys = {**DEEP, "measures.attribution": asked}
        keys = {name: value for name, value in keys.items() if not name.startswith("perturbation.model")}
        experiment = make_experiment({}, objects, overrides=keys, attributes=True)
        assert (experiment.seeds[2].attribution is not None) == bool(asked)


def test_operations_by_hand() -> None:
    two = make_experiment({}, UserObjects(data=blobs(2)), overrides=TWO_LAYER)
    shapes = two.context.shapes()
    assert forward_operations(two.config.perturbation, shapes) == 2 * 8 * DIM
    wide = resolve_config(two.config, {"perturbation.model.hidden_dim": 10_000})
    # Six passes at inputs and sources, three of the control, six at held-out inputs; 20 epochs.
    assert attribution_operations(wide, shapes) == 20 * (9 * N + 6 * M) * 2 * 10_000 * DIM
    deep = make_experiment({}, UserObjects(data=blobs()), overrides=DEEP)
    model = deep.config.perturbation.model
    assert isinstance(model, NetworkConfig)
    network = make_network(model, Signature.of(blobs()), seed=0, role="g")
    weights = sum(parameter.numel() for parameter in network.parameters() if parameter.ndim == 2)
    assert forward_operations(deep.config.perturbation, deep.context.shapes()) == 2 * weights


@pytest.mark.parametrize("is_linearised", [False, True])
@pytest.mark.parametrize("name", ["convnet", "mlp", "resnet9", "resnet18", "wide_resnet"])
def test_operations_are_those_that_pytorch_counts(name: str, is_linearised: bool) -> None:
    images = Signature((1, 16, 16), 3, 0.0, (0.0,), (1.0,))
    model = resolve_config({"standard": {"model": {"name": name}, "training": "sgd"}}).standard.model
    assert isinstance(model, NetworkConfig)
    network = make_network(model, images, seed=0, role="f").eval()
    network = linearised(network) if is_linearised else network
    inputs = torch.zeros(2, images.input_dim)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(inputs)
    with torch.no_grad(), Operations() as operations:
        network(inputs)
    assert operations.total == counter.get_total_flops() > 0


def test_more_seeds_measure_no_less() -> None:
    assert attributes({**TWO_LAYER, "seeds": 40}, 2)


def test_audits_and_sweeps_have_it_where_they_are_asked() -> None:
    small = {"data": {"name": "gauss", "n_samples": 20, "n_heldout": 10}, "controls": {"draws": 0}}
    short = {"standard": {"epochs": 2}, "perturbation": {"epochs": 2}}
    grid = {"seeds": 1, **small, **short, "sweep": {"grid": {"attack.epsilon": [0.5]}}}
    for asked in (None, True):
        keys = {} if asked is None else {"measures.attribution": asked}
        (run,) = sweep(grid, overrides=keys).runs
        assert ("attribution_total" in run.numbers) == bool(asked)
        prepared = prepare_audit("mlp", "digits", train=True, overrides={"seeds": 1, "controls.draws": 0, **keys})
        of_seeds = [graph for each in prepared.experiments for graph in each.seeds.values()]
        assert all((graph.attribution is not None) == bool(asked) for graph in of_seeds)


def test_a_plan_shows_it_and_theory_finds_the_run_again() -> None:
    keys = {**TWO_LAYER, "controls.draws": 0}
    planned = plan(data=blobs(2), overrides=keys)
    assert [stage.label for stage in planned.to_run].count("attribution of what g knows") == 1
    result = learn_from_perturbations(data=blobs(2), overrides=keys)
    assert result.config.measures.attribution is None
    assert "attribution_total" in result.summary
    compare_with_theory(result, data=blobs(2))
    alone = Experiment(result.config, dataset=blobs(2))
    assert set(alone.stage_keys) < {stage.key for stage in planned.stages}
