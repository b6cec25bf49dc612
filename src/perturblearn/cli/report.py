"""The command report."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from perturblearn.cli.app import app
from perturblearn.cli.options import Flag, Telling, Together


@app.command
def report(
    folder: Annotated[
        Path, Parameter(name="FOLDER", help="Of a finished run, sweep, figure, study, audit or transfer matrix.")
    ],
    /,
    *,
    to: Annotated[Path | None, Parameter(help="The file to write; otherwise report.html in that folder.")] = None,
    open: Annotated[bool, Flag, Parameter(help="Open the page in a browser.")] = False,
    telling: Annotated[Telling, Together] = Telling(),
) -> None:
    """Write a page for the browser: one file with all numbers, charts and pictures, that asks no network."""
    from perturblearn import api
    from perturblearn.cli.carry_out import print_json

    path = api.write_report(folder, to=to)
    if telling.json:
        print_json({"kind": "page", "folder": str(folder), "page": str(path), "bytes": path.stat().st_size})
    elif not telling.quiet:
        print(f"Report: {path}")
    if open:
        webbrowser.open(path.resolve().as_uri())
