"""Synthetic data as a published script draws them: the training part, targets, then samples to measure agreement on."""

from __future__ import annotations

import torch
from torch import Tensor

from perturblearn.config.data import ShiftedGaussConfig, SyntheticConfig
from perturblearn.data.labels import SIGN_NAMES
from perturblearn.data.raw import RawData
from perturblearn.data.synthetic import UNBOUNDED, require_halves
from perturblearn.seeding import CudaGenerator, PublishedDraws, random_signs


def draw_published(config: SyntheticConfig, draws: PublishedDraws, *, seed: int) -> RawData:
    """Data of NeurIPS24 for a seed [NeurIPS24, section 5].

    Args:
        config: ``gauss`` or ``shifted_gauss``. Of the latter all positive samples come before the negative ones.
        draws: the script's.
        seed: of the script.

    Returns:
        Inputs (N, d) without bounds, labels 0 (+1) and 1 (-1).

    Raises:
        DataError: an odd number of shifted samples.
    """
    part = _shifted_part if isinstance(config, ShiftedGaussConfig) else _gauss_part
    generator = draws.generator(seed)
    inputs, labels = part(config, config.n_samples, generator)
    # Between both parts the script draws the targets.
    generator.skip(config.n_samples)
    heldout_inputs, heldout_labels = part(config, config.n_heldout, generator)
    return RawData(
        inputs=inputs,
        labels=labels,
        class_names=SIGN_NAMES,
        value_range=UNBOUNDED,
        mean=0.0,
        heldout_inputs=heldout_inputs,
        heldout_labels=heldout_labels,
    )


def _gauss_part(config: SyntheticConfig, count: int, generator: CudaGenerator) -> tuple[Tensor, Tensor]:
    inputs = generator.normal(count, config.input_dim)
    return inputs, (1 - random_signs(generator, count)) // 2


def _shifted_part(config: SyntheticConfig, count: int, generator: CudaGenerator) -> tuple[Tensor, Tensor]:
    assert isinstance(config, ShiftedGaussConfig)
    require_halves(config.n_samples, config.n_heldout)
    half = count // 2
    positive = generator.normal(half, config.input_dim).add_(config.shift)
    negative = generator.normal(half, config.input_dim).sub_(config.shift)
    return torch.cat((positive, negative)), torch.arange(2).repeat_interleave(half)
