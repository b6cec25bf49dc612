"""Generations: each network is attacked in the place of f, and the next one learns from that set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.experiment.tiny import DEEP, TWO_LAYER, blobs, experiment_of, same_set

from perturblearn.api import learn_from_perturbations
from perturblearn.classifiers import predicted_labels
from perturblearn.experiment.steps import DeepPerturbation, GenerationMeasures, Shard
from perturblearn.graph import AnyStage
from perturblearn.perturbed import perturb
from perturblearn.seeding import derive_seed

pytestmark = pytest.mark.usefixtures("one_thread", "small_shards")

KINDS: dict[str, tuple[dict[str, Any], int]] = {
    "deep": (DEEP, 3),
    "two layers": (TWO_LAYER | {"attack.targets": "other"}, 2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_generation_learns_from_the_one_before(kind: str) -> None:
    keys, n_classes = KINDS[kind]
    experiment = experiment_of(keys | {"generations": 3}, blobs(n_classes))
    (stages,) = experiment.seeds.values()
    executor = experiment.run()
    data, branch = executor.result(stages.data), stages.branches[0]
    attacked, f = executor.result(branch.learners[0].perturbation), executor.result(branch.standard)
    targets = [executor.result(branch.perturbed).target_labels]
    assert [stage.number for stage in stages.generations] == [2, 3]
    (measured,) = experiment.measures(executor)
    for stage in stages.generations:
        found = executor.result(stage.perturbed)
        by_hand = perturb(attacked, data, experiment.config.attack, seed=2, generation=stage.number)
        same_set(found, by_hand)
        assert found.sources is not None
        assert torch.equal(found.sources, data.inputs)
        # Targets of other classes that this generation has not been told before.
        assert bool((found.target_labels != data.labels).all())
        assert n_classes == 2 or not any(torch.equal(found.target_labels, before) for before in targets)
        targets.append(found.target_labels)
        learner = executor.result(stage.perturbation)
        assert learner.hash not in (attacked.hash, f.hash)
        said, of_f = (predicted_labels(network.outputs(data.heldout_inputs)) for network in (learner, f))
        name = f"generation_{stage.number}"
        numbers = measured.measures
        # Means of a few dozen ones and zeros.
        right, agrees = said == data.heldout_labels, said == of_f
        assert numbers[f"{name}_accuracy_heldout"] == pytest.approx(right.double().mean().item(), rel=1e-12)
        assert numbers[f"{name}_agreement"] == pytest.approx(agrees.double().mean().item(), rel=1e-12)
        assert numbers[f"{name}_success"] == found.success_rate
        attacked = learner


def test_a_network_of_a_generation_is_one_of_another_seed() -> None:
    """It differs from g in what it sees and in its draws, and in nothing else."""
    (stages,) = experiment_of(DEEP | {"generations": 2}, blobs()).seeds.values()
    g, later = stages.branches[0].learners[0].perturbation, stages.generations[0].perturbation
    assert isinstance(g, DeepPerturbation)
    assert later == replace(g, perturbed=stages.generations[0].perturbed, generation=2)
    assert isinstance(later, DeepPerturbation)
    assert (g.network_seed, later.network_seed) == (2, derive_seed(2, "generation", "2"))


def test_deeper_runs_share_what_shallower_ones_have() -> None:
    one, two, three = (
        next(iter(experiment_of(DEEP | {"generations": depth}, blobs()).seeds.values())) for depth in (1, 2, 3)
    )
    assert one.generations == ()
    assert two.generations == three.generations[:1]
    assert one.branches[0].learners == two.branches[0].learners == three.branches[0].learners
    assert "generation" not in str(one.branches[0].learners[0].perturbation.identity)
    assert one == next(iter(experiment_of(DEEP, blobs()).seeds.values()))


def test_generations_are_mixed_saved_and_leave_the_same_networks_alone() -> None:
    keys = DEEP | {"generations": 2, "mixing.perturbed_share": 0.5, "attack.keep_others": 1}
    (stages,) = experiment_of(keys, blobs()).seeds.values()

    def others(perturbed: AnyStage) -> Any:
        (mixed_from,) = (stage for stage in perturbed.inputs if stage.kind == "perturbed set")
        return next(stage for stage in mixed_from.inputs if isinstance(stage, Shard)).others

    later = stages.generations[0]
    assert later.perturbed.kind == "mixed set"
    assert others(later.perturbed) == others(stages.branches[0].seen) != None  # noqa: E711
    assert isinstance(later, GenerationMeasures)


def test_the_sentence_names_every_generation() -> None:
    result = learn_from_perturbations({}, data=blobs(2), overrides=TWO_LAYER | {"generations": 2})
    (sentence,) = (remark for remark in result.remarks if remark.startswith("From generation to generation"))
    names = ("perturbation_accuracy_heldout", "generation_2_accuracy_heldout")
    g, later = (100 * result.summary[name]["mean"] for name in names)
    assert f"networks classify {g:.1f} %, {later:.1f} % of held-out inputs correctly" in sentence
