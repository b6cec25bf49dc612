"""Searches whose gradients are means over flipped and shifted copies, against a loop over samples and copies."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from perturblearn.attacks import pgd, radial_pgd
from perturblearn.classifiers import Network
from perturblearn.config import NetworkConfig
from perturblearn.data import Signature
from perturblearn.errors import ConfigError
from perturblearn.seeding import derive_seed

COUNT, SHAPE, STEPS, COPIES, EPSILON = 5, (2, 6, 4), 4, 3, 0.8
IMAGES = torch.rand(COUNT, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TARGETS = torch.tensor([0, 1, 2, 2, 1])


def network() -> nn.Sequential:
    """That sees where in the image something is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(32, 3))
    return module.double().eval()


def copied(image: Tensor, draw: int, black: float) -> Tensor:
    """Moved by 2 pixels at most each way, then flipped; entry by entry, so that autograd takes it apart."""
    draw, flipped = divmod(draw, 2)
    down, right = 2 - draw // 5, 2 - draw % 5
    _, height, width = image.shape
    rows = []
    for y in range(height):
        row = []
        for x in range(width):
            inside = 0 <= y - down < height and 0 <= x - right < width
            row.append(image[:, y - down, x - right] if inside else torch.full_like(image[:, 0, 0], black))
        rows.append(torch.stack(row[::-1] if flipped else row, dim=1))
    return torch.stack(rows, dim=1)


def loop(module: nn.Module, *, black: float = 0.0) -> Tensor:
    """PGD in L2, one sample after the other."""
    generator = torch.Generator().manual_seed(derive_seed(7, "augmentation", "0"))
    draws = torch.randint(50, (COUNT, STEPS, COPIES), generator=generator).tolist()
    found = torch.empty_like(IMAGES)
    for number, (source, target) in enumerate(zip(IMAGES, TARGETS, strict=True)):
        point, lowest = source.clone(), torch.inf
        for step in range(STEPS + 1):
            with torch.no_grad():
                loss = float(cross_entropy(module(point[None]), target[None]))
            if loss < lowest:
                found[number], lowest = point, loss
            if step == STEPS:
                break
            leaf = point.clone().requires_grad_()
            copies = [copied(leaf, draw, black) for draw in draws[number][step]]
            mean = cross_entropy(module(torch.stack(copies)), target.repeat(COPIES))
            (gradient,) = torch.autograd.grad(mean, leaf)
            change = point - 0.4 * EPSILON * gradient / gradient.norm() - source
            point = (source + change * min(1, EPSILON / float(change.norm()))).clamp(0, 1)
    return found


def search(module: nn.Module, images: Tensor = IMAGES, **options: object) -> Tensor:
    keys = {"norm": "l2", "epsilon": EPSILON, "steps": STEPS, "step": 0.4, "seed": 7, "value_range": (0, 1)}
    return pgd(module, images, TARGETS, **{**keys, "augment": COPIES, **options}).inputs  # type: ignore[arg-type]


def test_against_a_loop_over_samples_and_copies() -> None:
    # Four steps of some hundred roundings each of numbers below 10, and the margin that the bound leaves to rounding.
    assert torch.allclose(search(network()), loop(network()), rtol=0, atol=1e-11)


@pytest.mark.parametrize("block", [1, 2, 3])
def test_draws_do_not_depend_on_the_blocks(block: int) -> None:
    assert torch.allclose(search(network(), block=block), search(network()), rtol=0, atol=1e-12)


def test_seeds_and_copies_matter() -> None:
    module = network()
    found = [search(module), search(module, seed=8), search(module, augment=1), search(module, augment=None)]
    for one, other in itertools.combinations(found, 2):
        assert not torch.allclose(one, other, rtol=0, atol=1e-3)


def test_images_that_lie_as_vectors_are_copied_as_images_with_the_data_s_black() -> None:
    """A network of a data set knows the shape of its images, and which value is black."""
    body = network()
    data = Signature(SHAPE, 3, 0.25, (0.0,), (1.0,))
    module = Network(body, data, NetworkConfig(name="own.package:network"))
    shifted = search(module, IMAGES.flatten(1) - 0.25, value_range=(-0.25, 0.75))
    assert torch.allclose(shifted.view_as(IMAGES) + 0.25, loop(body), rtol=0, atol=1e-11)


def test_vectors_are_refused() -> None:
    module = nn.Linear(6, 3)
    with pytest.raises(ConfigError, match=r"augment = 4 flips and shifts images, but an input of Linear has the shape"):
        radial_pgd(module, torch.rand(5, 6), TARGETS, norm="l2", epsilon=0.1, augment=4)
