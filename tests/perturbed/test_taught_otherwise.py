"""Sources and targets besides those of perturbation learning: what its neighbours teach with."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.experiment.tiny import DEEP, blobs, experiment_of
from torch import Tensor

from perturblearn import learn_from_perturbations
from perturblearn.classifiers import Classifier, make_network, predicted_labels
from perturblearn.config import AttackConfig, NetworkConfig
from perturblearn.data import Dataset, Signature
from perturblearn.errors import ConfigError, DataError
from perturblearn.perturbed import perturb, sources_of
from perturblearn.results import Examples

DATA = blobs()
F = Classifier(make_network(NetworkConfig.model_validate({"name": "mlp"}), Signature.of(DATA), seed=0, role="f"))
SEARCH = {"name": "pgd", "epsilon": 0.5, "steps": 5, "targets": "true"}


def says(inputs: Tensor) -> Tensor:
    """What f says of inputs."""
    return predicted_labels(F.outputs(inputs))


def attack(**keys: Any) -> AttackConfig:
    return AttackConfig.model_validate({"epsilon": 0.0, **keys})


@pytest.mark.parametrize("source", ["natural", "uniform"])
def test_what_f_says_of_a_source_is_its_target(source: str) -> None:
    made = perturb(F, DATA, attack(source=source, targets="predicted"), seed=0)
    assert made.sources is not None
    assert torch.equal(made.target_labels, says(made.sources))
    assert torch.equal(made.inputs, made.sources)


@pytest.mark.parametrize(("targets", "shown"), [("predicted", set("abc")), ("soft", {"f's outputs"})])
def test_examples_tell_labels_or_that_there_are_none(targets: str, shown: set[str]) -> None:
    made = perturb(F, DATA, attack(targets=targets), seed=0)
    assert set(Examples.of(made, DATA).target_labels) <= shown


def test_true_labels_are_kept() -> None:
    made = perturb(F, DATA, attack(targets="true"), seed=0)
    assert torch.equal(made.target_labels, DATA.labels)
    assert made.success_rate is None


def test_away_from_true_labels_f_is_right_less_often_and_towards_them_more_often() -> None:
    right = {
        away: (says(perturb(F, DATA, attack(**SEARCH, away=away), seed=0).inputs) == DATA.labels).double().mean()
        for away in (False, True)
    }
    clean = (says(DATA.inputs) == DATA.labels).double().mean()
    assert right[True] < clean < right[False]


@pytest.mark.parametrize("heldout", [False, True])
def test_noise_on_inputs_has_the_share_of_their_variance_that_is_asked_for(heldout: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    many = torch.randn(4000, 30, generator=generator)
    labels = torch.ones(4000, dtype=torch.int64)
    of = Dataset(many, labels, many[:3000], labels[:3000], (-math.inf, math.inf), ("a", "b"))
    noisy = sources_of(of, attack(source="noisy", signal_to_noise=0.25), seed=1, heldout=heldout)
    inputs = of.heldout_inputs if heldout else of.inputs
    noise = noisy.inputs - inputs
    assert math.isclose(noise.var().item(), 4 * many.var().item(), rel_tol=0.02)
    assert abs((noise * inputs).mean().item()) < 0.02
    assert noisy.labels is not None
    assert torch.equal(noisy.labels, labels[: len(inputs)])


def test_noisy_inputs_stay_in_the_range_of_the_data() -> None:
    noisy = sources_of(DATA, attack(source="noisy", signal_to_noise=0.1), seed=1).inputs
    assert (noisy.min().item(), noisy.max().item()) == (0.0, 1.0)


def other(count: int = 50, **changes: Any) -> Dataset:
    """A data set of the same shape, from whose inputs 0.5 was subtracted."""
    generator = torch.Generator().manual_seed(9)
    inputs, labels = torch.rand(count, 12, generator=generator) - 0.5, torch.ones(count, dtype=torch.int64)
    return replace(Dataset(inputs, labels, inputs[:20], labels[:20], (-0.5, 0.5), ("x", "y"), mean=0.5), **changes)


def test_inputs_of_another_data_set_are_evenly_spaced_and_in_this_one_s_scale() -> None:
    both = DATA.with_foreign(other(), "things")
    foreign = sources_of(both, attack(source="data:things", n_sources=10), seed=0)
    assert foreign.labels is None
    assert foreign.index.tolist() == [0, 5, 11, 16, 22, 27, 33, 38, 44, 49]
    assert torch.allclose(foreign.inputs, other().inputs[foreign.index] + 0.5)
    # Its held-out part has fewer than are asked for.
    again = sources_of(both, attack(source="data:things", n_sources=10), seed=0, heldout=True)
    assert again.index.tolist() == [*range(20), *range(20), *range(5)]


def test_what_another_data_set_cannot_give_is_refused() -> None:
    few, ones = torch.rand(5, 3), torch.ones(5, dtype=torch.int64)
    narrow = Dataset(few, ones, few, ones, (0.0, 1.0), ("x", "y"))
    with pytest.raises(DataError, match=r"has inputs of shape \(3,\), but f's have \(12,\); choose data of the same"):
        DATA.with_foreign(narrow, "things")
    both = DATA.with_foreign(other(), "things")
    with pytest.raises(ConfigError, match=r"90 sources are asked for, but the data set things has 50 .* = 50"):
        sources_of(both, attack(source="data:things"), seed=0)


TAUGHT = {**DEEP, "attack.name": "one_step", "attack.epsilon": 0.0, "attack.targets": "predicted"}
TAUGHT = {name: value for name, value in TAUGHT.items() if name != "attack.steps"}


def test_g_learns_from_f_s_errors_alone() -> None:
    experiment = experiment_of({**TAUGHT, "attack.source": "errors", "standard.epochs": 1}, DATA)
    executor = experiment.run()
    branch = experiment.seeds[2].branches[0]
    made, f = executor.result(branch.perturbed), executor.result(branch.standard)
    said = predicted_labels(f.outputs(DATA.inputs))
    wrong = (said != DATA.labels).nonzero()[:, 0]
    assert 0 < len(made) == len(wrong)
    assert torch.equal(made.source_index, wrong)
    assert torch.equal(made.target_labels, said[wrong])
    assert torch.equal(made.inputs, DATA.inputs[wrong])


def test_an_f_without_errors_is_told() -> None:
    with pytest.raises(DataError, match="inputs that f gets wrong, but there is none; train f for fewer epochs"):
        experiment_of({**TAUGHT, "attack.source": "errors", "standard.epochs": 200}, DATA).run()


def test_a_set_of_errors_is_not_written_before_f_is_known() -> None:
    with pytest.raises(ConfigError, match="how many there are is known once f is trained"):
        experiment_of({**TAUGHT, "attack.source": "errors"}, DATA).shards(2)


@pytest.mark.parametrize("search", [{}, {"attack.name": "pgd", "attack.steps": 2, "attack.epsilon": 0.5}])
def test_another_data_set_is_read_for_its_inputs(
    search: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Digits upside down would be another data set; here it is the same one, so f's answers are mostly right."""
    keys = {**TAUGHT, **search, "attack.source": "data:digits", "attack.n_sources": 200}
    keys |= {"data.name": "digits", "data.classes": [0, 1, 2], "standard.epochs": 5, "perturbation.epochs": 20}
    result = learn_from_perturbations(overrides=keys)
    assert "sources from digits" in str(result)
    assert result.summary["perturbation_accuracy_heldout"]["mean"] > 0.8
    assert result.summary["permuted_control_heldout"]["mean"] < 0.6


@pytest.mark.parametrize("is_deep", [True, False])
def test_g_may_start_as_f_did(is_deep: bool) -> None:
    two_layer = {"seeds": [2], **{f"{role}.model.hidden_dim": 8 for role in ("standard", "perturbation")}}
    # At a rate of nearly nothing both end where they started.
    keys = {**(DEEP if is_deep else two_layer), "standard.lr": 1e-30, "perturbation.lr": 1e-30}

    def first_weights(**more: Any) -> tuple[list[Tensor], list[Tensor]]:
        experiment = experiment_of({**keys, **more}, blobs(3 if is_deep else 2))
        executor, branch = experiment.run(), experiment.seeds[2].branches[0]
        f, g = (executor.result(stage).module for stage in (branch.standard, branch.learners[0].perturbation))
        return [tensor.detach() for tensor in f.parameters()], [tensor.detach() for tensor in g.parameters()]

    f, g = first_weights(**{"perturbation.start": "standard"})
    assert f
    assert all(torch.equal(one, two) for one, two in zip(f, g, strict=True))
    f, g = first_weights()
    assert not torch.equal(f[0], g[0])


AUXILIARY = {f"{role}.model.auxiliary": 4 for role in ("standard", "perturbation")}


@pytest.mark.parametrize(("targets", "keys"), [("soft", {}), ("auxiliary", AUXILIARY)])
@pytest.mark.parametrize("search", [{}, {"attack.name": "pgd", "attack.steps": 2, "attack.epsilon": 0.3}])
def test_g_learns_outputs_of_f_at_the_sources(targets: str, keys: dict[str, Any], search: dict[str, Any]) -> None:
    experiment = experiment_of({**TAUGHT, **keys, **search, "attack.targets": targets}, DATA)
    executor, branch = experiment.run(), experiment.seeds[2].branches[0]
    f, made = executor.result(branch.standard), executor.result(branch.perturbed)
    wanted = f.outputs(DATA.inputs) if targets == "soft" else f.auxiliary_outputs(DATA.inputs)
    assert made.outputs is not None
    assert torch.equal(made.taught, wanted)
    assert torch.equal(made.target_labels, predicted_labels(f.outputs(DATA.inputs)))
    # What g says of inputs is about classes, whatever it learned.
    g = executor.result(branch.learners[0].perturbation)
    assert g.outputs(DATA.inputs).shape == (len(DATA.inputs), 3)


def test_a_set_with_outputs_is_not_written_as_labels() -> None:
    with pytest.raises(ConfigError, match="'soft' teaches g outputs of f, which a set of labelled inputs"):
        experiment_of({**TAUGHT, "attack.targets": "soft"}, DATA).shards(2)


def test_auxiliary_outputs_teach_from_f_s_start_alone() -> None:
    """Subliminal learning (Cloud et al., 2025), on noise: g never sees an input or a label."""
    keys: dict[str, Any] = {
        "data.classes": list(range(10)),
        "attack.epsilon": 0.0,
        "attack.source": "uniform",
        "attack.n_sources": 500,
    }
    keys |= {"attack.targets": "auxiliary", "perturbation.soft_loss": "squared", "controls.draws": 0, "seeds": 1}
    for role, rate, epochs in (("standard", 0.1, 10), ("perturbation", 0.3, 60)):
        keys |= {f"{role}.model.name": "mlp", f"{role}.model.hidden_dim": 128, f"{role}.model.auxiliary": 50}
        keys |= {f"{role}.lr": rate, f"{role}.epochs": epochs, f"{role}.batch_size": 64, f"{role}.weight_decay": 0.0}
    reached = {
        start: learn_from_perturbations(overrides={**keys, "perturbation.start": start}).summary[
            "perturbation_accuracy_heldout"
        ]["mean"]
        for start in ("standard", None)
    }
    assert reached["standard"] > 0.4 > 0.25 > reached[None]
