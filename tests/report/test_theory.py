from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from perturblearn import DataError, Result, StoreError, TheoryComparison, compare_with_theory
from perturblearn.experiment import COMPARISONS


@pytest.fixture(scope="module")
def compared(tiny_result: Result, tmp_path_factory: pytest.TempPathFactory) -> TheoryComparison:
    """The comparison of a copy of the tiny run, whose folder and store tests may use."""
    assert tiny_result.folder is not None
    out = tmp_path_factory.mktemp("compared") / "runs"
    shutil.copytree(tiny_result.folder.parent, out)
    return compare_with_theory(out / tiny_result.folder.name)


def test_a_comparison_has_a_row_for_every_number_that_applies(compared: TheoryComparison) -> None:
    text = str(compared).splitlines()
    names = [line.split("  ")[0] for line in text]
    for name, meaning in COMPARISONS.items():
        applies = any(of_seed.numbers[name] is not None for of_seed in compared.comparisons.values())
        assert names.count(name) == applies, name
        assert any(line.startswith(name) and line.endswith(meaning) for line in text) == applies, name
    assert compared.conclusion in text
    assert all(note in text for note in compared.notes)
    assert len(compared.notes) == len(set(compared.notes))


def test_the_sentences_hold_the_numbers(compared: TheoryComparison) -> None:
    summary = compared.summary
    assert f"a cosine of {summary['cosine_similarity']['mean']:.2f} in size" in compared.conclusion
    agreement, drift = (summary[f"standard_{name}"]["mean"] for name in ("sign_agreement", "kernel_drift"))
    assert f"the sign of f on {100 * agreement:.1f} %" in compared.conclusion
    assert f"kernel moved by {100 * drift:.1f} %" in compared.conclusion
    # The tiny networks have slope 0, so the condition's left side is 0: missed by no finite factor.
    assert "nearly orthogonal" not in compared.conclusion


def test_the_folder_holds_numbers_and_pictures(compared: TheoryComparison) -> None:
    assert compared.folder is not None
    assert {path.name for path in compared.folder.iterdir()} == {
        "comparison.json",
        "table.csv",
        "table.tex",
        "drawn.safetensors",
        "theory.png",
        "decision_map.png",
    }
    content = json.loads((compared.folder / "comparison.json").read_text())
    assert content == compared.to_dict()
    assert content["kind"] == "theory"
    assert [seed["seed"] for seed in content["seeds"]] == [0, 1]


def test_a_second_comparison_computes_nothing_unless_forced(compared: TheoryComparison) -> None:
    assert compared.folder is not None
    ran: list[str] = []
    again = compare_with_theory(compared.folder.parent, watch=lambda progress: ran.append(progress.stage.label))
    assert ran == []
    assert again.summary == compared.summary
    forced = compare_with_theory(
        Result.load(compared.folder.parent), force=True, watch=lambda progress: ran.append(progress.stage.label)
    )
    assert {"comparison with theory", "decision map"} <= set(ran)
    assert not any("classifier" in label for label in ran)  # training is not repeated
    assert forced.summary == compared.summary


def test_a_run_without_a_folder_is_trained_again(run_tiny: Callable[..., Result], compared: TheoryComparison) -> None:
    found = compare_with_theory(run_tiny())
    assert found.folder is None
    assert found.summary == compared.summary


def test_data_from_python_are_asked_for(run_tiny: Callable[..., Result]) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 10, generator=generator)
    labels = (inputs[:, 0] > 0).long()
    overrides = {"data.name": "python", "data.n_samples": None, "data.n_heldout": None, "data.input_dim": None}
    result = run_tiny(data=(inputs, labels), overrides=overrides)
    with pytest.raises(DataError, match=r"handed over in Python; call perturblearn.compare_with_theory\(run, data="):
        compare_with_theory(result)
    assert compare_with_theory(result, data=(inputs, labels)).summary["cosine_similarity"]["mean"] > 0
    with pytest.raises(DataError, match="the data or perturblearn have changed since tiny was run"):
        compare_with_theory(result, data=(inputs + 1, labels))


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="name the folder of a finished run"):
        compare_with_theory(tmp_path)


def test_its_table_in_latex_has_the_papers_symbols(compared: TheoryComparison) -> None:
    table = compared.to_latex()
    for text in (r"f and $\hat{f}$, held-out inputs", r"g and $\hat{g}$, held-out inputs", "cosine of r$_n$ and t$_n$"):
        assert text in table
    # XeTeX alone would read the rest of them; pdfTeX stops.
    assert not set(table) & set("\u0302ĝₙ′")
