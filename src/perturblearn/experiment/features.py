"""Which of f's features perturbations carry, and which of them g has: of kernel machines, and of trained networks.

Every number is taken twice: of the exact *kernel* machine (f, its perturbations and g computed from the tangent
kernel), and of the trained *network* (its own f, perturbations and g), whose features are those of the same kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from perturblearn.attacks import steepest_step
from perturblearn.classifiers import Classifier
from perturblearn.errors import DataError
from perturblearn.experiment.case import Case, Trained, kernel_of
from perturblearn.experiment.controls import attack_of_control, unperturbed_set, without_factors
from perturblearn.experiment.draws import draws_of_control
from perturblearn.experiment.learn import TrainingSpec, learn
from perturblearn.experiment.measures import accuracy
from perturblearn.experiment.pictured import MOST_INPUTS, FeatureMeasures, PicturedFeatures, pictured_features
from perturblearn.theory import (
    Eigenbasis,
    KernelFeatures,
    band_weights,
    eigenbasis,
    kernel_training,
    perturbation_shares,
    perturbation_terms,
    usefulness,
    variance_shares,
)
from perturblearn.training import LOSSES

FEATURE_BANDS = ("0", "1_2", "3_9", "10_29", "30_99", "100_299", "300_up")
"""Names of the bands of `perturblearn.theory.feature_bands`, within those of measures."""
MOST_FOR_FEATURES = 4000
"""Training inputs up to which a kernel's eigenvectors are taken."""
ROBUST_EPSILON = 1.0
"""The L2 size at which usefulness has to be robust: as in the papers' data, about a tenth of an image's length."""
MACHINES = {"kernel": "exact kernel machine", "network": "trained network"}
_OF_BANDS = {
    "usefulness": "usefulness of f's features {band}, held-out inputs",
    "robust_usefulness": f"the same under L2 perturbations of {ROBUST_EPSILON:g}",
    "standard_share": "share of f's variance in features {band}, held-out inputs",
    "perturbation_share": "share of rₙ's squared length along the gradient of features {band}",
    "weight": "weight of f's features {band} in g, held-out inputs",
    "control_weight": "the same in the unperturbed control",
}
_OF_TERMS = {
    "perturbation_term_weight": "the same in what the perturbations add to g",
    "source_term_weight": "the same in what the wrongly labelled sources teach g",
}
_OF_MACHINES = {
    "perturbation_share_outside": "share of rₙ's squared length outside all these gradients",
    "explained": "share of g's variance that f's bands explain",
    "control_explained": "the same of the unperturbed control",
    "standard_accuracy": "f, held-out inputs",
    "perturbation_accuracy": "g, held-out inputs",
    "control_accuracy": "the unperturbed control, held-out inputs",
}


def feature_measure(machine: str, quantity: str, band: str | None = None) -> str:
    """The name of a measure.

    Args:
        machine: ``kernel`` or ``network``.
        quantity: what is measured.
        band: one of `FEATURE_BANDS`, of a quantity that bands have.
    """
    return "_".join(("features", machine, quantity, *(() if band is None else (band,))))


def band_name(band: str) -> str:
    """One of `FEATURE_BANDS` as people read it."""
    return band.replace("_up", "+").replace("_", "–")


def _meanings() -> Iterator[tuple[str, str]]:
    for machine, kind in MACHINES.items():
        for quantity, meaning in {**_OF_BANDS, **(_OF_TERMS if machine == "kernel" else {})}.items():
            for band in FEATURE_BANDS:
                told = meaning.format(band=band_name(band))
                yield feature_measure(machine, quantity, band), f"{kind}: {told}"
        for quantity, meaning in _OF_MACHINES.items():
            yield feature_measure(machine, quantity), f"{kind}: {meaning}"
    yield feature_measure("network", "standard_explained"), "trained network: share of f's variance that bands explain"


FEATURE_NUMBERS = dict(_meanings())
"""Every number of features, and what it is."""


@dataclass(frozen=True, eq=False)
class _Machine:
    """A kernel machine or a trained network: outputs are what was learned, so of networks f - f_0 and g - g_0.

    Args:
        name: ``kernel`` or ``network``.
        features: of f.
        perturbations: r, (n, d).
        outputs: of f, of g and of the control for held-out inputs, (M,), each by its name in measures.
        accuracies: of the same.
    """

    name: str
    features: KernelFeatures
    perturbations: Tensor
    outputs: dict[str, Tensor]
    accuracies: dict[str, float]


class FeatureCase:
    """A case with the features of f, by the kernel of its network."""

    def __init__(self, case: Case) -> None:
        n_samples = len(case.inputs)
        if n_samples > MOST_FOR_FEATURES:
            raise DataError(
                f"measures.features = true needs the eigenvectors of a kernel over all pairs of f's {n_samples:,} "
                f"training inputs; set data.n_samples to {MOST_FOR_FEATURES:,} or less, or measures.features = false"
            )
        self.case = case
        self.kernel = kernel_of(case.f.model, trained_bias=case.f.model.has_bias)

    @cached_property
    def inputs(self) -> Tensor:
        """Training inputs x, (N, d) float64."""
        return self.case.inputs.double()

    @cached_property
    def heldout(self) -> Tensor:
        """Held-out inputs, (M, d) float64."""
        return self.case.heldout.double()

    @cached_property
    def basis(self) -> Eigenbasis:
        """Eigenvectors of the kernel over the training inputs."""
        return eigenbasis(self.inputs, kernel=self.kernel)

    @cached_property
    def sources(self) -> Tensor:
        """What g would see without perturbations, (n, d) float64: nothing, where they are bare."""
        seen = self.case.seen.double()
        return torch.zeros_like(seen) if self.case.config.attack.is_bare else self.case.sources.double()

    @cached_property
    def places(self) -> Tensor:
        """Where perturbations are taken, (n, d) float64."""
        places = self.case.places
        return self.inputs if places is None else places.double()

    @cached_property
    def control_inputs(self) -> Tensor:
        """What the unperturbed control sees under g's targets, (n, ...)."""
        case = self.case
        attack = attack_of_control(case.config.attack)
        published = draws_of_control(case.config, case.config)
        control = unperturbed_set(case.data, attack, seed=case.seed, published=published)
        return control.inputs.to(case.perturbed.inputs)

    def machine_of_kernel(self) -> tuple[_Machine, dict[str, Tensor]]:
        """The exact kernel machine, and the two terms of its g."""
        case, kernel = self.case, self.kernel
        attack, targets = case.config.attack, case.perturbed.target_labels
        multipliers = self._trained(case.f, self.inputs, case.data.labels)
        directions = kernel.gradient_sum(self.places, self.inputs, multipliers)
        steps = steepest_step(
            targets.double()[:, None] * directions,
            attack.norm,
            epsilon=attack.epsilon,
            pixels=attack.n_pixels(case.data.input_dim),
        )
        perturbed = self.sources + steps
        of_g = self._trained(case.g, perturbed, targets)
        terms = perturbation_terms(self.sources, perturbed, of_g, self.heldout, kernel=kernel)
        control = self.control_inputs.flatten(1).double()
        outputs = {
            "standard": kernel.weighted_sum(self.heldout, self.inputs, multipliers),
            "perturbation": terms.source + terms.perturbation,
            "control": kernel.weighted_sum(self.heldout, control, self._trained(case.g, control, targets)),
        }
        machine = _Machine("kernel", self.basis.of_multipliers(multipliers), steps, outputs, self._accuracies(outputs))
        return machine, {"perturbation_term_weight": terms.perturbation, "source_term_weight": terms.source}

    def machine_of_network(self) -> _Machine:
        """The trained network; its control starts and trains as g does."""
        case, data, g = self.case, self.case.data, self.case.g
        section = without_factors(g.config.with_rate(g.lr))
        spec = TrainingSpec(section, g.labels, g.seed, g.role, g.published)
        control = learn(spec, self.control_inputs, report=lambda done, steps, note: None)
        before_f, before_g = (self._start(trained) for trained in (case.f, g))

        def learned(after: Classifier, before: Classifier, inputs: Tensor) -> Tensor:
            return after.outputs(inputs).double() - before.outputs(inputs).double()

        heldout = data.heldout_inputs
        outputs = {
            "standard": learned(case.standard, before_f, heldout),
            "perturbation": learned(case.perturbation, before_g, heldout),
            "control": learned(control, before_g, heldout),
        }
        of_networks = {
            "standard": case.standard.outputs(heldout),
            "perturbation": case.perturbation.outputs(heldout),
            "control": control.outputs(heldout),
        }
        features = self.basis.of_outputs(learned(case.standard, before_f, data.inputs))
        steps = case.perturbed.perturbations.flatten(1).double()
        return _Machine("network", features, steps, outputs, self._accuracies(of_networks))

    def numbers_of(self, machine: _Machine, parts: dict[str, Tensor]) -> Iterator[tuple[str, float]]:
        """Every number of a machine.

        Args:
            machine: which.
            parts: parts of its g, by the name of their weights.
        """
        values, labels = machine.features.values(self.heldout), self.case.data.heldout_labels
        norms = machine.features.gradient_norms(self.heldout)
        shares = perturbation_shares(machine.features, self.places, machine.perturbations)
        weights = {
            name: band_weights(values, outputs)
            for name, outputs in {"weight": machine.outputs["perturbation"],
                                  "control_weight": machine.outputs["control"], **parts}.items()
        }  # fmt: skip
        of_bands = {
            "usefulness": usefulness(values, labels),
            "robust_usefulness": usefulness(values, labels, norms, epsilon=ROBUST_EPSILON),
            "standard_share": variance_shares(values),
            "perturbation_share": shares.along,
            **{name: found.weights for name, found in weights.items()},
        }
        for quantity, found in of_bands.items():
            for band, value in zip(FEATURE_BANDS, found.tolist(), strict=False):
                yield feature_measure(machine.name, quantity, band), value
        yield feature_measure(machine.name, "perturbation_share_outside"), shares.outside
        yield feature_measure(machine.name, "explained"), weights["weight"].explained
        yield feature_measure(machine.name, "control_explained"), weights["control_weight"].explained
        for name, reached in machine.accuracies.items():
            yield feature_measure(machine.name, f"{name}_accuracy"), reached
        if machine.name == "network":
            explained = band_weights(values, machine.outputs["standard"]).explained
            yield feature_measure("network", "standard_explained"), explained

    def pictured(self, features: KernelFeatures) -> PicturedFeatures:
        """The bands of the trained network's f with what f, the perturbations and g have of each."""

        def share_of(points: Tensor, steps: Tensor) -> Tensor:
            if not bool(steps.any()):
                return steps.new_zeros(len(features.bands))
            return perturbation_shares(features, points.to(self.inputs), steps.to(self.inputs)).along.cpu()

        case, gradients = self.case, features.gradients(self.heldout[:MOST_INPUTS])
        return pictured_features(
            gradients.flatten(2).mean(dim=1),
            tuple(f"feature{'s' * (band != '0')} {band_name(band)}" for band in FEATURE_BANDS[: len(features.bands)]),
            share_of, case.data, case.standard, case.perturbed, case.perturbation, places=self.places,
        )  # fmt: skip

    def _trained(self, trained: Trained, inputs: Tensor, labels: Tensor) -> Tensor:
        """Multipliers of a kernel machine that is trained as a classifier of the case, from outputs of 0."""
        return kernel_training(
            inputs,
            labels,
            inputs.new_zeros(len(inputs)),
            kernel=self.kernel,
            time=trained.descent_time,
            derivative=LOSSES[trained.config.loss].derivative,
        )

    def _accuracies(self, outputs: dict[str, Tensor]) -> dict[str, float]:
        labels = self.case.data.heldout_labels
        return {name: accuracy(values, labels) for name, values in outputs.items()}

    @staticmethod
    def _start(trained: Trained) -> Classifier:
        start = trained.start()
        assert start is not None, "the configuration refuses networks without a start"
        return Classifier(start)


def measure_features(
    case: Case, *, report: Callable[[int, int, str], None] = lambda done, steps, note: None
) -> FeatureMeasures:
    """Which of f's features perturbations carry, and which of them g has, of one seed's two-layer classifiers.

    Args:
        case: the classifiers with their data.
        report: called with machines done, machines in all and the name of the next.

    Returns:
        Numbers by the names of `FEATURE_NUMBERS`; bands beyond the number of training inputs are missing. The bands of
        the trained network are shown.

    Raises:
        DataError: too many training inputs for eigenvectors, or too few held-out inputs for weights.
    """
    found = FeatureCase(case)
    report(0, len(MACHINES), MACHINES["kernel"])
    machine, terms = found.machine_of_kernel()
    numbers = dict(found.numbers_of(machine, terms))
    report(1, len(MACHINES), MACHINES["network"])
    network = found.machine_of_network()
    numbers |= dict(found.numbers_of(network, {}))
    return FeatureMeasures(numbers, found.pictured(network.features))
