"""Fresh deep networks by their configuration."""

from __future__ import annotations

from torch import nn

from perturblearn.classifiers.checkpoint import load_weights
from perturblearn.classifiers.convnet import ConvNet
from perturblearn.classifiers.estimator import Estimator
from perturblearn.classifiers.mlp import DEFAULT_SIGMA_B, MLP, default_sigma_w
from perturblearn.classifiers.network import Network
from perturblearn.classifiers.own import own_body, own_source
from perturblearn.classifiers.resnet import ResNet18
from perturblearn.classifiers.resnet9 import ResNet9
from perturblearn.classifiers.wide_resnet import WideResNet
from perturblearn.config import (
    ConvNetConfig,
    EstimatorConfig,
    MLPConfig,
    NetworkConfig,
    ResNet9Config,
    ResNet18Config,
    WideResNetConfig,
)
from perturblearn.data import Signature
from perturblearn.errors import ConfigError
from perturblearn.seeding import derive_seed, reproducible


def make_network(config: NetworkConfig, signature: Signature, *, seed: int, role: str, fresh: bool = True) -> Network:
    """A network for data of this signature, as it is before training.

    Args:
        config: a deep network's or the user's own; a checkpoint's weights take the place of those drawn.
        signature: of the data.
        seed: the run's seed.
        role: who asks (``standard``, ``perturbation``, ...): each role draws its own network from the same seed.
        fresh: draw the weights of a module of the user's own afresh; False takes them as they stand, in their own
            precision.

    Returns:
        The network on the CPU, in float32 if it is fresh; equal on every call, as long as all draws are torch's. The
        global generators are as they were before.

    Raises:
        ConfigError: the network does not fit the shape of the inputs.
        ModelError: the user's network or the checkpoint cannot be used.
    """
    # Before the seed is set: a module may draw while it is imported, which it is only once.
    source = own_source(config.name) if config.is_own else None
    with reproducible(derive_seed(seed, "initialisation", role)):
        body = own_body(source, config.name, fresh=fresh) if config.is_own else _body(config, signature)
        network = Network(body, signature, config)
    if config.checkpoint is not None:
        load_weights(network.body, config.checkpoint)
    return network


def _body(config: NetworkConfig, signature: Signature) -> nn.Module:
    n_outputs = (1 if signature.n_classes == 2 else signature.n_classes) + (config.auxiliary or 0)
    match config:
        case MLPConfig():
            return MLP(
                signature.input_dim,
                n_outputs,
                hidden_dim=config.hidden_dim,
                depth=config.depth,
                slope=config.slope,
                sigmas=sigmas_of(config),
            )
        case ConvNetConfig():
            return ConvNet(_image_shape(config, signature), n_outputs, depth=config.depth, width=config.width)
        case WideResNetConfig():
            channels, *_ = _image_shape(config, signature)
            width = int(config.width)
            return WideResNet(channels, n_outputs, depth=config.depth, width=width, dropout=config.dropout)
        case ResNet18Config():
            channels, *_ = _image_shape(config, signature)
            return ResNet18(channels, n_outputs, width=config.width)
        case ResNet9Config():
            return ResNet9(_image_shape(config, signature), n_outputs, width=config.width)
        case EstimatorConfig():
            return Estimator(config, signature.n_classes)
        case _:
            raise AssertionError(f"{config.name} has no builder")


def sigmas_of(config: MLPConfig) -> tuple[float, float] | None:
    """The factors sigma_w and sigma_b of the ntk parametrisation; None in torch's."""
    if config.parametrization is None:
        return None
    return (
        default_sigma_w(config.slope) if config.sigma_w is None else config.sigma_w,
        DEFAULT_SIGMA_B if config.sigma_b is None else config.sigma_b,
    )


def _image_shape(config: NetworkConfig, signature: Signature) -> tuple[int, int, int]:
    if len(signature.input_shape) != 3:
        raise ConfigError(
            f"model.name = {config.name!r} takes images, but inputs have the shape {signature.input_shape}; choose "
            "mlp, or data of images"
        )
    channels, height, width = signature.input_shape
    return channels, height, width
