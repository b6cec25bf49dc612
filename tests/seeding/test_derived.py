"""Seeds, and blocks whose numbers depend on a seed alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
import torch

from perturblearn.seeding import derive_seed, reproducible


def test_purposes_have_seeds_of_their_own() -> None:
    purposes = [("a", "bc"), ("ab", "c"), ("abc",), ("a", "b", "c"), ()]
    assert len({derive_seed(seed, *purpose) for purpose in purposes for seed in (0, 1)}) == 10


def drawn() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(1))  # noqa: NPY002


def surroundings() -> list[object]:
    """What a program may set for the whole process."""
    return [
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_float32_matmul_precision(),
        torch.get_num_threads(),
        torch.backends.mkldnn.matmul.fp32_precision,  # type: ignore[attr-defined]
        torch.backends.cudnn.allow_tf32,
        random.getstate(),
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),  # type: ignore[union-attr] # noqa: NPY002
    ]


def spoil() -> None:
    """Change every one of them."""
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_grad_enabled(False)
    torch.set_autocast_enabled("cpu", True)
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.allow_tf32 = False
    torch.set_num_threads(torch.get_num_threads() + 1)
    seed_all(5)


def seed_all(seed: int) -> None:
    """Start the global generators."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002


@pytest.mark.parametrize("fails", [False, True])
def test_a_block_leaves_everything_as_it_was(*, fails: bool) -> None:
    seed_all(4)  # and not where another test has left them
    torch.backends.cudnn.allow_tf32 = True
    before = surroundings()
    with suppress(ZeroDivisionError), reproducible(0):
        spoil()
        assert not any(one == other for one, other in zip(before, surroundings(), strict=True))
        _ = 1 / (0 if fails else 1)
    assert surroundings() == before


def test_draws_follow_from_the_seed_alone() -> None:
    with reproducible(1):
        first = drawn()
    drawn()
    with reproducible(1):
        assert drawn() == first
        with reproducible(2):  # as a stage that another one asks for
            other = drawn()
        rest = drawn()
    assert all(one != two for one, two in zip(first, other, strict=True))
    with reproducible(1):
        drawn()
        assert drawn() == rest


@pytest.mark.parametrize(
    "prepare",
    [
        lambda: torch.set_default_dtype(torch.float64),
        lambda: torch.set_grad_enabled(False),
        lambda: torch.set_autocast_enabled("cpu", True),
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: torch.set_default_device("meta"),
    ],
)
def test_what_a_program_has_set_does_not_show(prepare: Callable[[], None]) -> None:
    def computed() -> tuple[list[float], torch.dtype, bool]:
        with reproducible(0):
            weight = torch.rand(40, 40, requires_grad=True)
            product = weight @ torch.tensor([0.1] * 40)
            return product.tolist(), product.dtype, product.requires_grad

    expected = computed()
    with reproducible(0):  # which undoes it
        prepare()
        assert computed() == expected
    assert expected[1:] == (torch.float32, True)


@pytest.mark.parametrize("outer", [False, True])
def test_autocast_inside_sees_every_step_of_a_training(outer: bool) -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    told: list[float] = []
    with torch.autocast("cpu", torch.bfloat16, enabled=outer), reproducible(0):
        for weight in (1.0, 2.0):
            with torch.no_grad():
                layer.weight.fill_(weight)
            with torch.autocast("cpu", torch.bfloat16):
                told.append(float(layer(torch.ones(1, 1)).detach()))
    assert told == [1.0, 2.0]
