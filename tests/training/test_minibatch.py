"""Training by minibatches against a plain loop in float64, and what an interruption leaves of it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.minibatch_problems import (
    assert_close,
    assert_same_bits,
    convolutional,
    dense,
    samples,
    state_of,
    train_plainly,
    wrapped,
)
from tests.training.problems import network as two_layer
from tests.training.problems import problem
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout

from perturblearn.classifiers import Classifier, Network
from perturblearn.data import augment, draw_augmentation
from perturblearn.errors import ConfigError, DivergenceError, ModelError
from perturblearn.seeding import derive_seed
from perturblearn.store import ArtefactStore, Drafts
from perturblearn.training import MinibatchDescent, Resumption, minibatch

KEY = "0" * 64
SCHEDULES = ["plateau", "constant", "one_cycle", "cosine", "linear"]


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports after every step, however little time has passed."""
    monkeypatch.setattr(minibatch, "REPORT_SECONDS", 0.0)


def assert_as_plain(network: Any, inputs: Tensor, labels: Tensor, descent: MinibatchDescent) -> Classifier:
    before = copy.deepcopy(state_of(network))
    found = descent.train(network, inputs, labels, seed=3)
    expected, losses, lr = train_plainly(network, inputs, labels, descent, 3)
    assert_close(found.module, expected)
    assert found.losses.dtype == torch.float64
    assert found.losses.tolist() == pytest.approx(losses, rel=1e-9, abs=1e-12)
    assert found.final_lr == pytest.approx(lr, rel=1e-12)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state_of(network).items())
    assert not found.module.training
    return found


@pytest.mark.parametrize("loss", ["identity", "logistic", "exponential"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_one_output_against_pytorch(loss: str, schedule: str) -> None:
    inputs, labels = samples(23, (6,), 2)
    assert_as_plain(dense(2), inputs, labels, MinibatchDescent(loss, 0.05, 6, 5, schedule=schedule))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.9, 5e-4), (0.0, 0.1), (0.5, 0.0)])
def test_logits_against_pytorch(schedule: str, momentum: float, weight_decay: float) -> None:
    inputs, labels = samples(23, (6,), 3)
    descent = MinibatchDescent("logistic", 0.1, 6, 5, momentum, weight_decay, schedule)
    assert_as_plain(dense(3), inputs, labels, descent)


@pytest.mark.parametrize("loss", ["identity", "logistic", "exponential"])
def test_a_two_layer_network_against_pytorch(loss: str) -> None:
    inputs, labels = problem(20, 6)
    assert_as_plain(two_layer(6, slope=0.1), inputs, labels, MinibatchDescent(loss, 0.05, 5, 4))


@pytest.mark.parametrize(
    "keys",
    [
        {"schedule": "linear", "warmup_epochs": 2},
        {"nesterov": False},
        {"label_smoothing": 0.2},
        {"ema_decay": 0.8},
        {"schedule": "linear", "warmup_epochs": 1, "nesterov": False, "label_smoothing": 0.1, "ema_decay": 0.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_each_part_of_a_recipe_against_pytorch(n_classes: int, keys: dict[str, Any]) -> None:
    inputs, labels = samples(23, (6,), n_classes)
    descent = replace(MinibatchDescent("logistic", 0.1, 4, 5), **keys)
    found = assert_as_plain(dense(n_classes), inputs, labels, descent)
    plain = MinibatchDescent("logistic", 0.1, 4, 5).train(dense(n_classes), inputs, labels, seed=3)
    for one, other in zip(found.module.parameters(), plain.module.parameters(), strict=True):
        assert not torch.equal(one, other)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_weights_that_lie_channels_last_against_pytorch(n_classes: int) -> None:
    network = convolutional(n_classes)
    weight = dict(network.named_parameters())["body.stages.0.refine.weight"]
    assert not weight.is_contiguous()
    inputs, labels = samples(20, (1, 8, 8), n_classes)
    assert_as_plain(network, inputs, labels, MinibatchDescent("logistic", 0.1, 4, 5))


@pytest.mark.parametrize("n_samples", [1, 4, 7, 8, 9, 15])
def test_sets_that_are_no_multiple_of_a_batch(n_samples: int) -> None:
    inputs, labels = samples(n_samples, (1, 8, 8), 2)
    assert_as_plain(convolutional(2), inputs, labels, MinibatchDescent("logistic", 0.1, 3, 8))


def test_where_the_plateau_rule_cuts() -> None:
    inputs, labels = samples(12, (6,), 2)
    # Improves by less than 1e-4 an epoch.
    found = assert_as_plain(dense(2), inputs, labels, MinibatchDescent("logistic", 1e-6, 26, 4, 0.0, 0.0))
    assert found.final_lr == pytest.approx(1e-7)


def test_dropout_draws_from_the_step_s_seed() -> None:
    inputs, labels = samples(20, (6,), 3)
    descent = MinibatchDescent("logistic", 0.1, 4, 5)
    found = assert_as_plain(dense(3, dropout=0.4), inputs, labels, descent)
    without = descent.train(dense(3), inputs, labels, seed=3)
    assert not torch.equal(found.losses, without.losses)


def test_parts_that_are_frozen_or_not_used_stay_as_they_are() -> None:
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen, self.unused, self.last = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(4, 1)
            self.frozen.requires_grad_(False)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.last(torch.tanh(self.frozen(inputs)))

    network = wrapped(Partly().double(), (6,), 2)
    inputs, labels = samples(12, (6,), 2)
    found = assert_as_plain(network, inputs, labels, MinibatchDescent("logistic", 0.1, 2, 4))
    changed = {
        name for name, tensor in state_of(found.module).items() if not torch.equal(tensor, state_of(network)[name])
    }
    assert changed == {"body.last.weight", "body.last.bias"}


def test_all_that_fixes_the_training_is_noted() -> None:
    inputs, labels = samples(8, (1, 8, 8), 3)
    descent = MinibatchDescent("logistic", 0.1, 2, 4, 0.5, 0.01, "cosine", ("crop", "flip"))
    descent = replace(descent, crop_padding=2, crop_fill="reflect")
    found = descent.train(convolutional(), inputs, labels, seed=0)
    assert found.training == {
        "loss": "logistic",
        "lr": 0.1,
        "epochs": 2,
        "batch_size": 4,
        "momentum": 0.5,
        "weight_decay": 0.01,
        "schedule": "cosine",
        "augmentation": ["crop", "flip"],
        "products": "exact",
        "processes": 1,
        "warmup_epochs": 0,
        "nesterov": True,
        "label_smoothing": 0.0,
        "crop_padding": 2,
        "crop_fill": "reflect",
        "ema_decay": 0.0,
    }


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize(("padding", "fill"), [(4, "black"), (2, "reflect")])
def test_augmented_images_are_those_that_the_step_draws(flat: bool, padding: int, fill: str) -> None:
    """One step at a time, on images that the test has augmented itself."""
    inputs, labels = samples(6, (1, 8, 8), 3)
    network = convolutional()
    order = torch.randperm(6, generator=torch.Generator().manual_seed(derive_seed(5, "shuffle", "0")))
    generator = torch.Generator().manual_seed(derive_seed(5, "augmentation", "0", "0"))
    # The data are shifted by 0.25: black is -0.25.
    draws = draw_augmentation(6, generator, padding=padding)
    changed = augment(inputs[order], draws, ("crop", "flip"), padding=padding, fill=fill, black=-0.25)
    assert not torch.equal(changed, inputs[order])
    in_order = torch.empty_like(inputs)
    in_order[order] = changed
    descent = MinibatchDescent("logistic", 0.1, 1, 6, augmentation=("crop", "flip"))
    descent = replace(descent, crop_padding=padding, crop_fill=fill)
    found = descent.train(network, inputs.flatten(1) if flat else inputs, labels, seed=5)
    expected = MinibatchDescent("logistic", 0.1, 1, 6).train(network, in_order, labels, seed=5)
    assert_same_bits(found, expected)


def test_bfloat16_is_autocast_with_weights_and_losses_in_float32() -> None:
    inputs, labels = (tensor.float() if tensor.is_floating_point() else tensor for tensor in samples(8, (1, 8, 8), 3))
    network = convolutional().float()
    descent = MinibatchDescent("logistic", 0.1, 1, 8, bfloat16=True)
    found = descent.train(network, inputs, labels, seed=0)
    rows = torch.randperm(8, generator=torch.Generator().manual_seed(derive_seed(0, "shuffle", "0")))
    module = copy.deepcopy(network).train()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = module(inputs[rows])
    assert outputs.dtype == torch.bfloat16
    loss = cross_entropy(outputs.float(), labels[rows])
    loss.backward()
    optimiser = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    optimiser.step()
    # One rounding of the loss to float32. Gradients are the same tensors, but for the rounding of 1 / 8.
    assert float(found.losses) == pytest.approx(loss.item(), rel=2e-7)
    for name, tensor in state_of(found.module).items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, state_of(module)[name], rtol=1e-5, atol=1e-7)
    exact = MinibatchDescent("logistic", 0.1, 1, 8).train(network, inputs, labels, seed=0)
    assert not torch.equal(found.losses, exact.losses)
    assert found.training["products"] == "bfloat16"


class Functional(nn.Module):
    """Draws without a module that says so."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(dropout(inputs, 0.5, self.training))


def test_the_global_generator_neither_matters_nor_changes() -> None:
    network = wrapped(Functional().double(), (6,), 2)
    inputs, labels = samples(12, (6,), 2)
    descent = MinibatchDescent("logistic", 0.1, 3, 4)
    torch.manual_seed(1)
    first = descent.train(network, inputs, labels, seed=0)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = descent.train(network, inputs, labels, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert_same_bits(first, second)
    other = descent.train(network, inputs, labels, seed=1)
    assert not torch.equal(other.losses, first.losses)


def test_a_caller_without_gradients_gets_a_trained_network() -> None:
    inputs, labels = samples(12, (6,), 2)
    descent = MinibatchDescent("logistic", 0.1, 2, 4)
    with torch.no_grad():
        found = descent.train(dense(2), inputs, labels, seed=0)
    assert_same_bits(found, descent.train(dense(2), inputs, labels, seed=0))


@pytest.mark.parametrize("augmentation", [(), ("crop", "flip")])
def test_streamed_batches_are_the_resident_ones(augmentation: tuple[str, ...]) -> None:
    inputs, labels = samples(22, (1, 8, 8), 3)
    descent = MinibatchDescent("logistic", 0.1, 3, 4, augmentation=augmentation)
    resident, streamed = (
        descent.train(convolutional(), inputs, labels, seed=0, resident=resident) for resident in (True, False)
    )
    assert_same_bits(streamed, resident)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("resident", [True, False])
def test_on_a_gpu_as_on_the_cpu(resident: bool) -> None:
    inputs, labels = samples(22, (1, 8, 8), 3)
    descent = MinibatchDescent("logistic", 0.1, 3, 4, augmentation=("crop", "flip"))
    before = torch.cuda.get_rng_state()
    found = descent.train(convolutional(), inputs, labels, seed=0, device="cuda", resident=resident)
    assert torch.equal(torch.cuda.get_rng_state(), before)
    expected = descent.train(convolutional(), inputs, labels, seed=0)
    assert_close(found.module.cpu(), expected.module)


# Interruptions.


class Stopped(Exception):
    pass


def stop_at(step: int | None, steps: list[int]) -> Callable[[int, int, str], None]:
    def report(done: int, total: int, note: str) -> None:
        steps.append(done)
        if done == step:
            raise Stopped

    return report


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path: Path, schedule: str) -> None:
    inputs, labels = samples(17, (6,), 3)
    network = dense(3, dropout=0.3)
    descent = MinibatchDescent("logistic", 0.1, 3, 4, schedule=schedule, ema_decay=0.7)

    def train(drafts: Drafts, step: int | None, steps: list[int]) -> Classifier:
        report = stop_at(step, steps)
        return descent.train(network, inputs, labels, seed=0, report=report, resumption=Resumption(drafts, 0))

    undisturbed = train(Drafts(), None, [])
    store = ArtefactStore(tmp_path)
    for step in range(1, 12):
        drafts = Drafts(store, KEY)
        with pytest.raises(Stopped):
            train(drafts, step, [])
        steps: list[int] = []
        assert_same_bits(train(drafts, None, steps), undisturbed)
        assert steps == list(range(step + 1, 13))
        # Whoever keeps the result clears them.
        assert drafts.read("state") is not None
        drafts.clear()
        assert drafts.read("state") is None
    # And one that is stopped after every single step.
    drafts = Drafts(store, KEY)
    for step in range(1, 12):
        with pytest.raises(Stopped):
            train(drafts, step, [])
    assert_same_bits(train(drafts, None, []), undisturbed)


@pytest.mark.usefixtures("every_step")
def test_interrupted_images_go_on_to_the_same_bits(tmp_path: Path) -> None:
    inputs, labels = samples(10, (1, 8, 8), 3)
    network, drafts = convolutional(), Drafts(ArtefactStore(tmp_path), KEY)
    descent = MinibatchDescent("logistic", 0.1, 2, 4, augmentation=("crop", "flip"))
    undisturbed = descent.train(network, inputs, labels, seed=0)
    for step in range(1, 4):
        with pytest.raises(Stopped):
            descent.train(network, inputs, labels, seed=0, report=stop_at(step, []), resumption=Resumption(drafts, 0))
    found = descent.train(network, inputs, labels, seed=0, resumption=Resumption(drafts))
    assert_same_bits(found, undisturbed)


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("step", [10, 14])
def test_the_plateau_rule_goes_on_where_it_was(tmp_path: Path, step: int) -> None:
    """One step an epoch: 11 that are not better cut the rate, once at the 12th step and again at the 23rd."""
    inputs, labels = samples(12, (6,), 2)
    descent, drafts = MinibatchDescent("logistic", 1e-6, 20, 12), Drafts(ArtefactStore(tmp_path), KEY)
    undisturbed = descent.train(dense(2), inputs, labels, seed=0)
    assert undisturbed.final_lr == pytest.approx(1e-7)
    with pytest.raises(Stopped):
        descent.train(dense(2), inputs, labels, seed=0, report=stop_at(step, []), resumption=Resumption(drafts, 0))
    assert_same_bits(descent.train(dense(2), inputs, labels, seed=0, resumption=Resumption(drafts)), undisturbed)


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize(("every_epochs", "first"), [(None, 1), (1, 9), (2, 9), (3, 1)])
def test_drafts_by_epochs(tmp_path: Path, every_epochs: int | None, first: int) -> None:
    """Stopped after 11 steps of 4 an epoch: a draft of epoch 2 goes on with step 9."""
    inputs, labels = samples(16, (6,), 2)
    descent = MinibatchDescent("logistic", 0.1, 4, 4)
    drafts = Drafts(ArtefactStore(tmp_path), KEY)
    with pytest.raises(Stopped):
        descent.train(
            dense(2), inputs, labels, seed=0, report=stop_at(11, []), resumption=Resumption(drafts, epochs=every_epochs)
        )
    steps: list[int] = []
    found = descent.train(dense(2), inputs, labels, seed=0, report=stop_at(None, steps), resumption=Resumption(drafts))
    assert steps[0] == first
    assert_same_bits(found, descent.train(dense(2), inputs, labels, seed=0))


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"descent": MinibatchDescent("logistic", 0.2, 3, 4)},
        {"descent": MinibatchDescent("logistic", 0.1, 4, 4)},
        {"network": convolutional(2)},
        {"inputs": samples(17, (6,), 2)[0], "labels": samples(17, (6,), 2)[1]},
        {},
    ],
    ids=["seed", "lr", "epochs", "network", "samples", "nothing"],
)
def test_a_draft_of_another_training_is_ignored(tmp_path: Path, change: dict[str, Any]) -> None:
    inputs, labels = samples(16, (6,), 2)
    drafts = Drafts(ArtefactStore(tmp_path), KEY)
    training: dict[str, Any] = {
        "network": dense(2),
        "inputs": inputs,
        "labels": labels,
        "seed": 0,
    }
    descent = MinibatchDescent("logistic", 0.1, 3, 4)
    with pytest.raises(Stopped):
        descent.train(**training, resumption=Resumption(drafts, 0), report=stop_at(5, []))
    if "network" in change:
        training["inputs"], training["labels"] = samples(16, (1, 8, 8), 2)
    descent = change.get("descent", descent)
    training |= {key: value for key, value in change.items() if key != "descent"}
    steps: list[int] = []
    descent.train(**training, resumption=Resumption(drafts), report=stop_at(None, steps))
    assert steps[0] == (1 if change else 6)


# What is told.


@pytest.mark.usefixtures("every_step")
def test_reports_tell_epoch_and_mean_loss() -> None:
    inputs, labels = samples(9, (6,), 2)
    told: list[tuple[int, int, str]] = []
    found = MinibatchDescent("logistic", 0.1, 2, 4).train(
        dense(2), inputs, labels, seed=0, report=lambda *words: told.append(words)
    )
    assert [(done, total) for done, total, _ in told] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [note.partition(",")[0] for _, _, note in told] == ["epoch 1/2", "epoch 1/2", "epoch 2/2", "epoch 2/2"]
    assert [told[done][2].partition("loss ")[2] for done in (1, 3)] == [f"{loss:.4f}" for loss in found.losses.tolist()]


def test_a_quick_training_reports_its_end_alone() -> None:
    inputs, labels = samples(8, (6,), 2)
    done: list[int] = []
    MinibatchDescent("logistic", 0.1, 3, 4).train(dense(2), inputs, labels, seed=0, report=stop_at(None, done))
    assert done == [6]


@pytest.mark.parametrize(("schedule", "epochs"), [("plateau", 3), ("constant", 3), ("cosine", 3)])
def test_divergence_names_epoch_and_rate(schedule: str, epochs: int) -> None:
    inputs, labels = samples(12, (6,), 2)
    network = two_layer(6, dtype=torch.float32)
    descent = MinibatchDescent("exponential", 1e20, epochs, 4, schedule=schedule)
    with pytest.raises(
        DivergenceError,
        match=re.escape("training diverged at epoch 1 of 3 with learning rate 1e+20 (the loss became ")
        + r"(nan|inf)\); choose a smaller learning rate",
    ):
        descent.train(network, inputs.float(), labels, seed=0)


def test_divergence_in_the_very_last_step() -> None:
    inputs, labels = samples(12, (6,), 2)
    descent = MinibatchDescent("identity", 3e38, 1, 12, schedule="constant")
    inputs = 1e3 * inputs.float()
    with pytest.raises(DivergenceError, match=r"epoch 1 of 1 with learning rate 3e\+38 \(a weight is not finite\)"):
        descent.train(two_layer(6, dtype=torch.float32), inputs, labels, seed=0)


def test_divergence_is_noticed_before_a_draft_is_written(tmp_path: Path) -> None:
    inputs, labels = samples(12, (6,), 2)
    drafts = Drafts(ArtefactStore(tmp_path), KEY)
    descent = MinibatchDescent("exponential", 1e300, 2, 2)
    with pytest.raises(DivergenceError, match="epoch 1 of 2"):
        descent.train(two_layer(6), inputs, labels, seed=0, resumption=Resumption(drafts, 0))
    state = drafts.read("state")
    assert state is not None
    assert state.content["steps"] >= 1
    assert bool(state.tensors["sum"].isfinite())


# What is refused.


def image_network() -> tuple[Network, Tensor, Tensor]:
    return (convolutional(), *samples(8, (1, 8, 8), 3))


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"loss": "hinge"}, "loss = 'hinge' is not known; choose identity, logistic, exponential"),
        ({"schedule": "step"}, "schedule = 'step' is not known; choose plateau, constant, one_cycle, cosine"),
        ({"augmentation": ("crop", "blur")}, "augmentation = 'blur' is not known; choose crop, flip"),
        ({"epochs": 0}, "epochs = 0, but at least 1 is needed"),
        ({"batch_size": 0}, "batch_size = 0, but at least 1 is needed"),
    ],
)
def test_a_descent_that_cannot_be(keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        replace(MinibatchDescent("logistic", 0.1, 1), **keys)


@pytest.mark.parametrize("loss", ["identity", "exponential"])
def test_losses_of_margins_need_two_classes(loss: str) -> None:
    network, inputs, labels = image_network()
    with pytest.raises(ConfigError, match=f"loss = '{loss}' is of the margin of two classes, but there are 3"):
        MinibatchDescent(loss, 0.1, 1).train(network, inputs, labels, seed=0)


def test_vectors_cannot_be_augmented() -> None:
    inputs, labels = samples(8, (6,), 2)
    descent = MinibatchDescent("logistic", 0.1, 1, augmentation=("flip",))
    with pytest.raises(ConfigError, match=re.escape("['flip'] is of images, but an input has the shape (6,)")):
        descent.train(dense(2), inputs, labels, seed=0)
    # A two-layer network knows nothing of shapes: the inputs say whether they are images.
    descent.train(two_layer(6), inputs.view(8, 1, 2, 3), labels, seed=0)
    with pytest.raises(ConfigError, match=re.escape("the shape (2, 3)")):
        descent.train(two_layer(6), inputs.view(8, 2, 3), labels, seed=0)


def test_bfloat16_needs_float32() -> None:
    network, inputs, labels = image_network()
    with pytest.raises(ConfigError, match=r"bfloat16 products need float32 inputs, but these are torch\.float64"):
        MinibatchDescent("logistic", 0.1, 1, bfloat16=True).train(network, inputs, labels, seed=0)


def test_a_network_without_parameters_is_refused() -> None:
    network, inputs, labels = image_network()
    network.requires_grad_(False)
    with pytest.raises(ModelError, match="no parameter to train"):
        MinibatchDescent("logistic", 0.1, 1).train(network, inputs, labels, seed=0)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("labels", "n_classes", "sentence"),
    [
        ([0, 1, 2, 3], 3, "label 3 is none of 3 classes; labels must be 0 .. 2"),
        ([0, 1, -1, 2], 3, "label -1 is none of 3 classes"),
        ([0, 1, 1, 0], 2, "label 0 is none of 2 classes; labels must be +1 or -1"),
        ([1, 1, -1], 2, "labels of shape (3,) do not fit 4 samples"),
    ],
)
def test_labels_that_do_not_fit(labels: list[int], n_classes: int, sentence: str) -> None:
    inputs = samples(4, (6,), 2)[0]
    with pytest.raises(ValueError, match=re.escape(sentence)):
        MinibatchDescent("logistic", 0.1, 1).train(dense(n_classes), inputs, torch.tensor(labels), seed=0)


def test_no_samples_at_all() -> None:
    with pytest.raises(ValueError, match="0 samples, at least one"):
        MinibatchDescent("logistic", 0.1, 1).train(
            dense(2), torch.empty(0, 6, dtype=torch.float64), torch.empty(0, dtype=torch.int64), seed=0
        )
