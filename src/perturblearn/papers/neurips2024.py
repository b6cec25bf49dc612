"""The accuracy figures of NeurIPS24: perturbation learning against dimension, size, width, slope, samples and time.

Settings as in the paper's section 5 and appendix; one point is one experiment with a grid of learning rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perturblearn.papers.figure import Figure, Panel

TENS = (*range(10, 100, 10), *range(100, 1001, 100))
WIDTHS = (*range(1, 10), *TENS)
SLOPES = (0.0, 0.25, 0.5, 0.75, 0.99)
SAMPLES = (2, 4, 6, 8, *TENS, *range(2000, 10_001, 1000))
EPOCHS = (*range(1, 10), *range(10, 101, 10))
DIMS = (*range(100, 1001, 100), *range(2000, 10_001, 1000))
# epsilon grows with the square root of the dimension; the paper cuts it to two digits.
SQUARE_ROOTS = (1, 1.4, 1.7, 2, 2.2, 2.4, 2.6, 2.8, 3, 3.1, 4.4, 5.4, 6.3, 7, 7.7, 8.3, 8.9, 9.4, 10)
_COMMON = {"loss": "identity", "hidden_dim": 100, "slope": 0.0, "attack.norm": "l2", "attack.targets": "uniform"}
_BARE, _NATURAL = {"attack.source": "none"}, {"attack.source": "natural"}


def _scaled(values: Sequence[float], scale: float) -> tuple[float, ...]:
    return tuple(round(value * scale, 6) for value in values)


def _multiples(step: float, first: int, last: int) -> tuple[float, ...]:
    return _scaled(range(first, last + 1), step)


def _gauss(name: str, source: dict[str, Any], scale: float, panels: Sequence[Panel]) -> Figure:
    along_dims = {"input_dim": DIMS, "epsilon": _scaled(SQUARE_ROOTS, scale)}
    return Figure(
        name,
        {
            **_COMMON, **source, "data.name": "gauss", "input_dim": 10_000, "n_samples": 10_000,
            "lr": [1.0, 0.1], "epochs": 1000, "epsilon": 10 * scale,
        },
        [
            Panel(along_dims),
            Panel(along_dims, {"loss": "logistic"}),
            Panel({"epsilon": _multiples(scale, 0, 10)}),
            Panel({"hidden_dim": WIDTHS}),
            Panel({"slope": SLOPES}),
            *panels,
        ],
    )  # fmt: skip


def _images(
    name: str, source: dict[str, Any], data: dict[str, Any], sizes: Panel, logistic: Panel, times: Sequence[int]
) -> Figure:
    return Figure(
        name,
        {**_COMMON, **source, **data, "lr": [0.01, 0.001], "epochs": 100, "epsilon": 0.14},
        [
            sizes,
            logistic,
            Panel({"hidden_dim": TENS}),
            Panel({"slope": SLOPES}),
            Panel({"standard_epochs": EPOCHS}),
            Panel({"perturbation_epochs": times}),
        ],
    )


_SHIFTED = {**_COMMON, "data.name": "shifted_gauss", "lr": [1.0, 0.1], "epochs": 1000}
_FIVE_RATES = [10.0, 5.0, 1.0, 0.1, 0.01]
_SHIFTED_DIMS = {
    "input_dim": (*TENS, *range(2000, 5001, 1000)),
    "epsilon": (
        0.031, 0.044, 0.054, 0.063, 0.07, 0.077, 0.083, 0.089, 0.094, 0.1, 0.14, 0.17, 0.2, 0.22, 0.24, 0.26, 0.28, 0.3,
        0.31, 0.44, 0.54, 0.63, 0.7,
    ),
}  # fmt: skip
_MNIST = {"data.name": "mnist", "data.classes": [1, 2]}
_FASHION = {"data.name": "fashion_mnist", "data.classes": [0, 9]}
_SMALL, _LARGE = _multiples(0.014, 0, 10), _multiples(0.14, 0, 10)
_FEW_TIMES = tuple(range(10, 101, 10))

ACCURACY_FIGURES = {
    figure.name: figure
    for figure in (
        Figure(
            "shifted_gauss_a",
            {**_SHIFTED, **_BARE, "input_dim": 100, "n_samples": 1000, "epsilon": 0.01},
            [
                Panel(
                    {
                        "input_dim": range(10, 101, 10),
                        "epsilon": (0.0031, 0.0044, 0.0054, 0.0063, 0.007, 0.0077, 0.0083, 0.0089, 0.0094, 0.01),
                    }
                ),
                Panel(
                    {
                        "input_dim": range(10, 51, 5),
                        "epsilon": (0.0031, 0.0038, 0.0044, 0.005, 0.0054, 0.0059, 0.0063, 0.0067, 0.007),
                    },
                    {"loss": "logistic"},
                ),
                Panel({"epsilon": _multiples(0.001, 0, 10)}),
                Panel({"hidden_dim": WIDTHS}),
                Panel({"slope": SLOPES}),
                Panel({"n_samples": SAMPLES}),
                Panel({"standard_epochs": range(1, 11)}, {"standard_lr": [0.1]}),
                Panel({"perturbation_epochs": EPOCHS}),
            ],
        ),
        Figure(
            "shifted_gauss_b",
            {**_SHIFTED, **_NATURAL, "input_dim": 5000, "n_samples": 10_000, "epsilon": 0.7},
            [
                Panel(_SHIFTED_DIMS),
                Panel(_SHIFTED_DIMS, {"loss": "logistic", "lr": _FIVE_RATES}),
                Panel({"epsilon": _multiples(0.1, 0, 7)}),
                Panel({"hidden_dim": WIDTHS}),
                Panel({"slope": SLOPES}),
                Panel({"n_samples": SAMPLES}),
                Panel({"standard_epochs": range(1, 11)}, {"standard_lr": [0.01]}),
                Panel({"perturbation_epochs": EPOCHS}, {"perturbation_lr": [0.01]}),
            ],
        ),
        _gauss(
            "gauss_a",
            _BARE,
            0.01,
            [
                Panel({"n_samples": SAMPLES}),
                Panel({"standard_epochs": EPOCHS}, {"standard_lr": [0.1]}),
                Panel({"perturbation_epochs": EPOCHS}),
            ],
        ),
        _gauss(
            "gauss_b",
            _NATURAL,
            1.0,
            [
                Panel({"n_samples": SAMPLES[4:]}),
                Panel({"standard_epochs": EPOCHS}, {"standard_lr": [0.1]}),
                Panel({"perturbation_epochs": EPOCHS}, {"perturbation_lr": [0.1]}),
            ],
        ),
        _images(
            "mnist_a",
            _BARE,
            _MNIST,
            Panel({"epsilon": _SMALL[2:]}),
            Panel({"epsilon": _SMALL[2:]}, {"loss": "logistic"}),
            _FEW_TIMES,
        ),
        _images(
            "mnist_b",
            _NATURAL,
            _MNIST,
            Panel({"epsilon": _SMALL}),
            Panel({"epsilon": _LARGE}, {"loss": "logistic"}),
            EPOCHS,
        ),
        _images(
            "fmnist_a",
            _BARE,
            _FASHION,
            Panel({"epsilon": _SMALL}),
            Panel({"epsilon": _SMALL}, {"loss": "logistic"}),
            _FEW_TIMES,
        ),
        _images(
            "fmnist_b",
            _NATURAL,
            _FASHION,
            Panel({"epsilon": _SMALL}),
            Panel({"epsilon": _LARGE}, {"loss": "logistic"}),
            _FEW_TIMES,
        ),
    )
}
"""NeurIPS24's accuracy figures by name."""
