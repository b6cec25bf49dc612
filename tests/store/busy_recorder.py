"""Writes a hundred records of its own beside another's."""

from __future__ import annotations

import sys

from perturblearn.store import Record, RecordStore


def main(folder: str, number: int) -> None:
    records = RecordStore(f"{folder}/records.sqlite3")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for turn in range(100):
        records.write(Record(f"{number}-{turn}", "busy", "finished", {"number": number}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
