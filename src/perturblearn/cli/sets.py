"""The commands perturb, learn and verify."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from perturblearn.cli.app import app
from perturblearn.cli.arguments import split_arguments
from perturblearn.cli.options import (
    Arguments,
    Cache,
    Data,
    DataDir,
    Doing,
    Flag,
    Out,
    SkipBad,
    Telling,
    Together,
    WithReport,
    put_data,
)
from perturblearn.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from perturblearn.cli.progress import ProgressBar
    from perturblearn.perturbed import StoredSet

Set = Annotated[Path, Parameter(name="SET", help="Folder of a set that 'perturblearn perturb' wrote.")]


@app.command
def perturb(
    *arguments: Arguments,
    data: Data = None,
    out: Annotated[Path, Parameter(help="Folder for the sets' own folders and for finished stages.")] = Path("sets"),
    data_dir: DataDir = None,
    skip_bad: SkipBad = False,
    cache: Annotated[Cache, Together] = Cache(),
    doing: Annotated[Doing, Together] = Doing(),
    telling: Annotated[Telling, Together] = Telling(),
) -> None:
    """Stop after the perturbed set, and write it shard by shard: a folder for each seed.

    It is the set that 'perturblearn run' trains g on. An interrupted command goes on where it was.
    """
    file, keys = split_arguments(arguments)
    put_data(keys, data, skip_bad)

    from perturblearn import api
    from perturblearn.cli.carry_out import carry_out

    def show(sets: Sequence[StoredSet], bar: ProgressBar) -> str:
        lines = [f"{stored.folder}: {stored}" for stored in sets]
        return "\n".join((*lines, f"Learn from one with: perturblearn learn {sets[0].folder}"))

    def as_json(sets: Sequence[StoredSet]) -> dict[str, Any]:
        return {"kind": "perturbed sets", "sets": [stored.to_dict() for stored in sets]}

    prepared = api.prepare_perturbing(file, overrides=keys, data_dir=data_dir)
    carry_out(prepared, out, cache, doing, telling, show, as_json)


@app.command
def learn(
    folder: Set,
    /,
    *arguments: Annotated[
        str,
        Parameter(
            name="[--KEY VALUE ...]",
            help="Keys of perturbation, controls, measures and mixing, name and seeds (of g) by their dotted names.",
            allow_leading_hyphen=True,
        ),
    ],
    data: Data = None,
    out: Out = Path("runs"),
    data_dir: DataDir = None,
    cache: Annotated[Cache, Together] = Cache(),
    report: WithReport = True,
    doing: Annotated[Doing, Together] = Doing(),
    telling: Annotated[Telling, Together] = Telling(),
) -> None:
    """Train g on a perturbed set that is there, and measure it on clean data.

    --data says where the set's data are, if not where they were.
    """
    file, keys = split_arguments(arguments)
    if file is not None:
        raise ConfigError(f"{file} is one word too many; a set's configuration is in its manifest, name a set alone")
    put_data(keys, data)

    from perturblearn import api
    from perturblearn.cli.carry_out import carry_out_result

    prepared = api.prepare_learning(folder, overrides=keys, data_dir=data_dir, report=report)
    carry_out_result(prepared, out, cache, doing, telling)


@app.command
def verify(
    folder: Set,
    /,
    *,
    repair: Annotated[bool, Flag, Parameter(help="Make damaged shards again, from the set's f and data.")] = False,
    data: Data = None,
    data_dir: DataDir = None,
    telling: Annotated[Telling, Together] = Telling(),
) -> None:
    """Compare every file of a perturbed set with what was written; --repair makes damaged shards again.

    The exit status is 0 for a set that is whole or whole again, else 2.
    """
    from perturblearn import api
    from perturblearn.cli.carry_out import print_json
    from perturblearn.perturbed import lost_standard
    from perturblearn.perturbed.manifest import STANDARD

    damages = api.verify(folder, mend=repair, data=data, data_dir=data_dir)
    harm = [damage for damage in damages if not damage.is_extra]
    if telling.json:
        found = [{"file": each.file, "reason": each.reason, "is_extra": each.is_extra} for each in damages]
        again = bool(harm and repair)
        print_json({"kind": "verification", "folder": str(folder), "damages": found, "repaired": again})
    elif not telling.quiet:
        for damage in damages:
            again = "; it was made again" if repair and not damage.is_extra else ""
            print(f"{damage.file} {damage.reason}{again}")
        if not harm or repair:
            print(f"{folder} is whole{' again' if harm else ''}.")
    if harm and not repair:
        if any(damage.file == STANDARD for damage in harm):
            raise lost_standard(folder)
        files = ", ".join(damage.file for damage in harm[:3])
        more = f" and {len(harm) - 3} more" if len(harm) > 3 else ""
        raise StoreError(f"{folder} is damaged ({files}{more}); repair it with 'perturblearn verify {folder} --repair'")
