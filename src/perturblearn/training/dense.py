"""Descent with every product anew in every epoch: for any loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from perturblearn.training.batch import Batch
from perturblearn.training.losses import LOSSES
from perturblearn.training.products import Products

BLOCK = 2**21
"""Activations of a block of samples: 8 MiB in float32, which stay near the processor between the passes over them."""


def descend_densely(
    batch: Batch,
    products: Products,
    states: Float[Tensor, "units size"],
    report: Callable[[int, int, str], None],
    *,
    block: int = BLOCK,
) -> None:
    """All epochs of the networks of a batch; their records keep what is wanted.

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
        # In float64: a mean over many samples has to tell the plateau rule about changes of 1e-4.
        total = torch.zeros(len(batch), dtype=torch.float64, device=states.device)
        for start in range(0, n_samples, rows):
            columns = slice(start, min(n_samples, start + rows))
            hidden = work[: batch.units * (columns.stop - start)].view(batch.units, -1)
            products.image(states, columns, hidden)  # into one buffer: no block is allocated anew
            if products.offset is not None:
                hidden.add_(products.offset[:, columns])
            signal = losses.signal(_outputs(batch, hidden), columns, total)
            _gate(batch, hidden, signal)
            products.drive(hidden, columns, gradient)
        # Readouts are common factors of a unit's whole gradient, so they come last: signs and slopes stay exact.
        gradient.mul_(batch.readout[:, None])
        means = (total / n_samples).tolist()
        rates = [record.add_loss(loss) for record, loss in zip(batch.records, means, strict=True)]
        velocity.mul_(batch.momentum).add_(gradient)
        states.addcmul_(velocity, batch.per_unit(rates), value=-1)
        for record, state in zip(batch.records, states.view(len(batch), batch.width, -1), strict=True):
            record.keep_state(epoch, state)
        if all(record.error for record in batch.records):
            return
        if epoch % every == 0 or epoch == 1:
            report(epoch, epochs, f"loss {sum(means) / len(means):.4g}")


def _outputs(batch: Batch, hidden: Float[Tensor, "units n"]) -> Float[Tensor, "k n"]:
    """Outputs (K, n) of preactivations (U, n), which are cut off at 0."""
    if not batch.has_slope:
        return batch.weighted(hidden.clamp_min_(0))
    # phi(h) = slope h + (1 - slope) max(h, 0): two sums over units, and no second buffer of the size of h.
    slope = batch.slope[:: batch.width]
    linear = batch.weighted(hidden)
    return slope * linear + (1 - slope) * batch.weighted(hidden.clamp_min_(0))


def _gate(batch: Batch, hidden: Float[Tensor, "units n"], signal: Float[Tensor, "k n"]) -> None:
    """Activations (U, n) become phi'(h) times d loss / d f, (K, n)."""
    # Preactivations were cut off at 0, so their sign is the gate: 1 open, 0 closed, as it is exactly at 0.
    hidden.sign_()
    if batch.has_slope:
        hidden.mul_(1 - batch.slope).add_(batch.slope)
    batch.by_network(hidden).mul_(signal[:, None, :])


class _Losses:
    """The losses of the networks of a batch, those with the same loss together."""

    def __init__(self, batch: Batch) -> None:
        self._labels = batch.labels
        names = [record.job.descent.loss for record in batch.records]
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
