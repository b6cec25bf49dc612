"""What every prediction asks of its arguments, in one sentence each."""

from __future__ import annotations

import torch
from torch import Tensor

from perturblearn.errors import ConfigError, DataError


def check_slope(slope: float, *, positive: bool = False) -> None:
    """Refuse a slope outside [0, 1), or outside (0, 1) where both sides of a unit must carry a signal."""
    if not 0 <= slope < 1:
        raise ConfigError(f"slope = {slope}, but the negative slope must be at least 0 and below 1; choose one there")
    if positive and slope == 0:
        raise ConfigError(
            "slope = 0, but the limit of long training needs units that carry a signal on both sides; "
            "choose a slope above 0 and below 1"
        )


def check_pair(x: Tensor, z: Tensor, names: tuple[str, str] = ("x", "z")) -> None:
    """Refuse inputs that are no matrices of equal width, or not floats of one precision."""
    first, second = names
    for name, inputs in ((first, x), (second, z)):
        if inputs.ndim != 2:
            raise DataError(
                f"{name} has shape {tuple(inputs.shape)}, but one row per sample is expected; "
                f"flatten it, for example with {name}.flatten(1)"
            )
        if not inputs.dtype.is_floating_point:
            raise DataError(f"{name} is {inputs.dtype}, but floats are expected; convert it with {name}.float()")
    if x.shape[1] != z.shape[1]:
        raise DataError(f"{first} has {x.shape[1]} columns and {second} has {z.shape[1]}; give inputs of one dimension")
    if x.dtype != z.dtype:
        raise DataError(f"{first} is {x.dtype} and {second} is {z.dtype}; give both in one precision")


def check_same_shape(x: Tensor, other: Tensor, name: str) -> None:
    """Refuse a tensor that has not one row per sample of x."""
    check_pair(x, other, ("x", name))
    if x.shape != other.shape:
        raise DataError(
            f"{name} has shape {tuple(other.shape)} and x {tuple(x.shape)}; give one row of {name} per sample"
        )


def check_labels(y: Tensor, n_samples: int, name: str = "y", *, both_classes: bool = True) -> None:
    """Refuse labels other than +1 and -1, another number of them than samples, none at all, or one class only."""
    if y.shape != (n_samples,):
        raise DataError(f"{name} has shape {tuple(y.shape)} for {n_samples} samples; give one label per sample")
    if n_samples == 0:
        raise DataError("there are no samples; give at least one of each class")
    wrong = (y.abs() != 1) | ~torch.isfinite(y.double())
    if bool(wrong.any()):
        value = y[wrong][0].item()
        raise DataError(
            f"{name} holds the label {value:g}, but labels must be +1 and -1; "
            f"for two classes 0 and 1 write 2 * {name} - 1"
        )
    if both_classes and bool((y == y[0]).all()):
        raise DataError(
            f"all {n_samples} labels in {name} are {y[0].item():+g}; give samples of both classes, +1 and -1"
        )


def check_finite(x: Tensor, name: str = "x") -> None:
    """Refuse NaN and infinities."""
    if not bool(torch.isfinite(x).all()):
        raise DataError(f"{name} holds NaN or infinite values; remove those samples")
