"""Twenty small stages that take their time; each notes when it begins and is found finished."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.graph.kinds import Kept, OnDemand, stage

from perturblearn.graph import AnyStage, Executor, make_plan
from perturblearn.store import ArtefactStore


def targets(log: Path | None, seconds: float = 0.0) -> list[AnyStage]:
    """Three layers of stored stages over others that are made on demand."""

    def note(found: AnyStage) -> None:
        if log is not None and found.is_stored:
            with log.open("a") as stream:
                stream.write(f"{found.key}\n")
        time.sleep(seconds)

    layer = [stage(OnDemand, value, note=note) for value in range(3)]
    for depth in range(3):
        made = [stage(Kept, 10 * depth + value, *layer, note=note) for value in range(6)]
        layer = [*made[:5], stage(OnDemand, 7, made[5], note=note)]
    return [stage(Kept, 1, *layer, note=note), stage(Kept, 2, *layer, note=note)]


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
