"""The draws of the papers' scripts, whose figures are one seed each: every one of them can be made again on a CPU.

A script seeds torch's generators of the CPU and of the GPU with the same number. Networks are drawn on the CPU, f
before g; data, labels and targets on the GPU. Whoever needs one of these draws alone skips those before it.

NeurIPS24 draws on the GPU: data, labels where they are random, targets, and fresh samples to measure agreement on.
ICLR24: data, labels, noise to perturb, targets. Between f and g it draws a network that learns the noise alone.

[NeurIPS24] Kumano, Kera, Yamasaki, "Wide Two-Layer Networks can Learn from Adversarial Perturbations".
[ICLR24] Kumano, Kera, Yamasaki, "Theoretical Understanding of Learning from Adversarial Perturbations".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from perturblearn.seeding.cuda import CudaGenerator

DRAWS = ("neurips2024", "iclr2024")
"""Published scripts whose draws are known, by their names in a configuration."""


@dataclass(frozen=True)
class PublishedStart:
    """Where a script's generator of the CPU stands when it draws a network.

    Args:
        script: one of `DRAWS`.
        widths: of the networks drawn before, over the same inputs.
        loader: whether a loader of images has drawn its own seed since.
    """

    script: str
    widths: tuple[int, ...] = ()
    loader: bool = False

    def network(self, width: int, input_dim: int, *, seed: int) -> tuple[Tensor, ...]:
        """The parameters that are drawn there.

        Args:
            width: hidden units m.
            input_dim: coordinates d of an input.
            seed: the script's.

        Returns:
            Float32: in NeurIPS24 w ~ N(0, I/d), (m, d), b ~ N(0, 1), (m,), and the readout a ~ N(0, 1/m), (m,); in
            ICLR24 w ~ U(-1/sqrt(d), 1/sqrt(d)) alone.
        """
        draw = _draw_weight if self.script == "iclr2024" else _draw_network
        generator = torch.Generator().manual_seed(seed)
        for before in self.widths:
            draw(before, input_dim, generator)
        if self.loader:
            torch.empty((), dtype=torch.int64).random_(generator=generator)
        return draw(width, input_dim, generator)


@dataclass(frozen=True)
class _PublishedDraw:
    """Where a script's generator of the GPU stands when it draws something.

    Args:
        script: one of `DRAWS`.
        card: one of `CARDS`.
        before: elements of each call before.
    """

    script: str
    card: str
    before: tuple[int, ...] = ()

    def generator(self, seed: int) -> CudaGenerator:
        """The generator, past what the script has drawn before."""
        generator = CudaGenerator(seed, self.card)
        for elements in self.before:
            generator.skip(elements)
        return generator


class PublishedSources(_PublishedDraw):
    """Where a script draws noise to perturb."""

    def noise(self, source: str, shape: tuple[int, ...], rows: range, *, seed: int) -> Tensor:
        """Some rows of the noise that is drawn there, float32.

        Args:
            source: ``uniform`` on [0, 1), or ``gauss`` for N(0, 1).
            shape: of the whole noise, (n, ...).
            rows: which of the n.
            seed: the script's.
        """
        generator = self.generator(seed)
        draw = generator.normal if source == "gauss" else generator.uniform
        return draw(*shape, rows=rows)


class PublishedTargets(_PublishedDraw):
    """Where a script draws target labels."""

    def labels(self, count: int, *, seed: int) -> Tensor:
        """The labels that are drawn there, +1 and -1, (count,) int64."""
        return random_signs(self.generator(seed), count)


@dataclass(frozen=True)
class PublishedControl:
    """How a script draws a network that learns the sources without their perturbations.

    Args:
        sources, targets: what it learns.
        start: where the network is drawn; None where it is drawn by us.
    """

    sources: PublishedSources
    targets: PublishedTargets
    start: PublishedStart | None


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
    def has_control(self) -> bool:
        """Whether the script draws noise to perturb, and a network that learns it unperturbed."""
        return self.script == "iclr2024"

    @property
    def has_fresh_samples(self) -> bool:
        """Whether the script draws fresh samples, to measure on."""
        return self.script == "neurips2024"

    @property
    def standard(self) -> PublishedStart:
        """Where f starts."""
        return PublishedStart(self.script)

    def control(self, standard_width: int) -> PublishedStart:
        """Where the network starts that learns unperturbed noise.

        Args:
            standard_width: hidden units of f.
        """
        return PublishedStart(self.script, (standard_width,))

    def perturbation(self, standard_width: int, width: int, *, loads: bool) -> PublishedStart:
        """Where g starts.

        Args:
            standard_width: hidden units of f.
            width: hidden units of g, and of the network that learns unperturbed noise.
            loads: whether the data are read by a loader, and not drawn.
        """
        before = (standard_width, width) if self.has_control else (standard_width,)
        return PublishedStart(self.script, before, loads)

    def sources(self, data: str, n_samples: int, input_dim: int) -> PublishedSources:
        """Where noise to perturb is drawn; for arguments see `targets`."""
        return PublishedSources(self.script, self.card, _data_calls(data, n_samples, input_dim))

    def targets(self, data: str, n_samples: int, input_dim: int, *, n_noise: int = 0) -> PublishedTargets:
        """Where targets are drawn.

        Args:
            data: ``gauss``, ``shifted_gauss`` or ``uniform``; all others are not drawn.
            n_samples: training samples N.
            input_dim: dimension d.
            n_noise: samples of noise to perturb, which are drawn before their targets.
        """
        before = _data_calls(data, n_samples, input_dim)
        return PublishedTargets(self.script, self.card, (*before, n_noise * input_dim) if n_noise else before)

    def generator(self, seed: int) -> CudaGenerator:
        """The generator of data, as it stands when the script begins."""
        return CudaGenerator(seed, self.card)


def random_signs(generator: CudaGenerator, count: int) -> Tensor:
    """Labels +1 and -1, (count,) int64."""
    return 2 * generator.integers(2, count) - 1


def _data_calls(data: str, n_samples: int, input_dim: int) -> tuple[int, ...]:
    """Elements of each call that draws training data; none for data that are not drawn."""
    if data in ("gauss", "uniform"):
        return (n_samples * input_dim, n_samples)
    return (n_samples // 2 * input_dim,) * 2 if data == "shifted_gauss" else ()


def _draw_network(width: int, input_dim: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    weight, bias, readout = torch.empty(width, input_dim), torch.empty(width), torch.empty(width)
    # A linear layer first draws what torch gives it by default; nothing of that stays.
    for parameter in (weight, bias):
        parameter.uniform_(generator=generator)
    weight.normal_(0, 1 / math.sqrt(input_dim), generator=generator)
    bias.normal_(0, 1, generator=generator)
    readout.normal_(0, 1 / math.sqrt(width), generator=generator)
    return weight, bias, readout


def _draw_weight(width: int, input_dim: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """A linear layer's default, to the bit."""
    weight = torch.empty(width, input_dim)
    torch.nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
    return (weight,)
