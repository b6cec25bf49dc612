"""Trained classifiers beside what both papers predict for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from perturblearn.classifiers import Classifier, TwoLayer, initialise
from perturblearn.config import ClassifierConfig, ExperimentConfig
from perturblearn.data import Dataset
from perturblearn.errors import ConfigError, DataError
from perturblearn.experiment.measures import agreement, measure_directions
from perturblearn.perturbed import PerturbedSet
from perturblearn.store import Artefact
from perturblearn.theory import (
    DecisionMap,
    DecisionPlane,
    MarginLimit,
    boundary_terms,
    decision_map,
    expected_cosine,
    lazy_prediction,
    lazy_regime,
    margin_limit,
    mean_plane,
    orthogonality,
    perturbation_direction,
    perturbation_prediction,
    predict_from_directions,
    predictions_on,
    row_cosines,
    standard_prediction,
    training_time,
    weight_plane,
)
from perturblearn.training import Plateau

COMPARISONS = {
    "cosine_similarity": "size of the cosine of r_n and t_n, mean",
    "cosine_similarity_signed": "cosine of y'_n r_n and t_n, mean",
    "cosine_similarity_random": "the size for random directions",
    "cosine_similarity_expected": "the size at this training time, if training is lazy",
    "standard_sign_agreement": "f and fhat, held-out inputs",
    "standard_sign_agreement_bias": "f and fhat with the trained bias's +1",
    "standard_sign_agreement_time": "f and the lazy function at f's time, f_0 included",
    "perturbation_sign_agreement": "g and ghat, held-out inputs",
    "perturbation_sign_agreement_full": "g and ghat with mislabelled samples and bias",
    "perturbation_sign_agreement_time": "g and the lazy function at g's time, g_0 included",
    "standard_correlation": "f and fhat, held-out inputs",
    "perturbation_correlation": "g and ghat, held-out inputs",
    "standard_kernel_drift": "f, relative change of its empirical kernel",
    "standard_linearisation_distance": "f, distance from its linearisation",
    "perturbation_kernel_drift": "g, relative change of its empirical kernel",
    "perturbation_linearisation_distance": "g, distance from its linearisation",
    "training_orthogonality_left": "training set, gamma^3 R_min^4 / (3 N R_max^2)",
    "training_orthogonality_right": "training set, p_max, which the left side must exceed",
    "training_orthogonality_factor": "training set, right over left: missed by this factor",
    "perturbed_orthogonality_left": "perturbed set, gamma^3 R_min^4 / (3 N R_max^2)",
    "perturbed_orthogonality_right": "perturbed set, p_max",
    "perturbed_orthogonality_factor": "perturbed set, right over left",
    "normal_cosine_similarity": "size of the cosine of r_n and the normal q of the limit's boundary, mean",
    "standard_limit_agreement": "f and the limit of its training set, held-out inputs",
    "perturbation_limit_agreement": "g and the limit of the perturbed set, held-out inputs",
    "limit_pattern_share": "training samples on which the linear picture's pattern holds",
    "boundary_terms_agreement": "g and the sum of its two boundary terms, held-out inputs",
    "boundary_dominated_share": "held-out inputs at which the perturbations' term is the larger",
}
"""Every number of a comparison, and what it compares."""

LAZY_INPUTS = 128
"""Training inputs, evenly spaced, over whose pairs the empirical kernel is taken."""
MOST_FOR_LIMIT = 10_000
"""Samples up to which a limit is looked for."""
_MAP_POINTS = 400


@dataclass(frozen=True, eq=False)
class Comparison:
    """Predictions beside trained classifiers, for one seed.

    Args:
        numbers: by the names of `COMPARISONS`; what does not apply is None.
        notes: why it does not.
        labels: held-out labels, (M,).
        outputs: held-out outputs by name, (M,): ``f``, ``fhat``, ``g``, ``ghat``.
        cosines: y'_n cos(r_n, t_n), (n,).
    """

    numbers: dict[str, float | None]
    notes: tuple[str, ...]
    labels: Tensor
    cosines: Tensor
    outputs: dict[str, Tensor] = field(default_factory=dict)

    def dump(self) -> Artefact:
        """The comparison as an artefact."""
        tensors = {f"outputs.{name}": values for name, values in self.outputs.items()}
        content = {"numbers": self.numbers, "notes": list(self.notes)}
        return Artefact(content, {**tensors, "labels": self.labels, "cosines": self.cosines})

    @classmethod
    def load(cls, artefact: Artefact) -> Comparison:
        """The comparison that `dump` wrote."""
        prefix = "outputs."
        outputs = {
            name.removeprefix(prefix): values for name, values in artefact.tensors.items() if name.startswith(prefix)
        }
        return cls(
            dict(artefact.content["numbers"]),
            tuple(artefact.content["notes"]),
            artefact.tensors["labels"],
            artefact.tensors["cosines"],
            outputs,
        )


@dataclass(frozen=True, eq=False)
class Case:
    """One seed's classifiers with all that predictions need.

    Args:
        config: the experiment's configuration.
        seed: the run's seed.
        data: the data set.
        standard, perturbation: f and g.
        perturbed: the set that g was trained on, with its sources.
        standard_lr, perturbation_lr: their learning rates.
    """

    config: ExperimentConfig
    seed: int
    data: Dataset
    standard: Classifier
    perturbation: Classifier
    perturbed: PerturbedSet
    standard_lr: float
    perturbation_lr: float

    @property
    def inputs(self) -> Tensor:
        """Training inputs x, (N, d)."""
        return self.data.inputs.flatten(1)

    @property
    def heldout(self) -> Tensor:
        """Held-out inputs, (M, d)."""
        return self.data.heldout_inputs.flatten(1)

    @property
    def seen(self) -> Tensor:
        """What g sees, x', (n, d)."""
        return self.perturbed.inputs.flatten(1)

    @property
    def sources(self) -> Tensor:
        """Sources u, (n, d)."""
        assert self.perturbed.sources is not None
        return self.perturbed.sources.flatten(1)

    @property
    def places(self) -> Tensor | None:
        """Where perturbations were taken, if not at the training inputs."""
        return None if self.perturbed.true_labels is not None else self.sources

    @property
    def slope(self) -> float:
        """F's negative slope."""
        return self.config.standard.model.slope

    @property
    def has_bias(self) -> bool:
        """Whether f's units have a bias."""
        return self.config.standard.model.name == "two_layer"


def compare(case: Case) -> Comparison:
    """Everything that both papers predict of one seed's classifiers, beside the classifiers themselves."""
    notes: list[str] = []
    found: dict[str, float | None] = dict.fromkeys(COMPARISONS)
    directions = perturbation_direction(
        case.inputs, case.data.labels, slope=case.slope, at=case.places, bias=case.has_bias
    )
    found |= measure_directions(case.perturbed, case.data, directions)
    outputs = {
        "f": case.standard.outputs(case.data.heldout_inputs),
        "fhat": standard_prediction(case.inputs, case.data.labels, case.heldout, slope=case.slope, bias=case.has_bias),
        "g": case.perturbation.outputs(case.data.heldout_inputs),
        "ghat": predict_from_directions(case.seen, directions, case.heldout, slope=case.slope, bias=case.has_bias),
    }
    for role, network, prediction in (("standard", "f", "fhat"), ("perturbation", "g", "ghat")):
        found[f"{role}_sign_agreement"] = agreement(outputs[network], outputs[prediction])
        found[f"{role}_correlation"] = _correlation(outputs[network], outputs[prediction])
    found |= _with_what_is_left_out(case, outputs)
    found |= _lazy_numbers(case, notes)
    found |= _at_finite_time(case, outputs, notes)
    found |= _orthogonality_numbers(case)
    found |= _limit_numbers(case, outputs, notes)
    cosines = _signed_cosines(case.perturbed, directions)
    return Comparison(
        found,
        tuple(notes),
        case.data.heldout_labels.cpu(),
        cosines.cpu(),
        {name: values.detach().cpu() for name, values in outputs.items()},
    )


def draw_map(case: Case) -> DecisionMap:
    """Both classifiers and their predictions on the paper's plane.

    NeurIPS24's plane of class means with fhat and ghat for networks with a bias; ICLR24's plane of f's mean weight rows
    with the limits' boundaries (under the names ``fhat`` and ``ghat``, where there are such limits) for the others.
    """
    weight, readout = case.standard.module.weight.detach(), case.standard.module.readout
    plane = mean_plane(case.inputs, case.data.labels) if case.has_bias else weight_plane(weight, readout)
    limits = _limits_of(plane.project(case.inputs))
    networks = {"f": case.standard.outputs, "g": case.perturbation.outputs}
    drawn = decision_map(
        plane, networks, limits=limits, points=_MAP_POINTS, samples=case.inputs, labels=case.data.labels
    )
    if case.has_bias and case.places is None:
        predicted = predictions_on(
            plane, case.inputs, case.data.labels, case.seen, slope=case.slope, limits=limits, points=_MAP_POINTS
        ).values
    else:
        lines = {}
        for name, limit in zip(("fhat", "ghat"), _limits(case, []), strict=True):
            if limit is not None:
                lines[name] = limit.classifier.to(dtype=case.inputs.dtype).outputs
        predicted = decision_map(plane, lines, limits=limits, points=_MAP_POINTS).values if lines else {}
    return DecisionMap(plane, drawn.grid, {**drawn.values, **predicted}, drawn.samples, drawn.labels)


def dump_map(drawn: DecisionMap) -> Artefact:
    """A map as an artefact."""
    tensors = {f"values.{name}": values for name, values in drawn.values.items()}
    tensors |= {"first": drawn.plane.first, "second": drawn.plane.second, "grid": drawn.grid}
    if drawn.samples is not None and drawn.labels is not None:
        tensors |= {"samples": drawn.samples, "labels": drawn.labels}
    return Artefact({}, tensors)


def load_map(artefact: Artefact) -> DecisionMap:
    """The map that `dump_map` wrote."""
    tensors = artefact.tensors
    values = {name.removeprefix("values."): tensor for name, tensor in tensors.items() if name.startswith("values.")}
    plane = DecisionPlane(tensors["first"], tensors["second"])
    return DecisionMap(plane, tensors["grid"], values, tensors.get("samples"), tensors.get("labels"))


def _with_what_is_left_out(case: Case, outputs: dict[str, Tensor]) -> dict[str, float | None]:
    """Predictions with the trained bias and the mislabelled samples, which the paper leaves out."""
    found: dict[str, float | None] = {}
    if case.has_bias:
        predicted = standard_prediction(
            case.inputs, case.data.labels, case.heldout, slope=case.slope, trained_bias=True
        )
        found["standard_sign_agreement_bias"] = agreement(outputs["f"], predicted)
    # The predicted directions stand for perturbations of a given L2 length.
    lengths = case.perturbed.perturbations.flatten(1).norm(dim=1).mean().item()
    if lengths > 0:
        predicted = perturbation_prediction(
            case.inputs,
            case.data.labels,
            case.seen,
            case.heldout,
            slope=case.slope,
            targets=case.perturbed.target_labels,
            epsilon=lengths,
            sources=None if case.perturbed.source == "none" else case.sources,
            trained_bias=case.config.perturbation.model.name == "two_layer",
            at=case.places,
            bias=case.has_bias,
        )
        found["perturbation_sign_agreement_full"] = agreement(outputs["g"], predicted)
    return found


def _lazy_numbers(case: Case, notes: list[str]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for role, classifier, inputs in (
        ("standard", case.standard, case.data.inputs),
        ("perturbation", case.perturbation, case.perturbed.inputs),
    ):
        initial = _initial(case, role)
        if initial is None:
            notes.append(f"The {role} classifier is a limit: it has no start from which its kernel could drift.")
            continue
        chosen = torch.linspace(0, len(inputs) - 1, min(LAZY_INPUTS, len(inputs))).long()
        lazy = lazy_regime(initial, classifier.module, inputs[chosen.to(inputs.device)])
        found[f"{role}_kernel_drift"] = lazy.kernel_drift
        found[f"{role}_linearisation_distance"] = lazy.linearisation_distance
    return found


def _at_finite_time(case: Case, outputs: dict[str, Tensor], notes: list[str]) -> dict[str, float | None]:
    """The lazy functions of the identity loss at the time of training."""
    found: dict[str, float | None] = {}
    steps = (
        ("standard", "f", case.standard, case.inputs, case.data.labels, case.standard_lr),
        ("perturbation", "g", case.perturbation, case.seen, case.perturbed.target_labels, case.perturbation_lr),
    )
    for role, name, classifier, inputs, labels, lr in steps:
        section = _section(case, role)
        initial = _initial(case, role)
        if section.loss != "identity" or section.training != "descent" or initial is None:
            notes.append(f"The lazy function at a finite time is exact for the identity loss; {name} has another.")
            continue
        time = training_time(_rates(section, lr, classifier.losses.tolist()), section.epochs, section.momentum)
        if bool((labels == labels[0]).all()):
            continue
        bias = section.model.name == "two_layer"
        predicted = lazy_prediction(
            inputs,
            labels,
            case.heldout,
            slope=section.model.slope,
            time=time,
            initial=Classifier(initial).outputs(case.data.heldout_inputs),
            bias=bias,
        )
        found[f"{role}_sign_agreement_time"] = agreement(outputs[name], predicted)
        if role == "standard" and case.places is None and case.config.attack.name == "one_step" and bias:
            expected = expected_cosine(inputs, labels, slope=section.model.slope, time=time)
            found["cosine_similarity_expected"] = expected.double().mean().item()
    return found


def _orthogonality_numbers(case: Case) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for part, inputs in (("training", case.inputs), ("perturbed", case.seen)):
        if len(inputs) < 2:
            continue
        condition = orthogonality(inputs, slope=case.slope)
        found[f"{part}_orthogonality_left"] = condition.left
        found[f"{part}_orthogonality_right"] = condition.right
        found[f"{part}_orthogonality_factor"] = condition.factor if math.isfinite(condition.factor) else None
    return found


def _limit_numbers(case: Case, outputs: dict[str, Tensor], notes: list[str]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    standard, perturbation = _limits(case, notes)
    if standard is not None:
        limit = standard.classifier.outputs(case.heldout)
        found["standard_limit_agreement"] = agreement(outputs["f"], limit)
        found["limit_pattern_share"] = standard.pattern_share
        cosines = row_cosines(case.perturbed.perturbations.flatten(1), standard.normal.expand_as(case.seen))
        found["normal_cosine_similarity"] = cosines.abs().double().mean().item()
    if perturbation is not None:
        limit = perturbation.classifier.outputs(case.heldout)
        found["perturbation_limit_agreement"] = agreement(outputs["g"], limit)
    attack = case.config.attack
    if standard is not None and perturbation is not None and not (attack.name == "radial_pgd" and attack.norm == "l0"):
        terms = boundary_terms(
            perturbation.boundary_multipliers,
            case.perturbed.target_labels,
            case.sources,
            standard.normal,
            case.heldout,
            epsilon=attack.epsilon,
            norm=attack.norm,
            pixels=attack.pixels,
        )
        found["boundary_terms_agreement"] = agreement(outputs["g"], terms.total)
        found["boundary_dominated_share"] = terms.dominated_share
    return found


def _limits(case: Case, notes: list[str]) -> tuple[MarginLimit | None, MarginLimit | None]:
    """Limits of the training set and of the perturbed set, where the theory has them."""
    limits: list[MarginLimit | None] = []
    sets = (
        ("standard", case.inputs, case.data.labels, "training"),
        ("perturbation", case.seen, case.perturbed.target_labels, "perturbed"),
    )
    for role, inputs, labels, name in sets:
        model = _section(case, role).model
        limit = None
        if model.name == "two_layer":
            notes.append(f"No limit of the {name} set: long training of networks with a bias is not covered.")
        elif model.slope == 0:
            notes.append(f"No limit of the {name} set: the slope is 0.")
        elif len(inputs) > MOST_FOR_LIMIT:
            notes.append(f"No limit of the {name} set: it has more than {MOST_FOR_LIMIT:,} samples.")
        else:
            method = model.method or "two_direction"
            try:
                limit = margin_limit(inputs, labels, slope=model.slope, method=method, both_classes=False)
            except (ConfigError, DataError) as error:
                notes.append(f"No limit of the {name} set: {error}.")
        limits.append(limit)
    return limits[0], limits[1]


def _section(case: Case, role: str) -> ClassifierConfig:
    return case.config.standard if role == "standard" else case.config.perturbation


def _initial(case: Case, role: str) -> TwoLayer | None:
    model = _section(case, role).model
    if model.name == "limit":
        return None
    return initialise(model, case.data.input_dim, seed=case.seed, role=role).to(case.data.inputs)


def _rates(section: ClassifierConfig, lr: float, losses: Sequence[float]) -> list[float]:
    """The learning rate of every epoch, from the losses that the plateau rule saw."""
    rule = Plateau(lr)
    rates = []
    for loss in losses:
        rates.append(rule.lr)
        if section.plateau:
            rule.update(loss)
    return rates


def _signed_cosines(perturbed: PerturbedSet, directions: Tensor) -> Tensor:
    cosines = row_cosines(perturbed.perturbations.flatten(1), directions)
    return perturbed.target_labels.to(cosines.dtype) * cosines


def _correlation(first: Tensor, second: Tensor) -> float | None:
    pair = torch.stack((first, second)).double()
    pair = pair - pair.mean(dim=1, keepdim=True)
    lengths = pair.norm(dim=1)
    if not bool((lengths > 0).all()):
        return None
    return float((pair[0] @ pair[1]) / lengths.prod())


def _limits_of(samples: Tensor) -> tuple[float, float]:
    """Limits of a square map that show nearly all samples and the origin."""
    low, high = torch.quantile(samples.flatten().double(), samples.new_tensor([0.002, 0.998]).double()).tolist()
    low, high = min(low, 0.0), max(high, 0.0)
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin
