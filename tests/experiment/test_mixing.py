"""Clean samples among perturbed ones in whole experiments: what g, its controls and its selection see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tests.experiment.tiny import DEEP, TWO_LAYER, blobs, experiment_of, same_set
from torch import Tensor

from perturblearn.api import learn_from_perturbations
from perturblearn.classifiers import label_loss
from perturblearn.data import Dataset
from perturblearn.experiment import SeedGraph, controls
from perturblearn.experiment.learn import TrainingSpec
from perturblearn.graph import Executor
from perturblearn.perturbed import PerturbedSet, mix
from perturblearn.seeding import derive_seed

pytestmark = pytest.mark.usefixtures("one_thread", "small_shards")

SHARE = 0.4
NOISE = {"attack.source": "uniform", "attack.targets": "uniform", "attack.n_sources": 50}
SOURCES: dict[str, dict[str, Any]] = {"natural": {}, "noise": NOISE}


def ran(keys: dict[str, Any], data: Dataset) -> tuple[SeedGraph, Executor]:
    experiment = experiment_of(keys, data)
    (stages,) = experiment.seeds.values()
    return stages, experiment.run()


def mixed_keys(source: str, **keys: Any) -> dict[str, Any]:
    return DEEP | SOURCES[source] | {"mixing.perturbed_share": SHARE} | keys


@pytest.mark.parametrize("source", SOURCES)
def test_g_sees_what_mixing_by_hand_gives(source: str) -> None:
    stages, executor = ran(mixed_keys(source, **{"controls.draws": 0}), blobs())
    data = executor.result(stages.data)
    for part, perturbed, mixed in (
        ("training", stages.branches[0].perturbed, stages.branches[0].seen),
        ("heldout", stages.branches[0].heldout_perturbed, stages.branches[0].heldout_seen),
    ):
        by_hand = mix(
            executor.result(perturbed), data, SHARE, seed=derive_seed(2, "mixing", part), heldout=part == "heldout"
        )
        found: PerturbedSet = executor.result(mixed)
        same_set(found, by_hand)
        assert found.clean is not None
        assert int((~found.clean).sum()) == round(SHARE * len(found))
    assert stages.branches[0].learners[0].perturbation.named_inputs()["perturbed"] == stages.branches[0].seen
    # F is attacked alone: what it is measured by, and its perturbations, know nothing of the share.
    whole, _ = ran(DEEP | SOURCES[source] | {"controls.draws": 0}, blobs())
    of_whole, of_mixed = whole.branches[0], stages.branches[0]
    assert (of_whole.standard, of_whole.perturbed, of_whole.heldout_perturbed) == (
        of_mixed.standard, of_mixed.perturbed, of_mixed.heldout_perturbed,
    )  # fmt: skip


def test_a_share_of_one_is_no_stage_of_its_own() -> None:
    experiment = experiment_of(DEEP | {"mixing.perturbed_share": 1.0}, blobs())
    (stages,) = experiment.seeds.values()
    branch = stages.branches[0]
    assert (branch.seen, branch.heldout_seen) == (branch.perturbed, branch.heldout_perturbed)
    assert experiment.key == experiment_of(DEEP, blobs()).key


@pytest.mark.parametrize("source", SOURCES)
def test_losses_and_selection_are_those_of_the_mixed_sets(source: str) -> None:
    keys = mixed_keys(source, **{"controls.draws": 0, "perturbation.lr": [0.05, 0.001]})
    stages, executor = ran(keys, blobs())
    measured = [executor.result(learner.measures) for learner in stages.branches[0].learners]
    for learner, measures in zip(stages.branches[0].learners, measured, strict=True):
        g = executor.result(learner.perturbation)
        for name, mixed in (("", stages.branches[0].seen), ("_heldout", stages.branches[0].heldout_seen)):
            seen = executor.result(mixed)
            loss = label_loss(g.outputs(seen.inputs).double(), seen.target_labels).mean().item()
            assert measures.numbers[f"perturbed_loss{name}"] == pytest.approx(loss, rel=1e-12)
        seen = executor.result(stages.branches[0].seen)
        assert seen.clean is not None
        kept = seen.redirected & ~seen.clean
        # A mean of some dozen shares 0 and 1.
        assert measures.numbers["attack_success"] == pytest.approx(seen.success[kept].double().mean().item(), rel=1e-12)
    losses = [measures.numbers["perturbed_loss_heldout"] for measures in measured]
    assert executor.result(stages.selection).perturbation == losses.index(min(losses))


class Seen:
    """What controls have trained deep networks on, by draw."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.of: dict[str, tuple[Tensor, Tensor]] = {}
        learn_network = controls.learn_network

        def recording(spec: TrainingSpec, signature: Any, inputs: Tensor, **keys: Any) -> Any:
            self.of[spec.role] = inputs.clone(), spec.labels.clone()
            return learn_network(spec, signature, inputs, **keys)

        monkeypatch.setattr(controls, "learn_network", recording)

    def draws(self, control: str) -> Iterator[tuple[Tensor, Tensor]]:
        return (self.of[f"{control} control {draw}"] for draw in (0, 1, 2))


@pytest.mark.parametrize("source", SOURCES)
def test_clean_rows_are_clean_in_every_draw_of_every_control(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(monkeypatch)
    stages, executor = ran(mixed_keys(source, **{"controls.draws": 3}), blobs())
    data, of_g = executor.result(stages.data), executor.result(stages.branches[0].seen)
    whole = executor.result(stages.branches[0].perturbed)
    assert of_g.clean is not None
    clean, moved = of_g.clean, ~of_g.clean
    assert whole.sources is not None
    for control in ("unperturbed", "permuted"):
        for draw, (inputs, labels) in enumerate(seen.draws(control)):
            # The samples that are clean for g are the same clean samples for its controls.
            assert torch.equal(inputs[clean], data.inputs[of_g.source_index[clean]])
            assert torch.equal(labels[clean], data.labels[of_g.source_index[clean]])
            if control == "permuted":
                assert torch.equal(inputs[moved], of_g.inputs[moved])
                assert torch.equal(labels[moved].sort().values, of_g.target_labels[moved].sort().values)
                assert not torch.equal(labels[moved], of_g.target_labels[moved])
                continue
            assert torch.equal(inputs[moved], whole.sources[moved])
            assert torch.equal(labels[moved], of_g.target_labels[moved]) == (draw == 0)
            if source == "natural":
                assert bool((labels[moved] != data.labels[moved]).all()), "other targets are others in every draw"
        drawn = [labels[moved].tolist() for _, labels in seen.draws(control)]
        assert len({tuple(labels) for labels in drawn}) == 3


def test_two_layer_controls_of_mixed_sets() -> None:
    """At a share of nothing all see clean data alone: controls are classifiers of the same set as g."""
    data = blobs(2)
    result = learn_from_perturbations({}, data=data, overrides=TWO_LAYER | {"mixing.perturbed_share": 0.0})
    stages, executor = ran(TWO_LAYER | {"mixing.perturbed_share": 0.0}, data)
    seen = executor.result(stages.branches[0].seen)
    assert torch.equal(seen.inputs, data.inputs.double())
    assert torch.equal(seen.target_labels, data.labels)
    reached = result.seeds[0].controls
    for control in ("unperturbed", "permuted"):
        # Means some five deviations apart: each of them learns the classes.
        assert min(reached[control].accuracy_heldout) > 0.8
