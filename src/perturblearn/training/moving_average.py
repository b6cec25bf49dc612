"""The moving average of a network along its training, which often classifies better than its end."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from perturblearn.classifiers import Network, TwoLayer, copied


class MovingAverage:
    """Exponential moving average of a network's parameters and buffers, running statistics included.

    The first update takes them as they are; each later one leaves a share of ``decay`` of the average and takes the
    rest from the network [Polyak and Juditsky, 1992; as torch's ``AveragedModel`` does it, without waiting for a GPU].
    Buffers of integers, such as counts, are the network's own.

    Args:
        network: in training; its tensors are read where they are at every update.
        decay: in (0, 1).
    """

    def __init__(self, network: TwoLayer | Network, decay: float) -> None:
        self.module = copied(network, type(network).__name__).eval()
        pairs = list(zip(_tensors(self.module), _tensors(network), strict=True))
        self._floating = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counts = [pair for pair in pairs if not pair[0].is_floating_point()]
        self._mix = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self, *, is_first: bool) -> None:
        """Take the network's tensors in."""
        averages, values = ([pair[side] for pair in self._floating] for side in (0, 1))
        if is_first:
            for average, value in self._floating:
                average.copy_(value)
        else:
            # The number of updates so far is not used.
            self._mix(averages, values, torch.empty(0))
        for count, value in self._counts:
            count.copy_(value)


def _tensors(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]
