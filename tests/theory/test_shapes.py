"""The shape types are checked in the tests, and all of them can be."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import is_dataclass
from typing import get_type_hints

import jaxtyping
import pytest
import torch
from jaxtyping import Float
from tests.shapes import CHECKED, check, check_kinds
from tests.theory.reference import normal
from torch import Tensor

from perturblearn.errors import DataError
from perturblearn.theory import GateKernel, gate_kernel, standard_prediction


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match=r"parameters of perturblearn\.theory\.gate_kernel\.gate_kernel"):
        gate_kernel(normal(4, seed=0), normal(3, 4, seed=1), slope=0.1)
    with pytest.raises(jaxtyping.TypeCheckError, match="parameter 'y'"):
        standard_prediction(
            normal(3, 4, seed=0), torch.tensor([1, -1]), normal(5, 4, seed=1), kernel=GateKernel(slope=0.1)
        )


def test_a_wrong_result_is_refused() -> None:
    class Transposed(GateKernel):
        def gradient_sum(self, z: Tensor, centres: Tensor, weights: Tensor, *, workspace: int | None = None) -> Tensor:
            return super().gradient_sum(z, centres, weights, workspace=workspace).T

    with pytest.raises(jaxtyping.TypeCheckError, match=r"return value of perturblearn\.theory\.predictions"):
        importlib.import_module("perturblearn.theory").perturbation_direction(
            normal(2, 3, seed=0), torch.tensor([1, -1]), kernel=Transposed(0.1)
        )


def test_a_call_like_an_earlier_one_may_still_have_a_wrong_argument_or_result() -> None:
    @check_kinds(typechecker=check)
    def repeated(x: Float[Tensor, "n"], times: int) -> Float[Tensor, "n"]:
        return x.repeat(times)

    for _ in range(2):
        assert repeated(torch.ones(3), 1).shape == (3,)
        with pytest.raises(jaxtyping.TypeCheckError, match="return value of"):
            repeated(torch.ones(3), 2)
        with pytest.raises(jaxtyping.TypeCheckError, match="parameter 'x'"):
            repeated(torch.ones(3, 1), 1)


@pytest.mark.usefixtures("unchecked_shapes")
def test_users_get_the_package_s_own_words() -> None:
    with pytest.raises(DataError, match=r"x has shape \(4,\), but one row per sample is expected"):
        gate_kernel(normal(4, seed=0), normal(3, 4, seed=1), slope=0.1)


@pytest.mark.parametrize("room", CHECKED)
def test_all_annotations_are_found(room: str) -> None:
    """A name that is imported for type checkers alone would switch its check off without a word."""
    package = importlib.import_module(room)
    for module in pkgutil.iter_modules(package.__path__, f"{room}."):
        for _, value in inspect.getmembers(importlib.import_module(module.name)):
            if inspect.isfunction(value) and value.__module__ == module.name:
                get_type_hints(inspect.unwrap(value))
            elif inspect.isclass(value) and value.__module__ == module.name:
                get_type_hints(value)
                for name, method in inspect.getmembers(value, inspect.isfunction):
                    # A dataclass's own __init__ repeats the types of inherited fields, which their classes answer for.
                    is_made = name == "__init__" and is_dataclass(value)
                    if method.__module__ == module.name and not is_made:
                        get_type_hints(inspect.unwrap(method))
