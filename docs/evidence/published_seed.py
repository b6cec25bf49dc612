"""The page docs/reproduction/published_seed.md: the papers' curves made again at their own seeds, panel by panel.

    python docs/evidence/published_seed.py [--out published_seed] [--data-dir DIR] [--only WORD ...] [--pages]

Runs what `PLAN` says, quick panels first, into one store, and writes the page after each. Finished runs are not
repeated, so an interrupted call can simply be made again. ``--only`` runs the panels whose command contains one of the
words; ``--pages`` runs nothing and writes the page from what has finished. Comments on points that differ are written
by hand in ``docs/reproduction/notes/published_seed.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import figures
from perturblearn import Reproduction
from perturblearn.api import prepare_reproduction
from perturblearn.api.reproduce import PreparedReproduction
from perturblearn.papers import ACCURACY_FIGURES, COSINE_FIGURE, FIGURES, published
from perturblearn.results import AGREES, PointRow, ShownPanel

PAGE = Path(__file__).parents[1] / "reproduction/published_seed.md"
NOTES = PAGE.parent / "notes/published_seed.md"


@dataclass(frozen=True)
class Task:
    """One panel of a figure."""

    figure: str
    panel: int
    most: tuple[tuple[str, float], ...] = ()
    own_seeds: int = 0
    curves: str | None = None
    keys: tuple[tuple[str, str], ...] = ()

    @property
    def words(self) -> str:
        """The command."""
        options = f" --curves {self.curves}" if self.curves else ""
        options += "".join(f" --most.{name} {value:g}" for name, value in self.most)
        options += "".join(f" --{name} {value}" for name, value in self.keys)
        draws = f"both --seeds {self.own_seeds}" if self.own_seeds else "published"
        return f"perturblearn reproduce {self.figure} --scale full --draws {draws} --panel {self.panel}{options}"

    def prepare(self, data_dir: Path | None) -> PreparedReproduction:
        """The validated reproduction, ready to run."""
        return prepare_reproduction(
            self.figure,
            seeds=self.own_seeds or 3,
            scale="full",
            draws="both" if self.own_seeds else "published",
            panels=[self.panel],
            curves=self.curves,
            most=dict(self.most),
            overrides=dict(self.keys),
            data_dir=data_dir,
        )


SIZES = {"shifted_gauss_b": 1000.0, "gauss_a": 500.0, "gauss_b": 500.0}
"""Up to this many dimensions a point of Gaussian noise takes under two minutes on two cores."""
FEW_SAMPLES = (("n_samples", 2000.0),)
"""The same along the number of samples, at full dimension."""


def plan() -> Iterator[Task]:
    """All panels of images and of shifted Gauss (a), and of the others what fits two cores."""
    for name in ("fmnist_a", "mnist_a", "mnist_b", "fmnist_b", "shifted_gauss_a"):
        figure = f"neurips2024/{name}"
        # Logistic panels and wide networks take longest.
        order = sorted(range(1, len(FIGURES[figure].panels) + 1), key=lambda panel: (panel in (2, 3), panel))
        yield from (Task(figure, panel) for panel in order)
    yield from (Task(COSINE_FIGURE.name, panel) for panel in (1, 2, 5, 6))
    for name, most in SIZES.items():
        yield Task(f"neurips2024/{name}", 6, FEW_SAMPLES)
        yield from (Task(f"neurips2024/{name}", panel, (("input_dim", most),)) for panel in (1, 2))
    for norm in ("l2", "linf"):
        yield Task(
            f"iclr2024/artificial_{norm}_uniform", 2, (("n_adv", 1000.0),), curves="flow", keys=figures.QUICK_SEARCH
        )
    # Along epsilon, where the default point lies too, beside our own seeds.
    for name in ("shifted_gauss_a", "mnist_a", "fmnist_a", "fmnist_b", "mnist_b"):
        yield Task(f"neurips2024/{name}", 1, own_seeds=10)
    for name, figure in ACCURACY_FIGURES.items():
        if not name.endswith(("mnist_a", "mnist_b", "shifted_gauss_a")):
            yield from (Task(name, panel) for panel in range(1, len(figure.panels) + 1))


PLAN = tuple(plan())


@dataclass(frozen=True)
class Done:
    """A task that has finished."""

    task: Task
    found: Reproduction

    @property
    def panel(self) -> ShownPanel:
        """The panel."""
        (panel,) = self.found.panels
        return panel

    @property
    def beyond(self) -> list[PointRow]:
        """Readable points that are not met."""
        return [row for row in self.found.readable_at_seed if row.seed_verdict != AGREES]


def tell(found: Reproduction) -> Iterator[str]:
    """How many readable points are met."""
    readable = found.readable_at_seed
    yield f"{sum(row.seed_verdict == AGREES for row in readable)} of {len(readable)}"


def write_page(out: Path, data_dir: Path | None) -> None:
    """The page from what has finished."""
    # Of a panel that was run in part and as a whole the whole.
    last = {(task.figure, task.panel): Done(task, found) for task, found in figures.finished(PLAN, out, data_dir)}
    done = list(last.values())
    parts = [
        "# At the published seed",
        "Every point of the papers' curves that was run with the draws of its own seed ([The published draws]"
        "(../draws.md)). *Within 0.02* counts the readable published values that ours is so near to: they were read "
        "off the figures with about that error.",
        "`python docs/evidence/published_seed.py` writes this page and runs what is missing.",
        NOTES.read_text(encoding="utf-8").strip() if NOTES.is_file() else "",
        summary(done),
    ]
    for figure in dict.fromkeys(each.task.figure for each in done):
        of_figure = [each for each in done if each.task.figure == figure]
        parts += [f"## {figure}", *section(of_figure)]
        parts += [part for each in of_figure if each.task.own_seeds for part in among_own_seeds(each)]
    PAGE.write_text("\n\n".join(filter(None, parts)) + "\n", encoding="utf-8")


def summary(done: list[Done]) -> str:
    """A row for every figure."""
    rows = ["| figure | panels | readable points | within 0.02 | share |", "| --- | --- | --- | --- | --- |"]
    for figure in dict.fromkeys(each.task.figure for each in done):
        of_figure = [each for each in done if each.task.figure == figure]
        known = published(figure)
        count = sum(len(each.found.readable_at_seed) for each in of_figure)
        met = count - sum(len(each.beyond) for each in of_figure)
        share = f"{met / count:.1%}" if count else "no values are given" if not (known and known.is_given) else "-"
        rows.append(f"| {figure} | {len(of_figure)} of {len(FIGURES[figure].panels)} | {count} | {met} | {share} |")
    return "\n".join(rows)


def section(done: list[Done]) -> Iterator[str]:
    """A figure's panels, and its points that are not met."""
    rows = ["| panel | seed | readable | within 0.02 | largest difference |", "| --- | --- | --- | --- | --- |"]
    for each in sorted(done, key=lambda each: each.task.panel):
        judged, panel = each.found.readable_at_seed, each.panel
        worst = max(judged, key=lambda row: abs(row.seed_difference or 0.0), default=None)
        told = "-" if worst is None else f"{worst.seed_difference:+.3f}, {worst.measure} at {worst.x}"
        name = f"{panel.number}: {panel.name}" + "".join(f", {key} up to {value:g}" for key, value in each.task.most)
        rows.append(f"| {name} | {panel.seed} | {len(judged)} | {len(judged) - len(each.beyond)} | {told} |")
    yield "\n".join(rows)
    beyond = [row for each in sorted(done, key=lambda each: each.task.panel) for row in each.beyond]
    if beyond:
        rows = [
            "Points beyond 0.02:\n",
            "| panel | x | measure | published | ours |",
            "| --- | --- | --- | --- | --- |",
        ]
        rows += [f"| {row.panel} | {row.x} | {row.measure} | {row.published} | {row.at_seed:.3f} |" for row in beyond]
        yield "\n".join(rows)
    predicted = [row for each in done for row in each.found.rows if row.published is None and row.at_seed is not None]
    if predicted:
        rows = ["| panel | x | measure | ours |", "| --- | --- | --- | --- |"]
        rows += [f"| {row.panel} | {row.x} | {row.measure} | {row.at_seed:.3f} |" for row in predicted]
        heading = f"<details><summary>Values where none can be read: {len(predicted)} predictions</summary>"
        yield f"{heading}\n\n" + "\n".join(rows) + "\n\n</details>"


def among_own_seeds(done: Done) -> Iterator[str]:
    """Where the published seed lies among our own."""
    yield f"Panel {done.task.panel} beside {done.task.own_seeds} of our own seeds (`{done.task.words}`):"
    rows = [
        "| x | measure | published | published seed | own seeds | quantile |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in done.found.rows:
        if row.mean is not None:
            cells = [
                shown(row.published),
                shown(row.at_seed),
                f"{row.mean:.3f} ± {row.std or 0:.3f}",
                shown(row.quantile),
            ]
            rows.append(f"| {row.x} | {row.measure} | {' | '.join(cells)} |")
    table = "\n".join(rows)
    yield f"<details><summary>{len(rows) - 2} points</summary>\n\n{table}\n\n</details>"


def shown(value: float | None) -> str:
    """A cell."""
    return "-" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    figures.main(__doc__, "published_seed", PLAN, tell, write_page)
