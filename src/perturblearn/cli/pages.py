"""The commands report and index, which write pages for the browser, and compare."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from perturblearn.cli.app import app
from perturblearn.cli.options import Flag, Flattened, OutputOptions

Open = Annotated[bool, Flag, Parameter(help="Open the page in a browser.")]


@app.command
def report(
    folder: Annotated[
        Path, Parameter(name="FOLDER", help="Folder of a finished run, sweep, figure, study, audit or transfer matrix.")
    ],
    /,
    *,
    to: Annotated[Path | None, Parameter(help="File to write (default: report.html in FOLDER).")] = None,
    open: Open = False,
    output: Annotated[OutputOptions, Flattened] = OutputOptions(),
) -> None:
    """Write a report for the browser: one file with all numbers, charts and pictures. It works offline."""
    from perturblearn.api import write_report
    from perturblearn.cli.execute import print_json

    path = write_report(folder, to=to)
    if output.json:
        print_json({"kind": "page", "folder": str(folder), "page": str(path), "bytes": path.stat().st_size})
    elif not output.quiet:
        print(f"Report: {path}")
    if open:
        webbrowser.open(path.resolve().as_uri())


@app.command
def index(
    folder: Annotated[Path, Parameter(name="FOLDER", help="Folder that results were written to.")] = Path("runs"),
    /,
    *,
    open: Open = False,
    output: Annotated[OutputOptions, Flattened] = OutputOptions(),
) -> None:
    """Write a page of all results in a folder, to search, sort and compare them. It works offline."""
    from perturblearn import api
    from perturblearn.cli.execute import print_json

    entries = api.index(folder)
    if output.json:
        print_json(entries.to_dict())
    elif not output.quiet:
        print(entries)
    if open and entries.page is not None:
        webbrowser.open(entries.page.resolve().as_uri())


@app.command
def compare(
    *folders: Annotated[
        Path,
        Parameter(name="FOLDER", help="Folders of finished results, two or more, such as runs/a-0123 runs/b-4567."),
    ],
    json: Annotated[bool, Flag, Parameter(help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Put results side by side: the settings in which they differ, and their measures."""
    from perturblearn import api
    from perturblearn.cli.execute import print_json

    comparison = api.compare(*folders)
    print_json(comparison.to_dict()) if json else print(comparison)
