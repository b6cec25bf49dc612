"""The commands run, theory and init."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from perturblearn.cli.app import app
from perturblearn.cli.arguments import split_arguments
from perturblearn.cli.options import (
    Arguments,
    DataDir,
    DataOptions,
    FigureOptions,
    Flag,
    Flattened,
    Out,
    ProgressOptions,
    ReportOptions,
    Track,
    arguments,
)
from perturblearn.errors import ConfigError


@app.command
def run(
    *words: Arguments,
    data: Annotated[DataOptions, Flattened] = DataOptions(),
    out: Out = Path("runs"),
    track: Track = None,
    execution: Annotated[ReportOptions, Flattened] = ReportOptions(),
    output: Annotated[ProgressOptions, Flattened] = ProgressOptions(),
) -> None:
    """Run the whole experiment: train f, perturb its inputs, train g on them, measure g beside its controls.

    Finished stages are kept and not repeated. The result is a table, a
    conclusion, and a folder with a report.
    """
    file, keys = split_arguments(words)
    data.set_keys(keys)

    from perturblearn.api import prepare_run
    from perturblearn.cli.execute import execute_one

    execute_one(prepare_run(file, overrides=keys, data_dir=data.data_dir), out, execution, output, track=track)


@app.command
def theory(
    folder: Annotated[Path, Parameter(name="RUN", help="Folder of a finished run.")],
    /,
    *,
    data_dir: DataDir = None,
    map_limits: Annotated[
        tuple[float, float] | None,
        Parameter(
            negative=(),
            help="Least and largest coordinate of the decision map (default: it shows nearly all samples).",
        ),
    ] = None,
    execution: Annotated[FigureOptions, Flattened] = FigureOptions(),
    output: Annotated[ProgressOptions, Flattened] = ProgressOptions(),
) -> None:
    """Compare a finished run with both papers' predictions.

    The result is a table, a few sentences, and the folder RUN/theory with a
    figure and a decision map.
    """
    from perturblearn.api import prepare_comparison
    from perturblearn.cli.execute import execute

    execute(
        prepare_comparison(folder, data_dir=data_dir, map_limits=map_limits),
        folder.parent,
        execution,
        output,
        show=lambda comparison, _: f"{comparison}\n\nFigures and numbers: {comparison.folder}",
        as_json=lambda comparison: comparison.to_dict(),
    )


@app.command
def init(
    *words: Annotated[
        str, arguments("[FILE] [--KEY VALUE ...]", "The file to write (default: experiment.toml), then keys to set.")
    ],
    force: Annotated[bool, Flag, Parameter(help="Replace an existing file.")] = False,
) -> None:
    """Write a TOML file with every key, its value and its meaning."""
    file, keys = split_arguments(words)
    path = Path(file or "experiment.toml")

    from perturblearn.config import commented_toml, resolve_config
    from perturblearn.store import replacing

    text = commented_toml(resolve_config(None, keys))
    if path.exists() and not force:
        raise ConfigError(f"{path} already exists; name another file, or replace it with --force")
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")
    print(f"Wrote {path}. Run it with: perturblearn run {path}")
