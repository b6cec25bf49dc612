"""Two processes against one with the same batches, and what becomes of them when one of them fails."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

import pytest
import torch
from tests.store.killing import printed_by
from tests.training.minibatch_problems import convolutional, samples, state_of, wrapped
from tests.training.team_training import DESCENT, KEYS, MOVED, SEED, partly

from perturblearn.classifiers import Classifier
from perturblearn.errors import ConfigError
from perturblearn.store import ArtefactStore
from perturblearn.training import MinibatchDescent, workers
from perturblearn.training.distributed import Team, current_team


class Ended(NamedTuple):
    code: int
    output: str
    errors: str


def run_team(*arguments: object) -> list[Ended]:
    """Two processes with the environment that torchrun gives them."""
    return [Ended(*each) for each in json.loads(printed_by("tests.training.team_training", *arguments))]


class Trained(NamedTuple):
    store: ArtefactStore
    ended: list[Ended]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("team")
    return Trained(ArtefactStore(folder), run_team(folder))


def alone(name: str) -> Classifier:
    network = wrapped(partly(), (1, 8, 8), 3) if name == "partly" else convolutional()
    descent = MOVED if name == "moved" else DESCENT
    return descent.train(network, *samples(5 if name == "uneven" else 20, (1, 8, 8), 3), seed=SEED)


@pytest.mark.parametrize("name", ["even", "uneven", "resumed", "moved"])
def test_two_processes_train_as_one(trained: Trained, name: str) -> None:
    """In float64. Sums in another order are rounded by 1e-16, and at most 12 steps add up to below 1e-13 of what a
    weight or loss is, unless the descent drives neighbours apart; 1e-9 leaves it a factor of 10,000.
    """
    found, expected = trained.store.read(KEYS[name]).tensors, alone(name)
    assert found["losses"].tolist() == pytest.approx(expected.losses.tolist(), rel=1e-9)
    for key, tensor in state_of(expected.module).items():
        assert float((found[key] - tensor).norm()) <= 1e-9 * float(tensor.norm()), key


def test_a_resumed_training_of_two_processes_has_the_same_bits(trained: Trained) -> None:
    found, expected = (trained.store.read(KEYS[name]).tensors for name in ("resumed", "even"))
    assert found.keys() == expected.keys()
    for key, tensor in found.items():
        assert torch.equal(tensor, expected[key]), key


def test_a_part_that_one_process_alone_uses_is_trained_by_its_gradient(trained: Trained) -> None:
    found, before = trained.store.read(KEYS["partly"]).tensors, state_of(wrapped(partly(), (1, 8, 8), 3))
    expected = state_of(alone("partly").module)
    for key in ("body.linear.weight", "body.extra.weight"):
        assert float((found[key] - before[key]).norm()) > 0.01
        # Only half of the samples say what becomes of the extra part.
        assert float((found[key] - expected[key]).norm()) > 1e-6


def test_errors_of_the_first_process_leave_the_other_at_work(trained: Trained) -> None:
    lines = trained.ended[0].output.splitlines()
    assert lines.pop(0) == "batch_size = 7 cannot be shared evenly by 2 processes; choose a multiple"
    assert re.fullmatch(r"the network cannot be sent to the other processes \(.*Local.*\); define .*", lines.pop(0))
    assert lines == [
        "stopped at 1",
        "stopped at 5",
        "stopped at 12",
        "Stopped after step 2",
        "KeyboardInterrupt after step 3",  # only once the step is complete
    ]


def test_divergence_ends_all_processes(trained: Trained) -> None:
    first, second = trained.ended
    assert (first.code, second.code) == (1, 0), second.errors
    assert re.search(
        r"DivergenceError: training diverged at epoch 1 of 3 with learning rate 1e\+200 \(the loss became (nan|inf)\); "
        "choose a smaller learning rate$",
        first.errors.strip(),
    )
    assert "Traceback" not in second.errors


def test_a_process_does_not_outlive_the_first() -> None:
    first, second = run_team()
    assert first.code == -9
    assert second.code not in (0, None)


def test_a_program_without_torchrun_is_the_main_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with workers() as is_main:
        assert is_main
        assert current_team().size == 1
    monkeypatch.setenv("WORLD_SIZE", "1")
    with workers() as is_main:
        assert is_main


def test_every_process_takes_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    team = Team(3, 4, has_gpus=True)
    assert team.device("cuda") == torch.device("cuda:1")
    assert team.device("cuda:0") == torch.device("cuda:1")  # the first process's, who has asked for cuda
    assert team.device("cpu") == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "0")
    first = Team(0, 4, has_gpus=True)
    assert first.device("cuda") == first.device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(ConfigError, match=r"device = 'cuda:1', but under torchrun each process takes the GPU"):
        first.device("cuda:1")
    with pytest.raises(ConfigError, match="fewer GPUs than torchrun started processes"):
        Team(0, 4).device("cuda")


def test_too_few_samples_for_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perturblearn.training.minibatch.current_team", lambda: Team(0, 4))
    with pytest.raises(ConfigError, match="3 samples are too few for 4 processes; start fewer"):
        MinibatchDescent("logistic", 0.1, 1, 8).train(convolutional(), *samples(3, (1, 8, 8), 3), seed=0)
