"""What the scripts of the reproduction pages have in common: figures run one after the other, pages after each."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from perturblearn import PerturbLearnError, Reproduction
from perturblearn.api import RunOptions
from perturblearn.api.reproduce import PreparedReproduction

QUICK_SEARCH = (("attack.products", "bfloat16"),)
"""The same search with products in bfloat16, several times faster on processors that support them."""


class Task(Protocol):
    """One call of `perturblearn reproduce`."""

    @property
    def words(self) -> str:
        """The command."""
        ...

    def prepare(self, data_dir: Path | None) -> PreparedReproduction:
        """The validated reproduction, ready to run."""
        ...


T = TypeVar("T", bound=Task)


def finished(tasks: Iterable[T], out: Path, data_dir: Path | None) -> Iterator[tuple[T, Reproduction]]:
    """Tasks that have a result in the folder."""
    for task in tasks:
        try:
            yield task, Reproduction.load(task.prepare(data_dir).folder_in(out))
        except PerturbLearnError:
            continue  # its data are missing, or it has not been run


def main(
    description: str | None,
    out: str,
    tasks: Sequence[Task],
    tell: Callable[[Reproduction], Iterable[str]],
    write: Callable[[Path, Path | None], None],
) -> None:
    """Run what is missing, and write the pages, as the command line asks.

    Args:
        description: of the script.
        out: the folder of results by default.
        tasks: what there is to run.
        tell: what is printed of a result.
        write: writes the pages from what has finished, given the folders of results and of data.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--pages", action="store_true")
    arguments = parser.parse_args()
    wanted = [task for task in tasks if not arguments.only or any(word in task.words for word in arguments.only)]
    for task in () if arguments.pages else wanted:
        started = time.perf_counter()
        print(task.words, flush=True)
        try:
            found = task.prepare(arguments.data_dir).run(RunOptions(out=arguments.out))
        except PerturbLearnError as error:
            print(f"    not run: {error}", flush=True)
            continue
        for line in (*tell(found), f"{time.perf_counter() - started:.0f} s"):
            print(f"    {line}", flush=True)
        write(arguments.out, arguments.data_dir)
    write(arguments.out, arguments.data_dir)
