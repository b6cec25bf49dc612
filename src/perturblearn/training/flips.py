r"""Descent under the identity loss, where a gradient changes only where a gate flips.

The identity loss sends the same signal -y_n/N back in every epoch. So a unit's gradient, its *drive*, depends on its
own gates alone: units do not influence one another (but for the plateau rule), and while no gate of a unit flips, its
weights and its preactivations on all samples follow

    v <- momentum v + drive,    w <- w - lr v

with a constant drive: k epochs are one closed form. What is left to do is to find the flips. Exact but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from perturblearn.training.batch import TrainingRecord
from perturblearn.training.products import Products

DENSE_SHARE = 1 / 16
"""Share of an epoch's gates that flip from which on dense products are quicker than sparse ones."""
_SHORTEST, _LONGEST = 8, 4096
"""Epochs that a window looks ahead."""


@dataclass(eq=False)
class _Motion:
    """Position, velocity and drive of some units, one per row: of their states, or of the images of these."""

    position: Float[Tensor, "rows n"]
    velocity: Float[Tensor, "rows n"]
    drive: Float[Tensor, "rows n"]

    def rows(self, index: Tensor) -> _Motion:
        return _Motion(*(tensor[index] for tensor in (self.position, self.velocity, self.drive)))

    def put(self, index: Tensor, rows: _Motion) -> None:
        self.position[index] = rows.position
        self.velocity[index] = rows.velocity
        self.drive[index] = rows.drive

    def step(self, momentum: float, lr: float) -> None:
        torch.add(self.drive, self.velocity, alpha=momentum, out=self.velocity)
        self.position.sub_(self.velocity, alpha=lr)

    def jump(self, moving: Tensor, steps: int, momentum: float, lr: float, work: Tensor) -> None:
        """So many steps at once of the rows for which the column ``moving`` is 1, the others having 0."""
        if not steps:
            return
        of_velocity, of_drive = path(steps, momentum)
        torch.mul(self.velocity, moving * of_velocity, out=work).addcmul_(self.drive, moving * of_drive)
        self.position.sub_(work, alpha=lr)
        decay = moving * momentum**steps + (1 - moving)
        # Last: the position above needs the velocity as it was.
        self.velocity.mul_(decay).addcmul_(self.drive, moving * _geometric(momentum, steps))


def path(steps: int, momentum: float) -> tuple[float, float]:
    """How often velocity and drive are passed on to the position in so many steps."""
    of_velocity = momentum * _geometric(momentum, steps)
    return of_velocity, (steps - of_velocity) / (1 - momentum)


def _geometric(momentum: float, steps: int) -> float:
    """1 + momentum + ... + momentum^(steps - 1)."""
    return (1 - momentum**steps) / (1 - momentum)


class FlipDescent:
    """One network under the identity loss, from flip to flip.

    Args:
        record: what is asked of the network, and what becomes of it.
        products: of its form.
        states: of its units as they start, (m, size); changed in place.
        labels: (N,), in the precision of the states.
        dense_share: share of flips in an epoch from which on its products are dense.
    """

    def __init__(
        self,
        record: TrainingRecord,
        products: Products,
        states: Float[Tensor, "m size"],
        labels: Float[Tensor, "n"],
        *,
        dense_share: float = DENSE_SHARE,
    ) -> None:
        self._record = record
        self._products = products
        self._dense_share = dense_share
        network = record.job.network
        self._momentum = record.job.descent.momentum
        self._labels = labels
        # What an open gate sends back is this times the label; a closed one has slope times as much.
        self._factor = network.readout.to(states) / -len(labels)
        self._slope = network.slope
        everything = slice(0, products.n_samples)
        hidden = products.image(states, everything, states.new_empty(len(states), len(labels)), exact=True)
        if products.offset is not None:
            hidden.add_(products.offset)
        self._signs = _signs(hidden)
        zeros = torch.zeros_like
        self._states = _Motion(states, zeros(states), zeros(states))
        self._images = _Motion(hidden, zeros(hidden), zeros(hidden))
        # Room for the passes over all units and samples, and for those over all states.
        self._work, self._more = torch.empty_like(hidden), torch.empty_like(hidden)
        self._of_states = torch.empty_like(states)
        self._drive_densely(self._states, self._images, self._signs, self._factor)
        self.flips = 0
        self.dense_epochs = 0

    def run(self, report: Callable[[int, int, str], None]) -> None:
        """All epochs."""
        record, wanted = self._record, self._record.job.wanted
        epoch, window = 0, _SHORTEST
        every = max(1, wanted[-1] // 100)
        reported = -every
        while epoch < wanted[-1] and record.error is None:
            ahead = min(window, next(end for end in wanted if end > epoch) - epoch)
            awake = self._awake(ahead)
            done = self._window(awake, ahead)
            share = len(awake) / len(self._factor)
            # Looking ahead costs a pass over all units whatever comes of it: the fewer wake up, the longer the look.
            window = min(_LONGEST, 4 * window if share == 0 else 2 * window if share < 1 / 4 else window)
            if share > 1 / 2:
                window = max(_SHORTEST, window // 2)
            epoch += done
            record.keep_state(epoch, self._states.position)
            if epoch >= reported + every and record.losses:
                reported = epoch
                report(epoch, wanted[-1], f"loss {record.losses[-1]:.4g}")

    def _awake(self, steps: int) -> Tensor:
        """Units of which a gate may flip within so many steps at the present learning rate.

        A preactivation h of sign s keeps it if s h is at least what velocity and drive can take away: both are passed
        on with weights that grow with the number of steps, so only their parts against s count, each at its most.
        """
        of_velocity, of_drive = path(steps, self._momentum)
        images, signs = self._images, self._signs
        against = torch.mul(images.velocity, signs, out=self._work).clamp_min_(0).mul_(of_velocity)
        against.add_(torch.mul(images.drive, signs, out=self._more).clamp_min_(0), alpha=of_drive)
        reserve = torch.mul(images.position, signs, out=self._more)
        # A little more than the bound: closed form and single steps round differently.
        reserve.sub_(against, alpha=self._record.plateau.lr * (1 + 1e-4))
        # Written so that NaN counts as awake.
        return (~(reserve.amin(dim=1) >= 0)).nonzero()[:, 0]

    def _window(self, awake: Tensor, ahead: int) -> int:
        """Up to so many epochs, fewer if the learning rate is cut meanwhile; returns how many."""
        units = len(self._factor)
        lr = self._record.plateau.lr
        # To move most rows one by one is quicker than to pick them out.
        all_awake = 2 * len(awake) > units
        states, images, signs, factor = self._states, self._images, self._signs, self._factor
        asleep = self._factor.new_ones(units, 1)
        # The loss of units asleep is a polynomial in what path() gives: its coefficients hold for the whole window.
        terms = (0.0, 0.0, 0.0)
        if not all_awake:
            asleep[awake] = 0
            terms = self._loss_terms(asleep)
            states, images = states.rows(awake), images.rows(awake)
            signs, factor = signs[awake], factor[awake]
        any_awake = all_awake or len(awake) > 0
        done = 0
        while done < ahead:
            of_velocity, of_drive = path(done, self._momentum)
            loss = terms[0] - lr * (of_velocity * terms[1] + of_drive * terms[2])
            if any_awake:
                loss += self._loss(states, images)
            rate = self._record.add_loss(loss)
            if self._record.error is not None:
                break
            if any_awake:
                states.step(self._momentum, rate)
                images.step(self._momentum, rate)
                self._flip(states, images, signs, factor)
            done += 1
            if self._record.plateau.lr != lr:
                break  # what sleeps was found for this rate, and the closed form knows one rate alone
        if not all_awake:
            if len(awake):
                self._states.put(awake, states)
                self._images.put(awake, images)
                self._signs[awake] = signs
            self._states.jump(asleep, done, self._momentum, lr, self._of_states)
            self._images.jump(asleep, done, self._momentum, lr, self._work)
        return done

    @property
    def _in_samples(self) -> bool:
        return self._products.offset is not None

    def _loss(self, states: _Motion, images: _Motion) -> float:
        """The units' part of the mean loss: phi(h) = phi'(h) h, so it is the product of positions and drives."""
        position = (images if self._in_samples else states).position
        return float(torch.dot(position.view(-1), states.drive.view(-1)))

    def _loss_terms(self, asleep: Tensor) -> tuple[float, float, float]:
        """The same product for units asleep, of their positions, velocities and drives."""
        motion, work = (self._images, self._work) if self._in_samples else (self._states, self._of_states)
        first, second, third = (
            float((torch.mul(tensor, self._states.drive, out=work).sum(dim=1) * asleep[:, 0]).sum(dtype=torch.float64))
            for tensor in (motion.position, motion.velocity, motion.drive)
        )
        return first, second, third

    def _flip(self, states: _Motion, images: _Motion, signs: Tensor, factor: Tensor) -> None:
        """Find the gates that have flipped and bring the drives up to date."""
        # Into rooms that are there: an allocation of units x samples numbers an epoch would cost more than the pass.
        reserve = torch.mul(images.position, signs, out=self._work[: len(signs)])
        # A preactivation of exactly 0 leaves its gate as it is: it is 0 up to rounding.
        if not float(reserve.amin()) < 0:
            return
        units, samples = (reserve < 0).nonzero().unbind(dim=1)
        after = signs[units, samples].neg_()
        signs[units, samples] = after
        self.flips += len(units)
        # Sparse products gather rows one by one; from some share of flips on a dense product reads memory in order.
        if len(units) > self._dense_share * signs.numel():
            self.dense_epochs += 1
            self._drive_densely(states, images, signs, factor)
            return
        # phi' of a gate that opens grows by 1 - slope.
        values = after.mul_(1 - self._slope).mul_(self._labels[samples]).mul_(factor[units])
        # nonzero() gives entries row by row, so those of a unit lie together.
        rows, counts = torch.unique_consecutive(units, return_counts=True)
        starts = counts.cumsum(0).sub_(counts)
        bags = self._products.bags(samples, starts, values)
        if self._in_samples:
            states.drive[units, samples] += values
            # Images follow from the Gram matrix's rows alone: the weights are never made.
            images.drive.index_add_(0, rows, bags)
        else:
            states.drive.index_add_(0, rows, bags)
            everything = slice(0, self._products.n_samples)
            images.drive.index_add_(0, rows, self._products.image(bags, everything, self._more[: len(rows)]))

    def _drive_densely(self, states: _Motion, images: _Motion, signs: Tensor, factor: Tensor) -> None:
        """Drives and their images from all gates anew."""
        everything = slice(0, self._products.n_samples)
        # phi' is (1 + slope)/2 + sign (1 - slope)/2. With slope 0 gates and labels are exact in any precision; what a
        # unit multiplies them by comes after the product.
        gated = torch.mul(signs, (1 - self._slope) / 2, out=self._more[: len(signs)])
        gated.add_((1 + self._slope) / 2).mul_(self._labels)
        if self._in_samples:
            self._products.image(gated, everything, images.drive).mul_(factor[:, None])
            torch.mul(gated, factor[:, None], out=states.drive)
        else:
            self._products.drive(gated, everything, states.drive)
            states.drive.mul_(factor[:, None])
            self._products.image(states.drive, everything, images.drive)


def _signs(hidden: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """+1 where a gate is open, -1 where it is closed (0 included)."""
    return hidden.clamp_min(0).sign_().mul_(2).sub_(1)
