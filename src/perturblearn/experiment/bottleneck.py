"""Which units of f bear noise, what perturbations move of them, and what g has of them: an information bottleneck."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from perturblearn.attacks import frozen
from perturblearn.classifiers import (
    Classifier,
    Features,
    features_of,
    label_loss,
    predicted_labels,
    rows_per_pass,
)
from perturblearn.data import Dataset, row_slices
from perturblearn.experiment.measures import accuracy, agreement
from perturblearn.experiment.numbers import Numbers
from perturblearn.perturbed import PerturbedSet
from perturblearn.seeding import derive_seed

STEPS = 300
"""Steps of Adam, each of which changes a unit's noise by about a tenth at most."""
RATE = 0.1
"""Their learning rate."""
AVERAGED = 100
"""The last steps, whose mean counts, because every step sees other noise."""
BATCH = 256
"""Training inputs of each step."""


@dataclass(frozen=True, eq=False)
class Bottleneck:
    """Noise on the units of a layer: as much of it as f's answers bear.

    Args:
        mean, deviation: of each unit over the training inputs, (K,) float64; of a channel, over its positions too.
        noise: standard deviation of the noise on each, (K,) float64.
    """

    mean: Tensor
    deviation: Tensor
    noise: Tensor

    @property
    def information(self) -> Tensor:
        """What passes of each unit in nats, (K,): log(1 + deviation^2 / noise^2) / 2, as if it were Gaussian."""
        return torch.where(self.varies, torch.log1p((self.deviation / self.noise).square()) / 2, 0.0)

    @property
    def varies(self) -> Tensor:
        """Whether a unit differs between inputs, (K,)."""
        return self.deviation > 0

    @property
    def robust(self) -> Tensor:
        """Whether f bears noise on a unit that is larger than what the inputs make of it, (K,)."""
        return self.varies & (self.noise > self.deviation)

    @property
    def non_robust(self) -> Tensor:
        """The other units that differ between inputs, (K,)."""
        return self.varies & ~self.robust

    def keeping(self, units: Tensor) -> Callable[[Tensor], Tensor]:
        """A change of features (n, K, ...) that leaves these units, (K,) bool, and puts all others at their means."""
        return lambda found: torch.where(_column(units, found), found, _column(self.mean, found).to(found.dtype))

    def noisy(self, found: Tensor, noise: Tensor) -> Tensor:
        """Features with as much noise as each unit bears.

        Args:
            found: features, (n, K, ...).
            noise: standard normal, of the same shape.
        """
        return found + _column(self.noise, found).to(found.dtype) * noise


def find_bottleneck(
    standard: Classifier,
    inputs: Tensor,
    *,
    beta: float,
    layer: str | None = None,
    seed: int = 0,
    report: Callable[[int, int, str], None] = lambda done, steps, note: None,
) -> Bottleneck:
    r"""Put as much noise on a layer of f as its answers bear, after Kim et al., NeurIPS 2021.

    Each unit k of the layer gets noise, :math:`z_k + \sigma_k n` with :math:`n \sim N(0, 1)`, one :math:`\sigma_k` for
    all inputs. With :math:`s_k` its standard deviation over them, these minimise

    .. math:: E[-\log p_f(\hat y \mid z + \sigma n)] + \beta \sum_k \tfrac12 \log(1 + s_k^2 / \sigma_k^2),

    the cross-entropy with f's own answers :math:`\hat y` plus the information that passes in nats: the KL divergence of
    :math:`N(z_k, \sigma_k^2)` from :math:`N(m_k, s_k^2 + \sigma_k^2)`, mean over the inputs. Kim et al. find noise for
    each input, and compare with a prior of the variance :math:`s_k^2`, which draws the noise of what f does not need
    towards just that.

    Args:
        standard: f.
        inputs: training inputs, (n, ...).
        beta: price of a nat of information, in nats of the cross-entropy.
        layer: name of a layer, whose output is taken; None for what the last linear layer receives.
        seed: of noise and batches.
        report: called with steps done and in all.

    Raises:
        ModelError: f has no such layer.
    """
    module, generator = standard.module, torch.Generator().manual_seed(derive_seed(seed, "bottleneck"))
    with frozen(module, derive_seed(seed, "bottleneck", "f")):
        features = _features(module, inputs[:1].to(standard.device), layer)
        mean, deviation = _moments(features, inputs, standard.device)
        answers = predicted_labels(standard.outputs(inputs))
        # Relative to the deviation, so that units of all sizes take steps of one size.
        level = torch.full_like(deviation, 0.5).log().requires_grad_()
        optimiser = torch.optim.Adam([level], lr=RATE)
        total = torch.zeros_like(deviation)
        for step in range(STEPS):
            rows = torch.randint(len(inputs), (min(BATCH, len(inputs)),), generator=generator)

            def with_noise(found: Tensor) -> Tensor:
                noise = torch.randn(found.shape, generator=generator).to(found)
                return found + _column(level.exp() * deviation, found).to(found.dtype) * noise

            with torch.enable_grad():
                outputs = features.changed(inputs[rows].to(standard.device), with_noise)
                kept = label_loss(outputs, answers[rows].to(outputs.device)).mean()
                passes = torch.log1p((-2 * level[deviation > 0]).exp()).sum() / 2
                (level.grad,) = torch.autograd.grad(kept.double() + beta * passes, level)
            optimiser.step()
            if step >= STEPS - AVERAGED:
                total += level.detach()
            report(step + 1, STEPS, f"noise step {step + 1}/{STEPS}")
    return Bottleneck(mean, deviation, deviation * (total / AVERAGED).exp())


def measure_bottleneck(
    data: Dataset,
    standard: Classifier,
    perturbed: PerturbedSet,
    perturbation: Classifier,
    *,
    beta: float,
    layer: str | None,
    seed: int,
    report: Callable[[int, int, str], None] = lambda done, steps, note: None,
) -> Numbers:
    """The bottleneck of a layer of f, what perturbations move of its units, and what g has of them.

    Args:
        data: clean inputs.
        standard: f.
        perturbed: what g was trained on, with its sources.
        perturbation: g.
        beta, layer, seed, report: as in `find_bottleneck`.

    Returns:
        The measures ``bottleneck_*`` of the table in *Results*.
    """
    found = find_bottleneck(standard, data.inputs, beta=beta, layer=layer, seed=seed, report=report)
    generator = torch.Generator().manual_seed(derive_seed(seed, "bottleneck", "heldout"))
    with frozen(standard.module, derive_seed(seed, "bottleneck", "f")):
        features = _features(standard.module, data.heldout_inputs[:1].to(standard.device), layer)

        def outputs(change: Callable[[Tensor], Tensor]) -> Tensor:
            """What f says of the held-out inputs with changed features."""
            heldout = data.heldout_inputs
            with torch.no_grad():
                parts = [
                    features.changed(heldout[rows].to(standard.device), change) for rows in _blocks(features, heldout)
                ]
            return torch.cat(parts).to(heldout.device)

        noisy = outputs(lambda passing: found.noisy(passing, torch.randn(passing.shape, generator=generator)))
        kept = {name: outputs(found.keeping(units)) for name, units in _halves(found)}
        moved = sum(_squared_changes(features, perturbed, standard.device), torch.zeros_like(found.mean))
    of_g = perturbation.outputs(data.heldout_inputs)
    squares = found.deviation.square()
    return {
        "bottleneck_robust_units": _share(found.varies.double(), found.robust),
        "bottleneck_information": float(found.information.sum()),
        "bottleneck_noisy_heldout": accuracy(noisy, data.heldout_labels),
        "bottleneck_robust_variance": _share(squares, found.robust),
        "bottleneck_robust_share": _share(moved, found.robust),
        **{f"bottleneck_{name}_heldout": accuracy(said, data.heldout_labels) for name, said in kept.items()},
        **{f"bottleneck_{name}_agreement": agreement(said, of_g) for name, said in kept.items()},
    }


def _features(module: nn.Module, example: Tensor, layer: str | None) -> Features:
    return features_of(module, example, layer=layer, key="measures.bottleneck_layer")


def _halves(found: Bottleneck) -> Iterator[tuple[str, Tensor]]:
    yield "robust", found.robust
    yield "non_robust", found.non_robust


def _column(values: Tensor, found: Tensor) -> Tensor:
    """Numbers of units, (K,), as they go with features (n, K, ...)."""
    return values.to(found.device).view(-1, *[1] * (found.ndim - 2))


def _by_unit(found: Tensor) -> Tensor:
    """Features (n, K, ...) in float64 with one row for each input and position, (n * positions, K)."""
    return found.detach().cpu().double().movedim(1, -1).flatten(0, -2)


def _blocks(features: Features, inputs: Tensor) -> Iterator[slice]:
    return row_slices(inputs, block=rows_per_pass(features.module))


def _read(features: Features, inputs: Tensor, device: torch.device) -> Tensor:
    """Features of a few inputs as they pass, (n, K, ...)."""
    seen: list[Tensor] = []

    def see(found: Tensor) -> Tensor:
        seen.append(found.clone())
        return found

    with torch.no_grad():
        features.changed(inputs.to(device), see)
    return seen[-1]


def _moments(features: Features, inputs: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each unit, (K,) float64."""
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for rows in _blocks(features, inputs):
        values = _by_unit(_read(features, inputs[rows], device))
        count += len(values)
        total = total + values.sum(dim=0)
        squares = squares + values.square().sum(dim=0)
    mean = total / count
    variance = squares / count - mean.square()
    # Below the rounding of the difference, a unit is the same for all inputs.
    return mean, torch.where(variance > 1e-12 * squares / count, variance, 0.0).sqrt()


def _squared_changes(features: Features, perturbed: PerturbedSet, device: torch.device) -> Iterator[Tensor]:
    """What the perturbations change of each unit, squared, in blocks: (K,) float64."""
    for rows in _blocks(features, perturbed.inputs):
        inputs = perturbed.inputs[rows]
        sources = inputs - perturbed.perturbations_of(rows).to(inputs)
        after, before = (_by_unit(_read(features, each, device)) for each in (inputs, sources))
        yield (after - before).square().sum(dim=0)


def _share(values: Tensor, within: Tensor) -> float:
    """The part of a sum over units that some of them make; 0 of nothing."""
    total = float(values.sum())
    return float(values[within].sum()) / total if total else 0.0
