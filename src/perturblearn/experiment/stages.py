"""The five steps of an experiment as stages: what fixes each, and what it computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from perturblearn.classifiers import Classifier
from perturblearn.config import AttackConfig, ClassifierConfig, DataConfig, ExperimentConfig
from perturblearn.data import Dataset, load_dataset
from perturblearn.errors import DataError, DivergenceError
from perturblearn.experiment.case import Case
from perturblearn.experiment.comparison import Comparison, compare
from perturblearn.experiment.controls import run_control
from perturblearn.experiment.costs import estimate_classifiers, estimate_control
from perturblearn.experiment.learn import Lesson, learn_side_by_side
from perturblearn.experiment.maps import draw_map, dump_map, load_map
from perturblearn.experiment.measures import measure_directions, measure_perturbation, measure_standard
from perturblearn.experiment.selection import select
from perturblearn.graph import Report, Stage, StageKind, content_key
from perturblearn.perturbed import PerturbedSet, perturb
from perturblearn.store import Artefact
from perturblearn.theory import DecisionMap, perturbation_direction

Inputs = Mapping[str, Any]
MOST_DIRECTIONS = 2**30
"""Bytes of predicted directions that are kept for several classifiers; more are made again for each, in blocks."""
DIRECTION_ROWS = 16384
"""Rows of such a block."""


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


def _train(
    group: Sequence[Stage], wanted: Sequence[int], inputs: Inputs, report: Report
) -> Iterator[tuple[int, Classifier | Exception]]:
    factors = None
    if group[0].parameters["role"] == "standard":
        data: Dataset = inputs["data"]
        training_inputs, labels = data.inputs, data.labels
    else:  # the perturbation classifier never sees a true label
        perturbed = _perturbed(group[0], inputs)
        training_inputs, labels, factors = perturbed.inputs, perturbed.target_labels, perturbed.factors
    lessons = [
        Lesson(
            ClassifierConfig.model_validate(stage.parameters["classifier"]),
            labels,
            _seed(stage),
            stage.parameters["role"],
        )
        for stage in group
    ]
    for position, found in learn_side_by_side(lessons, training_inputs, factors=factors, wanted=wanted, report=report):
        yield position, _named(group[position], found) if isinstance(found, Exception) else found


def _trained_together(stage: Stage) -> str:
    """Classifiers by descent over the same inputs train together; all others alone."""
    config = ClassifierConfig.model_validate(stage.parameters["classifier"])
    if config.model.name == "limit" or config.training == "flow":
        return stage.key
    sources = {name: source.key for name, source in stage.inputs.items()}
    return content_key([stage.parameters["dtype"], config.form, config.products, sources])


def _perturb(stage: Stage, inputs: Inputs, report: Report) -> PerturbedSet:
    return perturb(
        _standard(stage, inputs),
        inputs["data"],
        AttackConfig.model_validate(stage.parameters["attack"]),
        seed=_seed(stage),
        heldout=stage.parameters["heldout"],
        report=report,
    )


def _predict_directions(stage: Stage, inputs: Inputs, report: Report) -> Tensor | None:
    """t_n at the training inputs, which several f share; None where they are too large to be kept."""
    data: Dataset = inputs["data"]
    if data.inputs.nbytes > MOST_DIRECTIONS:
        return None
    return perturbation_direction(
        data.inputs.flatten(1), data.labels, slope=stage.parameters["slope"], bias=stage.parameters["bias"]
    )


def _measure_directions(stage: Stage, inputs: Inputs, report: Report) -> dict[str, float]:
    perturbed = _perturbed(stage, inputs)
    data: Dataset = inputs["data"]
    directions = inputs.get("directions")
    if directions is not None:
        return measure_directions(perturbed, data, [directions])
    # Perturbations of noise have their own places.
    assert perturbed.sources is not None
    places = data.inputs if perturbed.true_labels is not None else perturbed.sources
    blocks = (
        perturbation_direction(
            data.inputs.flatten(1),
            data.labels,
            slope=stage.parameters["slope"],
            bias=stage.parameters["bias"],
            at=part.flatten(1),
        )
        for part in places.split(DIRECTION_ROWS)
    )
    return measure_directions(perturbed, data, blocks)


def _measure_standard(stage: Stage, inputs: Inputs, report: Report) -> dict[str, float]:
    return measure_standard(_standard(stage, inputs), inputs["data"])


def _measure_perturbation(stage: Stage, inputs: Inputs, report: Report) -> dict[str, float | None]:
    return measure_perturbation(
        inputs["perturbation"].to(device=stage.context["device"]),
        _standard(stage, inputs),
        inputs["data"],
        _perturbed(stage, inputs),
        _perturbed(stage, inputs, "heldout_perturbed"),
        stage.parameters["loss"],
    )


def _select(stage: Stage, inputs: Inputs, report: Report) -> dict[str, Any]:
    standard_lr, perturbation_lr = stage.parameters["standard_lr"], stage.parameters["perturbation_lr"]
    standards = [dict(inputs[f"standard {row}"]) for row in range(len(standard_lr))]
    for row, measures in enumerate(standards):
        if f"directions {row}" in inputs:
            measures.update(inputs[f"directions {row}"])
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
            _perturbed(stage, inputs, f"perturbed {selection['standard']}"),
            attack=AttackConfig.model_validate(stage.parameters["attack"]),
            config=config,
            lr=config.lr[selection["perturbation"]],
            draws=stage.parameters["draws"],
            seed=_seed(stage),
            report=report,
        )
    except (DivergenceError, DataError) as error:
        raise _named(stage, error) from None


def _case(stage: Stage, inputs: Inputs) -> Case:
    config = ExperimentConfig.model_validate(stage.parameters["config"] | {"seeds": [_seed(stage)]})
    selection = inputs["selection"]
    row, column = selection["standard"], selection["perturbation"]
    device = stage.context["device"]
    return Case(
        config,
        _seed(stage),
        inputs["data"],
        inputs[f"standard {row}"].to(device=device),
        inputs[f"perturbation {row} {column}"].to(device=device),
        _perturbed(stage, inputs, f"perturbed {row}"),
        config.standard.lr[row],
        config.perturbation.lr[column],
    )


def _compare(stage: Stage, inputs: Inputs, report: Report) -> Comparison:
    return compare(_case(stage, inputs), report=report)


def _draw_map(stage: Stage, inputs: Inputs, report: Report) -> DecisionMap:
    limits = stage.parameters["limits"]
    return draw_map(_case(stage, inputs), limits=None if limits is None else tuple(limits))


def _seed(stage: Stage) -> int:
    assert stage.seed is not None, f"{stage} draws, so it needs a seed"
    return stage.seed


def _standard(stage: Stage, inputs: Inputs) -> Classifier:
    return inputs["standard"].to(device=stage.context["device"])


def _perturbed(stage: Stage, inputs: Inputs, name: str = "perturbed") -> PerturbedSet:
    return inputs[name].to(stage.context["device"])


def _named(stage: Stage, error: Exception) -> Exception:
    return type(error)(f"{stage.label}, seed {stage.seed}: {error}")


def _json(content: Mapping[str, Any]) -> Artefact:
    return Artefact(content)


def _from_json(artefact: Artefact) -> dict[str, Any]:
    return dict(artefact.content)


# Data and one-step sets are not stored: reading the source or one gradient is as quick as reading them back.
DATA = StageKind("data", 1, _load_data)
CLASSIFIER = StageKind(
    "classifier",
    2,
    dump=Classifier.dump,
    load=Classifier.load,
    fusion=_trained_together,
    run_many=_train,
    estimate=estimate_classifiers,
)
PERTURBED_SET = StageKind("perturbed set", 2, _perturb)
SEARCHED_SET = StageKind("searched set", 1, _perturb, PerturbedSet.dump_with_sources, PerturbedSet.load)
DIRECTIONS = StageKind("perturbation directions", 1, _predict_directions)
DIRECTION_MEASURES = StageKind("direction measures", 1, _measure_directions, _json, _from_json)
STANDARD_MEASURES = StageKind("standard measures", 1, _measure_standard, _json, _from_json)
PERTURBATION_MEASURES = StageKind("perturbation measures", 1, _measure_perturbation, _json, _from_json)
SELECTION = StageKind("selection", 1, _select, _json, _from_json)
COMPARISON = StageKind("comparison with theory", 1, _compare, Comparison.dump, Comparison.load)
DECISION_MAP = StageKind("decision map", 1, _draw_map, dump_map, load_map)
CONTROL = StageKind("control", 2, _run_control, _json, _from_json, estimate=estimate_control)
