"""Keys of what teaches otherwise than by perturbations: what is refused, and what stays as it was."""

from __future__ import annotations

from typing import Any

import pytest

from perturblearn.config import FittedConfig, foreign_data, resolve_config
from perturblearn.errors import ConfigError

MLPS = {"standard.model.name": "mlp", "perturbation.model.name": "mlp"}
START = {"perturbation.start": "standard"}
KNN = {"perturbation.model.name": "knn"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"attack.source": "noise"},
        "attack.source = 'noise', but it must be 'natural', 'none', 'uniform', 'gauss', 'noisy', 'errors' or "
        "'data:NAME'",
    ),
    ({"attack.source": "data:"}, "attack.source = 'data:', but it must be"),
    (
        {"attack.source": "data:mnist", "attack.targets": "next"},
        "attack: targets next needs true labels, which sources of another data set are not those of this one; choose",
    ),
    ({"attack.source": "uniform", "attack.targets": "true"}, "attack: targets true needs true labels, which uniform"),
    ({"attack.source": "noisy"}, "attack: source noisy needs the key signal_to_noise; add it"),
    ({"attack.signal_to_noise": 1}, "the key signal_to_noise applies to the source noisy, not to natural; remove it"),
    ({"attack.source": "noisy", "attack.signal_to_noise": 0}, "attack.signal_to_noise = 0, but it must be above 0"),
    ({"attack.source": "errors"}, "source errors is about f's own wrong answers, which targets uniform are not"),
    ({"attack.away": True}, "the key away does not apply to one_step, only to radial_pgd and pgd; remove it"),
    ({"standard.start": "standard"}, "standard.start = 'standard' is about g's first weights; remove it"),
    (
        {**START, "perturbation.model.hidden_dim": 7},
        "standard.model and perturbation.model differ; make them equal",
    ),
    ({**START, "draws": "neurips2024"}, "draws = 'neurips2024'"),
    (
        {"standard.model.name": "knn"},
        "standard.model.name = 'knn' has no gradients to perturb inputs by; choose it",
    ),
    ({"attack.targets": "soft"}, "attack.targets = 'soft' teaches g outputs of f, which our deep networks learn by"),
    (
        {**MLPS, "attack.targets": "auxiliary"},
        "standard.model.auxiliary = None and",
    ),
    ({**MLPS, "perturbation.temperature": 2}, "perturbation.temperature is about a g that learns outputs of f"),
    ({**MLPS, "attack.targets": "soft", "standard.temperature": 2}, "standard.temperature is about a g that learns"),
    (
        {**MLPS, "attack.targets": "soft", "mixing.perturbed_share": 0.5},
        "mixing.perturbed_share = 0.5 mixes labels",
    ),
    ({**MLPS, "attack.targets": "soft", "measures.attribution": True}, "measures.attribution = true is about target"),
    ({**KNN, "perturbation.model.auxiliary": 3}, "the key auxiliary applies to networks, and knn is none; remove it"),
    ({**KNN, "perturbation.lr": 0.1}, "perturbation: the key lr does not apply to a learner of scikit-learn"),
    ({**KNN, "perturbation.training": "sgd"}, "the key training does not apply to a learner of scikit-learn"),
    (
        {**KNN, "perturbation.model.checkpoint": "x"},
        "the key checkpoint applies to networks",
    ),
    (
        {**KNN, "measures.theory": True},
        "measures.theory = true needs gradients of g, which perturbation.model",
    ),
    ({**KNN, "measures.robust_accuracy": True}, "measures.robust_accuracy = true needs gradients of g"),
    ({**KNN, "measures.attribution": True}, "measures.attribution = true follows g's training step by step"),
]


@pytest.mark.parametrize(("keys", "message"), REFUSED)
def test_each_mistake_is_one_sentence(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve_config(None, keys)
    assert message in str(refused.value)


def test_a_learner_of_scikit_learn_is_fitted() -> None:
    assert isinstance(resolve_config(None, KNN).perturbation, FittedConfig)


def test_what_is_not_asked_for_is_no_part_of_a_configuration() -> None:
    attack = resolve_config(None, {**MLPS, "attack.name": "pgd", "attack.away": False}).attack
    assert attack.model_dump(exclude_none=True).keys().isdisjoint({"away", "signal_to_noise", "n_sources"})


def test_another_data_set_is_prepared_as_the_own_one_is() -> None:
    own = resolve_config(None, {"data.name": "mnist", "data.flatten": False, "data.centre": False}).data
    other = foreign_data(own, "fashion_mnist")
    assert (other.name, other.flatten, other.centre) == ("fashion_mnist", False, False)  # type: ignore[attr-defined]
    for name in ("nothing", "gauss"):
        with pytest.raises(
            ConfigError, match=rf"attack.source = 'data:{name}', but there is no such data; write data:"
        ):
            foreign_data(own, name)
    with pytest.raises(ConfigError, match=r"attack.source = 'data:folder:': .*folder needs a path; write folder:PATH"):
        foreign_data(own, "folder:")
