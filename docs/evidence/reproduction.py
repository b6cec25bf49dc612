"""The pages in docs/reproduction: every figure and study, run as far as the budget of two cores goes.

    python docs/evidence/reproduction.py [--out reproduction] [--data-dir DIR] [--only WORD ...] [--pages]

Runs what `PLAN` says, one figure after the other, into one store, and writes the pages after each. Finished figures
are not repeated, so an interrupted call can simply be made again. ``--only`` runs the figures whose command contains
one of the words; ``--pages`` runs nothing and writes the pages from what has finished. Comments on a figure are written
by hand in ``docs/reproduction/notes/NAME.md`` and inserted into its page; ``notes/index.md`` goes into the first page.

These are our own seeds; `published_seed.py` runs the published ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

import figures
from perturblearn import Reproduction
from perturblearn.api import prepare_reproduction
from perturblearn.api.reproduce import PreparedReproduction
from perturblearn.papers import ACCURACY_FIGURES, ALL, ARTIFICIAL_FIGURES, STUDIES
from perturblearn.report import ReproductionReport

PAGES = Path(__file__).parents[1] / "reproduction"


@dataclass(frozen=True)
class Task:
    """One call of `perturblearn reproduce`."""

    figure: str
    scale: str
    seeds: int
    panels: tuple[int, ...] | None = None
    curves: str | None = None
    most: tuple[tuple[str, float], ...] = ()
    keys: tuple[tuple[str, str], ...] = ()

    @property
    def words(self) -> str:
        """The command."""
        parts = ["perturblearn reproduce", self.figure, f"--scale {self.scale} --draws own --seeds {self.seeds}"]
        parts += [f"--panel {panel}" for panel in self.panels or ()]
        parts += [f"--curves {self.curves}"] if self.curves else []
        parts += [f"--most.{name} {value:g}" for name, value in self.most]
        return " ".join((*parts, *(f"--{name} {value}" for name, value in self.keys)))

    @property
    def file(self) -> str:
        """The stem of its images' names."""
        parts = [self.figure.replace("/", "-"), self.scale]
        parts += [f"panel{panel}" for panel in self.panels or ()] + ([self.curves] if self.curves else [])
        return "-".join(parts)

    def prepare(self, data_dir: Path | None) -> PreparedReproduction:
        """The validated reproduction, ready to run."""
        return prepare_reproduction(
            self.figure,
            seeds=self.seeds,
            scale=self.scale,
            panels=self.panels,
            curves=self.curves,
            most=dict(self.most),
            draws="own",
            overrides=dict(self.keys),
            data_dir=data_dir,
        )


CIFAR10 = (("data.name", "folder:cifar10-jpeg.tar.xz"),)
"""CIFAR-10 as JPEG images, ``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``, in an archive in the working folder."""


def plan() -> Iterator[Task]:
    """Figures that take minutes in full; the others as the smaller problem."""
    in_full = {"shifted_gauss_a": 5, "mnist_a": 2, "mnist_b": 2, "fmnist_a": 2, "fmnist_b": 2}
    for name in ACCURACY_FIGURES:
        seeds = in_full.get(name.partition("/")[2])
        yield Task(name, "quick", 3) if seeds is None else Task(name, "full", seeds)
    yield Task("neurips2024/cosine_similarity", "full", 5, panels=(1, 2))
    yield Task("neurips2024/cosine_similarity", "quick", 3)
    for name in ARTIFICIAL_FIGURES:
        whole = None if name.endswith("l2_uniform") else (2,)
        # A search takes longer than all else, one in L0 five times as long as the others.
        yield Task(name, "full", 1, whole, "limit", (("n_adv", 1000.0),) if "_l0_" in name else ())
        most = {"iclr2024/artificial_l2_uniform": 2500.0, "iclr2024/artificial_linf_uniform": 1500.0}
        n_adv = most.get(name, 100.0 if "_l0_" in name else 500.0)
        yield Task(name, "full", 2, (2,), "flow", (("n_adv", n_adv),), figures.QUICK_SEARCH)
        yield Task(name, "quick", 3)
    # Parts of the above: how far single seeds lie apart in early training.
    yield Task("neurips2024/shifted_gauss_a", "full", 20, panels=(7, 8))
    yield Task("neurips2024/fmnist_a", "full", 6, panels=(5,))
    for name in ALL:
        if name not in (*ACCURACY_FIGURES, *ARTIFICIAL_FIGURES, *STUDIES, "neurips2024/cosine_similarity"):
            yield Task(name, "quick", 3, keys=CIFAR10 if "cifar10" in name else ())
    yield Task("studies/orthogonality", "full", 10)
    yield Task("studies/smallest_perturbation", "full", 10)
    yield Task("studies/depth", "full", 5)
    yield Task("studies/weak_limit", "full", 5)
    yield Task("studies/architectures", "quick", 3)
    yield Task("studies/features", "full", 5)
    yield Task("studies/map", "quick", 3)
    yield Task("studies/constructed_sets", "quick", 3)
    yield Task("studies/separations", "quick", 3)


PLAN = tuple(plan())


@dataclass(frozen=True)
class Done:
    """A task that has finished."""

    task: Task
    found: Reproduction


def write_pages(out: Path, data_dir: Path | None) -> None:
    """Every page from what has finished."""
    done = [Done(task, found) for task, found in figures.finished(PLAN, out, data_dir)]
    (PAGES / "images").mkdir(parents=True, exist_ok=True)
    for figure in dict.fromkeys(each.task.figure for each in done):
        of_figure = [each for each in done if each.task.figure == figure]
        parts = [f"# {figure}", ALL[figure].caption, notes(figure.replace("/", "-"))]
        parts += [part for each in of_figure for part in section(each)]
        page = PAGES / f"{figure.replace('/', '-')}.md"
        page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    (PAGES / "README.md").write_text(index(done), encoding="utf-8")


def notes(name: str) -> str:
    """The comments on a figure written by hand, or a placeholder that names their file."""
    path = PAGES / "notes" / f"{name}.md"
    return path.read_text(encoding="utf-8").strip() if path.is_file() else f"<!-- notes/{name}.md is inserted here -->"


def section(done: Done) -> Iterator[str]:
    """A task's part of its page."""
    task, found, report = done.task, done.found, ReproductionReport(done.found)
    yield f"## {report.title.partition(', ')[2]}"
    yield f"`{task.words}`"
    assert found.folder is not None
    for picture in sorted(found.folder.glob("*.png")):
        name = f"{task.file}-{picture.stem}.png"
        shrink(picture, PAGES / "images" / name)
        yield f"![{task.figure}, {task.scale}](images/{name})"
    yield "\n".join(f"- {line.strip()}" for line in (*report.lines, *report.summary))
    table = report.markdown.rpartition("\n\n")[2].strip()
    yield f"<details><summary>Point by point</summary>\n\n{table}\n\n</details>"


def shrink(source: Path, target: Path) -> None:
    """A picture with a palette of 64 colours, which is all a diagram needs."""
    with Image.open(source) as image:
        image.convert("RGB").quantize(64).save(target, optimize=True)


def index(done: Sequence[Done]) -> str:
    """The first page: a row for every task."""
    rows: list[list[Any]] = [["figure", "scale", "seeds", "inside", "share", "largest miss"]]
    rows.append(["---"] * len(rows[0]))
    for each in done:
        found, task = each.found, each.task
        readable = found.readable
        outside = [row for row in readable if row.verdict == "outside"]
        worst = max(outside, key=lambda row: abs(row.difference or 0.0), default=None)
        inside = f"{len(readable) - len(outside)} of {len(readable)}" if readable else "-"
        share = "-" if found.share_inside is None else f"{found.share_inside:.0%}"
        miss = "-" if worst is None else f"{worst.difference:+.3f}, panel {worst.panel}, {worst.measure} at {worst.x}"
        parts = [task.scale, *([f"panel {', '.join(map(str, task.panels))}"] if task.panels else [])]
        parts += [task.curves] if task.curves else []
        link = f"[{task.figure}]({task.figure.replace('/', '-')}.md)"
        rows.append([link, ", ".join(parts), len(found.seeds), inside, share, miss])
    table = "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)
    explanation = (
        "`python docs/evidence/reproduction.py` writes this page and runs what is missing. *Inside* counts the "
        "readable published points within 0.05 of our mean or, with at least 2 seeds, within 2 standard deviations."
    )
    return f"# Reproduction\n\n{notes('index')}\n\n{explanation}\n\n{table}\n"


if __name__ == "__main__":
    figures.main(__doc__, "reproduction", PLAN, lambda found: ReproductionReport(found).lines, write_pages)
