"""The commands sweep and results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from perturblearn.cli.app import app
from perturblearn.cli.arguments import split_arguments
from perturblearn.cli.options import (
    Cache,
    Data,
    DataDir,
    Doing,
    Flag,
    Out,
    Placing,
    SkipBad,
    Telling,
    Together,
    put_data,
)
from perturblearn.errors import ConfigError


@app.command
def sweep(
    *arguments: Annotated[
        str,
        Parameter(
            name="FILE [--KEY VALUE ...]",
            help="A TOML file with a section [sweep] that says what varies, then any keys by their dotted names, such "
            "as --seeds 5, --sweep.keep weights or --sweep.random.draws 50.",
            allow_leading_hyphen=True,
        ),
    ],
    data: Data = None,
    out: Out = Path("runs"),
    data_dir: DataDir = None,
    skip_bad: SkipBad = False,
    retry: Annotated[bool, Flag, Parameter(help="Repeat runs that have failed before.")] = False,
    cache: Annotated[Cache, Together] = Cache(),
    doing: Annotated[Doing, Together] = Doing(),
    placing: Annotated[Placing, Together] = Placing(),
    telling: Annotated[Telling, Together] = Telling(),
) -> int:
    """Run an experiment at every point of a sweep, for every seed.

    What is finished is not repeated, and what one run fails with stops no other: it is told in the end, and the exit
    code is 1. The result is a table and a folder; every run has its record, see 'perturblearn results'.
    """
    file, keys = split_arguments(arguments)
    if file is None:
        raise ConfigError("no file is named; name a TOML file with a section [sweep]")
    put_data(keys, data, skip_bad)

    from perturblearn import api
    from perturblearn.cli.carry_out import carry_out_many, report_line

    return carry_out_many(
        api.prepare_sweep(file, overrides=keys, data_dir=data_dir),
        out,
        cache,
        doing,
        placing,
        telling,
        retry=retry,
        show=lambda found: "\n".join(
            (f"{found}\n\n{found.summary}\nResults: {found.folder}", *report_line(found.folder))
        ),
        as_json=lambda found: {**found.to_dict(), "n_finished_before": found.finished_before},
    )


@app.command
def results(
    *,
    out: Annotated[Path, Parameter(help="Folder that runs and sweeps were written to.")] = Path("runs"),
    where: Annotated[
        tuple[str, ...],
        Parameter(
            negative=(),
            help="Condition in SQL on keys by dotted name, measures, key, name, state, seed and error, such as "
            "\"attack.epsilon > 0.1 and state = 'finished'\"; of several all must hold.",
        ),
    ] = (),
    sweep: Annotated[str | None, Parameter(help="Name or key of a sweep: its runs alone.")] = None,
    columns: Annotated[
        str | None, Parameter(help="Which, such as seed,attack.epsilon,agreement; all shows all there are.")
    ] = None,
    sort: Annotated[
        str | None, Parameter(help='What to sort by, such as "agreement desc"; otherwise the last comes last.')
    ] = None,
    failed: Annotated[bool, Flag, Parameter(help="Only runs that failed, with their errors.")] = False,
    export: Annotated[
        Path | None, Parameter(help="File to write the runs to; it ends in .csv, .json or .parquet.")
    ] = None,
    json: Annotated[bool, Flag, Parameter(help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Runs that were done, alone and in sweeps: a row for each run and seed, from their records.

    Shown are the keys in which they differ, and the main measures.
    """
    from perturblearn import api
    from perturblearn.cli.carry_out import print_json

    names = None if columns is None else [name.strip() for name in columns.split(",")]
    found = api.find_runs(out, where=where, sweep=sweep, columns=names, sort=sort, failed=failed)
    if export is not None:
        found.write(export)
    if json:
        print_json(found.to_dict())
    elif export is None:
        print(found)
