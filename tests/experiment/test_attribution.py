"""What a run says about where g's knowledge comes from."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.experiment.tiny import DEEP, TWO_LAYER, blobs, experiment_of

from perturblearn import ConfigError, learn_from_perturbations
from perturblearn.api import make_experiment
from perturblearn.experiment import Experiment, summarise
from perturblearn.experiment.attribution import class_signal
from perturblearn.graph import Executor
from perturblearn.report.run import RunReport
from perturblearn.results import Result

ON = {"measures.attribution": True, "seeds": [1, 2]}

# Eight units have few kinks, so each of them counts: a small rate.
SMOOTH = {**TWO_LAYER, "standard.lr": 0.1, "perturbation.lr": 0.1}


def run(keys: dict[str, Any], n_classes: int, **overrides: Any) -> tuple[Experiment, Executor, Result]:
    experiment = experiment_of({**keys, **ON, **overrides}, blobs(n_classes))
    executor = experiment.run()
    return experiment, executor, Result.of(experiment.config, "key", experiment.measures(executor), 0.0)


@pytest.mark.parametrize(("keys", "n_classes"), [(DEEP, 3), (SMOOTH, 2)], ids=["deep", "two layers"])
def test_parts_are_those_of_the_run_s_own_g(keys: dict[str, Any], n_classes: int) -> None:
    experiment, executor, result = run(keys, n_classes)
    for seed in result.seeds:
        graph, numbers = experiment.seeds[seed.seed], seed.measures
        stage = graph.attribution
        assert stage is not None
        data = executor.result(graph.data)
        g = executor.result(graph.branches[0].learners[0].perturbation)
        outputs = g.outputs(data.heldout_inputs)
        signal = class_signal(outputs, data.heldout_labels)
        # The deep g is repeated to the bit, the two-layer one in another form of the same products.
        assert numbers["attribution_total"] == pytest.approx(float(signal.mean()), rel=1e-5)
        found = executor.result(stage)
        parts = {name: values for name, values in found.signals.items() if name != "total"}
        assert set(parts) >= {"start", "perturbation", "source"}
        missed = sum(float(values.mean()) for values in parts.values()) - numbers["attribution_total"]
        assert abs(missed) < 0.02 * sum(abs(float(values.mean())) for values in parts.values())
        assert numbers["attribution_error"] < 0.02
        # Classes, weighted by their inputs, have the mean over all of these.
        assert seed.attribution is not None
        of_classes = [value for value in seed.attribution.signals["source"] if value is not None]
        assert statistics.fmean(of_classes, weights=seed.classes.n_heldout) == pytest.approx(
            numbers["attribution_source"]
        )
        again = type(found).load(found.dump())
        assert again.numbers == found.numbers
        assert torch.equal(again.signals["total"], found.signals["total"])
    assert type(result.seeds[0]).from_dict(result.seeds[0].to_dict()) == result.seeds[0]
    report = RunReport(result)
    assert next(row[0] for row in report.rows if row[0].startswith("attribution")) == "attribution_total"
    assert report.attribution_lines[0][:2] == ("class signal", "start")
    assert any("class signal" in remark and "the sum of perturbations" in remark for remark in report.remarks)
    assert "attribution_total" not in report.text


def test_a_published_script_s_g_starts_where_the_script_drew_it() -> None:
    keys = {
        **ON,
        "seeds": [3],
        "draws": "neurips2024",
        "attack.source": "none",
        "controls.draws": 0,
        "dtype": "float64",
    }
    data = {"name": "shifted_gauss", "input_dim": 6, "n_samples": 40, "n_heldout": 60}
    small = {f"{role}.{key}": value for role in ("standard", "perturbation") for key, value in
             {"epochs": 20, "model.hidden_dim": 8}.items()}  # fmt: skip
    experiment = make_experiment({"data": data}, overrides={**keys, **small})
    executor = experiment.run()
    graph = experiment.seeds[3]
    heldout = executor.result(graph.data)
    outputs = executor.result(graph.branches[0].learners[0].perturbation).outputs(heldout.heldout_inputs)
    assert graph.attribution is not None
    total = executor.result(graph.attribution).signals["total"]
    assert torch.allclose(total, class_signal(outputs, heldout.heldout_labels))


def test_what_is_wrong_with_a_split_is_said() -> None:
    _, _, result = run(DEEP, 3)
    for error, is_said in ((0.01, False), (0.03, True)):
        summary = {**result.summary, "attribution_error": summarise([0.0, error])}
        remarks = RunReport(replace(result, summary=summary)).remarks
        assert any("miss up to 3.0 % of what g has learned; set" in each for each in remarks) == is_said
    for cancellation, is_said in ((9.0, False), (12.0, True)):
        summary = {**result.summary, "attribution_cancellation": summarise([cancellation])}
        remarks = RunReport(replace(result, summary=summary)).remarks
        assert any("parts cancel 12 times over, so the split does not decide" in each for each in remarks) == is_said
        assert (
            any("of held-out inputs right only because of the perturbations' part" in each for each in remarks)
            != is_said
        )


def test_nothing_else_changes() -> None:
    plain, asked = (experiment_of({**DEEP, **keys}, blobs()) for keys in ({}, ON | {"seeds": [2]}))
    assert set(plain.stage_keys) < set(asked.stage_keys)


def test_class_signals_by_hand() -> None:
    logits = torch.tensor([[3.0, 0.0, 0.0], [0.0, 1.0, 5.0]])
    # Centred: [1.5, -0.5, -2.5] and [-1.5, 0.5, 2.5].
    assert torch.allclose(class_signal(logits, torch.tensor([0, 2])), torch.tensor([3.0, 3.0]).double())
    assert torch.allclose(
        class_signal(torch.tensor([2.0, 0.0]), torch.tensor([1, 1])), torch.tensor([1.0, -1]).double()
    )


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"perturbation.training": "flow"}, "training = 'flow' has no steps that are linear in the gradient"),
        (
            {"mixing.perturbed_share": 0.5},
            "measures.attribution = true splits what perturbed samples alone have taught",
        ),
    ],
)
def test_what_cannot_be_attributed(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        learn_from_perturbations(overrides={"measures.attribution": True, **keys})
