"""Data drawn afresh for every seed [NeurIPS24, section 5; ICLR24, section 4]."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from perturblearn.data.draws import generator_for
from perturblearn.data.labels import SIGN_NAMES
from perturblearn.data.raw import RawData
from perturblearn.errors import DataError

DEFAULT_N_SAMPLES = 1000
DEFAULT_N_HELDOUT = 1000
DEFAULT_INPUT_DIM = 100
DEFAULT_SHIFT = 0.3
DEFAULT_RHO = 0.0

UNBOUNDED = (-math.inf, math.inf)


def gauss(
    *,
    n_samples: int = DEFAULT_N_SAMPLES,
    n_heldout: int = DEFAULT_N_HELDOUT,
    input_dim: int = DEFAULT_INPUT_DIM,
    seed: int = 0,
) -> RawData:
    """Inputs x ~ N(0, I) with random labels: nothing to learn but the sample itself [NeurIPS24].

    Args:
        n_samples: training samples N.
        n_heldout: held-out samples.
        input_dim: dimension d.
        seed: the run's seed; each part, and inputs and labels, have generators of their own.

    Returns:
        Inputs (N, d) without bounds, labels 0 (+1) and 1 (-1).

    Raises:
        DataError: all training labels came out equal.
    """
    return RawData(
        inputs=normal_inputs(n_samples, input_dim, seed, "training"),
        labels=random_labels(n_samples, seed, "training"),
        class_names=SIGN_NAMES,
        value_range=UNBOUNDED,
        mean=0.0,
        heldout_inputs=normal_inputs(n_heldout, input_dim, seed, "held-out"),
        heldout_labels=random_labels(n_heldout, seed, "held-out"),
    )


def shifted_gauss(
    *,
    n_samples: int = DEFAULT_N_SAMPLES,
    n_heldout: int = DEFAULT_N_HELDOUT,
    input_dim: int = DEFAULT_INPUT_DIM,
    shift: float = DEFAULT_SHIFT,
    seed: int = 0,
) -> RawData:
    """Inputs x ~ N(+shift 1, I) for y = +1 and N(-shift 1, I) for y = -1, half and half, in turn [NeurIPS24].

    Args:
        n_samples: training samples N, even.
        n_heldout: held-out samples, even.
        input_dim: dimension d.
        shift: distance of each coordinate's mean from 0.
        seed: the run's seed; each part has a generator of its own.

    Returns:
        Inputs (N, d) without bounds, labels 0 (+1) and 1 (-1) in turn.

    Raises:
        DataError: an odd number of samples.
    """
    require_halves(n_samples, n_heldout)

    def part(number: int, name: str) -> tuple[Tensor, Tensor]:
        labels = torch.arange(number) % 2
        signs = (1 - 2 * labels).to(torch.float32)
        return normal_inputs(number, input_dim, seed, name).add_(shift * signs[:, None]), labels

    inputs, labels = part(n_samples, "training")
    heldout_inputs, heldout_labels = part(n_heldout, "held-out")
    return RawData(
        inputs=inputs,
        labels=labels,
        class_names=SIGN_NAMES,
        value_range=UNBOUNDED,
        mean=0.0,
        heldout_inputs=heldout_inputs,
        heldout_labels=heldout_labels,
    )


def correlated(
    *,
    n_samples: int = DEFAULT_N_SAMPLES,
    n_heldout: int = DEFAULT_N_HELDOUT,
    input_dim: int = DEFAULT_INPUT_DIM,
    rho: float = DEFAULT_RHO,
    seed: int = 0,
) -> RawData:
    r"""Gaussian inputs that are not nearly orthogonal, because they share a component; random labels.

    :math:`x_n = \sqrt{1 - \rho}\, z_n + \sqrt\rho\, c` with z_n ~ N(0, I) for each sample and one c ~ N(0, I) for all
    samples of a seed, training and held-out: each coordinate has variance 1, and the cosine of two samples is about
    rho. With rho = 0 they are the samples of `gauss`.

    Args:
        n_samples: training samples N.
        n_heldout: held-out samples.
        input_dim: dimension d.
        rho: share of the common component, in [0, 1).
        seed: the run's seed; each part, inputs and labels, and the common component have generators of their own.

    Returns:
        Inputs (N, d) without bounds, labels 0 (+1) and 1 (-1).

    Raises:
        DataError: all training labels came out equal.
    """
    common = math.sqrt(rho) * normal_inputs(1, input_dim, seed, "common")

    def inputs(number: int, part: str) -> Tensor:
        return normal_inputs(number, input_dim, seed, part).mul_(math.sqrt(1 - rho)).add_(common)

    return RawData(
        inputs=inputs(n_samples, "training"),
        labels=random_labels(n_samples, seed, "training"),
        class_names=SIGN_NAMES,
        value_range=UNBOUNDED,
        mean=0.0,
        heldout_inputs=inputs(n_heldout, "held-out"),
        heldout_labels=random_labels(n_heldout, seed, "held-out"),
    )


def uniform(
    *,
    n_samples: int = DEFAULT_N_SAMPLES,
    n_heldout: int = DEFAULT_N_HELDOUT,
    input_dim: int = DEFAULT_INPUT_DIM,
    seed: int = 0,
) -> RawData:
    """Inputs x ~ U[-1, 1]^d with random labels [ICLR24].

    Args:
        n_samples: training samples N.
        n_heldout: held-out samples.
        input_dim: dimension d.
        seed: the run's seed; each part, and inputs and labels, have generators of their own.

    Returns:
        Inputs (N, d) in [-1, 1], labels 0 (+1) and 1 (-1).

    Raises:
        DataError: all training labels came out equal.
    """
    return RawData(
        inputs=uniform_inputs(n_samples, input_dim, seed, "training"),
        labels=random_labels(n_samples, seed, "training"),
        class_names=SIGN_NAMES,
        value_range=(-1.0, 1.0),
        mean=0.0,
        heldout_inputs=uniform_inputs(n_heldout, input_dim, seed, "held-out"),
        heldout_labels=random_labels(n_heldout, seed, "held-out"),
    )


def require_halves(n_samples: int, n_heldout: int) -> None:
    """Refuse odd numbers of samples of which half are to be of each class.

    Raises:
        DataError: a number is odd.
    """
    for key, number in (("n_samples", n_samples), ("n_heldout", n_heldout)):
        if number % 2:
            raise DataError(f"{key} = {number} is odd, but shifted_gauss is half and half; choose an even number")


def normal_inputs(number: int, input_dim: int, seed: int, part: str) -> Tensor:
    """N(0, I), (number, d), of a part of the data."""
    return torch.randn(number, input_dim, dtype=torch.float32, generator=generator_for(seed, f"{part} inputs"))


def uniform_inputs(number: int, input_dim: int, seed: int, part: str) -> Tensor:
    """U[-1, 1]^d, (number, d), of a part of the data."""
    generator = generator_for(seed, f"{part} inputs")
    return torch.rand(number, input_dim, dtype=torch.float32, generator=generator).mul_(2).sub_(1)


def random_labels(number: int, seed: int, part: str) -> Tensor:
    """Labels 0 (+1) and 1 (-1), (number,), of a part of the data.

    Raises:
        DataError: all training labels came out equal.
    """
    labels = torch.randint(2, (number,), generator=generator_for(seed, f"{part} labels"))
    if part == "training" and len(labels.unique()) < 2:
        raise DataError(
            f"all {number} random training labels of seed {seed} came out equal; draw more samples or use another seed"
        )
    return labels
