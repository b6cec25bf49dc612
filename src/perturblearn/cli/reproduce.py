"""The commands reproduce and list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from perturblearn.cli.app import app
from perturblearn.cli.arguments import split_arguments
from perturblearn.cli.options import Cache, DataDir, Doing, Flag, Out, Placing, Telling, Together
from perturblearn.errors import ConfigError


@app.command
def reproduce(
    *arguments: Annotated[
        str,
        Parameter(
            name="FIGURE [--KEY VALUE ...]",
            help="Such as neurips2024/shifted_gauss_a; 'perturblearn list' names all. Then any keys of a configuration "
            "that are to differ from the paper's, such as --standard.model.slope 0.1.",
            allow_leading_hyphen=True,
        ),
    ],
    seeds: Annotated[int, Parameter(help="Seeds of every point.")] = 3,
    scale: Annotated[
        Literal["quick", "full"],
        Parameter(help="The paper's problem (full), or a smaller one of the same kind in under 2 minutes (quick)."),
    ] = "quick",
    panel: Annotated[
        tuple[int, ...], Parameter(negative=(), help="Number of a panel, counted from 1; may be given again.")
    ] = (),
    curves: Annotated[
        str | None, Parameter(help="One way of computing it where there are several: limit, flow; otherwise both.")
    ] = None,
    most: Annotated[
        dict[str, float] | None,
        Parameter(help="Leave out what is larger, such as --most.n_adv 2500.", negative=()),
    ] = None,
    out: Out = Path("runs"),
    data_dir: DataDir = None,
    retry: Annotated[bool, Flag, Parameter(help="Repeat runs that have failed before.")] = False,
    cache: Annotated[Cache, Together] = Cache(),
    doing: Annotated[Doing, Together] = Doing(),
    placing: Annotated[Placing, Together] = Placing(),
    telling: Annotated[Telling, Together] = Telling(),
) -> int:
    """Make a figure of one of the papers again, and compare every point with the published one.

    The result is a line per panel and a folder with the figure and its table. What is finished is not repeated, and
    what one run fails with stops no other: it is told in the end, and the exit code is 1.
    """
    figure, keys = split_arguments(arguments)
    if figure is None:
        raise ConfigError("there is no figure; name one, such as neurips2024/shifted_gauss_a: 'perturblearn list'")

    from perturblearn import api
    from perturblearn.cli.carry_out import carry_out_many, report_line

    prepared = api.prepare_reproduction(
        figure,
        seeds=seeds,
        scale=scale,
        panels=panel or None,
        curves=None if curves == "both" else curves,
        most=most,
        overrides=keys,
        data_dir=data_dir,
    )
    return carry_out_many(
        prepared,
        out,
        cache,
        doing,
        placing,
        telling,
        retry=retry,
        show=lambda found: "\n".join(
            (f"{found}\n\n{found.seconds:.1f} s. Figure and table: {found.folder}", *report_line(found.folder))
        ),
        as_json=lambda found: found.to_dict(),
    )


@app.command(name="list")
def list_figures(
    *, json: Annotated[bool, Flag, Parameter(help="Print one JSON object and nothing else.")] = False
) -> None:
    """List the figures that can be reproduced: panels, points, published values, and how long they take."""
    from perturblearn.cli.carry_out import print_json
    from perturblearn.papers import ALL, outline_of
    from perturblearn.report.words import plural

    outlines = [outline_of(figure) for figure in ALL.values()]
    if json:
        print_json({"figures": outlines})
        return
    for outline in outlines:
        points = outline["points"]
        known = "published values" if outline["published"] else "no published values"
        print(
            f"{outline['name']}: {plural(outline['panels'], 'panel')}, {plural(points['full'], 'point')} "
            f"(quick: {points['quick']}), {known}; full: {outline['full_takes']} a seed, quick: under 2 minutes"
        )
        print(f"    {outline['caption']}")
