"""Full-batch descent as automatic mixed precision does it in float16, emulated in float32: for published runs alone.

NeurIPS24 trained this way. A product takes inputs and weights rounded to 16 bits, sums in float32, and rounds its
result to 16 bits; so do activations and every gradient on its way back. Weights, velocities and the loss are in
float32. The loss is multiplied by a scale, so that small gradients are not lost. Where a gradient overflows, its step
is skipped and the scale halved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from perturblearn.classifiers import TwoLayer, from_state
from perturblearn.training.batch import Batch, TrainingRecord
from perturblearn.training.descent import Job
from perturblearn.training.full_batch import Outcome, outcome_of
from perturblearn.training.losses import LOSSES

LOSS_SCALE = 2.0**16
"""What torch's gradient scaler starts with. It would double it after 2,000 steps in a row, which no figure has."""


def train_in_float16(
    jobs: Sequence[Job],
    inputs: Float[Tensor, "n ..."],
    *,
    wanted: Sequence[int],
    report: Callable[[int, int, str], None],
) -> Iterator[tuple[int, Outcome]]:
    """Train networks one after the other, each as in mixed precision.

    Args:
        jobs: the networks.
        inputs: (N, ...), float32.
        wanted: positions of the networks to train.
        report: called now and then with epochs done, epochs in all and the loss.

    Yields:
        The position of a network and what became of it.
    """
    short = _rounded(inputs.flatten(1))
    for count, index in enumerate(wanted):
        job = jobs[index]
        own = [job.network.weight.detach()]
        own += [] if job.network.bias is None else [job.network.bias.detach()[:, None]]
        batch = Batch([job], inputs)

        def report_one(done: int, epochs: int, note: str, count: int = count) -> None:
            report((count * epochs + done) // len(wanted), epochs, note)

        _descend(batch, batch.records[0], torch.cat(own, dim=1), short, report_one)

        def network(state: Tensor, start: TwoLayer = job.network) -> TwoLayer:
            parameters = {**start.state_dict(), "weight": state[:, : start.input_dim].clone()}
            if start.bias is not None:
                parameters["bias"] = state[:, -1].clone()
            return from_state(parameters, start.slope)

        yield index, outcome_of(batch.records[0], network, form="plain", reason="float16", products="float16")


def _descend(
    batch: Batch,
    record: TrainingRecord,
    states: Float[Tensor, "m size"],
    inputs: Float[Tensor, "n d"],
    report: Callable[[int, int, str], None],
) -> None:
    """All epochs of one network; its record keeps what is wanted."""
    (n_samples, input_dim), descent = inputs.shape, record.job.descent
    loss, labels, scale = LOSSES[descent.loss], batch.labels[0], LOSS_SCALE
    readout, velocity = _rounded(batch.readout), torch.zeros_like(states)
    every = max(1, descent.epochs // 100)
    for epoch in range(1, descent.epochs + 1):
        short = _rounded(states)
        hidden = _rounded(torch.addmm(short[:, input_dim:].sum(dim=1, keepdim=True), short[:, :input_dim], inputs.T))
        is_open = hidden > 0
        active = torch.where(is_open, hidden, _rounded(record.job.network.slope * hidden))
        margins = labels * _rounded(readout @ active)
        mean = float(loss.value(margins).mean(dtype=torch.float64))
        signal = _rounded(loss.derivative(margins) * labels * (scale / n_samples))
        back = _rounded(torch.outer(readout, signal))
        back = torch.where(is_open, back, _rounded(record.job.network.slope * back))
        gradient = torch.empty_like(states)
        gradient[:, :input_dim] = _rounded(back @ inputs)
        gradient[:, input_dim:] = _rounded(back.sum(dim=1, keepdim=True))[:, : states.shape[1] - input_dim]
        rate = record.plateau.lr
        # The loss may overflow while its gradients do not, and training then goes on: it is not looked at here.
        record.losses.append(mean)
        if descent.plateau:
            record.plateau.update(mean)
        record.rates.append(record.plateau.lr)
        if bool(torch.isfinite(gradient).all()):
            velocity.mul_(descent.momentum).add_(gradient, alpha=1 / scale)
            states.sub_(rate * velocity)
        else:
            scale /= 2
        record.keep_state(epoch, states)
        if epoch % every == 0 or epoch == 1:
            report(epoch, descent.epochs, f"loss {mean:.4g}")


def _rounded(values: Tensor) -> Tensor:
    """Numbers as 16 bits hold them: 11 binary digits, infinite beyond 65,504."""
    return values.half().float()
