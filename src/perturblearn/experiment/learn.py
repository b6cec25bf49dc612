"""Two-layer classifiers from inputs and labels, in the way that their section of the configuration asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from perturblearn.attacks import make_inner_attack
from perturblearn.classifiers import Classifier, TwoLayer, initialise
from perturblearn.config import (
    AdversarialConfig,
    AdversarialTwoLayerConfig,
    ClassifierConfig,
    DescentConfig,
    FlowConfig,
    LimitClassifierConfig,
    TrainedTwoLayerConfig,
)
from perturblearn.errors import DataError, DivergenceError
from perturblearn.seeding import PublishedStart, derive_seed
from perturblearn.theory import margin_limit
from perturblearn.training import (
    Adversary,
    Descent,
    Flow,
    Job,
    MinibatchDescent,
    train_in_float16,
    train_side_by_side,
)

Report = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class TrainingSpec:
    """One classifier that is to be trained.

    Args:
        config: network, loss and training, with one learning rate.
        labels: +1 and -1, or 0 .. K-1, (N,); or outputs of f, in floating point.
        seed: the run's seed.
        role: who asks: each role has its own initialisation, and its own order of samples.
        start: where a published script draws its first weights; None for our own draws.
        value_range: of the data, for adversarial training.
        learns_auxiliary: whether these outputs are auxiliary ones.
    """

    config: ClassifierConfig
    labels: Tensor
    seed: int
    role: str
    start: PublishedStart | None = None
    value_range: tuple[float, float] = (-math.inf, math.inf)
    learns_auxiliary: bool = False

    def first_network(self, inputs: Tensor) -> TwoLayer:
        """The two-layer network before training, in the precision and on the device of the inputs (n, ...)."""
        model, input_dim = self.config.model, inputs[0].numel()
        assert isinstance(model, TrainedTwoLayerConfig), "a limit has no network before training"
        return initialise(model, input_dim, seed=self.seed, role=self.config.starts_as(self.role), start=self.start).to(
            inputs
        )

    @property
    def lr(self) -> float:
        """The learning rate."""
        (lr,) = self.config.lr
        return lr

    @property
    def minibatch_seed(self) -> int:
        """The seed of shuffles, augmentation, dropout and random starts."""
        return derive_seed(self.seed, "minibatches", self.role)

    def adversary(self, inputs: Tensor) -> Adversary | None:
        """What moves the training inputs (n, ...); None where nothing does."""
        section = self.config
        if not isinstance(section, (AdversarialConfig, AdversarialTwoLayerConfig)):
            return None
        attack, warmup = make_inner_attack(section.adversary), section.adversary.warmup_epochs
        return Adversary.for_inputs(attack, inputs, self.value_range, warmup_epochs=warmup)


def learn(spec: TrainingSpec, inputs: Tensor, *, report: Report) -> Classifier[TwoLayer]:
    """One classifier; see `learn_side_by_side`.

    Raises:
        ConfigError, DataError: the data have no such limit.
        DivergenceError: training left the finite numbers.
    """
    ((_, outcome),) = learn_side_by_side([spec], inputs, report=report)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def learn_side_by_side(
    specs: Sequence[TrainingSpec],
    inputs: Tensor,
    *,
    factors: tuple[Tensor, Tensor] | None = None,
    wanted: Sequence[int] | None = None,
    report: Report,
) -> Iterator[tuple[int, Classifier[TwoLayer] | DataError | DivergenceError]]:
    """Classifiers over the same inputs, by descent, by flow, or as limits that need no training.

    Those by descent train together. Where two differ in nothing but their epochs, they are one training at two times.

    Args:
        specs: what to train; all in the same way, form and products.
        inputs: (N, ...).
        factors: C (N, q) and Q (q, d) with orthonormal rows, where the inputs are C Q.
        wanted: positions of the specs whose result is asked for; None for all.
        report: called with steps done and in all.

    Yields:
        The position of a spec and its classifier, or why there is none.
    """
    positions = list(range(len(specs)) if wanted is None else wanted)
    if isinstance(specs[0].config, DescentConfig):
        yield from _descend(specs, inputs, factors, positions, report)
        return
    for count, position in enumerate(positions):

        def report_one(done: int, steps: int, note: str, count: int = count) -> None:
            report(count * steps + done, len(positions) * steps, note)

        try:
            yield position, _learn_alone(specs[position], inputs, factors, report_one)
        except (DataError, DivergenceError) as error:
            yield position, error


def _descend(
    specs: Sequence[TrainingSpec],
    inputs: Tensor,
    factors: tuple[Tensor, Tensor] | None,
    positions: Sequence[int],
    report: Report,
) -> Iterator[tuple[int, Classifier[TwoLayer] | DivergenceError]]:
    sections = [_descent_section(spec) for spec in specs]
    members: dict[tuple[object, ...], list[int]] = {}
    for position, (spec, section) in enumerate(zip(specs, sections, strict=True)):
        # Labels by identity: tensors have no equality that a dictionary could use.
        training = (section.at_any_time, id(spec.labels), spec.seed, spec.role, spec.start)
        members.setdefault(training, []).append(position)
    trainings = list(members.values())
    form = sections[0].form
    jobs = [_job(specs[of[0]], [sections[position] for position in of], inputs) for of in trainings]
    wanted = [index for index, of in enumerate(trainings) if set(of) & set(positions)]
    outcomes = (
        train_in_float16(jobs, inputs, wanted=wanted, report=report)
        if sections[0].is_float16
        else train_side_by_side(
            jobs,
            inputs,
            factors=factors,
            form=None if form == "auto" else form,
            bfloat16=sections[0].is_bfloat16,
            wanted=wanted,
            report=report,
        )
    )
    for index, outcome in outcomes:
        for position in trainings[index]:
            if position in positions:
                try:
                    yield position, outcome.after(sections[position].epochs)
                except DivergenceError as error:
                    yield position, error


def _descent_section(spec: TrainingSpec) -> DescentConfig:
    assert isinstance(spec.config, DescentConfig), "classifiers that train together do so in the same way"
    return spec.config


def _job(spec: TrainingSpec, sections: Sequence[DescentConfig], inputs: Tensor) -> Job:
    section, epochs = sections[0], tuple(each.epochs for each in sections)
    return Job(spec.first_network(inputs), spec.labels, full_batch_descent(section, max(epochs)), epochs)


def full_batch_descent(section: DescentConfig, epochs: int) -> Descent:
    """The training that a section asks for, at its one learning rate, for so many epochs."""
    (lr,) = section.lr
    return Descent(section.loss, lr, epochs, section.momentum, section.schedule == "plateau")


def _learn_alone(
    spec: TrainingSpec, inputs: Tensor, factors: tuple[Tensor, Tensor] | None, report: Report
) -> Classifier[TwoLayer]:
    section = spec.config
    if isinstance(section, LimitClassifierConfig):
        limit = margin_limit(
            inputs.flatten(1),
            spec.labels,
            slope=section.model.slope,
            method=section.model.method,
            softness=section.model.softness or 0.0,
            both_classes=False,  # one noise source has one target
        )
        report(1, 1, f"duality gap {limit.duality_gap:.1g}")
        return limit.classifier
    if isinstance(section, AdversarialTwoLayerConfig):
        # Inputs differ from epoch to epoch, so that nothing of a form's products would last: a batch of all samples is
        # the same descent.
        trained = MinibatchDescent(
            loss=section.loss,
            lr=spec.lr,
            epochs=section.epochs,
            batch_size=len(inputs),
            momentum=section.momentum,
            weight_decay=0.0,
            schedule=section.schedule,
            nesterov=False,
            adversary=spec.adversary(inputs),
        ).train(
            spec.first_network(inputs),
            inputs,
            spec.labels,
            seed=spec.minibatch_seed,
            device=inputs.device,
            alone=True,
            report=report,
        )
        return cast("Classifier[TwoLayer]", trained)
    assert isinstance(section, FlowConfig), "deep networks are trained by learn_network"
    flow = Flow(
        section.loss,
        spec.lr,
        section.epochs,
        section.momentum,
        step=section.flow_step,
        target_loss=section.target_loss,
        exact_epochs=section.exact_epochs,
    )
    return flow.train(spec.first_network(inputs), inputs, spec.labels, factors=factors, report=report)
