"""Why g learned, on data and perturbations in which one route exists and the others do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.experiment.made_up import DIM, brittle, made_up, nothing, one_of_four, parity, towards
from tests.experiment.tiny import DEEP, MLP, blobs
from torch import Tensor, nn

from perturblearn import Audit
from perturblearn.api import RunOptions, audit, prepare_audit
from perturblearn.attacks import hand_over_attack
from perturblearn.config import resolve_config
from perturblearn.data import Dataset
from perturblearn.errors import ConfigError
from perturblearn.experiment import ROUTES, RouteName

pytestmark = pytest.mark.usefixtures("one_thread")

NETWORK = {"model.hidden_dim": 32, "epochs": 6, "lr": 0.2, "batch_size": 32, "schedule": "constant"}
KEYS: dict[str, Any] = {
    "seeds": [0, 1], "attack.targets": "given", "controls.draws": 3, "controls.linear_probe": False,
    "measures.attribution_inputs": 100,
    **{f"{role}.{key}": value for role in ("standard", "perturbation") for key, value in NETWORK.items()},
}  # fmt: skip


def followed(
    attack: Callable[..., Tensor], data: Dataset, keys: Mapping[str, Any] = {}, *, foreign: str | tuple[()] = ()
) -> Audit:
    overrides = {**KEYS, "attack.name": hand_over_attack(attack), **keys}
    return audit(
        "mlp", data, train=True, learners="mlp", epsilons={"l2": 8.0}, why=True, foreign=foreign, overrides=overrides
    )


def teaching(found: Audit) -> set[RouteName]:
    return {route.name for route in found.routes if route.teaches}


def reason_of(found: Audit, name: RouteName) -> str:
    (route,) = (each for each in found.routes if each.name == name)
    assert (route.result, route.reached, route.control, route.teaches) == (None, None, None, None)
    return route.reason


def test_only_f_s_errors_teach() -> None:
    """Some labels are wrong and nothing is perturbed: f gets these inputs wrong, and its answers are right."""
    found = followed(nothing, made_up(size=3.0, wrong=0.2), {"standard.epochs": 4})
    assert teaching(found) == {"errors"}
    assert reason_of(found, "foreign") == "no other data set was named; name one with --foreign"
    assert "keep_others" in reason_of(found, "negative")


def test_only_f_s_answers_to_other_data_teach(tmp_path: Path) -> None:
    """Nothing is perturbed and f makes no errors, but it labels noise."""
    generator = np.random.default_rng(0)
    noise, labels = generator.normal(size=(600, DIM)).astype(np.float32), np.repeat([1, -1], 300)
    np.savez(tmp_path / "noise.npz", inputs=noise, labels=labels)
    found = followed(nothing, made_up(), foreign=f"npz:{tmp_path / 'noise.npz'}")
    assert teaching(found) == {"foreign"}
    assert "but there is none" in reason_of(found, "errors")


def test_only_a_robust_linear_feature_teaches() -> None:
    found = followed(towards, one_of_four())
    assert teaching(found) == {"robust_linear", "attribution"}


def test_only_what_is_not_linear_teaches() -> None:
    found = followed(parity, made_up())
    assert teaching(found) == {"linear_shortcut", "attribution"}


def test_only_the_perturbations_part_teaches() -> None:
    """They move one linear direction that is not robust: no robust feature leaks, and without it nothing is left."""
    found = followed(brittle, made_up(size=0.3), {"measures.robust_leakage": 0.5})
    assert teaching(found) == {"attribution"}


COORDINATES, NOISE = 24, 76


class LooksAtOne(nn.Module):
    """Looks at one coordinate of many that all show the class; which one is drawn with its first weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.at: Tensor
        self.register_buffer("at", torch.zeros(1, dtype=torch.long))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        with torch.no_grad():
            self.weight.fill_(1.0)
            self.at.copy_(torch.randint(COORDINATES, (1,)))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.weight * inputs[:, self.at[0]]


def test_what_fools_f_alone_teaches_where_f_looks_at_something_of_its_own() -> None:
    each = torch.cartesian_prod(*[torch.tensor([1, -1])] * 2).repeat(100, 1)  # every label comes with every target
    labels, targets = each.unbind(dim=1)
    generator = torch.Generator().manual_seed(0)

    def shown(part: Tensor) -> Tensor:
        # At the ends of the range, so that a coordinate that is moved shows the target alone.
        shows = part[:, None] * (1 - 0.2 * torch.rand(len(part), COORDINATES, generator=generator))
        return torch.cat((shows, 2 * torch.rand(len(part), NOISE, generator=generator) - 1), dim=1)

    inputs, heldout = shown(labels), shown(labels[:300])
    data = Dataset(
        inputs, labels, heldout, labels[:300], value_range=(-1.0, 1.0), class_names=("+1", "-1"), given_targets=targets
    )
    keys = {**KEYS, "attack.steps": 10, "standard.epochs": 1, "standard.lr": 0.01}
    keys.pop("standard.model.hidden_dim")
    found = audit(LooksAtOne, data, train=True, learners="mlp", epsilons={"l2": 2.0}, why=True, overrides=keys)
    (negative,) = (route for route in found.routes if route.name == "negative")
    assert negative.result is not None
    # No other network looks where f does.
    assert negative.result.summary["kept_share"]["mean"] == 1.0
    assert negative.result.summary["attack_success"]["mean"] == 1.0
    assert negative.teaches


# The graph


def small(why: bool, n_classes: int = 3, **more: Any) -> Any:
    keys = {name: value for name, value in DEEP.items() if not name.startswith(("attack.eps", "perturbation"))}
    keys = {name: value for name, value in keys.items() if name != "standard.model.name"}
    overrides = {**keys, "seeds": [2, 5], **more}
    learners = {"mlp": {key: value for key, value in MLP.items() if key != "model.name"}}
    return prepare_audit(
        "mlp",
        blobs(n_classes),
        train=True,
        learners=learners,
        epsilons={"l2": [0.4, 0.6]},
        why=why,
        overrides=overrides,
    )


@pytest.mark.parametrize(("n_classes", "keeps_odds"), [(2, False), (3, True)])
def test_what_fools_f_alone_is_searched_at_equal_odds_where_labels_are_no_control(
    n_classes: int, keeps_odds: bool
) -> None:
    searched = [case.config.attack for case, _ in small(True, n_classes).routes if case.name == "negative"]
    assert [(attack.n_others > 0, attack.keeps_odds) for attack in searched] == [(True, keeps_odds)] * 2


def test_routes_are_a_larger_graph_of_the_same_stages(tmp_path: Path) -> None:
    options = RunOptions(out=tmp_path)
    plain, asked = small(False), small(True)
    assert plain.key != asked.key
    plain.run(options)
    planned = asked.plan(options)
    mine = {stage.key for each in plain.experiments for stage in each.targets}
    assert mine <= {stage.key for stage in planned.finished}
    assert {stage.key for each in asked.cells for stage in each.targets} == mine
    found = asked.run(options)
    assert [(route.name, route.norm, route.epsilon) for route in found.routes] == [
        ("errors", None, None),
        ("foreign", None, None),
        *((name, "l2", epsilon) for name, route in ROUTES.items() if route.is_of_perturbations
          for epsilon in (0.4, 0.6)),
    ]  # fmt: skip
    # Nothing is left to run, but for a route that has ended early: which inputs f gets wrong is not kept.
    failed = {route.name for route in found.routes if route.result is None}
    assert failed == {"foreign"} or failed == {"foreign", "errors"}
    if "errors" not in failed:
        assert asked.plan(options).to_run == ()
    again = asked.run(options)
    assert again.to_dict() == found.to_dict()


def test_what_the_configuration_rules_out_is_known_before_anything_runs() -> None:
    reasons = {case.name: case.reason for case, experiment in small(True, **{"measures.attribution": False}).routes
               if experiment is None}  # fmt: skip
    assert reasons == {
        "foreign": "no other data set was named; name one with --foreign",
        "attribution": "attribution is left out by measures.attribution = false",
    }


def test_each_route_can_be_run_alone(tmp_path: Path) -> None:
    found = small(True).run(RunOptions(out=tmp_path))
    assert found.folder is not None
    configs = {path.stem: resolve_config(path) for path in (found.folder / "cells").iterdir()}
    ran = [route for route in found.routes if route.result is not None]
    assert len(configs) == len(found.cells) + len(ran)
    for route in ran:
        assert route.result is not None
        assert route.result.config in configs.values()
    assert (found.folder / "why.csv").read_text().count("\n") == 1 + len(found.routes)
    assert (found.folder / "why.png").is_file()
    loaded = Audit.load(found.folder)
    assert [route.row for route in loaded.routes] == [route.row for route in found.routes]
    assert str(loaded) == str(found)


def test_other_data_without_the_question() -> None:
    with pytest.raises(ConfigError, match=r"^--foreign digits names data for one of the routes of --why, which is not"):
        prepare_audit("mlp", blobs(), train=True, foreign="digits")


def test_an_error_of_a_combination_ends_the_audit(tmp_path: Path) -> None:
    def broken(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        raise ZeroDivisionError("of its own")

    with pytest.raises(Exception, match="of its own"):
        followed(broken, made_up())
