"""A trial of the user's own network on a few samples of the data, before anything is trained."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from perturblearn.classifiers.classifier import Classifier
from perturblearn.classifiers.evaluating import evaluating
from perturblearn.classifiers.importing import describe_error
from perturblearn.classifiers.network import Network
from perturblearn.classifiers.outputs import label_loss, unwrapped
from perturblearn.errors import ModelError
from perturblearn.seeding import reproducible

_BATCH = 8
"""Samples on which training is tried: a large network should not keep users waiting."""
_ROUNDING = 1e-3
"""By how much the sum of a softmax may differ from 1, in any precision."""


def try_out(network: Network, inputs: Tensor, labels: Tensor, *, trains: bool) -> None:
    """Do once with a network what an experiment will do, and warn of outputs that look like probabilities.

    Args:
        network: the network, which is used up.
        inputs: a few samples of the data, (n, ...), in the network's precision.
        labels: theirs, (n,).
        trains: whether it is to be trained.

    Raises:
        ModelError: a step fails.
    """
    classifier = Classifier(network)
    classifier.outputs(inputs)
    with evaluating(network), torch.no_grad():
        outputs, _ = unwrapped(network.returned(inputs))
    if outputs is not None:
        _warn_of_outputs(network, outputs, trains=trains)
    if trains:
        with reproducible(0):  # dropout draws
            _train(network, inputs[:_BATCH], labels[:_BATCH])
    classifier.to()  # a copy after a pass, as of a finished classifier


def _train(network: Network, inputs: Tensor, labels: Tensor) -> None:
    name = network.config.name
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ModelError(f"the network {name} has no parameter that can be trained; set requires_grad of some")
    try:
        loss = label_loss(network.train()(inputs), labels).mean()
        loss.backward()
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"the network {name} cannot be trained on inputs of shape {tuple(inputs.shape)} ({describe_error(error)}); "
            "it must accept such inputs in training mode, and its outputs must depend on its parameters"
        ) from error


def _warn_of_outputs(network: Network, outputs: Tensor, *, trains: bool) -> None:
    if not trains and bool((outputs == outputs[:1]).all()):
        warnings.warn(
            f"the network {network.config.name} returns the same outputs for all of {len(outputs)} inputs, so it says "
            "nothing about them; check its weights and the scale of its inputs",
            stacklevel=3,
        )
        return
    if float(outputs.min()) < 0 or float(outputs.max()) > 1:
        return
    name = network.config.name
    if outputs.ndim == 2 and outputs.shape[1] > 1:
        if bool(((outputs.sum(dim=1) - 1).abs() < _ROUNDING).all()):
            warnings.warn(
                f"the outputs of the network {name} look like probabilities (each row is between 0 and 1 and sums to "
                "1), but they are used as logits, so its gradients are too small; remove the softmax at its end",
                stacklevel=3,
            )
    elif not trains:  # outputs of a fresh network may all be small and positive
        warnings.warn(
            f"the outputs of the network {name} look like probabilities (all are between 0 and 1), but their sign is "
            "the label, so all inputs get the first class; remove the sigmoid at its end",
            stacklevel=3,
        )
