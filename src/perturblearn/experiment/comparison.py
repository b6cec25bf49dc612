"""Trained classifiers beside what both papers predict for them.

Every number is declared once, in `NUMBERS`: its name, what it compares, and how it follows from a `PredictedCase`,
which makes each prediction when it is first asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Generic, TypeVar

import torch
from torch import Tensor

from perturblearn.attacks import norm_of
from perturblearn.classifiers import Classifier
from perturblearn.config import DescentConfig, OneStepConfig
from perturblearn.experiment.case import Case, Limits, Trained, kernel_of
from perturblearn.experiment.measures import agreement, measure_directions
from perturblearn.store import Artefact
from perturblearn.theory import (
    BoundaryTerms,
    LazyRegime,
    MarginLimit,
    Orthogonality,
    boundary_terms,
    expected_cosine,
    full_perturbation_prediction,
    lazy_prediction,
    lazy_regime,
    orthogonality,
    perturbation_direction,
    predict_from_directions,
    row_cosines,
    standard_prediction,
)

LAZY_INPUTS = 128
"""Training inputs, evenly spaced, over whose pairs the empirical kernel is taken."""
Predicted = TypeVar("Predicted")
Predicted_contra = TypeVar("Predicted_contra", contravariant=True)
Report = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Number(Generic[Predicted_contra]):
    """A number of a comparison.

    Args:
        meaning: what it compares.
        value: how it follows from what is predicted; None where it does not apply.
    """

    meaning: str
    value: Callable[[Predicted_contra], float | None]


class LazyCase:
    """A case with how lazy its classifiers are, found when it is first asked for."""

    def __init__(self, case: Case) -> None:
        self.case = case

    @cached_property
    def f_lazy(self) -> LazyRegime | None:
        """How lazy f is; None without a start."""
        return self._laziness(self.case.f)

    @cached_property
    def g_lazy(self) -> LazyRegime | None:
        """How lazy g is; None without a start."""
        return self._laziness(self.case.g)

    def _laziness(self, trained: Trained) -> LazyRegime | None:
        start = trained.start()
        return None if start is None else lazy_regime(start, trained.network, lazy_inputs(trained.inputs))


class PredictedCase(LazyCase):
    """A case beside all that is predicted for it, each prediction made when it is first asked for."""

    @cached_property
    def directions(self) -> Tensor:
        """The predicted directions of perturbations t_n, (n, d)."""
        case = self.case
        return perturbation_direction(case.inputs, case.data.labels, kernel=case.kernel, at=case.places)

    @cached_property
    def direction_measures(self) -> Mapping[str, float]:
        """How well perturbations follow them."""
        return measure_directions(self.case.perturbed, self.case.data, [self.directions])

    @cached_property
    def f(self) -> Tensor:
        """Outputs of f for held-out inputs, (M,)."""
        return self.case.standard.outputs(self.case.data.heldout_inputs)

    @cached_property
    def g(self) -> Tensor:
        """Outputs of g for held-out inputs, (M,)."""
        return self.case.perturbation.outputs(self.case.data.heldout_inputs)

    @cached_property
    def fhat(self) -> Tensor:
        """NeurIPS24's prediction of f, up to a positive factor."""
        case = self.case
        return standard_prediction(case.inputs, case.data.labels, case.heldout, kernel=case.kernel)

    @cached_property
    def ghat(self) -> Tensor:
        """NeurIPS24's prediction of g, up to a positive factor."""
        case = self.case
        return predict_from_directions(case.seen, self.directions, case.heldout, kernel=case.kernel)

    @property
    def fhat_with_bias(self) -> Tensor | None:
        """The same of f with the trained bias, which the paper leaves out."""
        case = self.case
        if not case.f.model.has_bias:
            return None
        kernel = kernel_of(case.f.model, trained_bias=True)
        return standard_prediction(case.inputs, case.data.labels, case.heldout, kernel=kernel)

    @property
    def ghat_in_full(self) -> Tensor | None:
        """The same of g with the trained bias and the mislabelled samples, which the paper leaves out."""
        case = self.case
        # The predicted directions stand for perturbations of a given L2 length.
        length = case.perturbed.perturbations.flatten(1).norm(dim=1).mean().item()
        if not length > 0:
            return None
        return full_perturbation_prediction(
            case.seen,
            case.perturbed.target_labels,
            self.directions,
            case.heldout,
            kernel=replace(case.kernel, trained_bias=case.g.model.has_bias),
            epsilon=length,
            sources=None if case.config.attack.is_bare else case.sources,
        )

    @property
    def expected_cosine(self) -> float | None:
        """How far perturbations have turned towards t_n at f's time of training, if it is lazy."""
        f, time = self.case.f, _time(self.case.f)
        is_one_step = isinstance(self.case.config.attack, OneStepConfig) and self.case.places is None
        if time is None or not is_one_step or not f.model.has_bias:
            return None
        expected = expected_cosine(self.case.inputs, f.labels, kernel=self.case.kernel, time=time)
        return expected.double().mean().item()

    @cached_property
    def f_samples(self) -> Orthogonality | None:
        """Whether training samples are nearly orthogonal; None of a single one."""
        return _orthogonality(self.case, self.case.inputs)

    @cached_property
    def g_samples(self) -> Orthogonality | None:
        """Whether perturbed samples are nearly orthogonal; None of a single one."""
        return _orthogonality(self.case, self.case.seen)

    @cached_property
    def limits(self) -> Limits:
        """Where long training ends [ICLR24]."""
        return self.case.limits()

    @property
    def normal_cosine(self) -> float | None:
        """Size of the cosine of perturbations and the limit's normal, mean."""
        if self.limits.f is None:
            return None
        perturbations = self.case.perturbed.perturbations.flatten(1)
        return row_cosines(perturbations, self.limits.f.normal.expand_as(perturbations)).abs().double().mean().item()

    @cached_property
    def boundary(self) -> BoundaryTerms | None:
        """The two terms of the boundary that g learns [ICLR24]."""
        case, attack = self.case, self.case.config.attack
        # A search in L0 chooses its own pixels, other than the theorem's.
        if self.limits.f is None or self.limits.g is None or (attack.is_search and attack.norm == "l0"):
            return None
        return boundary_terms(
            self.limits.g.boundary_multipliers,
            case.perturbed.target_labels,
            case.sources,
            self.limits.f.normal,
            case.heldout,
            epsilon=attack.epsilon,
            norm=norm_of(attack.norm, attack.n_pixels(case.data.input_dim)),
        )

    @property
    def signed_cosines(self) -> Tensor:
        """y'_n cos(r_n, t_n), (n,)."""
        cosines = row_cosines(self.case.perturbed.perturbations.flatten(1), self.directions)
        return self.case.perturbed.target_labels.to(cosines.dtype) * cosines

    @property
    def notes(self) -> list[str]:
        """Why some predictions do not apply."""
        both = (self.case.f, self.case.g)
        limits = [
            f"The {trained.role} classifier is a limit: it has no start from which its kernel could drift."
            for trained in both
            if not trained.has_start
        ]
        timeless = [
            "The lazy function at a finite time is exact for full-batch descent on the identity loss only; "
            f"{trained.letter} was trained otherwise."
            for trained in both
            if trained.has_start and _lazy_descent(trained) is None
        ]
        return [*limits, *timeless, *self.limits.notes]

    def in_time(self, trained: Trained) -> Tensor | None:
        """The lazy function at a classifier's time of training, for held-out inputs, (M,)."""
        start, time = trained.start(), _time(trained)
        if start is None or time is None:
            return None
        return lazy_prediction(
            trained.inputs.flatten(1),
            trained.labels,
            self.case.heldout,
            kernel=kernel_of(trained.model, trained_bias=trained.model.has_bias),
            time=time,
            initial=Classifier(start).outputs(self.case.data.heldout_inputs),
        )

    def at_limit(self, limit: MarginLimit | None) -> Tensor | None:
        """What a limit of long training says of held-out inputs, (M,)."""
        return None if limit is None else limit.classifier.outputs(self.case.heldout)


LAZY_NUMBERS: dict[str, Number[LazyCase]] = {
    "standard_kernel_drift": Number(
        "f, relative change of its empirical kernel", lambda p: p.f_lazy and p.f_lazy.kernel_drift),
    "standard_linearisation_distance": Number(
        "f, distance from its linearisation", lambda p: p.f_lazy and p.f_lazy.linearisation_distance),
    "perturbation_kernel_drift": Number(
        "g, relative change of its empirical kernel", lambda p: p.g_lazy and p.g_lazy.kernel_drift),
    "perturbation_linearisation_distance": Number(
        "g, distance from its linearisation", lambda p: p.g_lazy and p.g_lazy.linearisation_distance),
}  # fmt: skip
"""Numbers that two-layer and deep networks have."""

NUMBERS: dict[str, Number[PredictedCase]] = {
    "cosine_similarity": Number(
        "size of the cosine of rₙ and tₙ, mean", lambda p: p.direction_measures["cosine_similarity"]),
    "cosine_similarity_signed": Number(
        "cosine of y′ₙ rₙ and tₙ, mean", lambda p: p.direction_measures["cosine_similarity_signed"]),
    "cosine_similarity_random": Number(
        "the size for random directions", lambda p: p.direction_measures["cosine_similarity_random"]),
    "cosine_similarity_expected": Number(
        "the size at this training time, if training is lazy", lambda p: p.expected_cosine),
    "standard_sign_agreement": Number("f and f̂, held-out inputs", lambda p: agreement(p.f, p.fhat)),
    "standard_sign_agreement_bias": Number(
        "f and f̂ with the trained bias's +1", lambda p: _agreement(p.f, p.fhat_with_bias)),
    "standard_sign_agreement_time": Number(
        "f and the lazy function at f's time, f_0 included", lambda p: _agreement(p.f, p.in_time(p.case.f))),
    "perturbation_sign_agreement": Number("g and ĝ, held-out inputs", lambda p: agreement(p.g, p.ghat)),
    "perturbation_sign_agreement_full": Number(
        "g and ĝ with mislabelled samples and bias", lambda p: _agreement(p.g, p.ghat_in_full)),
    "perturbation_sign_agreement_time": Number(
        "g and the lazy function at g's time, g_0 included", lambda p: _agreement(p.g, p.in_time(p.case.g))),
    "standard_correlation": Number("f and f̂, held-out inputs", lambda p: correlation(p.f, p.fhat)),
    "perturbation_correlation": Number("g and ĝ, held-out inputs", lambda p: correlation(p.g, p.ghat)),
    **LAZY_NUMBERS,
    "training_orthogonality_left": Number(
        "training set, gamma^3 R_min^4 / (3 N R_max^2)", lambda p: p.f_samples and p.f_samples.left),
    "training_orthogonality_right": Number(
        "training set, p_max, which the left side must exceed", lambda p: p.f_samples and p.f_samples.right),
    "training_orthogonality_factor": Number(
        "training set, right over left: missed by this factor", lambda p: _finite_factor(p.f_samples)),
    "perturbed_orthogonality_left": Number(
        "perturbed set, gamma^3 R_min^4 / (3 N R_max^2)", lambda p: p.g_samples and p.g_samples.left),
    "perturbed_orthogonality_right": Number(
        "perturbed set, p_max", lambda p: p.g_samples and p.g_samples.right),
    "perturbed_orthogonality_factor": Number(
        "perturbed set, right over left", lambda p: _finite_factor(p.g_samples)),
    "normal_cosine_similarity": Number(
        "size of the cosine of rₙ and the normal q of the limit's boundary, mean", lambda p: p.normal_cosine),
    "standard_limit_agreement": Number(
        "f and the limit of its training set, held-out inputs", lambda p: _agreement(p.f, p.at_limit(p.limits.f))),
    "perturbation_limit_agreement": Number(
        "g and the limit of the perturbed set, held-out inputs", lambda p: _agreement(p.g, p.at_limit(p.limits.g))),
    "limit_pattern_share": Number(
        "training samples on which the linear picture's pattern holds",
        lambda p: p.limits.f and p.limits.f.pattern_share),
    "boundary_terms_agreement": Number(
        "g and the sum of its two boundary terms, held-out inputs",
        lambda p: p.boundary and agreement(p.g, p.boundary.total)),
    "boundary_dominated_share": Number(
        "held-out inputs at which the perturbations' term is the larger",
        lambda p: p.boundary and p.boundary.dominated_share),
}  # fmt: skip
COMPARISONS = {name: number.meaning for name, number in NUMBERS.items()}
"""Every number of a comparison, and what it compares."""


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


def compare(case: Case, *, report: Report = lambda done, steps, note: None) -> Comparison:
    """Everything that both papers predict of one seed's classifiers, beside the classifiers themselves.

    Args:
        case: the classifiers with their data.
        report: called with numbers done, numbers in all and the name of the next.
    """
    predicted = PredictedCase(case)
    numbers = evaluate(NUMBERS, predicted, report)
    notes = predicted.notes
    for name, value in numbers.items():
        if value is not None and not math.isfinite(value):
            numbers[name] = None
            notes.append(f"{name} is left out: values of the networks or of the data are too large for it.")
    outputs = {"f": predicted.f, "fhat": predicted.fhat, "g": predicted.g, "ghat": predicted.ghat}
    return Comparison(
        numbers,
        tuple(notes),
        case.data.heldout_labels.cpu(),
        predicted.signed_cosines.cpu(),
        {name: values.detach().cpu() for name, values in outputs.items()},
    )


def evaluate(numbers: Mapping[str, Number[Predicted]], case: Predicted, report: Report) -> dict[str, float | None]:
    """The value of every number, in the order in which they are declared."""
    found: dict[str, float | None] = {}
    for name, number in numbers.items():
        report(len(found), len(numbers), name.replace("_", " "))
        found[name] = number.value(case)
    return found


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


def _agreement(outputs: Tensor, predicted: Tensor | None) -> float | None:
    return None if predicted is None else agreement(outputs, predicted)


def _orthogonality(case: Case, inputs: Tensor) -> Orthogonality | None:
    # With f's slope for both sets, as in the theorem.
    return orthogonality(inputs, slope=case.f.model.slope) if len(inputs) > 1 else None


def _finite_factor(condition: Orthogonality | None) -> float | None:
    return condition.factor if condition is not None and math.isfinite(condition.factor) else None


def _lazy_descent(trained: Trained) -> DescentConfig | None:
    """How it was trained, where the lazy function at a finite time is known.

    With the identity loss all steps of full-batch descent have one direction.
    """
    config = trained.config
    return config if isinstance(config, DescentConfig) and config.loss == "identity" else None


def _time(trained: Trained) -> float | None:
    """The time of its training, where theory is exact at a finite one; of one class alone there is no prediction."""
    if _lazy_descent(trained) is None or bool((trained.labels == trained.labels[0]).all()):
        return None
    return trained.descent_time
