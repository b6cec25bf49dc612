"""Writes records in batches, and a collection that grows, until it is killed or has written enough."""

from __future__ import annotations

import sys
from itertools import count

from perturblearn.store import Collection, Record, RecordStore

BATCH = 50


def main(folder: str, number: int, turns: int | None = None) -> None:
    store = RecordStore(f"{folder}/records.sqlite3")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for turn in count() if turns is None else range(turns):
        keys = [f"{number}-{turn * BATCH + place}" for place in range(BATCH)]
        store.write_many(Record(key, "batch", "finished", {"turn": turn}) for key in keys)
        runs = tuple(f"{number}-{place}" for place in range((turn + 1) * BATCH))
        store.write_collection(Collection(f"{number}", "batch", "running", {}, runs))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
