"""Classifiers from inputs and labels, in the way that their section of the configuration asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from perturblearn.classifiers import Classifier, TwoLayer, initialise
from perturblearn.config import ClassifierConfig
from perturblearn.errors import DataError, DivergenceError
from perturblearn.theory import margin_limit
from perturblearn.training import Descent, Flow, Form, Job, train_by_flow, train_side_by_side

FLOW_STEP = 0.1
"""Largest change of a margin in one step of the flow, where the configuration does not say."""
FORM_NAMES: dict[str, Form | None] = {
    "auto": None,
    "plain": "plain",
    "row_space": "row space",
    "low_rank": "low rank",
    "gram": "Gram",
}
"""The forms of training by their names in a configuration."""

Report = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Lesson:
    """One classifier that is to be learned.

    Args:
        config: network, loss and training, with one learning rate.
        labels: +1 and -1, (N,).
        seed: the run's seed.
        role: who asks: each role has its own initialisation.
    """

    config: ClassifierConfig
    labels: Tensor
    seed: int
    role: str


def learn(lesson: Lesson, inputs: Tensor, *, report: Report) -> Classifier[TwoLayer]:
    """One classifier; see `learn_side_by_side`.

    Raises:
        ConfigError, DataError: the data have no such limit.
        DivergenceError: training left the finite numbers.
    """
    ((_, found),) = learn_side_by_side([lesson], inputs, report=report)
    if isinstance(found, Exception):
        raise found
    return found


def learn_side_by_side(
    lessons: Sequence[Lesson],
    inputs: Tensor,
    *,
    factors: tuple[Tensor, Tensor] | None = None,
    wanted: Sequence[int] | None = None,
    report: Report,
) -> Iterator[tuple[int, Classifier[TwoLayer] | DataError | DivergenceError]]:
    """Classifiers over the same inputs, by descent, by flow, or as limits that need no training.

    Those by descent train together. Where two differ in nothing but their epochs, they are one training at two times.

    Args:
        lessons: what to learn; all with the same way of training, form and products.
        inputs: (N, ...).
        factors: C (N, q) and Q (q, d) with orthonormal rows, where the inputs are C Q.
        wanted: positions of the lessons whose result is asked for; None for all.
        report: called with steps done and in all.

    Yields:
        The position of a lesson and its classifier, or why there is none.
    """
    positions = list(range(len(lessons)) if wanted is None else wanted)
    first = lessons[0].config
    if first.model.name != "limit" and first.training == "descent":
        yield from _descend(lessons, inputs, factors, positions, report)
        return
    for count, position in enumerate(positions):

        def note(done: int, steps: int, word: str, count: int = count) -> None:
            report(count * steps + done, len(positions) * steps, word)

        try:
            yield position, _learn_alone(lessons[position], inputs, factors, note)
        except (DataError, DivergenceError) as error:
            yield position, error


def _descend(
    lessons: Sequence[Lesson],
    inputs: Tensor,
    factors: tuple[Tensor, Tensor] | None,
    positions: Sequence[int],
    report: Report,
) -> Iterator[tuple[int, Classifier[TwoLayer] | DivergenceError]]:
    courses: dict[tuple[object, ...], list[int]] = {}
    for position, lesson in enumerate(lessons):
        rest = lesson.config.model_copy(update={"epochs": 1})
        course = (rest.model_dump_json(), id(lesson.labels), lesson.seed, lesson.role)
        courses.setdefault(course, []).append(position)
    members = list(courses.values())
    jobs = [_job([lessons[position] for position in course], inputs) for course in members]
    first = lessons[0].config
    for index, outcome in train_side_by_side(
        jobs,
        inputs,
        factors=factors,
        form=FORM_NAMES[first.form],
        bfloat16=first.products == "bfloat16",
        wanted=[index for index, course in enumerate(members) if set(course) & set(positions)],
        report=report,
    ):
        for position in members[index]:
            if position in positions:
                try:
                    yield position, outcome.after(lessons[position].config.epochs)
                except DivergenceError as error:
                    yield position, error


def _job(lessons: Sequence[Lesson], inputs: Tensor) -> Job:
    lesson, config = lessons[0], lessons[0].config
    (lr,) = config.lr
    epochs = [other.config.epochs for other in lessons]
    network = initialise(config.model, inputs[0].numel(), seed=lesson.seed, role=lesson.role).to(inputs)
    descent = Descent(config.loss, lr, max(epochs), config.momentum, config.schedule == "plateau")
    return Job(network, lesson.labels, descent, tuple(epochs))


def _learn_alone(
    lesson: Lesson, inputs: Tensor, factors: tuple[Tensor, Tensor] | None, report: Report
) -> Classifier[TwoLayer]:
    config = lesson.config
    (lr,) = config.lr
    if config.model.name == "limit":
        limit = margin_limit(
            inputs.flatten(1),
            lesson.labels,
            slope=config.model.slope,
            method=config.model.method or "two_direction",
            softness=config.model.softness or 0.0,
            both_classes=False,  # one noise source has one target
        )
        report(1, 1, f"duality gap {limit.duality_gap:.1g}")
        return limit.classifier
    flow = Flow(
        config.loss,
        lr,
        config.epochs,
        config.momentum,
        step=config.flow_step or FLOW_STEP,
        target_loss=config.target_loss,
        exact_epochs=config.exact_epochs or 0,
    )
    network = initialise(config.model, inputs[0].numel(), seed=lesson.seed, role=lesson.role).to(inputs)
    return train_by_flow(network, inputs, lesson.labels, flow, factors=factors, report=report)
