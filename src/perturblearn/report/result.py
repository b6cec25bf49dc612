"""The result of a run: numbers, a table, a sentence, and their forms for people and programs."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perturblearn.config import ExperimentConfig, config_tree, resolve_config
from perturblearn.errors import StoreError
from perturblearn.experiment import MEASURES, summarise_seeds
from perturblearn.report.conclusion import ask, conclude, remarks, told_part
from perturblearn.report.table import HEADS, Row, classes_text, groups_text, table_rows, table_text
from perturblearn.store import versions

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

SCHEMA = 2
"""Version of the JSON form; raised when a key changes its meaning or goes."""
MOST_CLASSES = 20
"""Classes, or groups, up to which a result prints a line for each; its dictionary holds all."""


@dataclass(frozen=True)
class Result:
    """What a run has measured.

    Args:
        config: the configuration as resolved.
        key: hash of the run's stages.
        seeds: per seed: ``seed``, ``standard_lr``, ``perturbation_lr``, ``measures``, ``controls``, ``classes``,
            ``grid``, and ``groups`` where the data name groups.
        summary: by measure: ``mean``, ``std``, ``median``, ``values``; see the docs page *Results*.
        command: makes it again where ``config.toml`` alone does not: of a run that was learned from a set.
        no_theory: why the papers' predictions could not be put beside it, where that was tried.
        folder: where the run was exported to; None if nothing was written.
        seconds: time spent in the stages that ran; 0 if all were finished before.
        versions: of the packages that made the result.
    """

    config: ExperimentConfig
    key: str
    seeds: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Mapping[str, Any]]
    command: str | None = None
    no_theory: str | None = None
    folder: Path | None = None
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=versions)

    @classmethod
    def of(cls, config: ExperimentConfig, key: str, seeds: Sequence[Mapping[str, Any]], seconds: float) -> Result:
        """A result with the summary of its seeds.

        Args:
            config, key, seeds: as in `Result`.
            seconds: time spent in the stages that ran.
        """
        return cls(config, key, seeds, summarise_seeds(seeds, mixed=config.mixing.is_mixed), seconds=seconds)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Result:
        """The result that lies in a run's folder.

        Raises:
            StoreError: there is none, it is damaged, or a newer version wrote it.
        """
        path = Path(folder) / "result.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
            if content["schema"] > SCHEMA:
                raise StoreError(
                    f"{path} was written by a newer version of perturblearn; update it to read this result"
                )
            if content["schema"] < SCHEMA:
                raise StoreError(f"{path} was written by an older version of perturblearn; run the experiment again")
            return cls(
                config=resolve_config(dict(content["config"])),
                key=content["key"],
                seeds=content["seeds"],
                summary=content["summary"],
                command=content.get("command"),
                no_theory=content.get("no_theory"),
                folder=path.parent,
                seconds=content["seconds"],
                versions=content["versions"],
            )
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(f"cannot read {path} ({error.strerror}); name the folder of a finished run") from None
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path} is damaged ({error!r}); run the experiment again with --force") from None

    def in_folder(self, folder: Path) -> Result:
        """The same result, exported to a folder."""
        return replace(self, folder=folder)

    @property
    def question(self) -> str:
        """What the run asks, in one sentence."""
        return ask(self.config, self.seeds[0]["classes"]["names"])

    @property
    def conclusion(self) -> str:
        """What the numbers mean, in one sentence."""
        return conclude(self.summary, self.seeds, self.config)

    @property
    def told_part(self) -> str:
        """The end of the names of the measures that it tells of: ``_heldout``, or nothing for f's clean samples."""
        return told_part(self.summary, self.seeds, self.config)

    @property
    def remarks(self) -> list[str]:
        """What a careful reader should know besides: controls off chance, one seed only, a perturbation of 0."""
        return remarks(self.summary, self.seeds, self.config)

    @property
    def rows(self) -> list[Row]:
        """The table's rows."""
        return table_rows(self.summary)

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values: the content of ``result.json`` and of ``--json``."""
        return {
            "schema": SCHEMA,
            "kind": "run",
            "name": self.config.name,
            "key": self.key,
            "command": self.command,
            "no_theory": self.no_theory,
            "folder": None if self.folder is None else str(self.folder),
            "conclusion": self.conclusion,
            "remarks": self.remarks,
            "summary": {name: dict(values) for name, values in self.summary.items()},
            "seeds": [dict(seed) for seed in self.seeds],
            "config": config_tree(self.config),
            "versions": dict(self.versions),
            "seconds": self.seconds,
        }

    def to_frame(self) -> pandas.DataFrame:
        """One row per seed: the chosen learning rates, every measure, and the mean of every control.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "to_frame() needs pandas, which is not installed; install it with 'pip install perturblearn[pandas]'"
            ) from None
        rows = [{"seed": seed["seed"], **numbers_of(seed)} for seed in self.seeds]
        return pandas.DataFrame(rows).set_index("seed")

    def plot(self) -> Figure:
        """Accuracy of f and g, their agreement and every draw of the controls, seed by seed, as a matplotlib figure."""
        from perturblearn.report.charts import draw
        from perturblearn.report.charts.run import run_picture

        return draw(run_picture(self))

    def plot_confusion(self) -> Figure:
        """What g takes each class for on the held-out inputs, mean over the seeds, as a matplotlib figure."""
        from perturblearn.report.charts import draw
        from perturblearn.report.charts.run import confusion_picture

        return draw(confusion_picture(self))

    def __str__(self) -> str:
        classes = [seed["classes"] for seed in self.seeds]
        by_class = ("", classes_text(classes)) if 2 < len(classes[0]["names"]) <= MOST_CLASSES else ()
        groups = [seed["groups"] for seed in self.seeds if "groups" in seed]
        by_group = ("", groups_text(groups)) if groups and len(groups[0]["names"]) <= MOST_CLASSES else ()
        table = table_text(self.rows, self.config)
        return "\n".join((table, *by_class, *by_group, "", self.conclusion, *self.remarks))

    def _repr_html_(self) -> str:
        cells = "".join(
            "<tr>"
            + "".join(f"<td>{html.escape(cell)}</td>" for cell in (row.name, *row.numbers, row.measured_on))
            + "</tr>"
            for row in self.rows
        )
        heads = "".join(f"<th>{head}</th>" for head in HEADS)
        notes = "".join(f"<p>{html.escape(remark)}</p>" for remark in self.remarks)
        return (
            f"<p><b>{html.escape(self.config.name)}</b>: {html.escape(self.conclusion)}</p>"
            f"<table><thead><tr>{heads}</tr></thead><tbody>{cells}</tbody></table>{notes}"
        )


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number that a result can hold")


def numbers_of(seed: Mapping[str, Any]) -> dict[str, float | None]:
    """What one seed has measured, as one number each.

    Args:
        seed: its entry of `Experiment.measures`.

    Returns:
        The chosen ``standard_lr`` and ``perturbation_lr``, every measure, and of every control the mean of its draws,
        in the order of `MEASURES`, whatever order they come in: records are sorted by name.
    """
    controls = {
        f"{name}_control{part}": sum(values[f"accuracy{part}"]) / len(values[f"accuracy{part}"])
        for name, values in seed["controls"].items()
        for part in ("", "_heldout")
    }
    rates = {name: seed[name] for name in ("standard_lr", "perturbation_lr")}
    measured = {**seed["measures"], **controls}
    return {**rates, **{name: measured[name] for name in MEASURES if name in measured}, **measured}
