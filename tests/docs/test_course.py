"""The notebooks of the course run, teach what they say, and become pages."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib.pyplot as plt
import nbformat
import pytest
from tests.docs.pages import ROOT, text_of

COURSE = sorted((ROOT / "docs/course").glob("*.ipynb"))
CLAIMS = {
    "01_phenomenon": [
        "result.has_learned",
        "share_correct(control.outputs(data.heldout_inputs), data.heldout_labels) < 0.7",
    ],
    "02_what_g_sees": ["result.has_learned", "bare.has_learned", "cosine > 0.7", "perturbed.success_rate > 0.5"],
    "03_theory": [
        "cosines.abs().mean() > 0.9",
        "(g.outputs(z).sign() == ghat.sign()).double().mean() > 0.95",
        "(first.sign() == second.sign()).double().mean() > 0.95",
    ],
    "04_long_training": [
        "accuracies[0] < 0.6",
        "accuracies[4] > 0.95",
        "terms.dominated_share > 0.95",
    ],
    "05_any_depth": [
        "all(found['perturbations'] > 0.9 > 0.1 > found['sources'] for found in accuracies.values())",
        "drawn.agreement('f', 'g').double().mean() > 0.8",
    ],
    "06_perturbations": [
        "all(mean(result, 'perturbation_accuracy_heldout') > 0.7 for result in results.values())",
        "mean(by_size[0], 'perturbation_accuracy_heldout') < 0.1",
        "mean(own, 'attack_success') < mean(results['PGD, L2, ε = 1'], 'attack_success')",
        "nearest.success.all()",
    ],
    "07_what_g_knows": [
        "parts['sources'] < 0 < parts['perturbations']",
        "mean('attribution_cancellation') > 5",
        "columns['network_weight'] == sorted(columns['network_weight'])",
        "max(weights) < 1.5 * min(weights)",
    ],
    "08_own_model": ["audit.cells[1].has_learned", "correct > 0.85", "page.is_file()"],
    "09_sweeps_and_figures": ["more.finished_before == 12", "len(more.runs) == 16", "len(reproduction.rows) == 4"],
    "10_map": [
        "min(map(accuracy_of, list(settings)[:4])) > 0.6",
        "accuracy_of(list(settings)[4]) > 0.15",
        "accuracy_of('poison, loss maximised') < 0.9 < clean",
        "accuracy_of('subliminal, f\\'s start') > 0.4 > 0.2 > accuracy_of('subliminal, own start')",
    ],
}
"""What each notebook says in words of the numbers that it prints."""
QUICK = ("01_phenomenon", "02_what_g_sees", "03_theory", "04_long_training", "05_any_depth", "07_what_g_knows")
"""Notebooks that compute for a few seconds at most; the others' functions have quick tests in tests/api."""


def code_of(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # tensors, drawn by matplotlib
@pytest.mark.parametrize(
    "notebook",
    [pytest.param(path, id=path.stem, marks=() if path.stem in QUICK else pytest.mark.long) for path in COURSE],
)
def test_a_notebook_runs_and_shows_what_it_says(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_stages: None
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for number, code in enumerate(code_of(notebook), start=1):
        exec(compile(code, f"{notebook.name}, code {number}", "exec"), names)
    plt.close("all")
    if "results" in names:
        names["accuracy_of"] = lambda name: names["results"][name].summary["perturbation_accuracy_heldout"]["mean"]
    for claim in CLAIMS[notebook.stem]:
        assert eval(claim, names), claim


@pytest.mark.parametrize("notebook", COURSE, ids=lambda path: path.stem)
def test_a_notebook_is_short_asks_answers_and_is_kept_without_outputs(notebook: Path) -> None:
    text = notebook.read_text(encoding="utf-8")
    content = json.loads(text)
    nbformat.validate(content)
    assert text == json.dumps(content, indent=1, ensure_ascii=False) + "\n", (
        "as Jupyter writes it, so that changes show"
    )
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert len(code) <= 12
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    page = text_of(notebook.relative_to(ROOT).as_posix())
    assert page.startswith(f"# {int(notebook.name[:2])}. ")
    for part in ("**Question.**", "**Answer.**", "**Exercise.**", "More: "):
        assert part in page or (part == "More: " and "../" in page), part
    for cell in code:
        draws = re.search(r"plt\.subplots|\.plot\(\)|draw_decision_map\(", "".join(cell["source"]))
        assert ("alt" in cell["metadata"]) == bool(draws), "figures are described, for those who cannot see them"


@pytest.fixture(scope="module")
def notebooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("notebooks", ROOT / "docs/extensions/notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def notebook_of(*cells: Any) -> Any:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title"), *cells])


def test_a_notebook_becomes_a_page_with_what_its_cells_print_and_draw(notebooks: ModuleType) -> None:
    code = nbformat.v4.new_code_cell
    draw = "import matplotlib.pyplot as plt\nfigure, axis = plt.subplots(figsize=(1, 1))"
    shown = "class Table:\n    def _repr_html_(self):\n        return '<table></table>'\n\n\nTable()"
    notebook = notebook_of(
        code("print('a line', flush=True)\nprint('another')\n6 * 7"),
        code(draw, metadata={"alt": "An empty axis"}),
        code(shown),
    )
    notebooks.execute(notebook, "small.ipynb")
    pictures: dict[str, bytes] = {}

    def save_picture(name: str, content: bytes) -> str:
        pictures[name] = content
        return f"../{name}"

    page = notebooks.as_markdown(notebook, "small.ipynb", save_picture)
    assert page.startswith("# Title\n\n{download}`Download this notebook <small.ipynb>`\n\n````python\nprint('a line'")
    assert re.findall(r"(?s)````\{code-block\} text\n:class: cell-output\n\n(.*?)\n````", page) == [
        "a line\nanother",
        "42",
    ]
    ((name, content),) = pictures.items()
    assert f"![An empty axis](<../{name}>)" in page
    assert content.startswith(b"\x89PNG")
    assert '<div class="cell-output"><table></table></div>' in page
    del notebook.cells[2].metadata["alt"]
    with pytest.raises(notebooks.ExtensionError, match=r"small\.ipynb: cell 3 draws a figure; describe it"):
        notebooks.as_markdown(notebook, "small.ipynb", save_picture)


def test_a_cell_that_fails_fails_the_site(notebooks: ModuleType) -> None:
    with pytest.raises(notebooks.ExtensionError, match=r"(?s)small\.ipynb: a cell fails.*KeyError"):
        notebooks.execute(notebook_of(nbformat.v4.new_code_cell("{}['missing']")), "small.ipynb")


def test_code_of_notebooks_is_python_without_magic() -> None:
    assert len(COURSE) == 10
    for notebook in COURSE:
        for code in code_of(notebook):
            ast.parse(code)
