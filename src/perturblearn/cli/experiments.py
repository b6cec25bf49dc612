"""The commands run, theory and init."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
from perturblearn.errors import ConfigError


@app.command
def run(
    *arguments: Arguments,
    data: Data = None,
    out: Out = Path("runs"),
    data_dir: DataDir = None,
    skip_bad: SkipBad = False,
    cache: Annotated[Cache, Together] = Cache(),
    report: WithReport = True,
    doing: Annotated[Doing, Together] = Doing(),
    telling: Annotated[Telling, Together] = Telling(),
) -> None:
    """Run the whole experiment: f, perturbed set, g, controls, measures.

    Finished stages are kept and not repeated. The result is a table, a sentence, a folder and in it a page.
    """
    file, keys = split_arguments(arguments)
    put_data(keys, data, skip_bad)

    from perturblearn import api
    from perturblearn.cli.carry_out import carry_out_result

    prepared = api.prepare_run(file, overrides=keys, data_dir=data_dir, report=report)
    carry_out_result(prepared, out, cache, doing, telling)


@app.command
def theory(
    folder: Annotated[Path, Parameter(name="RUN", help="Folder of a finished run.")],
    /,
    *,
    data_dir: DataDir = None,
    cache: Annotated[Cache, Together] = Cache(),
    map_limits: Annotated[
        tuple[float, float] | None,
        Parameter(
            negative=(),
            help="Least and largest coordinate of the decision map; otherwise it shows nearly all samples.",
        ),
    ] = None,
    force: Annotated[bool, Flag, Parameter(help="Compare again what has been compared.")] = False,
    telling: Annotated[Telling, Together] = Telling(),
) -> None:
    """Compare a finished run with both papers' predictions.

    The result is a table, some sentences, and the folder RUN/theory with a figure and a decision map.
    """
    from perturblearn import api
    from perturblearn.cli.carry_out import print_json
    from perturblearn.cli.progress import ProgressBar

    with ProgressBar(enabled=telling.shows_progress) as bar:
        comparison = api.compare_with_theory(
            folder,
            data_dir=data_dir,
            cache_dir=cache.cache_dir,
            cache_size=cache.cache_size,
            map_limits=map_limits,
            force=force,
            watch=bar.update,
        )
    if telling.json:
        print_json(comparison.to_dict())
    elif not telling.quiet:
        print(f"{comparison}\n\nFigures and numbers: {comparison.folder}")


@app.command
def init(
    *arguments: Annotated[
        str,
        Parameter(
            name="[FILE] [--KEY VALUE ...]",
            help="Where to write (experiment.toml), then keys to set.",
            allow_leading_hyphen=True,
        ),
    ],
    force: Annotated[bool, Flag, Parameter(help="Replace a file that is there.")] = False,
) -> None:
    """Write a TOML file with every key, its value and what it means."""
    file, keys = split_arguments(arguments)
    path = Path(file or "experiment.toml")

    from perturblearn.config import commented_toml, resolve_config

    text = commented_toml(resolve_config(None, keys))
    try:
        with path.open("w" if force else "x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} is already there; name another file, or replace it with --force") from None
    except OSError as error:
        raise ConfigError(f"cannot write {path} ({error.strerror}); name a file that can be written") from None
    print(f"Wrote {path}; run it with: perturblearn run {path}")
