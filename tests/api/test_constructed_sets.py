"""The four constructed data sets from one call: their names, what they share, and the same as plain tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from perturblearn import perturb
from perturblearn.api import RunOptions, prepare_perturb
from perturblearn.errors import ConfigError

STUDY = "studies/constructed_sets"
TINY = {
    "data.name": "digits", "data.classes": ["3", "8"], "data.n_samples": 40, "data.n_heldout": 10,
    "standard.epochs": 1, "attack.steps": 2, "seeds": [4],
}  # fmt: skip


def test_four_sets_are_written_and_exported_under_their_own_names(tmp_path: Path) -> None:
    sets = perturb(STUDY, out=tmp_path / "sets", tensors=tmp_path / "tensors", overrides=TINY)
    names = [stored.manifest["name"] for stored in sets]
    assert names == ["D_R", "D_NR", "D_rand", "D_det"]
    files = {path.name for path in (tmp_path / "tensors").iterdir()}
    assert files == {f"{name}_{part}" for name in names for part in ("ims", "lab")}
    for name, stored in zip(names, sets, strict=True):
        images, labels = (torch.cat(torch.load(tmp_path / "tensors" / f"{name}_{part}")) for part in ("ims", "lab"))
        assert images.shape == (40, 1, 8, 8)
        assert torch.equal(images[7], stored[7][0])
        assert int(labels[7]) == stored[7][1]
    robust, *standard = [stored.standard_hash for stored in sets]
    assert len(set(standard)) == 1, "three of the sets are made with one f"
    assert robust not in standard
    again = prepare_perturb(STUDY, overrides=TINY).plan(RunOptions(out=tmp_path / "sets"))
    assert again.to_run == ()


def test_several_seeds_are_told_apart_by_their_files(tmp_path: Path) -> None:
    perturb(STUDY, out=tmp_path / "sets", tensors=tmp_path / "tensors", overrides={**TINY, "seeds": [0, 1]})
    assert (tmp_path / "tensors" / "D_det-seed-1_ims").is_file()
    assert len(list((tmp_path / "tensors").iterdir())) == 2 * 2 * 4


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (STUDY, {"scale": "modern"}, "scale = 'modern', but studies/constructed_sets has quick and full; choose one"),
        (STUDY, {"overrides": {"name": "mine"}}, "name = 'mine', but the sets of studies/constructed_sets have their"),
        ({}, {"scale": "full"}, "scale = 'full' is that of studies/constructed_sets alone; remove it"),
    ],
)
def test_what_does_not_fit_the_constructed_sets_is_refused(config: Any, options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        prepare_perturb(config, **options)
