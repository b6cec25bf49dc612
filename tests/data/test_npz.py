"""Data in .npz files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perturblearn.config import DataConfig
from perturblearn.data import data_fingerprint, depends_on_seed, load_dataset
from perturblearn.data.npz import read_npz
from perturblearn.errors import DataError

X = np.arange(24, dtype=np.float64).reshape(6, 4) / 8
Y = np.array([3, 7, 3, 7, 3, 7])


def save(tmp_path: Path, **arrays: Any) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("inputs", ["inputs", "x", "images"])
@pytest.mark.parametrize("labels", ["labels", "y"])
def test_names_of_the_arrays(tmp_path: Path, inputs: str, labels: str) -> None:
    raw = read_npz(save(tmp_path, **{inputs: X, labels: Y}))
    assert torch.equal(raw.inputs, torch.from_numpy(X).float())  # eighths are exact in float32
    assert raw.class_names == ("3", "7")
    assert raw.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert raw.value_range == (0.0, 23 / 8)
    assert raw.mean == pytest.approx(X.mean(), rel=1e-15)
    assert raw.heldout_inputs is None


@pytest.mark.parametrize("names", [("inputs_heldout", "labels_heldout"), ("x_test", "y_test")])
def test_a_held_out_part_and_targets(tmp_path: Path, names: tuple[str, str]) -> None:
    path = save(tmp_path, x=X, y=Y, targets=np.array([7, 7, 7, 3, 3, 3]), **{names[0]: X[:2] - 1, names[1]: Y[:2]})
    config = DataConfig(name=f"npz:{path}", centre=False)
    assert not depends_on_seed(config)
    assert depends_on_seed(DataConfig(name=f"npz:{path}", n_heldout=2))
    data = load_dataset(config)
    assert data.n_heldout == 2
    assert data.value_range == (-1.0, 23 / 8)
    assert data.given_targets is not None
    assert data.given_targets.tolist() == [-1, -1, -1, 1, 1, 1]


@pytest.mark.parametrize(
    ("labels", "names", "first"),
    [
        (["cat", "ant", "cat", "ant", "cat", "ant"], ("ant", "cat"), "cat"),
        ([-1, 1, -1, 1, -1, 1], ("+1", "-1"), "-1"),
        ([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0], ("+1", "-1"), "-1"),
        ([True, False, True, False, True, False], ("0", "1"), "1"),
        ([0, 1, 2, 0, 1, -5], ("-5", "0", "1", "2"), "0"),
    ],
)
def test_labels_of_all_kinds(tmp_path: Path, labels: list[Any], names: tuple[str, ...], first: str) -> None:
    raw = read_npz(save(tmp_path, x=X, y=labels))
    assert raw.class_names == names
    assert raw.class_names[int(raw.labels[0])] == first


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 5, 4), (6, 1, 5, 4)),
        ((6, 5, 4, 3), (6, 3, 5, 4)),
        ((6, 5, 4, 1), (6, 1, 5, 4)),
        ((6, 3, 5, 4), (6, 3, 5, 4)),
        ((6, 1, 5, 3), (6, 1, 5, 3)),
        ((6, 7, 5, 4), (6, 7, 5, 4)),
        ((6, 8), (6, 8)),
    ],
)
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_where_the_channels_are(tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...], kind: Any) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape).astype(kind)
    raw = read_npz(save(tmp_path, x=images, y=Y))
    assert tuple(raw.inputs.shape) == expected
    assert raw.inputs.dtype == (torch.uint8 if kind is np.uint8 else torch.float32)
    moved = np.moveaxis(images, 3, 1) if len(shape) == 4 and expected != shape else images.reshape(expected)
    assert np.array_equal(raw.inputs.numpy(), moved)
    if kind is np.uint8:
        assert raw.value_range == (0.0, 1.0)


OBJECTS = np.array([{"a": 1}] * 6, dtype=object)


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"x": X}, "has no array labels or y but x; rename the array"),
        ({"y": Y}, "has no array inputs or x or images but y"),
        ({"x": X, "inputs": X, "y": Y}, "has both inputs and x; keep one"),
        ({"x": X, "y": Y[:5]}, "has 6 inputs but 5 labels"),
        ({"x": X, "y": Y, "targets": Y[:5]}, "has 6 inputs but 5 targets"),
        (
            {"x": X, "y": Y, "targets": Y + 1},
            "contain 4, which is not a class of the training data; .* are 3, 7",
        ),
        ({"x": X, "y": Y / 2}, "are floats that are not whole numbers"),
        ({"x": X, "y": Y[:, None]}, r"have shape \(6, 1\); give one per sample"),
        ({"x": OBJECTS, "y": Y}, "is not a readable .npz file of plain arrays .*without objects"),
        ({"x": X, "y": OBJECTS}, "is not a readable .npz file of plain arrays"),
        ({"x": X + 1j, "y": Y}, "are of type complex128; give numbers"),
        ({"x": X[:, 0], "y": Y}, r"have shape \(6,\); give"),
        ({"x": X, "y": Y, "x_test": X}, "has only one half of a held-out part; add labels_heldout or y_test"),
        ({"x": X, "y": Y, "y_test": Y}, "has only one half of a held-out part; add inputs_heldout or x_test"),
        ({"x": X, "y": Y, "x_test": X, "y_test": Y + 4}, "held-out labels in .* contain 11, which is not a class"),
        ({"x": X, "y": Y, "x_test": X.astype(np.uint8), "y_test": Y}, "float32 but held-out inputs of torch.uint8"),
        ({"x": X, "y": Y * 0}, "the data have 1 class"),
        ({"x": X, "y": Y, "groups": Y[:5]}, "has 6 inputs but 5 groups; give one per input"),
        ({"x": X, "y": Y, "groups": Y / 2}, "the groups in .* are floats that are not whole numbers"),
        ({"x": X, "y": Y, "groups_heldout": Y}, "has groups for a held-out part but no held-out part"),
        (
            {"x": X, "y": Y, "x_test": X, "y_test": Y, "groups": Y},
            "has groups for only one part; add groups_heldout or groups_test, or remove the others",
        ),
        (
            {"x": X, "y": Y, "x_test": X, "y_test": Y, "groups_test": Y},
            "has groups for only one part; add groups, or remove the others",
        ),
        (
            {"x": X, "y": Y, "x_test": X, "y_test": Y, "groups": Y, "groups_test": Y[:2]},
            "has 6 inputs but 2 held-out groups",
        ),
        (
            {"x": X, "y": Y, "x_test": X, "y_test": Y, "groups": Y, "groups_test": Y.astype(str)},
            "the groups in .* are numbers in one part and texts in the other",
        ),
        ({"x": X, "y": Y, "groups_heldout": Y, "groups_test": Y}, "has both groups_heldout and groups_test"),
        ({"x": X * np.nan, "y": Y}, "NaN or infinite"),
        ({"x": X * 1e300, "y": Y}, "NaN or infinite"),
        ({"x": X[:0], "y": Y[:0]}, "the data have 0 class"),
        ({"x": X[:, :0], "y": Y}, "at least one sample is needed"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, arrays: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        load_dataset(DataConfig(name=f"npz:{save(tmp_path, **arrays)}"))


def test_files_that_are_no_npz(tmp_path: Path) -> None:
    path = save(tmp_path, x=X, y=Y)
    whole = path.read_bytes()
    single = io.BytesIO()
    np.save(single, X)
    for content, complaint in (
        (whole[:100], "is not a readable .npz file"),
        (b"text", "is not a readable .npz file"),
        (b"", "is not a readable .npz file"),
        (b"\x80\x04N.", "is not a readable .npz file"),  # a pickle, which is not loaded
        (single.getvalue(), "contains a single array"),
        (whole.replace(X.tobytes(), bytes(len(X.tobytes()))), "is not a readable .npz file"),  # wrong checksum
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"{path} {complaint}"):
            read_npz(path)
    with pytest.raises(DataError, match=r"nothing.npz, which data.name.* does not exist"):
        data_fingerprint(DataConfig(name=f"npz:{tmp_path}/nothing.npz"))
    with pytest.raises(DataError, match="cannot be read"):
        read_npz(tmp_path)


def test_identity_is_that_of_the_content(tmp_path: Path) -> None:
    path = save(tmp_path, x=X, y=Y)
    first = data_fingerprint(DataConfig(name=f"npz:{path}"))
    moved = path.rename(tmp_path / "moved.npz")
    assert data_fingerprint(DataConfig(name=f"npz:{moved}")) == first
    assert data_fingerprint(DataConfig(name=f"npz:{save(tmp_path, x=X, y=Y[::-1])}")) != first


@pytest.mark.parametrize(
    "names", [("inputs_heldout", "labels_heldout", "groups_heldout"), ("x_test", "y_test", "groups_test")]
)
@pytest.mark.parametrize(
    ("groups", "heldout", "expected"),
    [
        # Numbers are ordered as numbers; a group may occur in one part alone.
        ([10, 9, 9, 10, 9, 9], [11, 9], ("9", "10", "11")),
        (["b", "a", "a", "b", "a", "a"], ["c", "a"], ("a", "b", "c")),
        ([1, -1, -1, 1, -1, -1], [2, -1], ("-1", "1", "2")),
    ],
)
def test_groups(
    tmp_path: Path, names: tuple[str, str, str], groups: list[Any], heldout: list[Any], expected: tuple[str, ...]
) -> None:
    arrays = {names[0]: X[:2], names[1]: Y[:2], names[2]: heldout}
    data = load_dataset(DataConfig(name=f"npz:{save(tmp_path, x=X, y=Y, groups=groups, **arrays)}"))
    assert data.group_names == expected
    assert data.groups is not None
    assert data.heldout_groups is not None
    assert data.groups.tolist() == [1, 0, 0, 1, 0, 0]
    assert data.heldout_groups.tolist() == [2, 0]


def test_groups_of_a_drawn_split(tmp_path: Path) -> None:
    # The group is the whole part of the first coordinate.
    data = load_dataset(DataConfig(name=f"npz:{save(tmp_path, x=X, y=Y, groups=X[:, 0] // 1)}", centre=False))
    for inputs, groups in ((data.inputs, data.groups), (data.heldout_inputs, data.heldout_groups)):
        assert groups is not None
        assert [data.group_names[index] for index in groups] == [str(int(row[0])) for row in inputs]
    single = load_dataset(DataConfig(name=f"npz:{save(tmp_path, x=X, y=Y)}"))
    assert (single.groups, single.heldout_groups, single.group_names) == (None, None, ())


def test_unpickling_groups_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not a readable .npz file of plain arrays"):
        read_npz(save(tmp_path, x=X, y=Y, groups=OBJECTS))
