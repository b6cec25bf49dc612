"""Deep classifiers from inputs and labels, in the way that their section of the configuration asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from perturblearn.classifiers import Classifier, Network, checkpoint_fingerprint, fingerprint, make_network
from perturblearn.config import ClassifierConfig
from perturblearn.data import Signature
from perturblearn.errors import ConfigError
from perturblearn.seeding import derive_seed
from perturblearn.store import Drafts
from perturblearn.training import MinibatchDescent, train_by_minibatches

BATCH_SIZE = 128
"""Samples per step where the configuration does not say [ICLR24, section 5]."""
WEIGHT_DECAY = 5e-4
"""Likewise."""


@dataclass(frozen=True)
class Interruptions:
    """How a long training is kept while it goes on; changes no result.

    Args:
        drafts: where.
        minutes: after so many minutes.
        epochs: and after so many epochs; None for the minutes alone.
    """

    drafts: Drafts
    minutes: float = 5.0
    epochs: int | None = None


def learn_network(
    section: ClassifierConfig,
    signature: Signature,
    inputs: Tensor,
    labels: Tensor,
    *,
    seed: int,
    role: str,
    device: str,
    dtype: torch.dtype,
    interruptions: Interruptions,
    report: Callable[[int, int, str], None],
) -> Classifier:
    """A deep classifier, trained by minibatches or taken as it stands.

    Args:
        section: network, loss and training, with one learning rate.
        signature: of the data: shape, classes, and the scale to which the network normalises.
        inputs: (n, ...).
        labels: (n,), +1 and -1, or 0 .. K-1.
        seed: the run's seed.
        role: who asks: each role has its own initialisation and order of samples.
        device: where to train, and where the classifier lies afterwards.
        dtype: precision of weights and states.
        interruptions: how the training is kept while it goes on.
        report: called with steps done and in all.

    Raises:
        ModelError: the network cannot be made or used.
        DivergenceError: training left the finite numbers.
    """
    network = first_network(section, signature, seed=seed, role=role).to(device=device, dtype=dtype)
    if section.training == "none":
        return Classifier(network, {"training": "none"})
    if section.loss != "logistic" and signature.n_classes > 2:
        raise ConfigError(
            f"{role}.loss = {section.loss!r} is a loss on the margin of two classes, but the data have "
            f"{signature.n_classes}; choose logistic, which is the cross-entropy there"
        )
    (lr,) = section.lr
    descent = MinibatchDescent(
        loss=section.loss,
        lr=lr,
        epochs=section.epochs,
        batch_size=section.batch_size or BATCH_SIZE,
        momentum=section.momentum,
        weight_decay=WEIGHT_DECAY if section.weight_decay is None else section.weight_decay,
        schedule=section.schedule,
        augmentation=section.augmentation,
        bfloat16=section.products == "bfloat16",
    )
    return train_by_minibatches(
        network,
        inputs,
        labels,
        descent,
        seed=derive_seed(seed, "minibatches", role),
        device=device,
        drafts=interruptions.drafts,
        every_minutes=interruptions.minutes,
        every_epochs=interruptions.epochs,
        image_shape=_image_shape(signature),
        report=report,
    )


def first_network(section: ClassifierConfig, signature: Signature, *, seed: int, role: str) -> Network:
    """The network before its training, on the CPU."""
    return make_network(section.model, signature, seed=seed, role=role, fresh=section.training != "none")


def identity_of(section: ClassifierConfig, tree: dict[str, Any]) -> dict[str, Any]:
    """What fixes a network besides the data and the seed, without paths: its section, the user's code, first weights.

    Args:
        section: how the network is made and trained.
        tree: the same as nested JSON values.

    Raises:
        ModelError: the user's code or the file of weights cannot be read.
    """
    model = dict(tree["model"])
    found = {**tree, "model": model}
    if section.model.is_own:
        found["own"] = fingerprint(section.model.name)
    if section.model.checkpoint is not None:
        model["checkpoint"] = checkpoint_fingerprint(section.model.checkpoint)
    return found


def _image_shape(signature: Signature) -> tuple[int, int, int] | None:
    if not signature.is_image:
        return None
    channels, height, width = signature.input_shape
    return channels, height, width
