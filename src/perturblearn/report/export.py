"""A run's folder: what the store holds of a run, written out for people."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import save_file

from perturblearn.config import to_toml
from perturblearn.experiment import Experiment
from perturblearn.graph import Executor
from perturblearn.report.charts import draw_examples
from perturblearn.report.examples import EXAMPLES, Examples
from perturblearn.report.result import Result
from perturblearn.report.table import title
from perturblearn.report.theory import TheoryComparison
from perturblearn.store import Artefact, ArtefactStore, separate, versions


def export_run(
    experiment: Experiment,
    executor: Executor,
    result: Result,
    store: ArtefactStore,
    folder: Path,
    *,
    page: Callable[[Result, Path], None] | None = None,
    theory: TheoryComparison | None = None,
) -> Result:
    """Write ``config.toml``, ``result.json``, weights and sets per seed, pictures and a page, all at once.

    Weights and sets are those of the chosen learning rates. The folder appears when it is complete; an older one in its
    place is replaced.

    Args:
        experiment: what was run.
        executor: serves the stages' results.
        result: what was measured.
        store: lends the scratch space, on the same disk as the folder.
        folder: where to.
        page: writes the page for the browser into the unfinished folder; None for no page.
        theory: what is predicted of the run, where that has been asked for.

    Returns:
        The result, which now knows its folder.

    Raises:
        StoreError: the folder cannot be written.
    """
    finished = result.in_folder(folder)
    with store.scratch() as scratch:
        inside = scratch / folder.name
        inside.mkdir()
        (inside / "config.toml").write_text(to_toml(experiment.config), encoding="utf-8")
        for number, (seed, stages) in enumerate(experiment.seeds.items()):
            selected = executor.result(stages.selection)
            branch = stages.branches[selected.standard]
            perturbation = branch.learners[selected.perturbation].perturbation
            place = inside / f"seed-{seed}"
            place.mkdir()
            _save(place / "standard.safetensors", executor.result(branch.standard).dump())
            _save(place / "perturbation.safetensors", executor.result(perturbation).dump())
            with executor.holding(stages.data, branch.perturbed, branch.mixed):
                _save(place / "perturbed.safetensors", executor.result(branch.mixed).dump())
                if number == 0:
                    examples = first_examples(experiment, executor)
                    examples.save(inside / EXAMPLES)
                    draw_examples(examples, title(experiment.config)).savefig(inside / "perturbations.png", dpi=130)
        if len(finished.seeds[0]["classes"]["names"]) > 2:
            finished.plot_confusion().savefig(inside / "confusion.png", dpi=130)
        (inside / "result.json").write_text(
            json.dumps(finished.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8"
        )
        if theory is not None:
            theory.write_into(inside / "theory")
        if page is not None:
            page(finished, inside)
        store.move_into_place(inside, folder, replace=True)
    return finished


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


def _save(path: Path, artefact: Artefact) -> None:
    metadata = {key: json.dumps(value) for key, value in {**artefact.content, "versions": versions()}.items()}
    save_file(separate(artefact.tensors), path, metadata)
