"""A run's folder: what the store holds of a run, written out for people."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save_file

from perturblearn.config import to_toml
from perturblearn.experiment import Experiment
from perturblearn.graph import Executor
from perturblearn.report.figures import draw_examples
from perturblearn.report.result import Result
from perturblearn.store import Artefact, ArtefactStore, separate, versions


def export_run(
    experiment: Experiment, executor: Executor, result: Result, store: ArtefactStore, folder: Path
) -> Result:
    """Write ``config.toml``, ``result.json``, weights and perturbed sets per seed, and pictures, all at once.

    Weights and sets are those of the chosen learning rates. The folder appears when it is complete; an older one in its
    place is replaced.

    Args:
        experiment: what was run.
        executor: serves the stages' results.
        result: what was measured.
        store: lends the scratch space, on the same disk as the folder.
        folder: where to.

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
            selection = executor.result(stages.selection)
            row, column = selection["standard"], selection["perturbation"]
            place = inside / f"seed-{seed}"
            place.mkdir()
            _save(place / "standard.safetensors", executor.result(stages.standard[row]).dump())
            _save(place / "perturbation.safetensors", executor.result(stages.perturbation[row][column]).dump())
            with executor.holding(stages.data, stages.perturbed[row], stages.mixed[row]):
                perturbed = executor.result(stages.perturbed[row])
                _save(place / "perturbed.safetensors", executor.result(stages.mixed[row]).dump())
                if number == 0:
                    figure = draw_examples(perturbed, executor.result(stages.data), experiment.config)
                    figure.savefig(inside / "perturbations.png", dpi=130)
        if len(finished.seeds[0]["classes"]["names"]) > 2:
            finished.plot_confusion().savefig(inside / "confusion.png", dpi=130)
        (inside / "result.json").write_text(
            json.dumps(finished.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8"
        )
        store.move_into_place(inside, folder, replace=True)
    return finished


def _save(path: Path, artefact: Artefact) -> None:
    metadata = {key: json.dumps(value) for key, value in {**artefact.content, "versions": versions()}.items()}
    save_file(separate(artefact.tensors), path, metadata)
