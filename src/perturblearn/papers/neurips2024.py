"""The figures of NeurIPS24: perturbation learning against dimension, size, width, slope, samples and time.

Settings as in the paper's section 5 and appendix; one point is one experiment with a grid of learning rates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from perturblearn.config import Keys
from perturblearn.papers.figure import Figure, Panel, Settings, Smaller

TENS = (*range(10, 100, 10), *range(100, 1001, 100))
WIDTHS = (*range(1, 10), *TENS)
SLOPES = (0.0, 0.25, 0.5, 0.75, 0.99)
SAMPLES = (2, 4, 6, 8, *TENS, *range(2000, 10_001, 1000))
EPOCHS = (*range(1, 10), *range(10, 101, 10))
FEW_EPOCHS = tuple(range(10, 101, 10))
DIMS = (*range(100, 1001, 100), *range(2000, 10_001, 1000))
# epsilon grows with the square root of the dimension; the paper cuts it to two digits.
SQUARE_ROOTS = (1, 1.4, 1.7, 2, 2.2, 2.4, 2.6, 2.8, 3, 3.1, 4.4, 5.4, 6.3, 7, 7.7, 8.3, 8.9, 9.4, 10)
ACCURACIES = {name: f"{name}_max" for name in ("standard_accuracy", "perturbation_accuracy", "agreement")}
"""The paper's measures and ours: the maximum over the grid of learning rates, measure by measure."""
COSINES = {name: f"{name}_max" for name in ("standard_accuracy", "cosine_similarity")}

_COMMON = {"loss": "identity", "hidden_dim": 100, "slope": 0.0, "attack.norm": "l2", "attack.targets": "uniform"}
_BARE, _NATURAL = {"attack.source": "none"}, {"attack.source": "natural"}
_SHIFTED = {"data.name": "shifted_gauss", "lr": [1.0, 0.1], "epochs": 1000}
_SHIFTED_A = {**_SHIFTED, "input_dim": 100, "n_samples": 1000, "epsilon": 0.01}
_SHIFTED_B = {**_SHIFTED, "input_dim": 5000, "n_samples": 10_000, "epsilon": 0.7}
_GAUSS = {"data.name": "gauss", "input_dim": 10_000, "n_samples": 10_000, "lr": [1.0, 0.1], "epochs": 1000}
_IMAGES = {"lr": [0.01, 0.001], "epochs": 100, "epsilon": 0.14}
_MNIST = {"data.name": "mnist", "data.classes": [1, 2], **_IMAGES}
_FASHION = {"data.name": "fashion_mnist", "data.classes": [0, 9], **_IMAGES}
_LOGISTIC = {"loss": "logistic"}

_FEW_POINTS = Smaller(least={"n_samples": 10}, most={"n_samples": 2000, "hidden_dim": 200}, points=4)


def _twentieth(epsilon: float) -> Smaller:
    """A twentieth of the dimensions and samples.

    Args:
        epsilon: what it is divided by, so that the perturbations weigh as much as before. Bare perturbations of noise
            stand against a bias of 1 / sqrt(N), which takes epsilon sqrt(d); perturbed samples against a sum of the
            mislabelled ones, which takes epsilon sqrt(N / d) [own].
    """
    divided = {"input_dim": 20, "n_samples": 20, **({"epsilon": epsilon} if epsilon != 1 else {})}
    return Smaller(divided, {"epochs": 300}, least={"n_samples": 10}, most={"hidden_dim": 200}, points=4)


# A twelfth of the images; epsilon sqrt(N) stays what it is.
_FEW_IMAGES = Smaller({"epsilon": 1 / math.sqrt(12)}, {"n_samples": 1000}, most={"hidden_dim": 200}, points=4)


def _scaled(values: Sequence[float], scale: float) -> tuple[float, ...]:
    return tuple(round(value * scale, 6) for value in values)


def _multiples(step: float, first: int, last: int) -> tuple[float, ...]:
    return _scaled(range(first, last + 1), step)


_SMALL, _LARGE = _multiples(0.014, 0, 10), _multiples(0.14, 0, 10)
_TENTHS_OF_DIMS = {
    "input_dim": range(10, 101, 10),
    "epsilon": (0.0031, 0.0044, 0.0054, 0.0063, 0.007, 0.0077, 0.0083, 0.0089, 0.0094, 0.01),
}
_FEW_DIMS = {
    "input_dim": range(10, 51, 5),
    "epsilon": (0.0031, 0.0038, 0.0044, 0.005, 0.0054, 0.0059, 0.0063, 0.0067, 0.007),
}
_SHIFTED_DIMS = {
    "input_dim": (*TENS, *range(2000, 5001, 1000)),
    "epsilon": (
        0.031, 0.044, 0.054, 0.063, 0.07, 0.077, 0.083, 0.089, 0.094, 0.1, 0.14, 0.17, 0.2, 0.22, 0.24, 0.26, 0.28, 0.3,
        0.31, 0.44, 0.54, 0.63, 0.7,
    ),
}  # fmt: skip


_SEEDS = {
    "shifted_gauss_a": 0, "shifted_gauss_b": 1, "gauss_a": 0, "gauss_b": 0, "mnist_a": 0, "mnist_b": 1, "fmnist_a": 0,
    "fmnist_b": 2,
}  # fmt: skip
"""Of the published points of each figure."""
_IN_FLOAT16 = {"standard.products": "float16", "perturbation.products": "float16"}
"""As all published runs were trained; of images, the curves are met without."""


def _accuracy(
    name: str, caption: str, settings: Settings, panels: Sequence[Panel], quick: Smaller, full_takes: str
) -> Figure:
    """A figure of accuracies; every published point is of the figure's seed, unless its panel has another."""
    what = "only the perturbations" if settings["attack.source"] == "none" else "perturbed training samples"
    return Figure(
        f"neurips2024/{name}",
        {**_COMMON, **settings},
        panels,
        caption=f"{caption}; g sees {what}. Accuracy of f and of g on f's training set, agreement on fresh samples.",
        measures=ACCURACIES,
        quick=quick,
        full_takes=full_takes,
        seed=_SEEDS[name],
        at_seed=_IN_FLOAT16 if name == "shifted_gauss_a" else {},
    )


def _gauss(name: str, source: Settings, scale: float, panels: Sequence[Panel], full_takes: str) -> Figure:
    along_dims = {"input_dim": DIMS, "epsilon": _scaled(SQUARE_ROOTS, scale)}
    return _accuracy(
        name,
        "Gaussian noise with random labels",
        {**_GAUSS, **source, "epsilon": 10 * scale},
        [
            Panel(along_dims, log_x=True),
            Panel(along_dims, _LOGISTIC, log_x=True),
            Panel({"epsilon": _multiples(scale, 0, 10)}),
            Panel({"hidden_dim": WIDTHS}, log_x=True),
            Panel({"slope": SLOPES}),
            *panels,
        ],
        _twentieth(1 / math.sqrt(20) if source is _BARE else 1),
        full_takes,
    )


def _images(name: str, source: Settings, data: Settings, sizes: Panel, logistic: Panel, last: Panel) -> Figure:
    return _accuracy(
        name,
        "MNIST, digit 1 against 2" if data is _MNIST else "Fashion-MNIST, class 0 against 9",
        {**data, **source},
        [
            sizes,
            logistic,
            Panel({"hidden_dim": TENS}, log_x=True),
            Panel({"slope": SLOPES}),
            Panel({"standard_epochs": EPOCHS}, log_x=True),
            last,
        ],
        _FEW_IMAGES,
        "minutes",
    )


_FIGURES = (
    _accuracy(
        "shifted_gauss_a",
        "Two Gaussian classes, shifted by 0.3",
        {**_SHIFTED_A, **_BARE},
        [
            Panel(_TENTHS_OF_DIMS),
            Panel(_FEW_DIMS, _LOGISTIC),
            Panel({"epsilon": _multiples(0.001, 0, 10)}),
            Panel({"hidden_dim": WIDTHS}, log_x=True),
            Panel({"slope": SLOPES}),
            Panel({"n_samples": SAMPLES}, log_x=True),
            Panel({"standard_epochs": range(1, 11)}, {"standard_lr": [0.1]}),
            Panel({"perturbation_epochs": EPOCHS}, log_x=True),
        ],
        _FEW_POINTS,
        "minutes",
    ),
    _accuracy(
        "shifted_gauss_b",
        "Two Gaussian classes, shifted by 0.3",
        {**_SHIFTED_B, **_NATURAL},
        [
            Panel(_SHIFTED_DIMS, log_x=True),
            Panel(_SHIFTED_DIMS, {**_LOGISTIC, "lr": [10.0, 5.0, 1.0, 0.1, 0.01]}, log_x=True),
            Panel({"epsilon": _multiples(0.1, 0, 7)}),
            Panel({"hidden_dim": WIDTHS}, log_x=True),
            Panel({"slope": SLOPES}),
            Panel({"n_samples": SAMPLES}, log_x=True),
            Panel({"standard_epochs": range(1, 11)}, {"standard_lr": [0.01]}),
            Panel({"perturbation_epochs": EPOCHS}, {"perturbation_lr": [0.01]}, log_x=True),
        ],
        _twentieth(1),
        "half a day",
    ),
    _gauss(
        "gauss_a",
        _BARE,
        0.01,
        [
            Panel({"n_samples": SAMPLES}, log_x=True),
            Panel({"standard_epochs": EPOCHS}, {"standard_lr": [0.1]}, log_x=True),
            Panel({"perturbation_epochs": EPOCHS}, log_x=True),
        ],
        "hours",
    ),
    _gauss(
        "gauss_b",
        _NATURAL,
        1.0,
        [
            Panel({"n_samples": SAMPLES[4:]}, log_x=True),
            Panel({"standard_epochs": EPOCHS}, {"standard_lr": [0.1]}, log_x=True),
            Panel({"perturbation_epochs": EPOCHS}, {"perturbation_lr": [0.1]}, log_x=True),
        ],
        "half a day",
    ),
    _images(
        "mnist_a",
        _BARE,
        _MNIST,
        Panel({"epsilon": _SMALL[2:]}),
        Panel({"epsilon": _SMALL[2:]}, _LOGISTIC),
        Panel({"perturbation_epochs": FEW_EPOCHS}),
    ),
    _images(
        "mnist_b",
        _NATURAL,
        _MNIST,
        Panel({"epsilon": _SMALL}),
        Panel({"epsilon": _LARGE}, _LOGISTIC, seed=2),
        Panel({"perturbation_epochs": EPOCHS}, log_x=True),
    ),
    _images(
        "fmnist_a",
        _BARE,
        _FASHION,
        Panel({"epsilon": _SMALL}),
        Panel({"epsilon": _SMALL}, _LOGISTIC),
        Panel({"perturbation_epochs": FEW_EPOCHS}),
    ),
    _images(
        "fmnist_b",
        _NATURAL,
        _FASHION,
        Panel({"epsilon": _SMALL}),
        Panel({"epsilon": _LARGE}, _LOGISTIC),
        Panel({"perturbation_epochs": FEW_EPOCHS}),
    ),
)
ACCURACY_FIGURES = {figure.name: figure for figure in _FIGURES}
"""NeurIPS24's accuracy figures by name."""

_LONG = {"standard_epochs": EPOCHS}
_AT_A_TENTH = {"standard_lr": [0.1]}
COSINE_FIGURE = Figure(
    "neurips2024/cosine_similarity",
    {**_COMMON, **_BARE, "measures.cosine_similarity": True},
    [
        Panel(_TENTHS_OF_DIMS, _SHIFTED_A, title="shifted Gauss, input dimension d"),
        Panel(
            {"standard_epochs": range(1, 11)}, {**_SHIFTED_A, **_AT_A_TENTH}, title="shifted Gauss, training time of f"
        ),
        Panel(
            {"input_dim": DIMS, "epsilon": _scaled(SQUARE_ROOTS, 0.01)},
            {**_GAUSS, "epsilon": 0.1},
            log_x=True,
            title="Gauss, input dimension d",
        ),
        Panel(_LONG, {**_GAUSS, "epsilon": 0.1, **_AT_A_TENTH}, log_x=True, title="Gauss, training time of f"),
        Panel(_LONG, _MNIST, log_x=True, title="MNIST, training time of f"),
        Panel(_LONG, _FASHION, log_x=True, title="Fashion-MNIST, training time of f"),
    ],
    caption="How well perturbations point along their prediction t_n, and the accuracy of f on its training set.",
    measures=COSINES,
    quick=Smaller(settings={"n_samples": 500}, most={"input_dim": 500}, points=4),
    full_takes="hours",
    seed=0,
)
"""Size of the cosine of perturbations with their prediction; every panel is a problem of its own."""


def _map(name: str, caption: str, settings: Keys, limits: tuple[float, float], quick: Smaller) -> Figure:
    return Figure(
        f"neurips2024/map_{name}",
        {**_COMMON, **settings},
        [Panel(title="decision map", limits=limits)],
        caption=f"{caption}: signs of f and g, and where they are equal, in the plane of the class means, with the "
        "lines on which their predictions are 0.",
        draws="decision maps",
        measures=ACCURACIES,
        quick=quick,
        full_takes="minutes",
    )


_SHIFTED_PLANE = {"data.name": "shifted_gauss", "input_dim": 100, "lr": 1.0, "epochs": 100}
_GAUSS_PLANE = {"data.name": "gauss", "input_dim": 1000, "hidden_dim": 1000, "epochs": 1000}
_WIDE = {"hidden_dim": 1000}
# More dimensions than samples, or a network this narrow does not fit random labels, of which g would learn nothing.
# Epsilon is chosen so that g beats its controls, which a test checks.
_FEW_BARE = Smaller({"input_dim": 2, "n_samples": 10, "hidden_dim": 5, "epsilon": 1 / 2}, {"epochs": 300})
_FEW_NATURAL = Smaller({"input_dim": 2, "n_samples": 50, "hidden_dim": 5, "epsilon": 1 / 5}, {"epochs": 300})
# A twelfth of the images; epsilon sqrt(N) stays what it is.
_PART = Smaller({"epsilon": 1 / math.sqrt(12)}, {"n_samples": 1000, "hidden_dim": 200, "epochs": 100})
_MAPS = (
    _map(
        "shifted_gauss_a",
        "Two Gaussian classes, bare perturbations",
        {**_SHIFTED_PLANE, **_BARE, "n_samples": 1000, "epsilon": 0.01},
        (-7, 7),
        Smaller(),
    ),
    _map(
        "shifted_gauss_b",
        "Two Gaussian classes, perturbed samples",
        {**_SHIFTED_PLANE, **_NATURAL, "n_samples": 5000, "epsilon": 0.1},
        (-8, 8),
        Smaller(),
    ),
    _map(
        "gauss_a",
        "Gaussian noise, bare perturbations",
        {**_GAUSS_PLANE, **_BARE, "n_samples": 2000, "lr": 1.0, "epsilon": 0.031},
        (-4, 5),
        _FEW_BARE,
    ),
    _map(
        "gauss_b",
        "Gaussian noise, perturbed samples",
        {**_GAUSS_PLANE, **_NATURAL, "n_samples": 10_000, "lr": 0.1, "epsilon": 0.31},
        (-4, 5),
        _FEW_NATURAL,
    ),
    _map("mnist_a", "MNIST, 1 against 2, bare perturbations", {**_MNIST, **_BARE, **_WIDE, "lr": 0.01}, (0, 10), _PART),
    _map(
        "mnist_b",
        "MNIST, 1 against 2, perturbed images",
        {**_MNIST, **_NATURAL, **_WIDE, "lr": 0.01, "epochs": 1000},
        (0, 10),
        _PART,
    ),
    _map(
        "fmnist_a",
        "Fashion-MNIST, 0 against 9, bare perturbations",
        {**_FASHION, **_BARE, **_WIDE, "lr": 0.01},
        (-2, 13),
        _PART,
    ),
    _map(
        "fmnist_b",
        "Fashion-MNIST, 0 against 9, perturbed images",
        {**_FASHION, **_NATURAL, **_WIDE, "lr": 0.001, "epsilon": 1.4},
        (-2, 13),
        _PART,
    ),
)
DECISION_MAPS = {figure.name: figure for figure in _MAPS}
"""NeurIPS24's decision maps by name."""
