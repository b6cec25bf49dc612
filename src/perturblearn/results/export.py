"""A run's folder: what the store holds of a run, written out for people."""

# Results of stages are of any type.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from perturblearn.experiment import Experiment
from perturblearn.graph import Executor
from perturblearn.results.attributed import ATTRIBUTED, AttributedInputs
from perturblearn.results.drawing import Drawing, FigureOptions
from perturblearn.results.examples import EXAMPLES, Examples
from perturblearn.results.files import File
from perturblearn.results.result import HELDOUT_SET, PERTURBATION, STANDARD, TRAINING_SET, Result
from perturblearn.results.shown_features import FEATURES, ShownFeatures
from perturblearn.results.theory import TheoryComparison
from perturblearn.store import ArtefactStore, write_artefact

Page = Callable[[Result, Path], str]
"""Makes the page of a result whose files lie in a folder."""


def export_run(
    experiment: Experiment,
    executor: Executor,
    result: Result,
    store: ArtefactStore,
    folder: Path,
    *,
    page: tuple[str, Page] | None = None,
    theory: TheoryComparison | None = None,
    figures: FigureOptions = FigureOptions(),
) -> Result:
    """Write ``config.toml``, ``result.json``, networks and sets per seed, figures and the page, all at once.

    Networks and sets are those of the chosen learning rates. The folder appears when it is complete; an older one in
    its place is replaced.

    Args:
        experiment: what was run.
        executor: serves the stages' results.
        result: what was measured.
        store: lends the scratch space, on the same disk as the folder.
        folder: where to.
        page: the name of the run's page, and what makes it; None for no page.
        theory: what is predicted of the run, where that has been asked for.
        figures: formats and style of the figures.

    Returns:
        The result, which now knows its folder.

    Raises:
        StoreError: the folder cannot be written.
    """

    def more() -> Iterator[File]:
        for number, seed in enumerate(experiment.seeds):
            yield from _contents(experiment, executor, seed, has_examples=number == 0)
        if theory is not None:
            yield from ((f"theory/{name}", content) for name, content in theory.files())
        if page is not None:
            name, make = page
            yield name, Drawing(lambda inside: make(result.in_folder(folder), inside).encode())

    return result.write(store, folder, more(), figures)


def _contents(experiment: Experiment, executor: Executor, seed: int, *, has_examples: bool) -> Iterator[File]:
    """Networks and sets of a seed, possibly with the examples that are shown."""
    stages, place = experiment.seeds[seed], f"seed-{seed}"
    selected = executor.result(stages.selection)
    branch = stages.branches[selected.standard]
    perturbation = branch.learners[selected.perturbation].perturbation
    yield f"{place}/{STANDARD}", partial(write_artefact, executor.result(branch.standard).dump())
    yield f"{place}/{PERTURBATION}", partial(write_artefact, executor.result(perturbation).dump())
    # Sets that are cheap to make are not in the store: what several files need is made once.
    with executor.holding(stages.data, branch.perturbed, branch.seen):
        yield f"{place}/{TRAINING_SET}", partial(write_artefact, executor.result(branch.seen).dump())
        if has_examples:
            yield EXAMPLES, first_examples(experiment, executor).save
        if has_examples and stages.attribution is not None:
            attribution, data = executor.result(stages.attribution), executor.result(stages.data)
            yield ATTRIBUTED, AttributedInputs.of(attribution, data).save
        for name, stage in zip(FEATURES, (stages.robust_linear, stages.features), strict=True):
            if has_examples and stage is not None:
                shown = ShownFeatures.of(executor.result(stage).pictured, executor.result(stages.data))
                yield f"{name}.safetensors", shown.save
    with executor.holding(stages.data):
        yield f"{place}/{HELDOUT_SET}", partial(write_artefact, executor.result(branch.heldout_seen).dump())


def first_examples(experiment: Experiment, executor: Executor) -> Examples:
    """Examples of what g of the first seed sees, at the chosen learning rate of f.

    Args:
        experiment: which has run.
        executor: serves its stages' results.
    """
    stages = next(iter(experiment.seeds.values()))
    perturbed = stages.branches[executor.result(stages.selection).standard].perturbed
    with executor.holding(stages.data, perturbed):
        return Examples.of(executor.result(perturbed), executor.result(stages.data))
