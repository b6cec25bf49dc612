"""Data drawn afresh for every seed [NeurIPS24, section 5; ICLR24, section 4]."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from perturblearn.config.data import CorrelatedConfig, ShiftedGaussConfig, SyntheticConfig, UniformConfig
from perturblearn.data.draws import generator_for
from perturblearn.data.labels import SIGN_NAMES
from perturblearn.data.raw import RawData
from perturblearn.errors import DataError

Samples = tuple[Tensor, Tensor]
"""Inputs (n, d) and labels (n,) of a part of the data: 0 for +1, 1 for -1."""


def draw_samples(config: SyntheticConfig, *, seed: int) -> RawData:
    """The data of one seed, whose parts, inputs and labels have generators of their own; see `draw_part`.

    Args:
        config: which data, and how many.
        seed: the run's seed.

    Returns:
        Inputs (N, d), uniform ones in [-1, 1], all others without bounds; labels 0 (+1) and 1 (-1).

    Raises:
        DataError: all random training labels came out equal, or an odd number of samples is half and half.
    """
    training = draw_part(config, config.n_samples, seed, "training")
    return drawn_data(config, training, draw_part(config, config.n_heldout, seed, "held-out"))


def draw_part(config: SyntheticConfig, number: int, seed: int, part: str) -> Samples:
    r"""A part of the data.

    - ``gauss``: inputs x ~ N(0, I) with random labels: nothing to learn but the sample itself [NeurIPS24].
    - ``uniform``: inputs x ~ U[-1, 1]^d with random labels [ICLR24].
    - ``shifted_gauss``: inputs x ~ N(+shift 1, I) for y = +1 and N(-shift 1, I) for y = -1, half and half, in turn
      [NeurIPS24].
    - ``correlated``: inputs that are not nearly orthogonal, because they share a component; random labels.
      :math:`x_n = \sqrt{1 - \rho}\, z_n + \sqrt\rho\, c` with z_n ~ N(0, I) for each sample and one c ~ N(0, I) for
      all samples of a seed, training and held-out: each coordinate has variance 1, and the cosine of two samples is
      about rho. With rho = 0 they are those of ``gauss``.

    Args:
        config: which data.
        number: samples of this part.
        seed: the run's seed.
        part: ``training`` or ``held-out``.

    Raises:
        DataError: as `draw_samples`.
    """
    input_dim = config.input_dim
    match config:
        case ShiftedGaussConfig():
            require_halves(config)
            labels = torch.arange(number) % 2
            signs = (1 - 2 * labels).to(torch.float32)
            return _normal(number, input_dim, seed, part).add_(config.shift * signs[:, None]), labels
        case CorrelatedConfig():
            common = math.sqrt(config.rho) * _normal(1, input_dim, seed, "common")
            inputs = _normal(number, input_dim, seed, part).mul_(math.sqrt(1 - config.rho)).add_(common)
        case UniformConfig():
            generator = generator_for(seed, f"{part} inputs")
            inputs = torch.rand(number, input_dim, dtype=torch.float32, generator=generator).mul_(2).sub_(1)
        case _:
            inputs = _normal(number, input_dim, seed, part)
    return inputs, _random_labels(number, seed, part)


def drawn_data(config: SyntheticConfig, training: Samples, heldout: Samples) -> RawData:
    """Both parts as one data set."""
    return RawData(
        inputs=training[0],
        labels=training[1],
        class_names=SIGN_NAMES,
        value_range=(-1.0, 1.0) if isinstance(config, UniformConfig) else (-math.inf, math.inf),
        mean=0.0,
        heldout_inputs=heldout[0],
        heldout_labels=heldout[1],
    )


def require_halves(config: SyntheticConfig) -> None:
    """Refuse odd numbers of samples of which half are to be of each class.

    Raises:
        DataError: a number is odd.
    """
    for key, number in (("n_samples", config.n_samples), ("n_heldout", config.n_heldout)):
        if number % 2:
            raise DataError(f"{key} = {number} is odd, but shifted_gauss is half and half; choose an even number")


def _normal(number: int, input_dim: int, seed: int, part: str) -> Tensor:
    return torch.randn(number, input_dim, dtype=torch.float32, generator=generator_for(seed, f"{part} inputs"))


def _random_labels(number: int, seed: int, part: str) -> Tensor:
    labels = torch.randint(2, (number,), generator=generator_for(seed, f"{part} labels"))
    if part == "training" and len(labels.unique()) < 2:
        raise DataError(
            f"all {number} random training labels of seed {seed} came out equal; draw more samples or use another seed"
        )
    return labels
