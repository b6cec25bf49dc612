"""The draws of NeurIPS24's script, whose figures are one seed each: every one of them can be made again on a CPU.

The script seeds torch's generators of the CPU and of the GPU with the same number. It draws networks on the CPU, f
before g, and data and labels on the GPU: data, labels where they are random, targets, and fresh samples to measure
agreement on. Whoever needs one of these draws alone skips those before it.

[NeurIPS24] Kumano, Kera, Yamasaki, "Wide Two-Layer Networks can Learn from Adversarial Perturbations".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from perturblearn.seeding.cuda import CudaGenerator

DRAWS = ("neurips2024",)
"""Published scripts whose draws are known, by their names in a configuration."""


@dataclass(frozen=True)
class PublishedStart:
    """Where the script's generator of the CPU stands when it draws a network.

    Args:
        script: one of `DRAWS`.
        widths: of the networks drawn before, over the same inputs.
        loader: whether a loader of images has drawn its own seed since.
    """

    script: str
    widths: tuple[int, ...] = ()
    loader: bool = False

    def network(self, width: int, input_dim: int, *, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """The network that is drawn there: w ~ N(0, I/d), b ~ N(0, 1), a ~ N(0, 1/m).

        Args:
            width: hidden units m.
            input_dim: coordinates d of an input.
            seed: the script's.

        Returns:
            W (m, d), b (m,) and a (m,), float32.
        """
        generator = torch.Generator().manual_seed(seed)
        for before in self.widths:
            _draw_network(before, input_dim, generator)
        if self.loader:
            torch.empty((), dtype=torch.int64).random_(generator=generator)
        return _draw_network(width, input_dim, generator)


@dataclass(frozen=True)
class PublishedTargets:
    """Where the script's generator of the GPU stands when it draws target labels.

    Args:
        script: one of `DRAWS`.
        card: one of `CARDS`.
        before: elements of each call before.
    """

    script: str
    card: str
    before: tuple[int, ...] = ()

    def labels(self, count: int, *, seed: int) -> Tensor:
        """The labels that are drawn there, +1 and -1, (count,) int64."""
        generator = CudaGenerator(seed, self.card)
        for elements in self.before:
            generator.skip(elements)
        return random_signs(generator, count)


@dataclass(frozen=True)
class PublishedDraws:
    """What is asked for the draws of a script; which ones each depends on is written here alone.

    Args:
        script: one of `DRAWS`.
        card: the GPU that the script ran on, one of `CARDS`.
    """

    script: str
    card: str

    @property
    def standard(self) -> PublishedStart:
        """Where f starts."""
        return PublishedStart(self.script)

    def perturbation(self, standard_width: int, *, loads: bool) -> PublishedStart:
        """Where g starts.

        Args:
            standard_width: hidden units of f.
            loads: whether the data are read by a loader, and not drawn.
        """
        return PublishedStart(self.script, (standard_width,), loads)

    def targets(self, data: str, n_samples: int, input_dim: int) -> PublishedTargets:
        """Where targets are drawn.

        Args:
            data: ``gauss`` or ``shifted_gauss``; all others are not drawn.
            n_samples: training samples N.
            input_dim: dimension d.
        """
        before: tuple[int, ...] = ()
        if data == "gauss":
            before = (n_samples * input_dim, n_samples)
        elif data == "shifted_gauss":
            before = (n_samples // 2 * input_dim,) * 2
        return PublishedTargets(self.script, self.card, before)

    def generator(self, seed: int) -> CudaGenerator:
        """The generator of data, as it stands when the script begins."""
        return CudaGenerator(seed, self.card)


def random_signs(generator: CudaGenerator, count: int) -> Tensor:
    """Labels +1 and -1, (count,) int64."""
    return 2 * generator.integers(2, count) - 1


def _draw_network(width: int, input_dim: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    weight, bias, readout = torch.empty(width, input_dim), torch.empty(width), torch.empty(width)
    # A linear layer first draws what torch gives it by default; nothing of that stays.
    for parameter in (weight, bias):
        parameter.uniform_(generator=generator)
    weight.normal_(0, 1 / math.sqrt(input_dim), generator=generator)
    bias.normal_(0, 1, generator=generator)
    readout.normal_(0, 1 / math.sqrt(width), generator=generator)
    return weight, bias, readout
