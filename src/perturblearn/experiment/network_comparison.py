"""Deep networks beside their linearisations, and g beside its kernel at the start and the class means of its set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from typing_extensions import override

from perturblearn.classifiers import Classifier, Network, TwoLayer, evaluating, sigmas_of
from perturblearn.config import MLPConfig, SGDConfig, TwoLayerModelConfig, UntrainedConfig
from perturblearn.data import Signature
from perturblearn.errors import ModelError
from perturblearn.experiment.case import Case, Trained
from perturblearn.experiment.comparison import (
    LAZY_NUMBERS,
    LazyCase,
    Number,
    Report,
    correlation,
    evaluate,
    lazy_inputs,
)
from perturblearn.experiment.measures import accuracy, agreement
from perturblearn.experiment.networks import first_network, minibatch_descent
from perturblearn.theory import (
    DeepKernel,
    EmpiricalKernel,
    Kernel,
    LazyRegime,
    kernel_training,
    lazy_regime,
    nearest_mean,
    training_time,
)
from perturblearn.training import LOSSES

MOST_FOR_KERNEL = 4000
"""Perturbed samples up to which the kernel is taken over all their pairs."""


@dataclass(frozen=True, eq=False)
class KernelPrediction:
    """Outputs of g for held-out inputs, and what its kernel at the start predicts of them.

    Args:
        initial, outputs, predicted: before training, after it, and what is predicted of that, (M,).
        labels: true labels, (M,).
    """

    initial: Tensor
    outputs: Tensor
    predicted: Tensor
    labels: Tensor

    @property
    def learned(self) -> float | None:
        """Correlation of what the network has learned with what is predicted, f_T - f_0 on both sides."""
        return correlation(self.outputs - self.initial, self.predicted - self.initial)


class LinearisedCase(LazyCase):
    """A case beside its networks' linearisations, each found when it is first asked for."""

    @cached_property
    def kernel_prediction(self) -> KernelPrediction | None:
        """G as gradient flow with the kernel of its start would have it, at the time of g's training.

        Weight decay, and the noise of drawing batches, are left out of it.
        """
        return self._predict(self.case.g, lambda start, points: (EmpiricalKernel(start), points))

    @cached_property
    def infinite_width(self) -> dict[str, KernelPrediction | None]:
        """The same by the kernel at infinite width, for f and g in the ntk parametrisation, by their letters."""
        return {trained.letter: self._predict(trained, _limit_kernel) for trained in (self.case.f, self.case.g)}

    @cached_property
    def nearest_mean(self) -> Tensor | None:
        """Outputs of the nearest class mean of g's training set, (M,) or (M, K); None if a class is never a target."""
        case, g = self.case, self.case.g
        if not set(case.data.label_values) <= set(g.labels.tolist()):
            return None
        heldout = case.data.heldout_inputs
        inputs, labels = g.inputs.to(heldout.device), g.labels.to(heldout.device)
        return nearest_mean(inputs, labels, heldout, n_classes=case.data.n_classes).cpu()

    @cached_property
    def g_outputs(self) -> Tensor:
        """Outputs of g for held-out inputs, (M,) or (M, K)."""
        return self.case.perturbation.outputs(self.case.data.heldout_inputs).cpu()

    @property
    def nearest_mean_correlation(self) -> float | None:
        """Correlation of what g has learned with the outputs of the nearest mean; None of several classes."""
        start = self._start(self.case.g)
        if start is None or self.nearest_mean is None or not self.case.data.is_binary:
            return None
        before = Classifier(start).outputs(self.case.data.heldout_inputs).cpu()
        return correlation(self.g_outputs - before, self.nearest_mean)

    def _predict(
        self, trained: Trained, kernel_of: Callable[[Network | TwoLayer, Tensor], tuple[Kernel, Tensor] | None]
    ) -> KernelPrediction | None:
        """What gradient flow with a kernel predicts of a network, given the kernel and points as it takes them."""
        case, config = self.case, trained.config
        if not isinstance(config, SGDConfig) or not case.data.is_binary or len(trained.inputs) > MOST_FOR_KERNEL:
            return None
        start = self._start(trained)
        if start is None:
            return None
        device = trained.classifier.device
        inputs, heldout = trained.inputs.to(device), case.data.heldout_inputs.to(device)
        found, at = kernel_of(start, inputs), kernel_of(start, heldout)
        if found is None or at is None:
            return None
        (kernel, points), (_, places) = found, at
        with _differentiating(trained, start):
            with torch.no_grad():
                first, before = start(inputs), start(heldout)
            multipliers = kernel_training(
                points,
                trained.labels.to(device),
                first,
                kernel=kernel,
                time=_time(config, trained.lr, len(inputs), trained.classifier.losses.tolist()),
                derivative=LOSSES[config.loss].derivative,
            )
            predicted = (before.double() + kernel.weighted_sum(places, points, multipliers)).cpu()
        outputs = trained.classifier.outputs(case.data.heldout_inputs).cpu()
        return KernelPrediction(before.cpu(), outputs, predicted, case.data.heldout_labels.cpu())

    @override
    def _laziness(self, trained: Trained) -> LazyRegime | None:
        start = self._start(trained)
        if start is None:
            return None
        with _differentiating(trained, start):
            inputs = lazy_inputs(trained.inputs).to(trained.classifier.device)
            return lazy_regime(start, _plain(trained.classifier.module), inputs)

    def _start(self, trained: Trained) -> Network | TwoLayer | None:
        """The network before its training, where its classifier lies; None without a start, or without training."""
        if isinstance(trained.config, UntrainedConfig):
            return None
        device, dtype = self.case.perturbation.device, self.case.data.inputs.dtype
        if isinstance(trained.config.model, TwoLayerModelConfig):
            start = trained.start()
            return start and start.to(device=device, dtype=dtype)
        network = first_network(trained.config, Signature.of(self.case.data), seed=trained.seed, role=trained.role)
        return _plain(network.to(device=device, dtype=dtype))


NETWORK_NUMBERS: dict[str, Number[LinearisedCase]] = {
    **LAZY_NUMBERS,
    "perturbation_kernel_prediction_agreement": Number(
        "g and what its kernel at the start predicts of it, held-out inputs",
        lambda p: (known := p.kernel_prediction) and agreement(known.outputs, known.predicted)),
    "perturbation_kernel_prediction_correlation": Number(
        "g and that prediction, held-out inputs",
        lambda p: (known := p.kernel_prediction) and correlation(known.outputs, known.predicted)),
    "perturbation_kernel_prediction_accuracy": Number(
        "the prediction itself, held-out inputs under their true labels",
        lambda p: (known := p.kernel_prediction) and accuracy(known.predicted, known.labels)),
    "standard_infinite_width_correlation": Number(
        "what f has learned and the kernel at infinite width (ntk)",
        lambda p: (known := p.infinite_width["f"]) and known.learned),
    "perturbation_infinite_width_correlation": Number(
        "what g has learned and the kernel at infinite width (ntk)",
        lambda p: (known := p.infinite_width["g"]) and known.learned),
    "perturbation_infinite_width_accuracy": Number(
        "what the kernel at infinite width learns from g's set, without g's start (ntk)",
        lambda p: (known := p.infinite_width["g"]) and accuracy(known.predicted - known.initial, known.labels)),
    "nearest_mean_agreement": Number(
        "g and the nearest class mean of the set it was trained on, held-out inputs",
        lambda p: None if p.nearest_mean is None else agreement(p.g_outputs, p.nearest_mean)),
    "nearest_mean_correlation": Number(
        "what g has learned and that nearest mean, held-out inputs", lambda p: p.nearest_mean_correlation),
    "nearest_mean_accuracy": Number(
        "that nearest mean itself, held-out inputs under their true labels",
        lambda p: None if p.nearest_mean is None else accuracy(p.nearest_mean, p.case.data.heldout_labels.cpu())),
}  # fmt: skip
NETWORK_COMPARISONS = {name: number.meaning for name, number in NETWORK_NUMBERS.items()}
"""Every number of a comparison of deep networks, and what it compares."""


def compare_networks(case: Case, *, report: Report = lambda done, steps, note: None) -> dict[str, float]:
    """How lazy f and g are, and how well its kernel at the start and its set's class means predict g, of deep networks.

    Args:
        case: the classifiers with their data.
        report: called with numbers done, numbers in all and the name of the next.

    Returns:
        Numbers by the names of `NETWORK_COMPARISONS`; those that do not apply are missing: a limit, and a network that
        was not trained, have not moved from a start; kernels predict the sign of one output, so two classes; a class
        that is never a target has no mean.

    Raises:
        ModelError: a network of the user's own that cannot be differentiated sample by sample.
    """
    numbers = evaluate(NETWORK_NUMBERS, LinearisedCase(case), report)
    return {name: value for name, value in numbers.items() if value is not None}


@contextmanager
def _differentiating(trained: Trained, start: Network | TwoLayer) -> Iterator[None]:
    """In evaluation mode, and with an error that names a user's network where torch's transforms do not take it."""
    try:
        with evaluating(start):
            yield
    except RuntimeError as error:
        model = trained.config.model
        if not model.is_own:
            raise
        reason = str(error).partition("\n")[0]
        raise ModelError(
            f"the network {model.name} cannot be differentiated sample by sample ({reason}); "
            "set measures.theory = false"
        ) from error


def _limit_kernel(start: Network | TwoLayer, points: Tensor) -> tuple[Kernel, Tensor] | None:
    """The kernel of a network's parametrisation at infinite width, and points as its first layer takes them."""
    config = start.config if isinstance(start, Network) else None
    if not isinstance(config, MLPConfig) or (sigmas := sigmas_of(config)) is None:
        return None
    assert isinstance(start, Network)
    kernel = DeepKernel(config.depth, config.slope, *sigmas)
    return kernel, start.prepared(points).flatten(1)


def _time(section: SGDConfig, lr: float, n_samples: int, losses: Sequence[float]) -> float:
    """Training time of minibatches: every step's rate, as the schedule had it, under momentum."""
    per_epoch = max(1, n_samples // section.batch_size)
    schedule = minibatch_descent(section.with_rate(lr)).rates(per_epoch)
    rates: list[float] = []
    for epoch, loss in enumerate(losses):
        rates += [schedule.rate(step) for step in range(epoch * per_epoch, (epoch + 1) * per_epoch)]
        schedule.update(loss)
    return training_time(rates, len(rates), section.momentum)


def _plain(module: Network | TwoLayer) -> Network | TwoLayer:
    """The network for torch's transforms of functions, which do not know the channels-last format."""
    return module.channels_first() if isinstance(module, Network) and module.is_channels_last else module
