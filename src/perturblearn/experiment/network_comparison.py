"""Deep networks beside their linearisations: how lazy they are, and what g's kernel at its start predicts of g."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from perturblearn.classifiers import Network, TwoLayer, evaluating, initialise
from perturblearn.config import LimitClassifierConfig, SGDConfig, TrainedTwoLayerConfig, UntrainedConfig
from perturblearn.data import Signature
from perturblearn.errors import ModelError
from perturblearn.experiment.case import Case
from perturblearn.experiment.comparison import COMPARISONS, correlation, lazy_inputs
from perturblearn.experiment.measures import accuracy, agreement
from perturblearn.experiment.networks import first_network
from perturblearn.theory import empirical_kernel, kernel_training, lazy_regime, training_time
from perturblearn.training import LOSSES, Schedule

NETWORK_COMPARISONS = {
    **{
        f"{role}_{name}": COMPARISONS[f"{role}_{name}"]
        for role in ("standard", "perturbation")
        for name in ("kernel_drift", "linearisation_distance")
    },
    "perturbation_kernel_prediction_agreement": "g and what its kernel at the start predicts of it, held-out inputs",
    "perturbation_kernel_prediction_correlation": "g and that prediction, held-out inputs",
    "perturbation_kernel_prediction_accuracy": "the prediction itself, held-out inputs under their true labels",
}
"""Every number of a comparison of deep networks, and what it compares."""

MOST_FOR_KERNEL = 4000
"""Perturbed samples up to which the kernel is taken over all their pairs."""


def compare_networks(
    case: Case, *, report: Callable[[int, int, str], None] = lambda done, steps, note: None
) -> dict[str, float | None]:
    """How lazy f and g are, and how well g's empirical kernel at its start predicts g, where f or g is a deep network.

    Args:
        case: the classifiers with their data.
        report: called with parts done, parts in all and the part that comes next.

    Returns:
        Numbers by the names of `NETWORK_COMPARISONS`; those that do not apply are missing: a limit, and a network that
        was not trained, have not moved from a start; kernels predict the sign of one output, so two classes.

    Raises:
        ModelError: a network of the user's own that cannot be differentiated sample by sample.
    """
    found: dict[str, float | None] = {}
    parts = (
        ("standard", case.standard, case.data.inputs),
        ("perturbation", case.perturbation, case.perturbed.inputs),
    )
    for number, (role, classifier, inputs) in enumerate(parts):
        report(number, 3, f"lazy regime of {'fg'[number]}")
        start = _start(case, role)
        if start is None:
            continue
        try:
            with evaluating(start):
                lazy = lazy_regime(start, _plain(classifier.module), lazy_inputs(inputs).to(classifier.device))
                if role == "perturbation":
                    report(2, 3, "kernel of g")
                    found |= _kernel_prediction(case, start)
        except RuntimeError as error:
            model = case.section(role).model
            if not model.is_own:
                raise
            reason = str(error).partition("\n")[0]
            raise ModelError(
                f"the network {model.name} cannot be differentiated sample by sample ({reason}); "
                "set measures.theory = false"
            ) from error
        found[f"{role}_kernel_drift"] = lazy.kernel_drift
        found[f"{role}_linearisation_distance"] = lazy.linearisation_distance
    return found


def _kernel_prediction(case: Case, start: Network | TwoLayer) -> dict[str, float | None]:
    """G as gradient flow with the kernel of its start would have it, at the time of g's training.

    Left out of it are weight decay, and what the draw of batches adds.
    """
    section, inputs, targets = case.config.perturbation, case.perturbed.inputs, case.perturbed.target_labels
    if not isinstance(section, SGDConfig) or not case.data.is_binary or len(inputs) > MOST_FOR_KERNEL:
        return {}
    device = case.perturbation.device
    inputs, heldout = inputs.to(device), case.data.heldout_inputs.to(device)
    with torch.no_grad():
        first, before = start(inputs), start(heldout)
    multipliers = kernel_training(
        empirical_kernel(start, inputs),
        targets.to(device),
        first,
        time=_time(section, case.perturbation_lr, len(inputs), case.perturbation.losses.tolist()),
        derivative=LOSSES[section.loss].derivative,
    )
    predicted = (before.double() + empirical_kernel(start, heldout, inputs).double() @ multipliers).cpu()
    outputs = case.perturbation.outputs(case.data.heldout_inputs).cpu()
    return {
        "perturbation_kernel_prediction_agreement": agreement(outputs, predicted),
        "perturbation_kernel_prediction_correlation": correlation(outputs, predicted),
        "perturbation_kernel_prediction_accuracy": accuracy(predicted, case.data.heldout_labels.cpu()),
    }


def _time(section: SGDConfig, lr: float, n_samples: int, losses: Sequence[float]) -> float:
    """Training time of minibatches: every step's rate, as the schedule had it, under momentum."""
    per_epoch = max(1, n_samples // section.batch_size)
    schedule = Schedule(section.schedule, lr, per_epoch * section.epochs)
    rates: list[float] = []
    for epoch, loss in enumerate(losses):
        rates += [schedule.rate(step) for step in range(epoch * per_epoch, (epoch + 1) * per_epoch)]
        schedule.update(loss)
    return training_time(rates, len(rates), section.momentum)


def _start(case: Case, role: str) -> Network | TwoLayer | None:
    """The network before its training, where its classifier lies; None where there was no start, or no training."""
    section = case.section(role)
    if isinstance(section, (LimitClassifierConfig, UntrainedConfig)):
        return None
    device, dtype = case.perturbation.device, case.data.inputs.dtype
    if isinstance(section.model, TrainedTwoLayerConfig):
        return initialise(section.model, case.data.input_dim, seed=case.seed, role=role).to(device=device, dtype=dtype)
    network = first_network(section, Signature.of(case.data), seed=case.seed, role=role)
    return _plain(network.to(device=device, dtype=dtype))


def _plain(module: Network | TwoLayer) -> Network | TwoLayer:
    """The network for torch's transforms of functions, which do not know the channels-last format."""
    return module.channels_first() if isinstance(module, Network) and module.is_channels_last else module
