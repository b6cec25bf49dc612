"""The data set type checks what it is made of."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from perturblearn.data import Dataset
from perturblearn.errors import DataError
from perturblearn.store import ArtefactStore


def made(n: int = 4, m: int = 2, d: int = 3, classes: int = 2) -> Dataset:
    values = torch.tensor([1, -1] if classes == 2 else range(classes))
    return Dataset(
        inputs=torch.arange(n * d, dtype=torch.float32).reshape(n, d),
        labels=values[torch.arange(n) % classes],
        heldout_inputs=torch.zeros(m, d),
        heldout_labels=values[torch.arange(m) % classes],
        value_range=(0.0, math.inf),
        class_names=tuple(f"c{index}" for index in range(classes)),
    )


def grouped(training: Sequence[int] = (0, 1, 2, 1), heldout: Sequence[int] = (2, 0)) -> dict[str, Any]:
    """Groups for what `made` makes by default."""
    return {
        "groups": torch.tensor(training),
        "heldout_groups": torch.tensor(heldout),
        "group_names": ("in", "on", "under"),
    }


@given(n=st.integers(1, 9), m=st.integers(1, 9), d=st.integers(1, 9), classes=st.integers(2, 5))
def test_sizes_and_round_trip_through_float64(n: int, m: int, d: int, classes: int) -> None:
    data = made(n, m, d, classes)
    assert (data.n_samples, data.n_heldout, data.input_dim, data.n_classes) == (n, m, d, classes)
    wide = data.to(dtype=torch.float64)
    assert wide.inputs.dtype == torch.float64
    assert wide.labels.dtype == torch.int64
    assert wide.content_hash() != data.content_hash() == wide.to(dtype=torch.float32).content_hash()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"class_names": ("a",)}, "the data have 1 class"),
        ({"inputs": torch.zeros(0, 3), "labels": torch.zeros(0, dtype=torch.int64)}, "at least one sample is needed"),
        ({"labels": torch.tensor([1, -1])}, "4 training inputs but labels of shape"),
        (
            {"labels": torch.tensor([1, -1, 1, 0])},
            r"training labels run from -1 to 1; 2 classes need labels in \[1, -1\]",
        ),
        ({"labels": torch.ones(4)}, "labels torch.float32"),
        ({"inputs": torch.zeros(4, 3, dtype=torch.int64)}, "inputs are torch.int64"),
        ({"inputs": torch.full((4, 3), math.nan)}, "NaN or infinite"),
        ({"heldout_inputs": torch.full((2, 3), math.inf)}, "held-out inputs contain NaN or infinite"),
        ({"heldout_inputs": torch.zeros(2, 4)}, r"training inputs have shape \(3,\) but held-out inputs \(4,\)"),
        ({"heldout_inputs": torch.zeros(2, 3, dtype=torch.float64)}, "give both in the same precision"),
        ({"given_targets": torch.tensor([1])}, "1 targets for 4 training samples"),
        ({"groups": torch.zeros(4, dtype=torch.int64)}, "only one part of the data has groups"),
        ({"heldout_groups": torch.zeros(2, dtype=torch.int64)}, "only one part of the data has groups"),
        (grouped(training=[0, 1]), r"4 training inputs but groups of shape \(2,\); give one group per input"),
        (grouped(heldout=[0]), r"2 held-out inputs but groups of shape \(1,\)"),
        (grouped(training=[0, 1, 2, 3]), "training groups run from 0 to 3, but there are 3 group names; give indices"),
        (grouped(heldout=[-1, 2]), "held-out groups run from -1 to 2, but there are 3 group names"),
        ({**grouped(), "group_names": ()}, "but there are 0 group names"),
        ({**grouped(), "groups": torch.zeros(4)}, "the training groups are torch.float32; give indices"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        replace(made(), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": torch.tensor([1, 1, -1, -1])},
        {"heldout_inputs": torch.ones(2, 3)},
        {"class_names": ("x", "y")},
        {"value_range": (0.0, 1.0)},
        {"mean": 0.5},
        {"given_targets": torch.tensor([1, 1, 1, 1])},
        {"image_shape": (1, 1, 3)},
        grouped(),
        {"model_classes": ((0,), (1,))},
    ],
)
def test_the_hash_sees_every_part(changes: dict[str, Any]) -> None:
    assert replace(made(), **changes).content_hash() != made().content_hash()


@pytest.mark.parametrize(
    "changes",
    [grouped(training=[1, 0, 2, 1]), grouped(heldout=[2, 1]), {"group_names": ("in", "on", "over")}],
)
def test_the_hash_sees_every_group(changes: dict[str, Any]) -> None:
    data = replace(made(), **grouped())
    assert replace(data, **changes).content_hash() != data.content_hash()


def test_the_hash_of_data_without_groups_is_that_of_tensors_and_names() -> None:
    data = made()
    digest = hashlib.sha256()
    for tensor in (data.inputs, data.labels, data.heldout_inputs, data.heldout_labels):
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode() + tensor.numpy().tobytes())
    digest.update(b"none" + repr(((0.0, math.inf), ("c0", "c1"), 0.0, None)).encode())
    assert data.content_hash() == digest.hexdigest()


def test_groups_go_along_and_are_counted() -> None:
    data = replace(made(), **grouped())
    wide = data.to(dtype=torch.float64)
    assert wide.groups is not None
    assert wide.heldout_groups is not None
    assert (wide.groups.tolist(), wide.heldout_groups.tolist()) == ([0, 1, 2, 1], [2, 0])
    assert wide.groups.dtype == torch.int64
    assert "classes c0, c1, 3 groups, range" in repr(data)
    assert "groups" not in repr(made())


def test_the_hash_does_not_see_memory_layout_or_origin() -> None:
    data = made()
    assert replace(data, inputs=data.inputs.t().contiguous().t()).content_hash() == data.content_hash()
    assert replace(data, provenance={"name": "elsewhere"}).content_hash() == data.content_hash()


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-math.inf, math.inf)])
def test_round_trip_through_the_store(tmp_path: Path, bounds: tuple[float, float]) -> None:
    labels = torch.tensor([1, -1, 1])
    data = Dataset(
        inputs=torch.arange(12.0).reshape(3, 1, 2, 2),
        labels=labels,
        heldout_inputs=torch.ones(3, 1, 2, 2),
        heldout_labels=-labels,
        value_range=bounds,
        class_names=("a", "b"),
        mean=0.25,
        image_shape=(1, 2, 2),
        given_targets=-labels,
        provenance={"name": "test"},
    )
    store = ArtefactStore(tmp_path)
    store.write("k" * 64, data.dump(), origin={})
    back = Dataset.load(store.read("k" * 64))
    assert back.content_hash() == data.content_hash()
    assert back.groups is None
    assert (back.value_range, back.image_shape, back.provenance) == (bounds, (1, 2, 2), {"name": "test"})


def test_outputs_of_a_network_round_trip_through_the_store(tmp_path: Path) -> None:
    data = replace(made(), model_classes=((5,), (0, 3)))
    store = ArtefactStore(tmp_path)
    store.write("k" * 64, data.dump(), origin={})
    assert Dataset.load(store.read("k" * 64)).model_classes == ((5,), (0, 3))


def test_groups_round_trip_through_the_store(tmp_path: Path) -> None:
    data = replace(made(), **grouped())
    store = ArtefactStore(tmp_path)
    store.write("k" * 64, data.dump(), origin={})
    back = Dataset.load(store.read("k" * 64))
    assert back.content_hash() == data.content_hash()
    assert back.group_names == ("in", "on", "under")
