from __future__ import annotations

import base64
import html
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import torch
from tests.pages.made_runs import HOSTILE, hostile_run, made_examples

from perturblearn import Result, write_report
from perturblearn.config import resolve_config, to_toml
from perturblearn.errors import StoreError
from perturblearn.experiment import AttributionMeasures
from perturblearn.pages import run_page
from perturblearn.pages.run_page import shown_examples
from perturblearn.report import RunReport
from perturblearn.results import ATTRIBUTED, EXAMPLES, PAGE_NAME, AttributedInputs, Examples

CONFIG = resolve_config()


def folder_of(result: Result) -> Path:
    assert result.folder is not None
    return result.folder


def data_of(page: str, name: str) -> Any:
    (text,) = re.findall(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def test_a_run_writes_its_page(tiny_result: Result) -> None:
    page = (folder_of(tiny_result) / PAGE_NAME).read_text(encoding="utf-8")
    assert len(page.encode()) < 2.5e6
    assert "Can a network trained only on perturbed inputs with random labels classify clean inputs" in page
    assert tiny_result.conclusion.partition(":")[0] in page
    for name, mean, *_ in RunReport(tiny_result).rows:
        assert name in page
        assert mean in page
    for part in ("Theory beside experiment", "Decision map", "Learning rates", "Training", "How to reproduce it"):
        assert part in page
    assert f"perturblearn run {folder_of(tiny_result) / 'config.toml'}" in page
    assert html.escape(to_toml(tiny_result.config)) in page.replace("&#34;", "&quot;")


def test_the_page_is_made_of_the_folder_alone(tiny_result: Result, tmp_path: Path) -> None:
    shutil.copytree(folder_of(tiny_result), tmp_path / "moved")
    path = write_report(tmp_path / "moved")
    assert path == tmp_path / "moved" / PAGE_NAME
    again = path.read_text(encoding="utf-8").replace(str(tmp_path / "moved"), str(folder_of(tiny_result)))
    assert again == (folder_of(tiny_result) / PAGE_NAME).read_text(encoding="utf-8")


def test_training_curves_are_those_of_the_weights_files(tiny_result: Result) -> None:
    page = (folder_of(tiny_result) / PAGE_NAME).read_text(encoding="utf-8")
    traces = data_of(page, "losses-data")["data"]
    assert [(trace["name"], len(trace["y"])) for trace in traces] == [("f", 5), ("g", 5)] * 2


def test_what_is_missing_is_left_out(tiny_result: Result, tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(folder_of(tiny_result), folder)
    (folder / EXAMPLES).unlink()
    shutil.rmtree(folder / "theory")
    for path in folder.glob("seed-*/*"):
        path.unlink()
    page = run_page(Result.load(folder), folder)
    assert 'data-examples="' not in page
    assert 'id="losses"' not in page
    assert f"perturblearn theory {folder}" in page


@pytest.mark.parametrize(
    "name", [EXAMPLES, "theory/drawn.safetensors", "theory/comparison.json", "seed-0/standard.safetensors"]
)
def test_a_damaged_file_is_named(tiny_result: Result, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(folder_of(tiny_result), folder)
    (folder / PAGE_NAME).unlink()
    (folder / name).write_bytes((folder / name).read_bytes()[:-20])
    with pytest.raises(StoreError, match=r"broken.* is damaged"):
        write_report(folder)
    assert not (folder / PAGE_NAME).exists()


def test_networks_that_theory_is_not_about_have_no_such_part(tmp_path: Path) -> None:
    page = (folder_of(hostile_run(tmp_path)) / PAGE_NAME).read_text(encoding="utf-8")
    assert "Theory beside experiment" not in page
    assert "Class by class" in page
    assert "were Python objects" in page
    for name in HOSTILE:
        assert name not in page
    assert "[U+202E]right to left" in page


def test_what_taught_g_is_a_table_by_class(tiny_result: Result) -> None:
    attribution = AttributionMeasures(("3", "8"), {"perturbation": (1.5, None), "total": (0.25, -0.5)})
    asked = replace(tiny_result, seeds=[replace(seed, attribution=attribution) for seed in tiny_result.seeds])
    assert "What taught g" not in run_page(tiny_result, folder_of(tiny_result))
    page = run_page(asked, folder_of(tiny_result))
    assert "What taught g" in page
    cells = re.findall(r"<t[dh] [^>]*>(?:<bdi>)?([^<]*)", page.partition('aria-label="Class signal by part"')[2])[:9]
    assert [cell.strip() for cell in cells] == [
        "class signal", "perturbation", "total", "3", "+1.500", "+0.250", "8", "-", "-0.500",
    ]  # fmt: skip


def test_inputs_that_perturbations_taught(tmp_path: Path, tiny_result: Result) -> None:
    images = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    signals = {"perturbation": (2.0, 1.0), "source": (-1.0, 0.5), "total": (1.0, 1.5)}
    made = AttributedInputs(
        images, ("<cat>", "dog"), signals, (True, False), (False, False), (3, 4, 5), (0.0, 1.0)
    )  # fmt: skip
    folder = tmp_path / "run"
    shutil.copytree(folder_of(tiny_result), folder)
    made.save(folder / ATTRIBUTED)
    page = run_page(replace(tiny_result, folder=folder), folder)
    assert "&lt;cat&gt;</bdi></b>: g is right, and would not without the perturbations." in page
    assert "dog</bdi></b>: g is wrong." in page
    assert re.findall(r'class="(more|less)" style="margin-left: ([0-9.]+)%; width: ([0-9.]+)%"', page)[:2] == [
        ("more", "50.0", "50.0"), ("less", "25.0", "25.0"),
    ]  # fmt: skip
    shown = [base64.b64decode(text) for text in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]
    pixels = matplotlib.image.imread(io.BytesIO(shown[1]), format="png")
    assert np.abs(pixels - images[1].permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6
    (folder / ATTRIBUTED).write_bytes(b"damaged")
    with pytest.raises(StoreError, match=r"attributed\.safetensors is damaged"):
        AttributedInputs.load(folder / ATTRIBUTED)


def decoded(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype=kind).astype(float)


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 2, 2), None])
@pytest.mark.parametrize("bare", [False, True])
def test_examples_on_the_page_are_the_samples_to_a_byte_s_width(shape: tuple[int, int, int] | None, bare: bool) -> None:
    examples = made_examples(shape=shape, bare=bare)
    shown = shown_examples(examples, CONFIG)
    data = shown["data"]
    low, high = examples.limits
    for number, sample in enumerate(data["samples"]):
        source = low + decoded(sample["source"], "u1") / 255 * (high - low)
        step = decoded(sample["step"], "i1") / 127 * data["size"]
        assert source == pytest.approx(examples.sources[number].numpy(), abs=0.51 * (high - low) / 255)
        assert step == pytest.approx(examples.perturbations[number].numpy(), abs=0.51 * data["size"] / 127)
    # At its middle, the slider lets the largest perturbation fill the range.
    assert data["fill"] * float(examples.perturbations.abs().max()) == pytest.approx((high - low) / 2)
    assert shown["has_sources"] is not bare


def test_numbers_of_bands_of_features_stand_apart(tmp_path: Path, run_tiny: Any) -> None:
    result = run_tiny(tmp_path, overrides={"seeds": 1, "perturbation.lr": [0.5], "measures.features": True})
    page = (folder_of(result) / PAGE_NAME).read_text(encoding="utf-8")
    before, _, apart = page.partition("<summary>Every number of the bands of features</summary>")
    shown = {name for name in result.summary if name.startswith("features_")}
    assert len(shown) > 20
    assert all(f"<td>{name}</td>" not in before and f">{name}<" in apart for name in shown)


def test_inputs_as_they_are_stand_alone(tiny_result: Result, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(folder_of(tiny_result), folder)
    made = Examples.load(folder / EXAMPLES)
    replace(made, inputs=made.sources, is_bare=False).save(folder / EXAMPLES)
    page = write_report(folder).read_text(encoding="utf-8")
    assert '<h2 id="examples">Inputs</h2>' in page
    assert "g is trained on the sources as they are" in page
    assert set(re.findall(r'data-shows="(\w+)"', page)) == {"input"}
    assert "data-scale=" not in page


def test_rebuilt_examples_show_their_originals_too(tmp_path: Path) -> None:
    made = made_examples()
    originals = torch.rand(4, 16, generator=torch.Generator().manual_seed(2))
    replace(made, originals=originals).save(tmp_path / "examples.safetensors")
    examples = Examples.load(tmp_path / "examples.safetensors")
    assert examples.originals is not None
    assert torch.equal(examples.originals, originals)
    shown = shown_examples(examples, CONFIG)
    low, high = examples.limits
    for number, sample in enumerate(shown["data"]["samples"]):
        original = low + decoded(sample["original"], "u1") / 255 * (high - low)
        assert original == pytest.approx(originals[number].numpy(), abs=0.51 * (high - low) / 255)
    assert "the original, whose true label it gets" in shown["caption"]


def test_of_long_vectors_the_first_coordinates_are_shown() -> None:
    sources = torch.rand(2, 5000)
    examples = Examples(sources, sources + 0.1, ("a", "b"), ("b", "a"), (True, True), None, (0.0, 1.1), False, 2)
    shown = shown_examples(examples, CONFIG)
    assert "Only the first 2,000 of 5,000 coordinates" in shown["caption"]
    assert len(decoded(shown["data"]["samples"][0]["step"], "i1")) == 2000


def test_examples_come_back_from_disk(tmp_path: Path) -> None:
    examples = made_examples(shape=(1, 4, 4))
    examples.save(tmp_path / "examples.safetensors", name="l2, epsilon 1")
    again = Examples.load(tmp_path / "examples.safetensors")
    assert torch.equal(again.inputs, examples.inputs)
    assert torch.equal(again.sources, examples.sources)
    assert (again.name, again.true_labels, again.image_shape) == ("l2, epsilon 1", examples.true_labels, (1, 4, 4))


def test_without_a_report_there_is_none_until_it_is_asked_for(tmp_path: Path, run_tiny: Any) -> None:
    result = run_tiny(tmp_path, report=False)
    assert not (folder_of(result) / PAGE_NAME).exists()
    assert not (folder_of(result) / "theory").exists()
    assert write_report(folder_of(result)).is_file()
    (folder_of(result) / PAGE_NAME).unlink()
    run_tiny(tmp_path)  # finished, so only the page is written
    assert (folder_of(result) / PAGE_NAME).is_file()
