"""Networks of equal width that train side by side: their units as rows, and what is known of each network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from perturblearn.errors import DivergenceError
from perturblearn.training.descent import Job
from perturblearn.training.plateau import Plateau


@dataclass(eq=False)
class TrainingRecord:
    """How one network's training has gone so far.

    Args:
        job: what was asked for.
        plateau: its learning rate.
        losses: mean loss before each step.
        rates: the learning rate that each epoch left.
        states: state of its units after each wanted epoch.
        error: why it ended before its last epoch.
    """

    job: Job
    plateau: Plateau
    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    states: dict[int, Tensor] = field(default_factory=dict)
    error: DivergenceError | None = None

    def add_loss(self, loss: float) -> float:
        """Record an epoch's loss before its step; returns the learning rate of that step."""
        rate = self.plateau.lr
        if self.error is not None:
            # The others of its batch train on, and it moves along with them: its states are no longer looked at.
            return rate
        if not math.isfinite(loss):
            self.stop(f"the loss became {loss}")
            return rate
        self.losses.append(loss)
        if self.job.descent.plateau:
            self.plateau.update(loss)
        self.rates.append(self.plateau.lr)
        return rate

    def keep_state(self, epoch: int, state: Float[Tensor, "m size"]) -> None:
        """Keep a copy of the state if this epoch is wanted."""
        if epoch not in self.job.wanted or self.error is not None:
            return
        if not bool(torch.isfinite(state).all()):
            self.stop("a weight or bias is not finite")
            return
        self.states[epoch] = state.clone()

    def stop(self, what: str) -> None:
        """End the training with the sentence for its last step; epochs that were kept before stay."""
        descent, epoch = self.job.descent, max(1, len(self.losses))
        # The step that led here was the one before the loss was seen, and took the rate of that epoch.
        rate = self.rates[epoch - 2] if epoch > 1 else descent.lr
        self.error = DivergenceError(
            f"training diverged at epoch {epoch} of {descent.epochs} with learning rate {rate:g} ({what}); "
            "choose a smaller learning rate"
        )


class Batch:
    """Constants of K networks of m units, U = K m rows in all.

    Args:
        jobs: networks of equal width, number of epochs and kind of bias.
        like: a tensor of the precision and on the device of the inputs.
    """

    def __init__(self, jobs: Sequence[Job], like: Tensor) -> None:
        self.records = [TrainingRecord(job, Plateau(job.descent.lr)) for job in jobs]
        self.width = jobs[0].network.hidden_dim
        self.epochs = jobs[0].descent.epochs
        self.labels = torch.stack([job.labels for job in jobs]).to(like)
        self.readout = torch.cat([job.network.readout for job in jobs]).to(like)
        self.slope = self.per_unit([job.network.slope for job in jobs])
        self.momentum = self.per_unit([job.descent.momentum for job in jobs])
        self.has_slope = any(job.network.slope for job in jobs)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def units(self) -> int:
        """Rows U."""
        return len(self.readout)

    def per_unit(self, values: Sequence[float]) -> Float[Tensor, "units 1"]:
        """One value per network as a column with one entry per unit, (U, 1)."""
        return self.labels.new_tensor(values).repeat_interleave(self.width)[:, None]

    def by_network(self, rows: Float[Tensor, "units n"]) -> Float[Tensor, "k m n"]:
        """(U, n) as (K, m, n)."""
        return rows.view(len(self), self.width, rows.shape[1])

    def weighted(self, rows: Float[Tensor, "units n"]) -> Float[Tensor, "k n"]:
        """The sum over each network's units, weighted by the readout, (K, n)."""
        # A batched product, so that the readouts of one network never meet the units of another.
        return torch.bmm(self.readout.view(len(self), 1, self.width), self.by_network(rows))[:, 0]
