"""Synthetic data as the papers' scripts draw them."""

from __future__ import annotations

import torch

from perturblearn.config.data import ShiftedGaussConfig, SyntheticConfig, UniformConfig
from perturblearn.data.raw import RawData
from perturblearn.data.synthetic import Samples, draw_part, drawn_data, require_halves
from perturblearn.seeding import CudaGenerator, PublishedDraws, random_signs


def draw_published(config: SyntheticConfig, draws: PublishedDraws, *, seed: int) -> RawData:
    """Data of a paper's script for a seed [NeurIPS24, section 5; ICLR24, section 5].

    Args:
        config: data of that paper. Of ``shifted_gauss`` all positive samples come before the negative ones.
        draws: the script's.
        seed: of the script.

    Returns:
        Inputs (N, d), labels 0 (+1) and 1 (-1). Held-out samples are the script's fresh ones, or ours if it has none.

    Raises:
        DataError: an odd number of shifted samples.
    """
    part = _shifted_part if isinstance(config, ShiftedGaussConfig) else _random_part
    generator = draws.generator(seed)
    training = part(config, config.n_samples, generator)
    if draws.has_fresh_samples:
        # Between both parts the script draws the targets.
        generator.skip(config.n_samples)
        return drawn_data(config, training, part(config, config.n_heldout, generator))
    return drawn_data(config, training, draw_part(config, config.n_heldout, seed, "held-out"))


def _random_part(config: SyntheticConfig, count: int, generator: CudaGenerator) -> Samples:
    if isinstance(config, UniformConfig):
        inputs = generator.uniform(count, config.input_dim).mul_(2).sub_(1)
    else:
        inputs = generator.normal(count, config.input_dim)
    return inputs, (1 - random_signs(generator, count)) // 2


def _shifted_part(config: SyntheticConfig, count: int, generator: CudaGenerator) -> Samples:
    assert isinstance(config, ShiftedGaussConfig)
    require_halves(config)
    half = count // 2
    positive = generator.normal(half, config.input_dim).add_(config.shift)
    negative = generator.normal(half, config.input_dim).sub_(config.shift)
    return torch.cat((positive, negative)), torch.arange(2).repeat_interleave(half)
