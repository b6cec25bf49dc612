"""The nearest class mean against distances by hand, and where the answer is known."""

from __future__ import annotations

import pytest
import torch
from tests.theory.reference import normal

from perturblearn.errors import DataError
from perturblearn.theory import nearest_mean


def test_two_classes_are_told_apart_by_the_nearer_mean() -> None:
    x, z = normal(40, 3, 2, seed=0), normal(200, 3, 2, seed=1)
    y = torch.where(normal(40, 1, seed=2)[:, 0] > 0, 1, -1)
    outputs = nearest_mean(x, y, z)
    plus, minus = (x[y == label].mean(dim=0).flatten() for label in (1, -1))
    near_plus, near_minus = (torch.stack([(point.flatten() - mean).norm() for point in z]) for mean in (plus, minus))
    assert torch.equal(outputs > 0, near_plus < near_minus)
    # Half the difference of the squared distances, not only their order.
    torch.testing.assert_close(outputs, (near_minus.square() - near_plus.square()) / 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_several_classes_are_told_apart_by_the_nearest_mean(dtype: torch.dtype) -> None:
    x, z, y = normal(60, 7, seed=0).to(dtype), normal(200, 7, seed=1).to(dtype), torch.arange(60) % 5
    outputs = nearest_mean(x, y, z, n_classes=5)
    assert (outputs.shape, outputs.dtype) == ((200, 5), torch.float64)
    means = torch.stack([x[y == label].double().mean(dim=0) for label in range(5)])
    assert torch.equal(outputs.argmax(dim=1), torch.cdist(z.double(), means).argmin(dim=1))


def test_the_bisector_is_the_boundary() -> None:
    x, y = torch.tensor([[0.0, 2.0], [4.0, 2.0], [2.0, 9.0]]), torch.tensor([1, 1, -1])
    # Means (2, 2) and (2, 9): the boundary is at 5.5, whatever the first coordinate.
    outputs = nearest_mean(x, y, torch.tensor([[-7.0, 5.5], [100.0, 5.5], [0.0, 5.0], [0.0, 6.0]]))
    assert outputs.tolist() == [0.0, 0.0, 3.5, -3.5]


def test_a_class_without_samples_has_no_mean() -> None:
    with pytest.raises(DataError, match=r"no sample has the label -1, so its mean does not exist; add samples of it"):
        nearest_mean(torch.ones(3, 2), torch.ones(3, dtype=torch.int64), torch.ones(1, 2))
    with pytest.raises(DataError, match="no sample has the label 0, 3"):
        nearest_mean(torch.ones(2, 2), torch.tensor([1, 2]), torch.ones(1, 2), n_classes=4)
