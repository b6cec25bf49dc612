"""Descent with every product anew in every epoch: for any loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from perturblearn.training.batch import Batch
from perturblearn.training.losses import LOSSES
from perturblearn.training.products import Products

BLOCK = 2**21
"""Activations of a block of samples: 8 MiB in float32, which stay near the processor between the passes over them."""


def descend_densely(
    batch: Batch, products: Products, states: Tensor, report: Callable[[int, int, str], None], *, block: int = BLOCK
) -> None:
    """All epochs of the networks of a batch; their courses keep what is wanted.

    An epoch is one pass over blocks of samples: activations, outputs, signals and their share of the gradient, so that
    nothing of the size units x samples is kept beyond a block.

    Args:
        batch: the networks.
        products: of their form.
        states: of all units as they start, (U, size); changed in place.
        report: called now and then with epochs done, epochs in all and the loss.
        block: activations per block; it changes nothing beyond rounding.
    """
    velocity, gradient = torch.zeros_like(states), torch.zeros_like(states)
    n_samples, epochs = products.n_samples, batch.epochs
    rows = max(1, min(n_samples, block // batch.units))
    work = states.new_empty(batch.units * rows)
    losses = _Losses(batch)
    every = max(1, epochs // 100)
    for epoch in range(1, epochs + 1):
        total = torch.zeros(len(batch), dtype=torch.float64, device=states.device)
        for start in range(0, n_samples, rows):
            columns = slice(start, min(n_samples, start + rows))
            hidden = work[: batch.units * (columns.stop - start)].view(batch.units, -1)
            products.image(states, columns, hidden)
            if products.offset is not None:
                hidden.add_(products.offset[:, columns])
            signal = losses.signal(_outputs(batch, hidden), columns, total)
            _gate(batch, hidden, signal)
            products.drive(hidden, columns, gradient)
        gradient.mul_(batch.readout[:, None])
        means = (total / n_samples).tolist()
        rates = [course.note(loss) for course, loss in zip(batch.courses, means, strict=True)]
        velocity.mul_(batch.momentum).add_(gradient)
        states.addcmul_(velocity, batch.per_unit(rates), value=-1)
        for course, state in zip(batch.courses, states.view(len(batch), batch.width, -1), strict=True):
            course.keep(epoch, state)
        if all(course.error for course in batch.courses):
            return
        if epoch % every == 0 or epoch == 1:
            report(epoch, epochs, f"loss {sum(means) / len(means):.4g}")


def _outputs(batch: Batch, hidden: Tensor) -> Tensor:
    """Outputs (K, n) of preactivations (U, n), which are cut off at 0."""
    if not batch.has_slope:
        return batch.weighted(hidden.clamp_min_(0))
    slope = batch.slope[:: batch.width]
    linear = batch.weighted(hidden)
    return slope * linear + (1 - slope) * batch.weighted(hidden.clamp_min_(0))


def _gate(batch: Batch, hidden: Tensor, signal: Tensor) -> None:
    """Activations (U, n) become phi'(h) times d loss / d f, (K, n)."""
    hidden.sign_()
    if batch.has_slope:
        hidden.mul_(1 - batch.slope).add_(batch.slope)
    batch.by_network(hidden).mul_(signal[:, None, :])


class _Losses:
    """The losses of the networks of a batch, those with the same loss together."""

    def __init__(self, batch: Batch) -> None:
        self._labels = batch.labels
        names = [course.job.descent.loss for course in batch.courses]
        self._groups = [
            (LOSSES[name], None if len(set(names)) == 1 else torch.tensor([other == name for other in names]))
            for name in sorted(set(names))
        ]

    def signal(self, outputs: Tensor, columns: slice, total: Tensor) -> Tensor:
        """D loss / d f, with the 1/N of the mean, (K, n); the losses themselves are added to the total."""
        labels, n_samples = self._labels[:, columns], self._labels.shape[1]
        margins = outputs.mul_(labels)
        signal = torch.empty_like(margins) if len(self._groups) > 1 else margins
        for loss, chosen in self._groups:
            if chosen is None:
                total += loss.value(margins).sum(dim=1, dtype=torch.float64)
                signal = loss.derivative(margins)
            else:
                chosen = chosen.to(margins.device)
                total[chosen] += loss.value(margins[chosen]).sum(dim=1, dtype=torch.float64)
                signal[chosen] = loss.derivative(margins[chosen])
        return signal.mul_(labels).div_(n_samples)
