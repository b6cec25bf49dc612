"""The commands sweep, results and clean."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from perturblearn.cli.app import app
from perturblearn.cli.arguments import split_arguments
from perturblearn.cli.options import (
    DataOptions,
    Flag,
    Flattened,
    ManyRunsOptions,
    Out,
    ProgressOptions,
    Track,
    arguments,
)
from perturblearn.errors import ConfigError


@app.command
def sweep(
    *words: Annotated[
        str,
        arguments(
            "FILE [--KEY VALUE ...]",
            "A TOML file whose section [sweep] says what varies, then any keys by their dotted names, such as "
            "--seeds 5, --sweep.keep weights or --sweep.random.draws 50.",
        ),
    ],
    data: Annotated[DataOptions, Flattened] = DataOptions(),
    out: Out = Path("runs"),
    track: Track = None,
    execution: Annotated[ManyRunsOptions, Flattened] = ManyRunsOptions(),
    output: Annotated[ProgressOptions, Flattened] = ProgressOptions(),
) -> int:
    """Run an experiment at every point of a sweep, for every seed.

    The result is a table and a folder; every run is recorded, see
    'perturblearn results'. Finished runs are not repeated. A failed run does not
    stop the others; it is reported at the end, and the exit code is 1.
    """
    file, keys = split_arguments(words)
    if file is None:
        raise ConfigError("no file is named; name a TOML file with a section [sweep]")
    data.set_keys(keys)

    from perturblearn.api import prepare_sweep
    from perturblearn.cli.execute import execute_many

    return execute_many(
        prepare_sweep(file, overrides=keys, data_dir=data.data_dir),
        out,
        execution,
        output,
        summary=lambda result: f"{result.summary}\nResults: {result.folder}",
        as_json=lambda result: {**result.to_dict(), "n_finished_before": result.finished_before},
        track=track,
    )


@app.command
def results(
    *,
    out: Annotated[Path, Parameter(help="Folder that runs and sweeps were written to.")] = Path("runs"),
    where: Annotated[
        tuple[str, ...],
        Parameter(
            negative=(),
            show_default=False,
            help="Condition in SQL on keys by dotted name, measures, key, name, date (UTC), state, seed and error, "
            "such as \"attack.epsilon > 0.1 and state = 'finished'\"; may be repeated, then all must hold.",
        ),
    ] = (),
    sweep: Annotated[str | None, Parameter(help="Name or key of a sweep: show only its runs.")] = None,
    columns: Annotated[
        str | None,
        Parameter(
            help="Columns, such as seed,attack.epsilon,agreement, or all (default: keys that differ and main measures)."
        ),
    ] = None,
    sort: Annotated[
        str | None, Parameter(help='What to sort by, such as "agreement desc" (default: the latest run comes last).')
    ] = None,
    failed: Annotated[bool, Flag, Parameter(help="Show only failed runs, with their errors.")] = False,
    export: Annotated[
        Path | None, Parameter(help="Write the runs to this file, which ends in .csv, .json or .parquet.")
    ] = None,
    disk: Annotated[
        bool,
        Flag,
        Parameter(help="Show instead what every folder of results and the finished stages take on the disk."),
    ] = False,
    json: Annotated[bool, Flag, Parameter(help="Print one JSON object and nothing else.")] = False,
) -> None:
    """List the runs in a folder, single ones and those of sweeps, one row per run and seed."""
    from perturblearn.api import disk_use, read_runs
    from perturblearn.cli.execute import print_json
    from perturblearn.report.words import plural

    if disk:
        if any((where, sweep, columns, sort, failed, export)):
            raise ConfigError("--disk shows folders and not runs; give it with --out and --json alone")
        use = disk_use(out)
        print_json(use.to_dict()) if json else print(use)
        return
    names = None if columns is None else [name.strip() for name in columns.split(",")]
    runs = read_runs(out, where=where, sweep=sweep, columns=names, sort=sort, failed=failed)
    if export is not None:
        runs.write(export)
    if json:
        print_json(runs.to_dict())
    elif export is not None:
        print(f"Wrote {plural(len(runs.rows), 'run')} with {plural(len(runs.all_columns), 'column')} to {export}.")
    else:
        print(runs.table(width=shutil.get_terminal_size().columns))


@app.command
def clean(
    *folders: Annotated[Path, Parameter(name="FOLDER", help="Results to remove, such as runs/digits-0123456789.")],
    out: Annotated[Path, Parameter(help="Folder that results were written to.")] = Path("runs"),
    yes: Annotated[bool, Flag, Parameter(help="Remove it; otherwise it is only shown what would be removed.")] = False,
    json: Annotated[bool, Flag, Parameter(help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Remove results, and finished stages that no recorded run needs; shows what would go unless --yes is given.

    Without FOLDER only such stages are removed. Nothing is removed that
    perturblearn did not write.
    """
    from perturblearn import api
    from perturblearn.cli.execute import print_json

    cleaning = api.clean(*folders, out=out, dry_run=not yes)
    print_json(cleaning.to_dict()) if json else print(cleaning)
