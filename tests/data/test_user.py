"""Data handed over as Python objects."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.utils import Bunch
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from perturblearn.data import dataset_from
from perturblearn.errors import DataError

X = torch.arange(40, dtype=torch.float32).reshape(10, 4) / 8
Y = torch.tensor([1, -1] * 5)


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        [X, Y],
        (X.numpy(), Y.numpy()),
        (X.double(), Y.float()),
        (X.clone().requires_grad_(), Y),
        (X, Y.tolist()),
        TensorDataset(X, Y),
        Subset(TensorDataset(X, Y), range(10)),
        [(x.tolist(), int(y)) for x, y in zip(X, Y, strict=True)],
        [(x.numpy(), np.int8(y)) for x, y in zip(X, Y, strict=True)],
    ],
)
def test_all_forms_are_one(data: Any) -> None:
    made = dataset_from(data, heldout=(X[:4], Y[:4]))
    assert torch.equal(made.inputs, X)
    assert torch.equal(made.labels, Y)
    assert torch.equal(made.heldout_inputs, X[:4])
    assert made.class_names == ("+1", "-1")
    assert made.value_range == (0.0, 39 / 8)
    assert made.mean == 0.0
    assert not made.inputs.requires_grad


def test_a_dataset_is_returned_as_it_is() -> None:
    data = dataset_from((X, Y))
    assert dataset_from(data) is data
    with pytest.raises(DataError, match="class_names does not apply to a Dataset, which is complete"):
        dataset_from(data, class_names=("a", "b"))
    with pytest.raises(DataError, match="groups does not apply to a Dataset"):
        dataset_from(data, groups=Y)


class Pictures:
    """As torchvision's data sets: pairs of a PIL image and an integer."""

    def __init__(self, mode: str) -> None:
        self.mode = mode

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        if index >= len(self):
            raise IndexError(index)
        return Image.fromarray(np.full((2, 3), 20 * index, np.uint8)).convert(self.mode), index % 3


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_pil_images(mode: str, channels: int) -> None:
    made = dataset_from(Pictures(mode), flatten=False, class_names=("x", "y", "z"), seed=2)
    assert made.inputs.shape[1:] == (channels, 2, 3)
    assert made.value_range == (0.0, 1.0)
    assert made.class_names == ("x", "y", "z")
    both = torch.cat([made.inputs, made.heldout_inputs])[:, 0, 0, 0]
    assert sorted((both * 255).round().tolist()) == [20.0 * index for index in range(10)]


def test_split_and_centre() -> None:
    made = dataset_from((X, Y), heldout_share=0.4, centre=True, seed=3)
    assert (made.n_samples, made.n_heldout) == (6, 4)
    assert made.mean == pytest.approx(float(X.mean()))
    assert dataset_from((X, Y), heldout_share=0.4, centre=True, seed=3).content_hash() == made.content_hash()


def test_targets_and_their_spelling() -> None:
    made = dataset_from((X, np.array(["b", "a"] * 5)), targets=["a", "b"] * 5, seed=1)
    assert made.class_names == ("a", "b")
    assert made.given_targets is not None
    assert torch.equal(made.given_targets, -made.labels)


@pytest.mark.parametrize("groups", [["in"] * 4 + ["on"] * 6, np.array([3] * 4 + [5] * 6), torch.arange(10) >= 4])
def test_groups(groups: Any) -> None:
    made = dataset_from((X, Y), groups=groups, seed=1)
    assert made.groups is not None
    assert made.heldout_groups is not None
    assert len(made.group_names) == 2
    for inputs, positions in ((made.inputs, made.groups), (made.heldout_inputs, made.heldout_groups)):
        # Inputs count up in eighths, four to a sample.
        assert positions.tolist() == [int(row[0] * 2 >= 4) for row in inputs]


def test_groups_of_a_held_out_part() -> None:
    made = dataset_from((X, Y), heldout=(X[:2], Y[:2]), groups=["b"] * 10, heldout_groups=["a", "b"])
    assert made.group_names == ("a", "b")
    assert made.groups is not None
    assert made.heldout_groups is not None
    assert (made.groups.tolist(), made.heldout_groups.tolist()) == ([1] * 10, [0, 1])


def test_outputs_of_a_network() -> None:
    assert dataset_from((X, Y), model_classes={"-1": [3, 4], "+1": 9}).model_classes == ((9,), (3, 4))


def test_a_given_range() -> None:
    tenth = (X * 0 + 0.1, Y)
    assert dataset_from(tenth, value_range=(0.1, 1.0)).value_range == pytest.approx((0.1, 1.0), abs=2.0**-24)
    with pytest.raises(DataError, match=r"value_range = \(0, 1\) does not contain .*, which run from 0 to 4.875"):
        dataset_from((X, Y), value_range=(0, 1))

    with pytest.raises(DataError, match=r"value_range = \(0, 255\) does not fit bytes"):
        dataset_from((X.to(torch.uint8), Y), value_range=(0, 255))


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([])


@pytest.mark.parametrize(
    ("data", "options", "complaint"),
    [
        (None, {}, "the training data are of type NoneType; give a Dataset, a pair"),
        (Stream(), {}, "the training data are of type Stream"),
        ([], {}, "there are no training samples"),
        ([(X[0], 1), X[0]], {}, "training sample 1 is not a pair"),
        ([(X[0], 1), (X[0, :2], 0)], {}, r"training sample 1 has shape \(2,\) but sample 0 has \(4,\)"),
        ([(X[0], [1, 0]), (X[0], [0, 1])], {}, "labels are not single values"),
        ((X, Y[:9]), {}, "10 training inputs but 9 labels"),
        ((X, Y / 3), {}, "not whole numbers"),
        ((X, Y * 0), {}, "the data have 1 class"),
        ((X[:, 0], Y), {}, r"the training inputs have shape \(10,\)"),
        ((X * torch.nan, Y), {}, "NaN or infinite"),
        ((X, Y), {"heldout": (X, Y * 2)}, "the held-out labels contain -2, which is not a class of the training data"),
        ((X, Y), {"heldout": (X.to(torch.uint8), Y)}, "but held-out inputs torch.uint8"),
        ((X, Y), {"heldout": (X[:, :2], Y)}, "both parts need the same shape"),
        ((X, Y), {"class_names": ("a", "b", "c")}, r"3 class names for 2 classes \(\+1, -1\)"),
        ((X, Y), {"targets": Y[:3]}, "3 targets for 10 training samples"),
        ((X, Y), {"targets": Y * 3}, "the targets contain -3, which is not a class"),
        ((X, Y), {"groups": Y[:3]}, "3 groups for 10 training samples; give one for each"),
        ((X, Y), {"groups": Y[:, None]}, r"groups have shape \(10, 1\); give one per sample"),
        ((X, Y), {"groups": Y / 3}, "groups are floats that are not whole numbers"),
        ((X, Y), {"heldout_groups": Y}, "heldout_groups is given without heldout; give the held-out part too"),
        ((X, Y), {"heldout": (X, Y), "groups": Y}, "groups is given without heldout_groups; give one group for each"),
        ((X, Y), {"heldout": (X, Y), "heldout_groups": Y}, "heldout_groups is given without groups"),
        ((X, Y), {"heldout": (X, Y), "groups": Y, "heldout_groups": Y[:2]}, "2 groups for 10 held-out samples"),
        (
            (X, Y),
            {"heldout": (X, Y), "groups": Y, "heldout_groups": ["a"] * 10},
            "groups are numbers in one part and texts in the other; use the same kind in both",
        ),
        ((X, Y), {"model_classes": {1: 5}}, "model_classes names the class '1', which these data do not have"),
        ((X, Y), {"model_classes": {"+1": 5, "-1": 5}}, "model_classes: the output 5 is named for \\+1 and for -1"),
        (X, {}, r"the training data are a single array of shape \(10, 4\) without labels; give a pair"),
        (X.numpy(), {}, "the training data are a single array"),
        ((X, None), {}, "the training data have inputs but no labels; give a pair"),
        ((X, Y), {"heldout": X}, "the held-out data are a single array"),
        ((X[:2], Y[:2]), {}, "every class has a single sample, so none can be held out"),
        ((X, Y), {"heldout_share": 1.0}, "heldout_share = 1.0 is not between 0 and 1"),
        ((X, [[1], [2, 3]]), {}, "cannot be converted to an array"),
    ],
)
def test_what_does_not_fit_is_refused(data: Any, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        dataset_from(data, **options)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["cat", "dog"] * 5, ("cat", "dog")),
        ([np.str_("b"), "a"] * 5, ("a", "b")),
        ([1, -1] * 5, ("+1", "-1")),
        ([np.int8(3), True] * 5, ("1", "3")),
        ([2.0, 0] * 5, ("0", "2")),
    ],
)
def test_labels_and_groups_in_arrays_of_objects(values: list[Any], names: tuple[str, ...]) -> None:
    objects = np.array(values, dtype=object)
    made = dataset_from((X, objects), groups=objects)
    assert made.class_names == names
    assert made.content_hash() == dataset_from((X, values), groups=values).content_hash()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "the training labels have missing values; remove those samples"),
        (float("nan"), "the training labels have missing values; remove those samples"),
        (3, "the training labels are partly names and partly numbers; give integers or names"),
        ((1, 2), "the training labels are partly names and partly numbers; give integers or names"),
    ],
)
def test_objects_that_are_no_labels(value: Any, message: str) -> None:
    objects = np.array(["cat"] * 10, dtype=object)
    objects[3] = value
    with pytest.raises(DataError, match=message):
        dataset_from((X, objects))


class Mappings:
    """As a data set of Hugging Face: a mapping a sample, and the names of the labels in its features."""

    def __init__(self, inputs: str, label: str) -> None:
        self.names = inputs, label
        self.features = {inputs: object(), label: SimpleNamespace(names=["cat", "dog"])}

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> dict[str, Any]:
        return dict(zip(("id", *self.names), (index, X[index].tolist(), index % 2), strict=True))


ZERO_ONE = torch.arange(10) % 2


def frame() -> Any:
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({"a": [1, 2, 3, 4] * 3, "b": [0.5] * 6 + [1.5] * 6, "label": ["cat", "dog", "dog"] * 4})


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: DataLoader(TensorDataset(X, ZERO_ONE), batch_size=3, shuffle=True), ("0", "1")),
        (lambda: Bunch(data=X.numpy(), target=ZERO_ONE.numpy(), target_names=np.array(["cat", "dog"])), ("cat", "dog")),
        (lambda: Bunch(data=X.numpy(), target=ZERO_ONE.numpy(), target_names=["class"]), ("0", "1")),
        (lambda: {"x": X, "y": ZERO_ONE}, ("0", "1")),
        (lambda: lambda: (X, ZERO_ONE), ("0", "1")),
        (lambda: (X.tolist(), ZERO_ONE.tolist()), ("0", "1")),
        (lambda: Mappings("image", "label"), ("cat", "dog")),
        (lambda: Mappings("pixel_values", "labels"), ("cat", "dog")),
        (lambda: [{"img": x, "target": y} for x, y in zip(X, ZERO_ONE, strict=True)], ("0", "1")),
    ],
)
def test_objects_of_other_libraries(make: Callable[[], Any], names: tuple[str, ...]) -> None:
    made = dataset_from(make(), heldout=make())
    assert torch.equal(made.inputs, X)
    assert torch.equal(made.labels, 1 - 2 * ZERO_ONE)
    assert torch.equal(made.heldout_inputs, X)
    assert made.class_names == names


def test_parts_by_name() -> None:
    made = dataset_from(
        {"train": Mappings("img", "y"), "validation": (X[:4], ZERO_ONE[:4]), "test": (X[:3], Y[:3] > 0)}
    )
    assert (made.n_samples, made.n_heldout) == (10, 3)
    assert dataset_from({"train": (X, Y)}, heldout=(X[:4], Y[:4])).n_heldout == 4
    assert dataset_from({"train": (X, Y)}).n_samples == 8


def test_images_of_scikit_learn_have_their_shape() -> None:
    from sklearn.datasets import load_digits

    made = dataset_from(load_digits)
    assert made.image_shape == (1, 8, 8)
    assert made.class_names == tuple("0123456789")


def test_frames_and_series_of_pandas() -> None:
    table = frame()
    expected = dataset_from((np.stack([table["a"], table["b"]], axis=1), table["label"].tolist()))
    for data in (
        table,
        (table[["a", "b"]], table["label"]),
        (table[["a", "b"]], table[["label"]]),
        (table[["a", "b"]], table["label"].astype("category")),
        (table[["a", "b"]].astype(object), table["label"].astype(object)),
        (table[["a", "b"]].assign(a=table["a"].astype("Int64")), table["label"].astype("string")),
    ):
        assert dataset_from(data).content_hash() == expected.content_hash()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            Mappings("picture", "label"),
            "training sample 0 has id, picture, label, none of which is called image or img",
        ),
        ([{"image": X[0], "species": 1}] * 4, "sample 0 has image, species, none of which is called label or labels"),
        ({"data": X, "species": Y}, "the training data have data, species, none of which is called label or labels"),
        ({"features": X, "label": Y}, "the training data have features, label, none of which is called image or img"),
        (lambda: 1 / 0, "the function <lambda>, which should return the data, fails .*ZeroDivisionError"),
        ((pytest, Y), "sample 0 is not a pair"),
    ],
)
def test_what_is_unclear_is_named(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        dataset_from(data)


def test_a_frame_of_texts() -> None:
    table = frame()
    with pytest.raises(DataError, match="the training inputs are of type object; give numbers"):
        dataset_from((table.assign(name="tabby")[["a", "name"]], table["label"]))
    with pytest.raises(DataError, match="the training data have a, b, none of which is called label"):
        dataset_from(table[["a", "b"]])
