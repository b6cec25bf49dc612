"""The five steps of an experiment as stages: what fixes each, and what it computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from perturblearn.classifiers import Classifier, initialise
from perturblearn.config import AttackConfig, ClassifierConfig, DataConfig
from perturblearn.data import Dataset, load_dataset
from perturblearn.errors import DataError, DivergenceError
from perturblearn.experiment.controls import run_control
from perturblearn.experiment.measures import measure_perturbation, measure_standard
from perturblearn.experiment.selection import select
from perturblearn.graph import Report, Stage, StageKind
from perturblearn.perturbed import PerturbedSet, perturb
from perturblearn.store import Artefact
from perturblearn.training import Descent, train

Inputs = Mapping[str, Any]


def _load_data(stage: Stage, inputs: Inputs, report: Report) -> Dataset:
    data: Dataset | None = stage.context["dataset"]
    if data is None:
        config = DataConfig.model_validate(stage.context["config"])
        data = load_dataset(config, seed=stage.seed or 0, data_dir=stage.context["data_dir"])
    if not data.is_binary:
        names = ", ".join(data.class_names[:10])
        raise DataError(
            f"the data have {data.n_classes} classes ({names}), but two-layer classifiers tell two apart; "
            f"choose two, for example --data.classes {data.class_names[0]},{data.class_names[1]}"
        )
    return data.to(dtype=getattr(torch, stage.parameters["dtype"]), device=stage.context["device"])


def _train(stage: Stage, inputs: Inputs, report: Report) -> Classifier:
    config = ClassifierConfig.model_validate(stage.parameters["classifier"])
    role = stage.parameters["role"]
    if role == "standard":
        data: Dataset = inputs["data"]
        training_inputs, labels = data.inputs, data.labels
    else:  # the perturbation classifier never sees a true label
        perturbed: PerturbedSet = inputs["perturbed"]
        training_inputs, labels = perturbed.inputs, perturbed.target_labels
    network = initialise(config.model, training_inputs[0].numel(), seed=_seed(stage), role=role).to(training_inputs)
    (lr,) = config.lr
    try:
        return train(
            network,
            training_inputs,
            labels,
            Descent(config.loss, lr, config.epochs, config.momentum, config.plateau),
            report=report,
        )
    except DivergenceError as error:
        raise _named(stage, error) from None


def _perturb(stage: Stage, inputs: Inputs, report: Report) -> PerturbedSet:
    return perturb(
        _standard(stage, inputs),
        inputs["data"],
        AttackConfig.model_validate(stage.parameters["attack"]),
        seed=_seed(stage),
        heldout=stage.parameters["heldout"],
    )


def _measure_standard(stage: Stage, inputs: Inputs, report: Report) -> dict[str, float]:
    return measure_standard(_standard(stage, inputs), inputs["data"])


def _measure_perturbation(stage: Stage, inputs: Inputs, report: Report) -> dict[str, float | None]:
    return measure_perturbation(
        inputs["perturbation"].to(device=stage.context["device"]),
        _standard(stage, inputs),
        inputs["data"],
        inputs["perturbed"],
        inputs["heldout_perturbed"],
        stage.parameters["loss"],
    )


def _select(stage: Stage, inputs: Inputs, report: Report) -> dict[str, Any]:
    standard_lr, perturbation_lr = stage.parameters["standard_lr"], stage.parameters["perturbation_lr"]
    standards = [inputs[f"standard {row}"] for row in range(len(standard_lr))]
    grid = [
        [inputs[f"perturbation {row} {column}"] for column in range(len(perturbation_lr))]
        for row in range(len(standard_lr))
    ]
    return select(standards, grid)


def _run_control(stage: Stage, inputs: Inputs, report: Report) -> dict[str, list[float]]:
    config = ClassifierConfig.model_validate(stage.parameters["classifier"])
    selection = inputs["selection"]
    try:
        return run_control(
            stage.parameters["control"],
            inputs["data"],
            inputs[f"perturbed {selection['standard']}"],
            attack=AttackConfig.model_validate(stage.parameters["attack"]),
            config=config,
            lr=config.lr[selection["perturbation"]],
            draws=stage.parameters["draws"],
            seed=_seed(stage),
            report=report,
        )
    except DivergenceError as error:
        raise _named(stage, error) from None


def _seed(stage: Stage) -> int:
    assert stage.seed is not None, f"{stage} draws, so it needs a seed"
    return stage.seed


def _standard(stage: Stage, inputs: Inputs) -> Classifier:
    return inputs["standard"].to(device=stage.context["device"])


def _named(stage: Stage, error: DivergenceError) -> DivergenceError:
    return DivergenceError(f"{stage.label}, seed {stage.seed}: {error}")


def _json(content: Mapping[str, Any]) -> Artefact:
    return Artefact(content)


def _from_json(artefact: Artefact) -> dict[str, Any]:
    return dict(artefact.content)


# Data and one-step sets are not stored: reading the source or one gradient is as quick as reading them back.
DATA = StageKind("data", 1, _load_data)
CLASSIFIER = StageKind("classifier", 1, _train, Classifier.dump, Classifier.load)
PERTURBED_SET = StageKind("perturbed set", 1, _perturb)
STANDARD_MEASURES = StageKind("standard measures", 1, _measure_standard, _json, _from_json)
PERTURBATION_MEASURES = StageKind("perturbation measures", 1, _measure_perturbation, _json, _from_json)
SELECTION = StageKind("selection", 1, _select, _json, _from_json)
CONTROL = StageKind("control", 1, _run_control, _json, _from_json)
