"""Deep classifiers from inputs and labels, in the way that their section of the configuration asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from perturblearn.classifiers import (
    Classifier,
    Estimator,
    Network,
    checkpoint_fingerprint,
    describe_error,
    fingerprint,
    linearised,
    make_network,
)
from perturblearn.config import (
    ClassifierConfig,
    FittedConfig,
    LinearisedConfig,
    NetworkConfig,
    SGDConfig,
    UntrainedConfig,
    config_tree,
)
from perturblearn.data import BLACK, PADDING, Signature
from perturblearn.errors import ConfigError, DataError, ModelError
from perturblearn.experiment.learn import TrainingSpec
from perturblearn.training import MinibatchDescent, Resumption, SoftLoss


def learn_network(
    spec: TrainingSpec,
    signature: Signature,
    inputs: Tensor,
    *,
    device: str,
    resumption: Resumption,
    report: Callable[[int, int, str], None],
) -> Classifier:
    """A deep classifier, trained by minibatches or taken as it stands.

    Args:
        spec: network, loss and training, labels, seed and role.
        signature: of the data: shape, classes, and the scale to which the network normalises.
        inputs: (n, ...), in the precision in which to train.
        device: where to train, and where the classifier lies afterwards.
        resumption: how the training is kept while it goes on.
        report: called with steps done and in all.

    Raises:
        ModelError: the network cannot be made or used.
        DivergenceError: training left the finite numbers.
    """
    section = spec.config
    network = first_network(section, signature, seed=spec.seed, role=spec.role).to(device=device, dtype=inputs.dtype)
    if isinstance(section, UntrainedConfig):
        return Classifier(network, {"training": "none"})
    if isinstance(section, FittedConfig):
        return _fitted(network, inputs, spec.labels)
    assert isinstance(section, SGDConfig), "two-layer networks are trained by learn_side_by_side"
    if section.loss != "logistic" and signature.n_classes > 2:
        raise ConfigError(
            f"{spec.role}.loss = {section.loss!r} is a loss on the margin of two classes, but the data have "
            f"{signature.n_classes}; choose logistic, which is the cross-entropy there"
        )
    network.reads_auxiliary = spec.learns_auxiliary
    trained = replace(minibatch_descent(section), adversary=spec.adversary(inputs)).train(
        network,
        inputs,
        spec.labels,
        seed=spec.minibatch_seed,
        device=device,
        resumption=resumption,
        report=report,
    )
    if isinstance(trained.module, Network):
        trained.module.reads_auxiliary = False
    return trained


def _fitted(network: Network, inputs: Tensor, labels: Tensor) -> Classifier:
    assert isinstance(network.body, Estimator), f"{network.config.name} is trained"
    samples, labels = network.prepared(inputs), labels.to(inputs.device)
    network.body.fit(samples, (1 - labels) // 2 if network.signature.n_classes == 2 else labels)
    try:
        network(inputs[:1])  # fitted when it is asked, so this is where it fails
    except ValueError as error:
        raise DataError(f"{network.config.name} cannot be fitted to the set: {describe_error(error)}") from error
    return Classifier(network, {"training": "fit"})


def minibatch_descent(section: SGDConfig) -> MinibatchDescent:
    """The training that a section asks for, at its one learning rate, on inputs as they are."""
    (lr,) = section.lr
    return MinibatchDescent(
        loss=section.loss,
        lr=lr,
        epochs=section.epochs,
        batch_size=section.batch_size,
        momentum=section.momentum,
        weight_decay=section.weight_decay,
        schedule=section.schedule,
        augmentation=section.augmentation,
        bfloat16=section.is_bfloat16,
        warmup_epochs=section.warmup_epochs or 0,
        nesterov=section.nesterov is None,
        label_smoothing=section.label_smoothing or 0.0,
        crop_padding=section.crop_padding or PADDING,
        crop_fill=section.crop_fill or BLACK,
        ema_decay=section.ema_decay or 0.0,
        soft=_soft_loss(section),
    )


def _soft_loss(section: SGDConfig) -> SoftLoss | None:
    if section.soft_loss is None and section.temperature is None:
        return None
    return SoftLoss(section.soft_loss or "cross_entropy", section.temperature or 1.0)


def first_network(section: ClassifierConfig, signature: Signature, *, seed: int, role: str) -> Network:
    """The network before its training, on the CPU.

    Raises:
        ModelError: it cannot be made, or is used as it is without the outputs that the data say its classes are.
    """
    assert isinstance(section.model, NetworkConfig), f"{section.model.name} is made by initialise"
    # Without a training, weights of the user's own are what is asked about: nothing is drawn afresh.
    trains = not isinstance(section, UntrainedConfig)
    network = make_network(section.model, signature, seed=seed, role=section.starts_as(role), fresh=trains)
    # A network that is yet to be trained may have one output per class instead.
    if signature.model_classes is not None and section.model.is_own and not (trains or network.is_mapped):
        last = max(map(max, signature.model_classes))
        raise ModelError(
            f"model_classes names the output {last} (counted from 0), which the network {section.model.name} does not "
            "have; correct the indices, or leave model_classes out if it has one output per class"
        )
    return linearised(network) if isinstance(section, LinearisedConfig) else network


def identity_of(section: ClassifierConfig) -> dict[str, Any]:
    """What fixes a network besides the data and the seed, without paths: its section, the user's code, first weights.

    Args:
        section: how the network is made and trained.

    Raises:
        ModelError: the user's code or the file of weights cannot be read.
    """
    model = config_tree(section.model)
    identity: dict[str, Any] = {**config_tree(section), "model": model}
    if section.model.is_own:
        identity["own"] = fingerprint(section.model.name)
    if isinstance(section.model, NetworkConfig) and section.model.checkpoint is not None:
        model["checkpoint"] = checkpoint_fingerprint(section.model.checkpoint)
    return identity


def unidentified_in(identity: Mapping[str, Any]) -> tuple[str, ...]:
    """What nothing identifies in a network known as this, each in a few words."""
    return identity["own"].unidentified if "own" in identity else ()
