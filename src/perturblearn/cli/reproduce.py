"""The commands reproduce and list."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from perturblearn.cli.app import app
from perturblearn.cli.arguments import split_arguments
from perturblearn.cli.options import (
    DataDir,
    Flag,
    Flattened,
    Out,
    ProgressOptions,
    ReproduceOptions,
    arguments,
)
from perturblearn.errors import ConfigError


@app.command
def reproduce(
    *words: Annotated[
        str,
        arguments(
            "FIGURE [--KEY VALUE ...]",
            "A figure, such as neurips2024/shifted_gauss_a ('perturblearn list' shows all), then any keys that differ "
            "from the paper's, such as --standard.model.slope 0.1.",
        ),
    ],
    seeds: Annotated[int, Parameter(help="Number of seeds of every point.")] = 3,
    scale: Annotated[
        Literal["quick", "modern", "full"],
        Parameter(
            help="full: the paper's problem. quick: a smaller one of the same kind, in under 2 minutes. modern: all "
            "data by a network and a recipe that learn fast (iclr2024/deep_*)."
        ),
    ] = "quick",
    panel: Annotated[
        tuple[int, ...],
        Parameter(negative=(), show_default=False, help="Number of a panel, from 1; may be repeated (default: all)."),
    ] = (),
    curves: Annotated[
        str | None,
        Parameter(help="One of the ways to compute the figure, where it has several: limit or flow (default: both)."),
    ] = None,
    most: Annotated[
        dict[str, float] | None,
        Parameter(help="Leave out points beyond this value of a setting, such as --most.n_adv 2500.", negative=()),
    ] = None,
    draws: Annotated[
        Literal["both", "own", "published"],
        Parameter(
            help="published: the paper's seed, with the draws of its script, where these are known (scale full; "
            "NeurIPS24, and ICLR24's artificial data by the flow). own: our own seeds."
        ),
    ] = "both",
    out: Out = Path("runs"),
    data_dir: DataDir = None,
    execution: Annotated[ReproduceOptions, Flattened] = ReproduceOptions(),
    output: Annotated[ProgressOptions, Flattened] = ProgressOptions(),
) -> int:
    """Reproduce a figure of one of the papers, and compare every point with the published one.

    The result is one line per panel, and a folder with the figure and its
    table. Finished runs are not repeated. A failed run does not stop the others;
    it is reported at the end, and the exit code is 1.
    """
    figure, keys = split_arguments(words)
    if figure is None:
        raise ConfigError("no figure is named; name one, such as neurips2024/shifted_gauss_a: 'perturblearn list'")

    from perturblearn.api import prepare_reproduction
    from perturblearn.cli.execute import execute_many

    prepared = prepare_reproduction(
        figure,
        seeds=seeds,
        scale=scale,
        panels=panel or None,
        curves=None if curves == "both" else curves,
        most=most,
        draws=draws,
        overrides=keys,
        data_dir=data_dir,
    )
    return execute_many(
        prepared,
        out,
        execution,
        output,
        summary=lambda result: f"{result.seconds:.1f} s. Figure and table: {result.folder}",
        as_json=lambda result: result.to_dict(),
    )


@app.command(name="list")
def list_figures(
    *, json: Annotated[bool, Flag, Parameter(help="Print one JSON object and nothing else.")] = False
) -> None:
    """List the figures that can be reproduced: panels, points, published values and computing time."""
    from perturblearn.cli.execute import print_json
    from perturblearn.papers import ALL, Outline
    from perturblearn.report.words import plural

    outlines = [Outline.of(figure) for figure in ALL.values()]
    if json:
        print_json({"figures": [asdict(outline) for outline in outlines]})
        return
    for outline in outlines:
        known = "published values" if outline.published else "no published values"
        print(
            f"{outline.name}: {plural(outline.panels, 'panel')}, {plural(outline.points['full'], 'point')} "
            f"(quick: {outline.points['quick']}), {known}; full: {outline.full_takes} per seed, quick: under 2 minutes"
        )
        print(f"    {outline.caption}")
