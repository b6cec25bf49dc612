"""Notebooks as pages: the site shows what their cells print and draw, because it runs them when it is built."""

from __future__ import annotations

import base64
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

import perturblearn

DRAWING = "figure.dpi: 150\n"
"""Settings of matplotlib: figures are as sharp as those of our own charts."""


def execute(notebook: Any, name: str) -> None:
    """Run the cells of a notebook in an empty folder, as its reader would.

    Raises:
        ExtensionError: a cell fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "matplotlibrc"
        settings.write_text(DRAWING, encoding="utf-8")
        # The backend of `make docs` draws nothing below cells; a notebook's own does.
        environment = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
        client = NotebookClient(
            notebook,
            timeout=600,
            resources={"metadata": {"path": folder}},
            extra_arguments=["--IPKernelApp.log_level=ERROR"],  # kernels warn of connections that stay on this machine
        )
        client.log.setLevel(logging.WARNING)  # otherwise a line for each notebook
        try:
            client.execute(env={**environment, "MATPLOTLIBRC": str(settings)})
        except CellExecutionError as error:
            raise ExtensionError(f"{name}: a cell fails\n{error}") from error


def as_markdown(notebook: Any, name: str, save_picture: Callable[[str, bytes], str]) -> str:
    """A notebook as a page.

    Args:
        notebook: the notebook, executed or not.
        name: of its file, which the page offers for download.
        save_picture: takes a picture's name and bytes, and returns its path as the page must name it.

    Raises:
        ExtensionError: a figure has no description.
    """
    parts: list[str] = []
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(_fenced("python", cell.source))
        for place, output in enumerate(_joined(cell.outputs)):
            data = output.get("data", {})
            if output.output_type == "stream":
                parts.append(_printed(output.text))
            elif "image/png" in data:
                if "alt" not in cell.metadata:
                    raise ExtensionError(f"{name}: cell {number} draws a figure; describe it in its metadata, as alt")
                path = save_picture(f"{number}-{place}.png", base64.b64decode(data["image/png"]))
                parts.append(f"![{cell.metadata['alt']}](<{path}>)")
            elif "text/html" in data:
                parts.append(_fenced("{raw} html", f'<div class="cell-output">{data["text/html"]}</div>'))
            elif "text/plain" in data:
                parts.append(_printed(data["text/plain"]))
    parts.insert(1, f"{{download}}`Download this notebook <{name}>`")
    return "\n\n".join(parts) + "\n"


def _joined(outputs: list[Any]) -> list[Any]:
    """Outputs with what is printed bit by bit in one piece."""
    joined: list[Any] = []
    for output in outputs:
        if joined and output.output_type == joined[-1].output_type == "stream":
            joined[-1] = NotebookNode(joined[-1], text=joined[-1].text + output.text)
        else:
            joined.append(output)
    return joined


def _printed(text: str) -> str:
    return _fenced("{code-block} text", f":class: cell-output\n\n{text}")


def _fenced(language: str, text: str) -> str:
    return f"````{language}\n{text.rstrip()}\n````"


def read_notebook(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the page that a notebook makes in the place of its JSON."""
    path = Path(app.env.doc2path(page))
    if path.suffix != ".ipynb":
        return
    notebook = nbformat.reads(source[0], as_version=4)
    if app.config.execute_notebooks:
        execute(notebook, path.name)
        # What the cells show depends on all of the package, and how it is shown on this file.
        for module in (Path(__file__), *Path(perturblearn.__file__).parent.rglob("*.py")):
            app.env.note_dependency(str(module))

    def save_picture(name: str, content: bytes) -> str:
        file = Path(app.doctreedir) / "notebooks" / path.stem / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return os.path.relpath(file, path.parent)

    source[0] = as_markdown(notebook, path.name, save_picture)


def setup(app: Sphinx) -> dict[str, bool]:
    """Read .ipynb as pages; ``-D execute_notebooks=0`` leaves out what cells print."""
    app.add_config_value("execute_notebooks", default=True, rebuild="env", types=[bool])
    app.connect("source-read", read_notebook)
    return {"parallel_read_safe": True}
