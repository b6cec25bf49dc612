"""Measures, selection, summary and controls, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from perturblearn.classifiers import initialise
from perturblearn.config import AttackConfig, ClassifierConfig, ModelConfig
from perturblearn.data import Dataset
from perturblearn.experiment import accuracy, agreement, controls, run_control, select, summarise, summarise_seeds
from perturblearn.perturbed import PerturbedSet, perturb
from perturblearn.training import Descent, train


def test_accuracy_and_agreement_by_hand() -> None:
    outputs = torch.tensor([2.0, -0.1, 0.0, 3.0, -1.0])
    labels = torch.tensor([1, -1, 1, -1, 1])
    assert accuracy(outputs, labels) == pytest.approx(2 / 5), "an output of exactly 0 is wrong"
    assert agreement(outputs, torch.tensor([1.0, -1.0, 0.0, -1.0, 1.0])) == pytest.approx(3 / 5)


def test_the_selection_and_the_papers_maxima_by_hand() -> None:
    standards = [
        {"standard_accuracy": 1.0, "standard_accuracy_heldout": 0.8},
        {"standard_accuracy": 0.9, "standard_accuracy_heldout": 0.9},
        {"standard_accuracy": 0.9, "standard_accuracy_heldout": 0.9},
    ]

    def g(reached: float, loss: float) -> dict[str, float | None]:
        return {
            "perturbation_accuracy": reached,
            "perturbation_accuracy_heldout": reached / 2,
            "agreement": 1 - reached,
            "perturbed_loss_heldout": loss,
            "attack_success": None,
        }

    grid = [[g(0.9, 0.0), g(0.1, 9.0)], [g(0.3, 0.5), g(0.2, 0.4)], [g(0.5, 0.1), g(0.6, 0.2)]]
    chosen = select(standards, grid)
    # Row 1: highest held-out accuracy, the first of equals. Column 1: lowest loss there, though its accuracy is lower.
    assert (chosen["standard"], chosen["perturbation"]) == (1, 1)
    assert chosen["maxima"] == {
        "standard_accuracy_max": 1.0,
        "standard_accuracy_heldout_max": 0.9,
        "perturbation_accuracy_max": 0.9,
        "perturbation_accuracy_heldout_max": 0.45,
        "agreement_max": 0.9,
    }


def test_summaries_by_hand() -> None:
    assert summarise([1.0, 2.0, 6.0]) == {
        "mean": 3.0,
        "std": pytest.approx(math.sqrt(7)),
        "median": 2.0,
        "values": [1.0, 2.0, 6.0],
    }
    assert summarise([0.5])["std"] is None
    assert summarise([None, 0.5]) == {"mean": 0.5, "std": None, "median": 0.5, "values": [None, 0.5]}
    assert summarise([None])["mean"] is None


@pytest.mark.parametrize(
    ("draws", "error", "at_chance"),
    [
        # Seeds that agree: the error over the four draws, std 0.0816 / 2.
        ([[0.4, 0.6], [0.5, 0.5]], math.sqrt(0.02 / 3) / 2, True),
        # Seeds that lean to one side each: the error over their two means, std 0.283 / sqrt 2.
        ([[0.3, 0.3], [0.7, 0.7]], 0.2, True),
        ([[0.1, 0.11], [0.1, 0.12]], math.sqrt(0.000275 / 3) / 2, False),
    ],
)
def test_controls_are_compared_with_g_and_with_chance(draws: list[list[float]], error: float, at_chance: bool) -> None:
    seeds = [
        {
            "measures": {"perturbation_accuracy": g, "perturbation_accuracy_heldout": g},
            "controls": {"unperturbed": {"accuracy": draw, "accuracy_heldout": [0.0, 0.9]}},
        }
        for g, draw in zip((0.55, 0.65), draws, strict=True)
    ]
    summary = summarise_seeds(seeds)
    control = summary["unperturbed_control"]
    assert control["values"] == [value for draw in draws for value in draw]
    assert control["standard_error"] == pytest.approx(error)
    assert control["at_chance"] == at_chance
    beaten = sum(value < g for g, draw in zip((0.55, 0.65), draws, strict=True) for value in draw)
    assert control["beaten"] == beaten / 4
    assert summary["unperturbed_control_heldout"]["beaten"] == 0.5


def problem(source: str) -> tuple[Dataset, PerturbedSet, AttackConfig, ClassifierConfig]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(60, 6, generator=generator, dtype=torch.float64)
    labels = torch.where(inputs[:, 0] > 0, 1, -1)
    data = Dataset(inputs[:40], labels[:40], inputs[40:], labels[40:], (-math.inf, math.inf), ("a", "b"))
    config = ClassifierConfig(epochs=10, model=ModelConfig(hidden_dim=8))
    network = initialise(config.model, 6, seed=0, role="standard").double()
    attack = AttackConfig.model_validate({"source": source, "epsilon": 0.5})
    f = train(network, data.inputs, data.labels, Descent("logistic", 0.5, 20))
    return data, perturb(f, data, attack, seed=0), attack, config


def run(control: controls.Control, source: str, draws: int = 3) -> dict[str, list[float]]:
    data, perturbed, attack, config = problem(source)
    return run_control(
        control,
        data,
        perturbed,
        attack=attack,
        config=config,
        lr=0.5,
        draws=draws,
        seed=0,
        report=lambda *_: None,
    )


@pytest.mark.parametrize("source", ["natural", "none", "gauss"])
@pytest.mark.parametrize("control", ["unperturbed", "permuted"])
def test_controls_draw_anew_and_repeat_exactly(control: controls.Control, source: str) -> None:
    found = run(control, source)
    assert found == run(control, source)
    assert len(found["accuracy"]) == len(found["accuracy_heldout"]) == 3
    assert len(set(found["accuracy"])) > 1
    assert run(control, source, draws=2)["accuracy"] == pytest.approx(found["accuracy"][:2])


def test_what_the_controls_are_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[object, torch.Tensor]] = []
    original = controls.train_side_by_side

    def watched(networks: object, inputs: object, labels: torch.Tensor, *rest: object, **named: object) -> object:
        seen.append((inputs, labels))
        return original(networks, inputs, labels, *rest, **named)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(controls, "train_side_by_side", watched)
    for source in ("natural", "none"):
        _, perturbed, _, _ = problem(source)
        seen.clear()
        run("unperturbed", source)
        (inputs, labels), *_ = seen
        assert torch.equal(labels[0], perturbed.target_labels), "the first draw has g's own targets"
        assert not torch.equal(labels[1], perturbed.target_labels)
        if source == "natural":
            assert inputs is perturbed.sources or torch.equal(inputs, perturbed.sources)  # pyright: ignore[reportArgumentType]
        else:
            assert isinstance(inputs, list)
            for own in inputs:
                assert torch.allclose(own.norm(dim=1), torch.tensor(0.5, dtype=torch.float64), rtol=1e-12)
                assert not torch.allclose(own, perturbed.inputs)
        seen.clear()
        run("permuted", source)
        (inputs, labels), *_ = seen
        assert torch.equal(inputs, perturbed.inputs)  # pyright: ignore[reportArgumentType]
        for own in labels:
            assert own.sum() == perturbed.target_labels.sum()
            assert not torch.equal(own, perturbed.target_labels)


def test_draws_with_inputs_of_their_own_may_train_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    together = run("unperturbed", "none")
    monkeypatch.setattr(controls, "_STACK_BYTES", 1)
    apart = run("unperturbed", "none")
    # Sums in another order: no output of 40 samples is within rounding of 0.
    assert apart == together
