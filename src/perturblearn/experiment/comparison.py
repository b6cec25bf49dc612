"""Trained classifiers beside what both papers predict for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from perturblearn.classifiers import Classifier, TwoLayer, initialise
from perturblearn.config import DescentConfig, OneStepConfig, TrainedTwoLayerConfig
from perturblearn.experiment.case import Case
from perturblearn.experiment.measures import agreement, measure_directions
from perturblearn.perturbed import PerturbedSet
from perturblearn.store import Artefact
from perturblearn.theory import (
    boundary_terms,
    expected_cosine,
    lazy_prediction,
    lazy_regime,
    orthogonality,
    perturbation_direction,
    perturbation_prediction,
    predict_from_directions,
    row_cosines,
    standard_prediction,
    training_time,
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


def compare(case: Case, *, report: Callable[[int, int, str], None] = lambda done, steps, note: None) -> Comparison:
    """Everything that both papers predict of one seed's classifiers, beside the classifiers themselves.

    Args:
        case: the classifiers with their data.
        report: called with parts done, parts in all and the part that comes next.
    """
    report(0, 6, "wide networks")
    notes: list[str] = []
    found: dict[str, float | None] = dict.fromkeys(COMPARISONS)
    directions = perturbation_direction(
        case.inputs, case.data.labels, slope=case.slope, at=case.places, bias=case.has_bias
    )
    found |= measure_directions(case.perturbed, case.data, [directions])
    outputs = {
        "f": case.standard.outputs(case.data.heldout_inputs),
        "fhat": standard_prediction(case.inputs, case.data.labels, case.heldout, slope=case.slope, bias=case.has_bias),
        "g": case.perturbation.outputs(case.data.heldout_inputs),
        "ghat": predict_from_directions(case.seen, directions, case.heldout, slope=case.slope, bias=case.has_bias),
    }
    for role, network, prediction in (("standard", "f", "fhat"), ("perturbation", "g", "ghat")):
        found[f"{role}_sign_agreement"] = agreement(outputs[network], outputs[prediction])
        found[f"{role}_correlation"] = correlation(outputs[network], outputs[prediction])
    report(1, 6, "what is left out")
    found |= _with_what_is_left_out(case, outputs)
    report(2, 6, "lazy regime")
    found |= _lazy_numbers(case, notes)
    report(3, 6, "finite time")
    found |= _at_finite_time(case, outputs, notes)
    report(4, 6, "orthogonality")
    found |= _orthogonality_numbers(case)
    report(5, 6, "limits")
    found |= _limit_numbers(case, outputs, notes)
    cosines = _signed_cosines(case.perturbed, directions)
    for name, value in found.items():
        if value is not None and not math.isfinite(value):
            found[name] = None
            notes.append(f"{name} is left out: the networks' or the data's values are too large for it.")
    return Comparison(
        found,
        tuple(notes),
        case.data.heldout_labels.cpu(),
        cosines.cpu(),
        {name: values.detach().cpu() for name, values in outputs.items()},
    )


def lazy_inputs(inputs: Tensor) -> Tensor:
    """The inputs (n, ...) over whose pairs the empirical kernel is taken, evenly spaced, `LAZY_INPUTS` at most."""
    chosen = torch.linspace(0, len(inputs) - 1, min(LAZY_INPUTS, len(inputs))).long()
    return inputs[chosen.to(inputs.device)]


def correlation(first: Tensor, second: Tensor) -> float | None:
    """Pearson's correlation of two vectors; None where one of them is constant."""
    pair = torch.stack((first, second)).double()
    pair = pair - pair.mean(dim=1, keepdim=True)
    lengths = pair.norm(dim=1)
    if not bool((lengths > 0).all()):
        return None
    return float((pair[0] @ pair[1]) / lengths.prod())


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
            sources=None if case.config.attack.is_bare else case.sources,
            trained_bias=case.model("perturbation").has_bias,
            at=case.places,
            bias=case.has_bias,
        )
        found["perturbation_sign_agreement_full"] = agreement(outputs["g"], predicted)
    return found


def _lazy_numbers(case: Case, notes: list[str]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for role, inputs in (("standard", case.data.inputs), ("perturbation", case.perturbed.inputs)):
        initial = _initial(case, role)
        if initial is None:
            notes.append(f"The {role} classifier is a limit: it has no start from which its kernel could drift.")
            continue
        lazy = lazy_regime(initial, case.of(role), lazy_inputs(inputs))
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
        section = case.section(role)
        initial = _initial(case, role)
        if initial is None:
            continue  # a limit has no time; the lazy numbers have said so
        if section.loss != "identity" or not isinstance(section, DescentConfig):
            notes.append(f"The lazy function at a finite time is exact for the identity loss; {name} has another.")
            continue
        time = training_time(_rates(section, lr, classifier.losses.tolist()), section.epochs, section.momentum)
        if bool((labels == labels[0]).all()):
            continue
        bias = section.model.has_bias
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
        if role == "standard" and case.places is None and isinstance(case.config.attack, OneStepConfig) and bias:
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
    standard, perturbation, reasons = case.limits()
    notes += reasons
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
    if standard is not None and perturbation is not None and not (attack.is_search and attack.norm == "l0"):
        terms = boundary_terms(
            perturbation.boundary_multipliers,
            case.perturbed.target_labels,
            case.sources,
            standard.normal,
            case.heldout,
            epsilon=attack.epsilon,
            norm=attack.norm,
            pixels=attack.n_pixels(case.data.input_dim),
        )
        found["boundary_terms_agreement"] = agreement(outputs["g"], terms.total)
        found["boundary_dominated_share"] = terms.dominated_share
    return found


def _initial(case: Case, role: str) -> TwoLayer | None:
    model = case.section(role).model
    if not isinstance(model, TrainedTwoLayerConfig):
        return None
    return initialise(model, case.data.input_dim, seed=case.seed, role=role).to(case.data.inputs)


def _rates(section: DescentConfig, lr: float, losses: Sequence[float]) -> list[float]:
    """The learning rate of every epoch, from the losses that the plateau rule saw."""
    rule = Plateau(lr)
    rates = []
    for loss in losses:
        rates.append(rule.lr)
        if section.schedule == "plateau":
            rule.update(loss)
    return rates


def _signed_cosines(perturbed: PerturbedSet, directions: Tensor) -> Tensor:
    cosines = row_cosines(perturbed.perturbations.flatten(1), directions)
    return perturbed.target_labels.to(cosines.dtype) * cosines
