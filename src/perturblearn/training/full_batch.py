"""Full-batch gradient descent for two-layer networks: one function, several exact forms, many networks at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from perturblearn.classifiers import Classifier, TwoLayer, from_state
from perturblearn.errors import ConfigError, DivergenceError
from perturblearn.training.batch import Batch, TrainingRecord
from perturblearn.training.cost import (
    MEMORY,
    MOST_UNITS,
    Choice,
    Group,
    choose_form,
    flip_memory,
    form_cost,
    is_worth_factorising,
)
from perturblearn.training.dense import descend_densely
from perturblearn.training.descent import Job
from perturblearn.training.flips import FlipDescent
from perturblearn.training.form import Form, form_words
from perturblearn.training.products import CoordinateProducts, GramProducts, Products, gram_matrix
from perturblearn.training.row_space import row_space

Report = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one network.

    Args:
        classifiers: by the epoch after which each was taken; all that were wanted, unless the training diverged.
        error: why it did.
    """

    classifiers: dict[int, Classifier[TwoLayer]]
    error: DivergenceError | None = None

    def after(self, epoch: int) -> Classifier[TwoLayer]:
        """The classifier after so many epochs.

        Raises:
            DivergenceError: training diverged before.
        """
        if epoch in self.classifiers:
            return self.classifiers[epoch]
        assert self.error is not None, f"epoch {epoch} was not asked for"
        raise self.error


def train_side_by_side(
    jobs: Sequence[Job],
    inputs: Float[Tensor, "n ..."],
    *,
    factors: tuple[Float[Tensor, "n q"], Float[Tensor, "q d"]] | None = None,
    form: Form | None = None,
    bfloat16: bool = False,
    incremental: bool = True,
    wanted: Sequence[int] | None = None,
    report: Report | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """Train networks over the same inputs; what they share is made once.

    The mean of loss(y f(x)) over all samples is minimised in W and b; the readout stays as it is [NeurIPS24,
    section 3]. Networks may differ in everything but their inputs' dimension, and do not influence one another. The
    form of training changes the result by nothing but rounding.

    Args:
        jobs: the networks, each with its labels, descent and checkpoints.
        inputs: (N, ...).
        factors: C (N, q) and Q (q, d) with orthonormal rows, such that the inputs are C Q, where they are known.
        form: where the units' states live; None for the quickest by the cost model.
        bfloat16: multiply in bfloat16, accumulating in float32; states stay in float32.
        incremental: go from flip to flip under the identity loss, where that fits into memory.
        wanted: positions of the networks to train; None for all. How a network is trained follows from all of them, so
            that a network that is trained again for want of its result ends with the same numbers.
        report: called now and then with epochs done, epochs in all and the loss.

    Yields:
        The position of a network and what became of it, as soon as it is known. One that diverges does not stop the
        others.

    Raises:
        ValueError: networks, labels or checkpoints that do not fit the inputs.
        ConfigError: bfloat16 products of float64 inputs, or a form that these inputs do not have.
    """
    flat = inputs.flatten(1)
    _check(jobs, flat, bfloat16=bfloat16)
    chosen = set(range(len(jobs)) if wanted is None else wanted)
    batches = _batches(jobs)
    groups = [_group([jobs[index] for index in batch]) for batch in batches]
    space = _Space(flat, factors, groups, form, bfloat16=bfloat16)
    work = [
        group.epochs * group.units if chosen & set(batch) else 0 for batch, group in zip(batches, groups, strict=True)
    ]
    before = 0
    for batch, group, own in zip(batches, groups, work, strict=True):
        # A batch of which nothing is wanted is skipped, but it has had its say in the choice of the form.
        if own:
            report_share = _scaled(report, before, group, sum(work))
            members = [jobs[index] for index in batch]
            positions = [position for position, index in enumerate(batch) if index in chosen]
            for position, record in _descend(members, positions, space, report_share, incremental=incremental):
                yield batch[position], space.outcome(record)
        before += own


class _Space:
    """The coordinates in which a group trains, with what all its networks share."""

    def __init__(
        self,
        inputs: Tensor,
        factors: tuple[Tensor, Tensor] | None,
        groups: Sequence[Group],
        form: Form | None,
        *,
        bfloat16: bool,
    ) -> None:
        n_samples, input_dim = inputs.shape
        dtype = str(inputs.dtype).removeprefix("torch.")
        rank = None if factors is None else factors[0].shape[1]
        self.choice = choose_form(
            n_samples, input_dim, groups, known_rank=rank, dtype=dtype, bfloat16=bfloat16, form=form
        )
        self.inputs, self.bfloat16 = inputs, bfloat16
        self.coordinates: Tensor = inputs
        self.basis: Tensor | None = None
        self._plain: dict[bool, CoordinateProducts] = {}
        self._grams: dict[bool, tuple[Tensor, Tensor | None]] = {}
        if factors is not None and self.choice.form in ("low_rank", "gram"):
            self.coordinates, self.basis = factors
        elif form == "row_space":
            self.coordinates, self.basis = row_space(inputs)
        elif (
            # Float64 is for checks, where a decomposition of N x d numbers costs more than it saves; with fewer
            # samples than twice the dimensions the Gram form is at least as quick.
            form is None
            and factors is None
            and inputs.dtype == torch.float32
            and n_samples >= 2 * input_dim
            and is_worth_factorising(n_samples, input_dim, groups, self.choice.cost)
        ):
            self._look_for_low_rank(groups)

    def _look_for_low_rank(self, groups: Sequence[Group]) -> None:
        n_samples, input_dim = self.inputs.shape
        coordinates, basis = row_space(self.inputs)
        cost = form_cost("row_space", n_samples, input_dim, groups, rank=len(basis), bfloat16=self.bfloat16)
        # 5 % less is within what nominal rates can tell: then the form that needs no factorisation stays.
        if cost.memory - cost.networks <= MEMORY and cost.seconds < 0.95 * self.choice.cost.seconds:
            self.coordinates, self.basis = coordinates, basis
            was = self.choice.cost
            self.choice = Choice(
                cost,
                f"rank {len(basis)}: {cost.operations:.1e} operations ({form_words(was.form)} {was.operations:.1e})",
            )

    @property
    def name(self) -> str:
        """The form in words."""
        return (
            f"{form_words(self.choice.form)} of rank {len(self.basis)}"
            if self.basis is not None
            else form_words(self.choice.form)
        )

    @property
    def is_gram(self) -> bool:
        """Whether states are coefficients of the samples."""
        return self.choice.form == "gram"

    def start(self, networks: Sequence[TwoLayer]) -> tuple[Products, Float[Tensor, "units size"]]:
        """The products, and the networks' units as they start in the form's states, (U, size)."""
        bias = networks[0].bias is not None
        own = torch.cat([self._own(network) for network in networks])
        if bias not in self._plain:
            bfloat16 = self.bfloat16 and not self.is_gram
            self._plain[bias] = CoordinateProducts(self.coordinates, bias=bias, bfloat16=bfloat16)
        plain = self._plain[bias]
        if not self.is_gram:
            return plain, own
        if bias not in self._grams:
            gram = gram_matrix(self.coordinates, bias=bias)
            self._grams[bias] = gram, gram.bfloat16() if self.bfloat16 else None
        gram, short = self._grams[bias]
        n_samples = len(self.inputs)
        # Exact even where products are in bfloat16: an error here would stay in every preactivation to the end.
        offset = plain.image(own, slice(0, n_samples), own.new_empty(len(own), n_samples), exact=True)
        return GramProducts(gram, offset, short=short), torch.zeros_like(offset)

    def finish(self, network: TwoLayer, states: Float[Tensor, "m size"]) -> TwoLayer:
        """The network that ended in these states, (m, size)."""
        trained = from_state(network.state_dict(), network.slope)
        if self.is_gram:
            change = states @ self.coordinates
            biases = states.sum(dim=1)
        else:
            weights = states[:, : self.coordinates.shape[1]]
            # In coordinates of lower rank only the change is known: what W_0 has outside the row space never moves.
            change = weights - self._own(network)[:, : weights.shape[1]] if self.basis is not None else None
            biases = states[:, weights.shape[1] :].sum(dim=1) - (0 if network.bias is None else network.bias.detach())
            if change is None:
                trained.weight.data = weights.clone()
        if change is not None:
            trained.weight.data += change if self.basis is None else change @ self.basis
        if trained.bias is not None:
            trained.bias.data += biases
        return trained

    def outcome(self, record: TrainingRecord) -> Outcome:
        """What became of a network that was trained here."""
        return outcome_of(
            record,
            lambda state: self.finish(record.job.network, state),
            form=self.name,
            reason=self.choice.reason,
            products="bfloat16" if self.bfloat16 else "exact",
        )

    def _own(self, network: TwoLayer) -> Float[Tensor, "m size"]:
        """Weights in the coordinates, then the bias, (m, q + 1 or q)."""
        weights = network.weight.detach()
        if self.basis is not None:
            weights = weights @ self.basis.T
        return weights.clone() if network.bias is None else torch.cat((weights, network.bias.detach()[:, None]), dim=1)


def _descend(
    jobs: Sequence[Job], wanted: Sequence[int], space: _Space, report: Report, *, incremental: bool
) -> Iterator[tuple[int, TrainingRecord]]:
    width, n_samples = jobs[0].network.hidden_dim, len(space.inputs)
    largest = torch.finfo(space.inputs.dtype).max / 2
    state = n_samples if space.is_gram else space.coordinates.shape[1] + 1
    if (
        incremental
        # A rate that the precision cannot hold goes where rates are tensors: there it is infinite, and training ends.
        and all(job.descent.loss == "identity" and job.descent.lr < largest for job in jobs)
        and flip_memory(width, n_samples, state, space.inputs.element_size()) <= MEMORY
    ):
        # Under the identity loss networks have no product in common: one after the other.
        for count, index in enumerate(wanted):
            job = jobs[index]
            products, states = space.start([job.network])
            batch = Batch([job], states)

            def report_one(done: int, epochs: int, note: str, count: int = count) -> None:
                report((count * epochs + done) // len(wanted), epochs, note)

            FlipDescent(batch.records[0], products, states, batch.labels[0]).run(report_one)
            yield index, batch.records[0]
        return
    # All of the batch, also where one network is wanted: a narrower product would round differently.
    products, states = space.start([job.network for job in jobs])
    batch = Batch(jobs, states)
    descend_densely(batch, products, states, report)
    for index in wanted:
        yield index, batch.records[index]


def outcome_of(
    record: TrainingRecord, network_of: Callable[[Tensor], TwoLayer], *, form: str, reason: str, products: str
) -> Outcome:
    """What became of a network.

    Args:
        record: of its training.
        network_of: the network that ended in a state.
        form, reason: how it was trained, and why so.
        products: ``exact``, ``bfloat16`` or ``float16``.
    """
    descent = record.job.descent
    classifiers = {}
    for epochs, state in record.states.items():
        settings = {
            "loss": descent.loss,
            "lr": descent.lr,
            "epochs": epochs,
            "momentum": descent.momentum,
            "plateau": descent.plateau,
            "form": form,
            "form_chosen": reason,
            "products": products,
        }
        losses = torch.tensor(record.losses[:epochs], dtype=torch.float64)
        classifiers[epochs] = Classifier(network_of(state), settings, losses, record.rates[epochs - 1])
    return Outcome(classifiers, record.error)


def _batches(jobs: Sequence[Job]) -> list[list[int]]:
    """Positions of the jobs that train as one wide product: equal in width, epochs and kind of bias and of loss."""
    alike: dict[tuple[object, ...], list[int]] = {}
    for index, job in enumerate(jobs):
        network = job.network
        # The identity loss trains from flip to flip, where the others have dense products in common.
        kind = (network.hidden_dim, job.descent.epochs, network.bias is None, job.descent.loss == "identity")
        alike.setdefault(kind, []).append(index)
    batches = []
    for (width, *_), members in alike.items():
        assert isinstance(width, int)
        together = max(1, MOST_UNITS // width)
        batches += [members[start : start + together] for start in range(0, len(members), together)]
    return batches


def _group(jobs: Sequence[Job]) -> Group:
    first = jobs[0]
    width = first.network.hidden_dim
    kept = width * sum(len(job.wanted) - 1 for job in jobs)
    return Group(width * len(jobs), first.descent.epochs, first.descent.loss == "identity", width, kept)


def _check(jobs: Sequence[Job], inputs: Float[Tensor, "n d"], *, bfloat16: bool) -> None:
    n_samples, input_dim = inputs.shape
    if bfloat16 and inputs.dtype != torch.float32:
        raise ConfigError(f"bfloat16 products need float32 inputs, but these are {inputs.dtype}; leave bfloat16 out")
    for job in jobs:
        if job.network.input_dim != input_dim:
            raise ValueError(
                f"inputs of shape {tuple(inputs.shape)} do not fit a network of dimension {job.network.input_dim}"
            )
        if job.labels.shape != (n_samples,):
            raise ValueError(f"labels of shape {tuple(job.labels.shape)} do not fit {n_samples} samples")
        if not 1 <= job.wanted[0] <= job.wanted[-1] == job.descent.epochs:
            raise ValueError(f"checkpoints {job.checkpoints} must lie between 1 and {job.descent.epochs} epochs")


def _scaled(report: Report | None, before: int, group: Group, total: int) -> Report:
    def report_share(done: int, epochs: int, note: str) -> None:
        if report is not None:
            # Groups differ in length and width, so shares of the whole work are told as epochs of this one.
            share = (before + group.epochs * group.units * done / epochs) / total
            report(max(1, round(share * group.epochs)), group.epochs, note)

    return report_share
