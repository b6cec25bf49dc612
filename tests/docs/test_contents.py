"""Tables of the pages are complete: keys, measures, numbers, symbols, public names."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest
from tests.docs.pages import ROOT, blocks, pages, text_of

import perturblearn
from perturblearn.config import fields, resolve_config, resolve_sweep
from perturblearn.experiment import COMPARISONS, FEATURE_BANDS, FEATURE_NUMBERS, MEASURES, NETWORK_COMPARISONS
from perturblearn.papers import ALL


def test_every_key_of_the_configuration_is_documented() -> None:
    page = text_of("docs/configuration.md")
    for name, info in fields():
        assert f"| `{name}` |" in page
        assert str(info.description) in page


def test_every_measure_is_documented() -> None:
    page = text_of("docs/results.md")
    for name in MEASURES:
        later = re.sub(r"generation_\d+", "generation_2", name)
        assert name.endswith(("_max", "_control_heldout")) or f"`{later}`" in page


def test_every_number_of_a_comparison_is_explained() -> None:
    page = text_of("docs/theory.md")
    for name in {**COMPARISONS, **NETWORK_COMPARISONS}:
        assert name in page, name


def test_every_quantity_of_features_is_explained() -> None:
    page = text_of("docs/features.md")
    for name in FEATURE_NUMBERS:
        band = next((band for band in sorted(FEATURE_BANDS, key=len)[::-1] if name.endswith(f"_{band}")), "")
        quantity = name.removesuffix(f"_{band}").split("_", 2)[2]
        assert f"`{quantity}`" in page, name


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_is_a_valid_experiment_named_after_its_file(path: Path) -> None:
    if "sweep" in tomllib.loads(path.read_text(encoding="utf-8")):
        sweep = resolve_sweep(path)
        assert sweep.name == path.stem
        assert sweep.points()
    else:
        assert resolve_config(path).name == path.stem


@pytest.mark.parametrize("page", [page for page in pages() if any(each.language == "toml" for each in blocks(page))])
def test_a_page_shows_valid_configurations(page: str) -> None:
    for block in blocks(page):
        if block.language == "toml":
            tree = tomllib.loads(block.text)
            assert resolve_sweep(tree).points() if "sweep" in tree else resolve_config(tree)


def test_the_page_on_sweeps_counts_its_points() -> None:
    (block,) = (each for each in blocks("docs/sweeps.md") if each.language == "toml")
    assert "6 x 3 x 20" in text_of("docs/sweeps.md")
    assert len(resolve_sweep(tomllib.loads(block.text)).points()) == 6 * 3 * 20


def test_every_public_name_has_an_entry_in_the_reference() -> None:
    reference = text_of("docs/api/perturblearn.md")
    rooms = {"attacks", "theory"}
    listed = re.findall(r"^\.\. auto(?:function|class|exception):: (\w+)$", reference, re.MULTILINE)
    assert sorted(listed) == sorted(set(perturblearn.__all__) - rooms)
    for room in rooms:
        assert f".. automodule:: perturblearn.{room}" in text_of(f"docs/api/{room}.md")


def names_known() -> set[str]:
    """What a glossary may name: keys and their last parts, measures, rooms' names, their arguments and fields."""
    keys = {name for name, _ in fields()}
    parts = {part for key in keys for part in (key.rpartition(".")[2], key.partition(".")[0], key.partition(".")[2])}
    names = keys | parts | set(MEASURES) | {measure for figure in ALL.values() for measure in figure.measures}
    for room in ("attacks", "theory"):
        module = importlib.import_module(f"perturblearn.{room}")
        for name in module.__all__:
            thing = getattr(module, name)
            names |= {f"{room}.{name}", *getattr(thing, "__annotations__", {})}
            names |= {field for field in dir(thing) if isinstance(thing, type)}
    return names


def test_the_glossary_names_what_exists() -> None:
    values = (
        "uniform",
        "other",
        "next",
        "given",
        "natural",
        "none",
        "gauss",
        "noisy",
        "errors",
        "data:NAME",
        "predicted",
        "true",
        "l0",
        "l2",
        "linf",
        "identity",
        "logistic",
    )
    known = names_known() | {*values, "exponential", "two_layer", "correlated", "n_adv"}
    rows = re.findall(r"^\| .*$", text_of("docs/glossary.md"), re.MULTILINE)
    assert len(rows) > 60
    for row in rows:
        here = re.split(r"(?<!\\)\|", row)[2]
        for name in re.findall(r"`([^`]+)`", here):
            key, _, value = name.partition(" = ")
            assert key in known or key.startswith("module.") or key == "..._max", row
            if value:
                section = "standard." if key.startswith("model.") else ""
                config = {f"{section}{key}": value.strip('"')}
                if value == '"limit"' or value == '"geometry"':
                    config |= {"standard.model.name": "limit", "standard.model.slope": 0.1}
                resolve_config(None, config)
