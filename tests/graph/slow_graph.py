"""Twenty small stages that take their time; each notes when it begins and is found finished."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.graph.kinds import kinds, stage

from perturblearn.graph import Executor, Stage, make_plan
from perturblearn.store import ArtefactStore


def targets(log: Path | None, seconds: float = 0.0) -> list[Stage]:
    """Three layers of stored stages over others that are made on demand."""

    def note(found: Stage) -> None:
        if log is not None and found.kind.is_stored:
            with log.open("a") as stream:
                stream.write(f"{found.key}\n")
        time.sleep(seconds)

    stored, on_demand = kinds(note)
    layer = [stage(on_demand, value) for value in range(3)]
    for depth in range(3):
        made = [stage(stored, 10 * depth + value, *layer) for value in range(6)]
        layer = [*made[:5], stage(on_demand, 7, made[5])]
    return [stage(stored, 1, *layer), stage(stored, 2, *layer)]


def main(folder: Path) -> None:
    store = ArtefactStore(folder / "store")
    wanted = targets(folder / "log", 0.005)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    executor = Executor(make_plan(wanted, store), store)
    executor.run()
    (folder / "results").write_text(" ".join(str(executor.result(found).value) for found in wanted))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
