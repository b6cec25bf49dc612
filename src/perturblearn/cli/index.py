"""The command index."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from perturblearn.cli.app import app
from perturblearn.cli.options import Flag, Telling, Together


@app.command
def index(
    folder: Annotated[Path, Parameter(name="FOLDER", help="Where results were written to.")] = Path("runs"),
    /,
    *,
    open: Annotated[bool, Flag, Parameter(help="Open the page in a browser.")] = False,
    telling: Annotated[Telling, Together] = Telling(),
) -> None:
    """Write a page over all results of a folder: one file to search and sort, with the ticked ones side by side."""
    from perturblearn import api
    from perturblearn.cli.carry_out import print_json

    found = api.index(folder)
    if telling.json:
        print_json(found.to_dict())
    elif not telling.quiet:
        print(found)
    if open and found.page is not None:
        webbrowser.open(found.page.resolve().as_uri())
