"""The five steps of an experiment as stages: what fixes each, and what it computes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from perturblearn.classifiers import Classifier
from perturblearn.config import AttackConfig, ClassifierConfig, DataConfig, ExperimentConfig
from perturblearn.data import Dataset, Signature, load_dataset
from perturblearn.errors import DataError, PerturbLearnError
from perturblearn.experiment.case import Case
from perturblearn.experiment.comparison import Comparison, compare
from perturblearn.experiment.controls import run_control, unperturbed_set
from perturblearn.experiment.costs import estimate_classifiers, estimate_control
from perturblearn.experiment.learn import Lesson, learn_side_by_side
from perturblearn.experiment.maps import draw_map, dump_map, load_map
from perturblearn.experiment.measures import measure_directions, measure_fooling, measure_perturbation, measure_standard
from perturblearn.experiment.network_comparison import compare_networks
from perturblearn.experiment.network_costs import estimate_network, estimate_shard
from perturblearn.experiment.networks import Interruptions, learn_network
from perturblearn.experiment.probe import measure_linear_probe
from perturblearn.experiment.selection import select
from perturblearn.graph import Report, Stage, StageKind, content_key
from perturblearn.perturbed import PerturbedSet, StoredSet, mix, perturb, sources_of
from perturblearn.seeding import derive_seed
from perturblearn.store import Artefact, Drafts
from perturblearn.theory import DecisionMap, GateKernel, perturbation_direction

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
    return data.to(dtype=getattr(torch, stage.parameters["dtype"]), device=stage.context["data_device"])


def _train(
    group: Sequence[Stage], wanted: Sequence[int], inputs: Inputs, report: Report
) -> Iterator[tuple[int, Classifier | Exception]]:
    device = group[0].context["device"]
    factors = None
    if group[0].parameters["role"] == "standard":
        data: Dataset = inputs["data"].to(device=device)
        if not data.is_binary:
            names = ", ".join(data.class_names[:10])
            raise DataError(
                f"the data have {data.n_classes} classes ({names}), but two-layer classifiers tell two apart; choose "
                f"two, for example --data.classes {data.class_names[0]},{data.class_names[1]}, or a deep network, for "
                "example --standard.model.name mlp --perturbation.model.name mlp"
            )
        training_inputs, labels = data.inputs, data.labels
    else:  # the perturbation classifier never sees a true label
        perturbed: PerturbedSet = inputs["perturbed"].to(device)
        training_inputs, labels, factors = perturbed.inputs, perturbed.target_labels, perturbed.factors
    if not bool((labels.abs() == 1).all()):
        raise DataError(
            "the data have more than two classes, but a two-layer perturbation classifier tells two apart; choose a "
            "deep network, for example --perturbation.model.name mlp"
        )
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
    classifier = stage.parameters["classifier"]
    if classifier["model"]["name"] == "limit" or classifier["training"] == "flow":
        return stage.key
    sources = {name: source.key for name, source in stage.inputs.items()}
    return content_key([stage.parameters["dtype"], classifier["form"], classifier["products"], sources])


def _train_network(stage: Stage, inputs: Inputs, drafts: Drafts, report: Report) -> Classifier:
    data: Dataset = inputs["data"]
    signature = Signature.of(data)
    if stage.parameters["role"] == "standard":
        training_inputs, labels = data.inputs, data.labels
    else:  # of the data the perturbation classifier knows shape and scale, and never a true label
        perturbed: PerturbedSet = inputs["perturbed"]
        training_inputs, labels = perturbed.inputs, perturbed.target_labels
    try:
        return learn_network(
            ClassifierConfig.model_validate(stage.context["classifier"]),
            signature,
            training_inputs,
            labels,
            seed=_seed(stage),
            role=stage.parameters["role"],
            device=stage.context["device"],
            dtype=data.inputs.dtype,
            interruptions=_interruptions(stage, drafts),
            report=report,
        )
    except PerturbLearnError as error:
        raise _named(stage, error) from None


def _interruptions(stage: Stage, drafts: Drafts) -> Interruptions:
    return Interruptions(drafts, stage.context["checkpoint_minutes"], stage.context["checkpoint_epochs"])


def _perturb_shard(stage: Stage, inputs: Inputs, drafts: Drafts, report: Report) -> PerturbedSet:
    first, end = stage.parameters["rows"]
    return perturb(
        _standard(stage, inputs),
        inputs["data"],
        AttackConfig.model_validate(stage.parameters["attack"]),
        seed=_seed(stage),
        heldout=stage.parameters["heldout"],
        rows=range(first, end),
        drafts=drafts,
        report=report,
    )


def _perturb(stage: Stage, inputs: Inputs, report: Report) -> PerturbedSet:
    data: Dataset = inputs["data"]
    attack = AttackConfig.model_validate(stage.parameters["attack"])
    heldout, seed = stage.parameters["heldout"], _seed(stage)
    shards = [name for name in inputs if name.startswith("shard ")]
    if not shards:
        return perturb(_standard(stage, inputs), data, attack, seed=seed, heldout=heldout, report=report)
    sources = sources_of(data, attack, seed=seed, heldout=heldout)
    room = torch.empty_like(sources.inputs, device=stage.context["data_device"])
    parts = (inputs[name] for name in shards)
    return replace(PerturbedSet.joined(parts, len(room), inputs=room), sources=sources.inputs)


def _load_set(stage: Stage, inputs: Inputs, report: Report) -> PerturbedSet:
    stored: StoredSet = stage.context["set"]
    attack = stored.config.attack
    heldout = stage.parameters["part"] == "heldout"
    sources = sources_of(inputs["data"], attack, seed=stored.seed, heldout=heldout)
    # On the set's own disk, where it can be written to: large sets do not fit into every folder of temporary files.
    beside = stored.folder.parent
    scratch = beside if os.access(beside, os.W_OK) else None
    return replace(StoredSet(stored.folder, stage.parameters["part"]).load(scratch=scratch), sources=sources.inputs)


def _load_standard(stage: Stage, inputs: Inputs, report: Report) -> Classifier:
    return Classifier.load(stage.context["set"].standard())


def _mix(stage: Stage, inputs: Inputs, report: Report) -> PerturbedSet:
    return mix(
        _perturbed(stage, inputs),
        inputs["data"],
        stage.parameters["perturbed_share"],
        seed=derive_seed(_seed(stage), "mixing", stage.parameters["part"]),
        heldout=stage.parameters["part"] == "heldout",
    )


def _predict_directions(stage: Stage, inputs: Inputs, report: Report) -> Tensor | None:
    """t_n at the training inputs, which several f share; None where they are too large to be kept."""
    data: Dataset = inputs["data"]
    if data.inputs.nbytes > MOST_DIRECTIONS:
        return None
    return perturbation_direction(data.inputs.flatten(1), data.labels, kernel=GateKernel(**stage.parameters))


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
            kernel=GateKernel(**stage.parameters),
            at=part.flatten(1),
        )
        for part in places.split(DIRECTION_ROWS)
    )
    return measure_directions(perturbed, data, blocks)


def _measure_standard(stage: Stage, inputs: Inputs, report: Report) -> dict[str, float]:
    return measure_standard(_standard(stage, inputs), inputs["data"])


def _measure_perturbation(stage: Stage, inputs: Inputs, report: Report) -> dict[str, Any]:
    return measure_perturbation(
        inputs["perturbation"].to(device=stage.context["device"]),
        _standard(stage, inputs),
        inputs["data"],
        _perturbed(stage, inputs),
        _perturbed(stage, inputs, "heldout_perturbed"),
        stage.parameters["loss"],
    )


def _measure_fooling(stage: Stage, inputs: Inputs, report: Report) -> dict[str, float | None]:
    classifier: Classifier = inputs["classifier"].to(device=stage.context["device"])
    return measure_fooling(classifier, _perturbed(stage, inputs))


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


def _measure_linear_probe(stage: Stage, inputs: Inputs, report: Report) -> dict[str, float]:
    row, _ = _selected(inputs)
    return measure_linear_probe(inputs[f"perturbed {row}"], inputs["data"], device=stage.context["device"])


def _run_control(stage: Stage, inputs: Inputs, drafts: Drafts, report: Report) -> dict[str, list[float]]:
    config = ClassifierConfig.model_validate(stage.context["classifier"])
    attack = AttackConfig.model_validate(stage.parameters["attack"])
    row, column = _selected(inputs)
    data: Dataset = inputs["data"]
    control, share = stage.parameters["control"], stage.parameters["perturbed_share"]
    set_seed = stage.parameters["set_seed"]
    if control == "permuted":
        of_control = _perturbed(stage, inputs, f"perturbed {row}")
    else:  # no f, no perturbation: sources and targets are drawn as the set's were
        of_control = unperturbed_set(data, attack, seed=set_seed)
        if share < 1:
            of_control = mix(of_control, data, share, seed=derive_seed(_seed(stage), "mixing", "training"))
    try:
        return run_control(
            control,
            data,
            of_control,
            attack=attack,
            config=config,
            lr=config.lr[column],
            draws=stage.parameters["draws"],
            seed=_seed(stage),
            device=stage.context["device"],
            interruptions=_interruptions(stage, drafts),
            report=report,
        )
    except PerturbLearnError as error:
        raise _named(stage, error) from None


def _selected(inputs: Inputs) -> tuple[int, int]:
    """Positions of the learning rates of f and g that count; without a grid there is one of each."""
    if "selection" not in inputs:
        return 0, 0
    selection = inputs["selection"]
    return selection["standard"], selection["perturbation"]


def _case(stage: Stage, inputs: Inputs) -> Case:
    config = ExperimentConfig.model_validate(stage.context["config"] | {"seeds": [_seed(stage)]})
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


def _compare_networks(stage: Stage, inputs: Inputs, report: Report) -> dict[str, float]:
    return compare_networks(_case(stage, inputs), report=report)


def _draw_map(stage: Stage, inputs: Inputs, report: Report) -> DecisionMap:
    limits = stage.parameters["limits"]
    return draw_map(_case(stage, inputs), limits=None if limits is None else tuple(limits))


def _seed(stage: Stage) -> int:
    assert stage.seed is not None, f"{stage} draws, so it needs a seed"
    return stage.seed


def _standard(stage: Stage, inputs: Inputs) -> Classifier:
    return inputs["standard"].to(device=stage.context["device"])


def _perturbed(stage: Stage, inputs: Inputs, name: str = "perturbed") -> PerturbedSet:
    return inputs[name].to(stage.context["data_device"])


def _named(stage: Stage, error: Exception) -> Exception:
    return type(error)(f"{stage.label}, seed {stage.seed}: {error}")


def _json(content: Mapping[str, Any]) -> Artefact:
    return Artefact(content)


def _from_json(artefact: Artefact) -> dict[str, Any]:
    return dict(artefact.content)


# Data and one-step sets are not stored: reading the source or one gradient is as quick as reading them back. Sets of an
# attack that searches are put together of shards, which are.
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
NETWORK = StageKind(
    "network",
    1,
    dump=Classifier.dump,
    load=Classifier.load,
    run_resumable=_train_network,
    estimate=estimate_network,
)
SHARD = StageKind(
    "shard of a perturbed set",
    1,
    dump=PerturbedSet.dump,
    load=PerturbedSet.load,
    run_resumable=_perturb_shard,
    estimate=estimate_shard,
    is_read_back=True,
)
PERTURBED_SET = StageKind("perturbed set", 3, _perturb)
STORED_SET = StageKind("stored perturbed set", 1, _load_set)
STORED_STANDARD = StageKind("stored standard classifier", 1, _load_standard)
MIXED_SET = StageKind("mixed set", 1, _mix)
DIRECTIONS = StageKind("perturbation directions", 1, _predict_directions)
DIRECTION_MEASURES = StageKind("direction measures", 1, _measure_directions, _json, _from_json)
STANDARD_MEASURES = StageKind("standard measures", 2, _measure_standard, _json, _from_json)
PERTURBATION_MEASURES = StageKind("perturbation measures", 3, _measure_perturbation, _json, _from_json)
FOOLING = StageKind("fooling", 1, _measure_fooling, _json, _from_json)
SELECTION = StageKind("selection", 1, _select, _json, _from_json)
COMPARISON = StageKind("comparison with theory", 2, _compare, Comparison.dump, Comparison.load)
NETWORK_COMPARISON = StageKind("comparison of networks", 1, _compare_networks, _json, _from_json)
DECISION_MAP = StageKind("decision map", 1, _draw_map, dump_map, load_map)
LINEAR_PROBE = StageKind("linear probe", 2, _measure_linear_probe, _json, _from_json)
CONTROL = StageKind("control", 4, dump=_json, load=_from_json, run_resumable=_run_control, estimate=estimate_control)
