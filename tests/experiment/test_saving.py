"""Sets that g sees as files hold them, in whole experiments."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.experiment.tiny import DEEP, TWO_LAYER, blobs, experiment_of, same_set
from torch import Tensor

from perturblearn.data import Dataset
from perturblearn.errors import DataError
from perturblearn.experiment import SeedGraph, controls
from perturblearn.experiment.learn import TrainingSpec
from perturblearn.graph import Executor
from perturblearn.perturbed import saved_set, through_files

pytestmark = pytest.mark.usefixtures("one_thread", "small_shards")

JPEG: dict[str, Any] = {"saving.format": "jpeg", "saving.quality": 50}
SHAPE = (1, 3, 4)


def pictures(n_classes: int = 3) -> Dataset:
    """The blobs, taken for small images."""
    data = blobs(n_classes)
    return Dataset(
        data.inputs, data.labels, data.heldout_inputs, data.heldout_labels, data.value_range, data.class_names,
        image_shape=SHAPE,
    )  # fmt: skip


def ran(keys: dict[str, Any], data: Dataset) -> tuple[SeedGraph, Executor]:
    experiment = experiment_of(keys, data)
    (stages,) = experiment.seeds.values()
    return stages, experiment.run()


@pytest.mark.parametrize("mixing", [{}, {"mixing.perturbed_share": 0.4}])
@pytest.mark.parametrize(("keys", "n_classes"), [(DEEP, 3), (TWO_LAYER, 2)], ids=["deep", "two layers"])
def test_g_sees_what_files_hold(keys: dict[str, Any], n_classes: int, mixing: dict[str, float]) -> None:
    data = pictures(n_classes)
    saved, executor = ran(keys | JPEG | mixing, data)
    plain, of_plain = ran(keys | mixing, data)
    branch, saving = saved.branches[0], experiment_of(keys | JPEG, data).config.saving
    assert (branch.perturbed, branch.heldout_perturbed) == (
        plain.branches[0].perturbed, plain.branches[0].heldout_perturbed,
    )  # fmt: skip
    for seen, before in (
        (branch.seen, plain.branches[0].seen),
        (branch.heldout_seen, plain.branches[0].heldout_seen),
    ):
        of_data, f = executor.result(saved.data), executor.result(branch.standard)
        same_set(executor.result(seen), saved_set(of_plain.result(before), of_data, saving, f))
    assert branch.learners[0].perturbation.named_inputs()["perturbed"] == branch.seen
    measures = executor.result(branch.learners[0].measures).numbers
    found = executor.result(branch.seen)
    assert found.sizes is not None
    moved = found.sizes if found.clean is None else found.sizes[~found.clean]
    assert measures["perturbation_size"] == pytest.approx(moved.double().mean().item(), rel=1e-12)
    assert measures["attack_success"] == found.success_rate


def test_controls_differ_from_g_in_the_perturbation_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The unperturbed control sees its sources as files hold them too."""
    seen: dict[str, Tensor] = {}
    learn_network = controls.learn_network

    def recording(spec: TrainingSpec, signature: Any, inputs: Tensor, **keys: Any) -> Any:
        seen[spec.role] = inputs.clone()
        return learn_network(spec, signature, inputs, **keys)

    monkeypatch.setattr(controls, "learn_network", recording)
    stages, executor = ran(DEEP | JPEG, pictures())
    data = executor.result(stages.data)
    by_hand = through_files(data.inputs, data, experiment_of(DEEP | JPEG, pictures()).config.saving)
    assert torch.equal(seen["unperturbed control 1"], by_hand)
    assert torch.equal(seen["permuted control 1"], executor.result(stages.branches[0].seen).inputs)


def test_without_files_nothing_is_another_stage() -> None:
    stages = experiment_of(DEEP, pictures()).seeds[2]
    branch = stages.branches[0]
    assert (branch.seen, branch.heldout_seen) == (branch.perturbed, branch.heldout_perturbed)
    assert "saving" not in str(stages.controls["unperturbed"].identity)


def test_attribution_is_about_what_g_has_seen() -> None:
    stages, executor = ran(TWO_LAYER | JPEG | {"measures.attribution": True}, pictures(2))
    assert stages.attribution is not None
    assert stages.branches[0].seen in stages.attribution.inputs
    # What the parts miss: were they of other inputs than g's, they would miss much of it.
    assert executor.result(stages.attribution).numbers["attribution_error"] < 0.01


def test_data_that_are_no_images_are_refused_before_anything_runs() -> None:
    with pytest.raises(DataError) as told:
        experiment_of(DEEP | JPEG, blobs())
    assert str(told.value) == (
        "saving.format writes images of one or three channels, but the data are no images; remove it, or choose other "
        "data"
    )
