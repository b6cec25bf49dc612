"""What is perturbed: training inputs, other training inputs, those of another data set, noise, or nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from perturblearn.config import AttackConfig, OneStepConfig
from perturblearn.data import Dataset
from perturblearn.errors import ConfigError, DataError
from perturblearn.perturbed.perturbed_set import PerturbedSet
from perturblearn.perturbed.shards import block_rows, blocks_in
from perturblearn.seeding import PublishedSources


@dataclass(frozen=True, eq=False)
class Sources:
    """Sources u_n, and the points at which the attack looks at the classifier.

    Args:
        inputs: u, (n, ...): what the perturbation is added to; 0 for the source ``none``.
        points: where perturbations are computed, (n, ...): the sources, or the data inputs for ``none``.
        labels: true labels of the data inputs behind the sources, (n,); None for noise, which has none.
        index: position of each source in its part of the data, (n,); for noise, the number of the draw.
        originals: the inputs that are rebuilt from other ones, (n, ...); None where none are.
    """

    inputs: Tensor
    points: Tensor
    labels: Tensor | None
    index: Tensor
    originals: Tensor | None = None

    def part(self, rows: slice) -> Sources:
        """Some of them."""
        labels, originals = (None if each is None else each[rows] for each in (self.labels, self.originals))
        return Sources(self.inputs[rows], self.points[rows], labels, self.index[rows], originals)

    @staticmethod
    def index_of(available: int, count: int) -> Tensor:
        """Positions of the samples that are perturbed, (count,): all that are available, or so many evenly spaced."""
        if count >= available:
            return torch.arange(available)
        # In float32 the positions in a large set would be rounded, the last one beyond its end.
        return torch.linspace(0, available - 1, count, dtype=torch.float64).round().long()


def draw_sources(
    attack: AttackConfig,
    data: Dataset,
    *,
    heldout: bool,
    count: int,
    seed: int,
    rows: range | None = None,
    published: PublishedSources | None = None,
) -> Sources:
    """The sources of a perturbed set.

    Args:
        attack: its source: ``natural``, ``errors`` (natural, of which f's errors are chosen later), ``noisy`` (natural
            under Gaussian noise, clipped to the data's value range), ``another`` (for each sample another one of its
            part, drawn at random), ``none``, ``uniform`` (over the data's value range), ``gauss`` (N(0, 1)), or
            ``data:NAME`` (the data's foreign inputs).
        data: the data set.
        heldout: use the held-out part instead of the training part.
        count: how many the whole set has: noise is drawn so often, of the part's samples so many are taken, evenly
            spaced.
        seed: fixes other samples, and the noise, which is drawn in float32 on the CPU; that of a published script, if
            this draws it.
        rows: which of them, from the first of a block on; None for all.
        published: where a published script draws the noise; None for our own draws.

    Raises:
        ConfigError: uniform noise over data without bounds, or more foreign sources than there are.
        DataError: a single sample, which has no other one.
    """
    source = attack.source
    rows = range(count) if rows is None else rows
    inputs = data.heldout_inputs if heldout else data.inputs
    labels = data.heldout_labels if heldout else data.labels
    if source in ("natural", "errors", "none"):
        index = Sources.index_of(len(inputs), count)[rows.start : rows.stop]
        if count < len(inputs):
            chosen = index.to(inputs.device)
            inputs, labels = inputs[chosen], labels[chosen]
        else:  # views, so that sources take no memory of their own
            inputs, labels = inputs[rows.start : rows.stop], labels[rows.start : rows.stop]
        # One zero that looks like as many as there are inputs.
        nothing = inputs.new_zeros(()).expand_as(inputs)
        return Sources(nothing if source == "none" else inputs, inputs, labels, index)
    if source == "noisy":
        clean = draw_sources(OneStepConfig(), data, heldout=heldout, count=count, seed=seed, rows=rows)
        assert attack.signal_to_noise is not None, "the configuration asks for it"
        deviation = math.sqrt(data.inputs.var().item() / attack.signal_to_noise)
        noise = _noise("gauss", tuple(inputs.shape[1:]), seed, rows).to(inputs)
        noisy = (clean.inputs + deviation * noise).clamp(*data.value_range)
        return Sources(noisy, noisy, clean.labels, clean.index)
    if attack.foreign is not None:
        return _foreign(data, attack.foreign, heldout=heldout, count=count, rows=rows)
    if source == "another":
        index = _others(Sources.index_of(len(inputs), count), len(inputs), seed)[rows.start : rows.stop]
        originals = draw_sources(OneStepConfig(), data, heldout=heldout, count=count, seed=seed, rows=rows).inputs
        chosen = index.to(inputs.device)
        others = inputs[chosen]
        return Sources(others, others, labels[chosen], index, originals)
    low, high = data.value_range
    if source == "uniform" and not (math.isfinite(low) and math.isfinite(high)):
        raise ConfigError(
            "attack.source = 'uniform' draws over the data's value range, but these data have no bounds; choose gauss"
        )
    shape = tuple(inputs.shape[1:])
    if published is None:
        noise = _noise(source, shape, seed, rows)
    else:
        noise = published.noise(source, (count, *shape), rows, seed=seed)
    if source == "uniform":
        noise.mul_(high - low).add_(low)
    noise = noise.to(inputs)
    return Sources(noise, noise, None, torch.arange(rows.start, rows.stop))


def _foreign(data: Dataset, name: str, *, heldout: bool, count: int, rows: range) -> Sources:
    """Inputs of another data set, evenly spaced; in its held-out part again from the start where it has fewer.

    Raises:
        ConfigError: its training part has fewer.
    """
    assert data.foreign is not None, "sets are made of data that know their foreign inputs"
    inputs = data.foreign.heldout_inputs if heldout else data.foreign.inputs
    if not heldout and count > len(inputs):
        raise ConfigError(
            f"{count} sources are asked for, but the data set {name} has {len(inputs)} training inputs; set "
            f"attack.n_sources = {len(inputs)}"
        )
    every = Sources.index_of(len(inputs), count) if count <= len(inputs) else torch.arange(count) % len(inputs)
    index = every[rows.start : rows.stop]
    chosen = inputs[index.to(inputs.device)]
    return Sources(chosen, chosen, None, index)


def chosen_by_f(made: PerturbedSet, attack: AttackConfig, *, heldout: bool) -> PerturbedSet:
    """The samples of a set that its source is about: of ``errors`` those that f gets wrong, of all others every one.

    Args:
        made: all samples.
        attack: its source.
        heldout: whether they are held-out inputs.

    Raises:
        DataError: f gets none wrong.
    """
    if not attack.is_chosen_by_f:
        return made
    if not bool(made.redirected.any()):
        inputs = "held-out" if heldout else "training"
        raise DataError(
            f"attack.source = 'errors' takes the {inputs} inputs that f gets wrong, but there is none; train f for "
            "fewer epochs, or choose another source"
        )
    return made.where(made.redirected)


def _others(index: Tensor, available: int, seed: int) -> Tensor:
    """For each position another one, uniformly.

    Raises:
        DataError: there is no other one.
    """
    if available < 2:
        raise DataError(
            "attack.name = 'rebuild' starts from another sample, but a part of the data has a single one; add samples"
        )
    generator = torch.Generator().manual_seed(seed)
    return (index + torch.randint(1, available, index.shape, generator=generator)) % available


_reached: dict[tuple[object, ...], Tensor] = {}
"""The generator's state after the noise that was drawn last: whoever draws what follows need not begin anew."""


def _noise(source: str, shape: tuple[int, ...], seed: int, rows: range) -> Tensor:
    """Some rows of one long sequence of noise, (n, ...) float32: uniform on [0, 1), or N(0, 1).

    It is drawn block by block, so that it is the same whichever rows are asked for at once.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.empty(len(rows), *shape, dtype=torch.float32)
    input_dim = math.prod(shape)
    state = _reached.pop((source, shape, seed, rows.start), None)
    first = 0
    if state is not None:
        generator.set_state(state)
        first = rows.start
    skipped = torch.empty(block_rows(input_dim), *shape, dtype=torch.float32) if first < rows.start else drawn
    for block in blocks_in(range(first, rows.stop), input_dim):
        inside = block.start - rows.start
        part = drawn[inside : inside + len(block)] if inside >= 0 else skipped
        if source == "gauss":
            torch.randn(part.shape, generator=generator, out=part)
        else:
            torch.rand(part.shape, generator=generator, out=part)
    _reached.clear()
    _reached[source, shape, seed, rows.stop] = generator.get_state()
    return drawn
