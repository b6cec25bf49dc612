r"""Where a two-layer network's knowledge comes from, in closed form.

The gradient of the mean loss in unit j's weights and bias is :math:`a_j \sum_n w_n \phi'(h_{jn}) (x_n, 1)`, with
preactivations :math:`h_{jn}` and :math:`w_n = \ell'(y_n f(x_n)) y_n / N`. The sources' part of it is the same sum at
the sources, with the inputs' :math:`w_n`. Along a step a held-out input's preactivation goes straight from one value
to another, so :math:`\int_0^1 \phi'(h(s))\, ds` is the slope :math:`\sigma_j` of the secant of :math:`\phi` between
them. What a part p of the step does to the output is therefore exactly :math:`\sum_j a_j \sigma_j \Delta_p h_j` [own].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import leaky_relu

from perturblearn.classifiers import TwoLayer, from_state
from perturblearn.training.descent import Descent
from perturblearn.training.losses import LOSSES
from perturblearn.training.path_attribution import PERTURBATION, SOURCE, PathAttribution
from perturblearn.training.plateau import Plateau

Report = Callable[[int, int, str], None]


def attribute_descent(
    descent: Descent,
    network: TwoLayer,
    inputs: Float[Tensor, "n ..."],
    sources: Float[Tensor, "n ..."],
    labels: Int[Tensor, "n"],
    heldout: Float[Tensor, "m ..."],
    *,
    merged: int,
    report: Report,
) -> PathAttribution:
    """Train once more by plain products, and split what every step does to the outputs for held-out inputs.

    The parts miss nothing but roundings, however long the steps are.

    Args:
        descent, network, inputs, sources, labels, heldout, merged, report: as in `attribute_training`, on one device.
    """
    x, u, z = (_coordinates(tensor.flatten(1), network) for tensor in (inputs, sources, heldout))
    loss, plateau, signs = LOSSES[descent.loss], Plateau(descent.lr), labels.to(x)
    readout, slope = network.readout.to(x), network.slope
    # The units, and what the steps of this chord have added to them, the sources' part and then the perturbations'.
    states = torch.stack([_units(network).to(x), *x.new_zeros(2, network.hidden_dim, x.shape[1])])
    units, moves, velocities = states[0], states[1:], torch.zeros_like(states[1:])
    before = units @ z.T
    start = final = (readout @ _activated(before, slope)).double()
    parts = start.new_zeros(2, len(z))
    for epoch in range(1, descent.epochs + 1):
        hidden = units @ x.T
        margins = signs * (readout @ _activated(hidden, slope))
        rate = plateau.lr
        if descent.plateau:
            plateau.update(float(loss(margins).double().mean()))
        weights = loss.derivative(margins) * signs / len(x)
        # The same operations in the same order, so that equal inputs give equal bits.
        whole = (_gates(hidden, slope).mul_(weights) @ x).mul_(readout[:, None])
        at_sources = (_gates(units @ u.T, slope).mul_(weights) @ u).mul_(readout[:, None])
        velocities.mul_(descent.momentum).add_(torch.stack((at_sources, whole - at_sources)))
        moves.sub_(velocities, alpha=rate)
        units.sub_(velocities[0] + velocities[1], alpha=rate)
        if epoch % merged == 0 or epoch == descent.epochs:
            after, *changes = states @ z.T
            ends = _activated(before, slope), _activated(after, slope)
            # (h_1 - h_0) / (a_1 - a_0) of a function that is straight on both sides of 0, with no difference of near
            # numbers; times the readout.
            sizes = (before.abs() + after.abs()).clamp_min_(torch.finfo(x.dtype).tiny)
            secants = (ends[0].abs() + ends[1].abs()).div_(sizes).mul_(readout[:, None])
            parts += torch.stack([(secants * change).sum(dim=0) for change in changes])
            final = (readout @ ends[1]).double()
            before = after
            moves.zero_()
        report(epoch, descent.epochs, "")
    trained = from_state(network.state_dict(), network.slope).to(x)
    trained.weight.data = units[:, : network.input_dim].clone()
    if trained.bias is not None:
        trained.bias.data = units[:, -1].clone()
    return PathAttribution(start, {SOURCE: parts[0], PERTURBATION: parts[1]}, final, trained)


def _units(network: TwoLayer) -> Float[Tensor, "m size"]:
    """Weights, then the bias if there is one, (m, d + 1 or d)."""
    weight, bias = network.weight.detach(), network.bias
    return weight if bias is None else torch.cat((weight, bias.detach()[:, None]), dim=1)


def _coordinates(rows: Float[Tensor, "n d"], network: TwoLayer) -> Float[Tensor, "n size"]:
    """Inputs as `_units` multiplies them: with a 1 for the bias."""
    return rows if network.bias is None else torch.cat((rows, rows.new_ones(len(rows), 1)), dim=1)


def _gates(hidden: Tensor, slope: float) -> Tensor:
    gates = (hidden > 0).to(hidden)
    return gates.mul_(1 - slope).add_(slope) if slope else gates


def _activated(hidden: Tensor, slope: float) -> Tensor:
    return leaky_relu(hidden, slope) if slope else hidden.clamp_min(0)
