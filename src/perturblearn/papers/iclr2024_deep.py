"""ICLR24's deep networks: what they learn from perturbations of images and of noise, and what these look like.

Settings as in the paper's section 5; f is taken after its last epoch, where the paper takes the one with the highest
test accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping

from perturblearn.config import JSON
from perturblearn.papers.figure import Figure, Panel, Settings, Smaller, number, whole, word

ROWS = tuple(f"{norm} {targets}" for norm in ("l0", "l2", "linf") for targets in ("other", "next"))
"""Norm and targets of perturbed images."""
SHARES = (0.05, 0.2, 0.4, 0.6, 0.8, 1.0)
_EPSILONS: Mapping[str, Mapping[str, float]] = {
    "mnist": {"l2": 2.0, "linf": 0.3},
    "fashion_mnist": {"l2": 2.0, "linf": 0.3},
    "cifar10": {"l2": 0.5, "linf": 0.1},
}
"""By data set and norm; in L0 the setting ``pixels`` stands for it."""
_CONVNET = {"standard.model.name": "convnet", "perturbation.model.name": "convnet"}
_WIDE_RESNET = {"standard.model.name": "wide_resnet", "perturbation.model.name": "wide_resnet"}
_AUGMENTED = {"standard.augmentation": ["crop", "flip"], "perturbation.augmentation": ["crop", "flip"]}
_PIXELS = {
    "data.centre": False,
    "data.flatten": False,
    "attack.name": "radial_pgd",
    "steps": 100,
    "rate": 0.1,
    "slow_rate": 0.01,
}
_SETTINGS: Mapping[str, Settings] = {
    "mnist": {**_CONVNET, "pixels": 10, "epochs": 100, "noise_epochs": 300, "noise_samples": 1_200_000},
    "fashion_mnist": {**_CONVNET, "pixels": 35, "epochs": 200, "noise_epochs": 300, "noise_samples": 1_200_000},
    "cifar10": {
        **_WIDE_RESNET,
        **_AUGMENTED,
        "pixels": 150,
        "epochs": 200,
        "noise_epochs": 200,
        "noise_samples": 50_000,
    },
}
_TITLES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
_NARROW = {"standard.model.width": 0.25, "perturbation.model.width": 0.25}
_QUICK: Settings = {
    "n_samples": 600, "data.n_heldout": 200, "noise_samples": 400, "steps": 10,
    "epochs": 12, "perturbation.epochs": 40, "noise_epochs": 40, "rate": 0.05, "slow_rate": 0.05,
    "standard.schedule": "one_cycle", "perturbation.schedule": "one_cycle",
    "standard.batch_size": 32, "perturbation.batch_size": 32, **_NARROW,
}  # fmt: skip
_QUICK_OF: Mapping[str, Settings] = {
    "mnist": _QUICK,
    "fashion_mnist": {**_QUICK, "pixels": 20},
    # Even the smallest wide residual network takes seven times as long as a narrow ConvNet.
    "cifar10": {
        **_QUICK, **_CONVNET, "standard.augmentation": [], "perturbation.augmentation": [],
        "n_samples": 300, "noise_samples": 200, "pixels": 30,
    },
}  # fmt: skip


def _both(keys: Settings) -> dict[str, JSON]:
    """Keys of both classifiers."""
    return {f"{role}.{key}": value for role in ("standard", "perturbation") for key, value in keys.items()}


_MODERN: Settings = {
    "epochs": 24, "noise_epochs": 24, "noise_samples": 50_000, "steps": 12, "rate": 0.1, "slow_rate": 0.1,
    "attack.products": "bfloat16",
    **_both({
        "model.name": "resnet9", "schedule": "linear", "warmup_epochs": 5, "batch_size": 500, "nesterov": False,
        "augmentation": ["crop"], "crop_padding": 2, "products": "bfloat16",
    }),
}  # fmt: skip
"""All images and a recipe that learns fast: the network, not the data, is another than the paper's."""
_MODERN_OF: Mapping[str, Settings] = {
    "mnist": _MODERN,
    "fashion_mnist": _MODERN,
    "cifar10": {**_MODERN, **_AUGMENTED, "epochs": 64, "noise_epochs": 64},
}


def _attacked(settings: Settings) -> Settings:
    """What a row of the table, or a share of the noise, says of attack and training."""
    data = word(settings, "data.name")
    on_noise = "share" in settings
    norm, _, targets = word(settings, "perturbations").partition(" ")
    keys: dict[str, JSON] = {"attack.norm": norm, "lr": settings["rate"]}
    if norm == "l0":
        keys |= {"attack.pixels": settings["pixels"]}
    else:
        keys |= {"epsilon": _EPSILONS[data][norm], "attack.steps": settings["steps"]}
    if on_noise:
        keys |= {"attack.source": "uniform", "attack.targets": "uniform"}
        keys |= {"n_adv": round(number(settings, "share") * whole(settings, "noise_samples"))}
        keys |= {"perturbation.epochs": settings["noise_epochs"]}
    else:
        keys |= {"attack.source": "natural", "attack.targets": targets}
    if _is_slow(data, norm, targets, on_noise):
        keys |= {"perturbation_lr": settings["slow_rate"]}
    return keys


def _is_slow(data: str, norm: str, targets: str, on_noise: bool) -> bool:
    """Whether g is trained with the smaller learning rate."""
    if data == "cifar10":
        return not on_noise and (norm, targets) == ("linf", "other")
    return on_noise or norm != "l0"


def _noise(norm: str, shares: tuple[float, ...]) -> Panel:
    return Panel({"share": shares}, {"perturbations": f"{norm} uniform"}, title=f"share of the noise, {norm}")


def _table(data: str) -> Figure:
    shares = (1.0,) if data == "cifar10" else SHARES
    return Figure(
        f"iclr2024/deep_{data}",
        {"data.name": data, **_PIXELS, **_SETTINGS[data], "perturbations": "l2 other"},
        [
            Panel({"perturbations": ROWS}, title="images"),
            *(_noise(norm, shares) for norm in ("l0", "l2", "linf")),
        ],
        caption=f"Deep networks on {_TITLES[data]}: accuracy of f, and of g trained on perturbed images or perturbed "
        "uniform noise, on the test images.",
        measures={
            "standard_accuracy": "standard_accuracy_heldout",
            "perturbation_accuracy": "perturbation_accuracy_heldout",
        },
        ways={"": _attacked},
        control_draws=1,
        quick=Smaller(settings=_QUICK_OF[data], least={"share": 1.0}, points=3),
        modern=Smaller(settings=_MODERN_OF[data], least={"share": 1.0}, points=len(ROWS)),
        full_takes="days, with a GPU hours",
    )  # fmt: skip


def _pictures(data: str) -> Figure:
    norms = ("l0", "l2", "linf")
    images = [Panel(fixed={"perturbations": f"{norm} other"}, title=f"images, {norm}") for norm in norms]
    noise = [Panel(fixed={"perturbations": f"{norm} uniform", "share": 1.0}, title=f"noise, {norm}") for norm in norms]
    return Figure(
        f"iclr2024/images_{data}",
        {"data.name": data, **_PIXELS, **_SETTINGS[data]},
        [*images, *noise],
        caption=f"{_TITLES[data]} and uniform noise, their perturbations and the perturbed inputs, and how often f "
        "gives these their target.",
        draws="perturbations",
        measures={"attack_success": "attack_success"},
        ways={"": _attacked},
        control_draws=0,
        quick=Smaller(settings=_QUICK_OF[data]),
        full_takes="hours",
    )


DEEP_TABLES = {figure.name: figure for figure in map(_table, _SETTINGS)}
"""ICLR24's table of deep networks, a figure for each data set."""
IMAGES = {figure.name: figure for figure in map(_pictures, _SETTINGS)}
"""ICLR24's pictures of perturbed inputs, by data set."""
