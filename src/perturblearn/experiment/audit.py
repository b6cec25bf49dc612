"""What a given model's perturbations teach: the same experiment over norms, epsilons and learners."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from perturblearn.config import JSON, RANDOM_TARGETS, WRONG_TARGETS, ExperimentConfig, Keys, resolve_config
from perturblearn.data import Signature
from perturblearn.errors import ConfigError

NORMS = ("l2", "linf", "l0")
"""Norms that an audit knows; in l0 the size is a number of coordinates."""
DEEP_DEFAULTS: Mapping[str, Keys] = {
    "attack": {"name": "pgd", "steps": 20},
    "standard": {"schedule": "one_cycle", "lr": 0.05, "batch_size": 32, "epochs": 12, "training": "sgd"},
    "perturbation": {"schedule": "one_cycle", "lr": 0.05, "batch_size": 32, "epochs": 12},
    "controls": {"draws": 2},
}
"""How networks are attacked and trained where nothing else is said: settings under which small data sets (1,000 images
and more) show what there is within minutes."""
L2_SHARE, LINF_SHARE = 0.25, 0.4
"""Default sizes of perturbations: in L2 so long that each coordinate moves by this share of the data's standard
deviation, in L-infinity this share at most. ICLR24's lie between 0.14 and 0.23, and between 0.4 and 1."""
DEFAULT_NETWORK = "mlp"
"""The network that learns from any inputs."""
SMALLEST_IMAGE = 11
"""Sides from which on the ConvNet of two stages leaves something of an image."""


def default_epsilons(signature: Signature) -> dict[str, tuple[float, ...]]:
    """One size per norm, by the data's scale and dimension, to two digits."""
    scale = math.sqrt(sum(std**2 for std in signature.stds) / len(signature.stds))
    sizes = {"l2": L2_SHARE * scale * math.sqrt(signature.input_dim), "linf": LINF_SHARE * scale}
    return {norm: (float(f"{size:.2g}"),) for norm, size in sizes.items()}


def default_learner(signature: Signature) -> str:
    """The network that learns: the ConvNet for images, the MLP for all else."""
    is_large = signature.is_image and min(signature.input_shape[1:]) >= SMALLEST_IMAGE
    return "convnet" if is_large else DEFAULT_NETWORK


def default_targets(signature: Signature) -> str:
    """Targets that contradict the true label where there are enough classes for that to say little about it.

    Of two classes the other one would be the true label read backwards.
    """
    return RANDOM_TARGETS if signature.n_classes == 2 else WRONG_TARGETS


def attack_keys(norm: str, epsilon: float) -> dict[str, JSON]:
    """The configuration's keys for an attack of this norm and size.

    Raises:
        ConfigError: an unknown norm, or in l0 a size that is no whole number above 0.
    """
    if norm not in NORMS:
        raise ConfigError(f"the norm {norm!r} is not known; choose {', '.join(NORMS)}")
    if norm == "l0":
        if not float(epsilon).is_integer() or epsilon < 1:
            raise ConfigError(f"l0:{epsilon:g} is no number of coordinates; give a whole number, such as l0:20")
        # The papers' search is the one that changes so many coordinates and no more.
        return {"attack.name": "radial_pgd", "attack.norm": "l0", "attack.pixels": int(epsilon), "attack.steps": None}
    return {"attack.norm": norm, "attack.epsilon": float(epsilon)}


def audit_configs(
    base: ExperimentConfig,
    epsilons: Mapping[str, Sequence[float]],
    learners: Mapping[str, Keys],
) -> list[ExperimentConfig]:
    """The experiments of an audit, learner by learner, norm by norm.

    Args:
        base: f, the data, seeds, and what all have in common.
        epsilons: sizes by norm.
        learners: networks of g, each with keys of its own such as ``{"epochs": 12, "model.width": 0.5}``.

    Raises:
        ConfigError: nothing to do, or values that do not go together.
    """
    if not learners or not any(epsilons.values()):
        raise ConfigError(
            "an audit needs at least one learner and one epsilon; name some, or leave them to the default"
        )
    return [
        resolve_config(base, {**attack_keys(norm, epsilon), **network_keys("perturbation", learner, keys)})
        for learner, keys in learners.items()
        for norm, sizes in epsilons.items()
        for epsilon in sizes
    ]


def network_keys(role: str, network: str, keys: Keys) -> dict[str, JSON]:
    """The configuration's keys for a network in the role ``standard`` or ``perturbation``."""
    return {f"{role}.model.name": network, **{f"{role}.{key}": value for key, value in keys.items()}}
