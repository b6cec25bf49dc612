"""Training written from the papers with nothing but PyTorch's own optimiser, rule and autograd."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau

from perturblearn.classifiers import TwoLayer, from_state
from perturblearn.training import Descent

LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda margins: -margins,
    "logistic": lambda margins: torch.logaddexp(torch.zeros_like(margins), -margins),
    "exponential": lambda margins: torch.exp(-margins),
}


def train_plainly(
    network: TwoLayer, inputs: Tensor, labels: Tensor, descent: Descent
) -> tuple[TwoLayer, list[float], float]:
    """The network after SGD on the whole batch, its loss before each step, and the learning rate at the end."""
    trained = from_state(network.state_dict(), network.slope)
    optimiser = SGD(trained.parameters(), lr=descent.lr, momentum=descent.momentum)
    rule = ReduceLROnPlateau(optimiser)
    losses = []
    for _ in range(descent.epochs):
        optimiser.zero_grad()
        hidden = inputs.flatten(1) @ trained.weight.T
        if trained.bias is not None:
            hidden = hidden + trained.bias
        outputs = torch.where(hidden > 0, hidden, trained.slope * hidden) @ trained.readout
        loss = LOSSES[descent.loss](labels * outputs).mean()
        loss.backward()
        losses.append(loss.item())
        optimiser.step()
        if descent.plateau:
            rule.step(loss.item())
    return trained, losses, optimiser.param_groups[0]["lr"]


def relative(found: Tensor, expected: Tensor) -> float:
    """Distance of two tensors in units of the expected one's length."""
    return float((found.detach() - expected.detach()).norm() / expected.detach().norm())
