"""Where each draw of the papers' scripts stands among the others."""

from __future__ import annotations

import math

import pytest
import torch

from perturblearn.seeding import CudaGenerator, PublishedDraws

SCHEME, ICLR = PublishedDraws("neurips2024", "a100"), PublishedDraws("iclr2024", "a100")


def parameters(width: int, dim: int) -> list[torch.Tensor]:
    """A network as the script makes it: a linear layer that is drawn anew, and a readout."""
    layer, readout = torch.nn.Linear(dim, width), torch.empty(width)
    torch.nn.init.normal_(layer.weight, 0, 1 / math.sqrt(dim))
    torch.nn.init.normal_(layer.bias, 0, 1)
    torch.nn.init.normal_(readout, 0, 1 / math.sqrt(width))
    return [layer.weight.detach(), layer.bias.detach(), readout]


@pytest.mark.parametrize("loads", [True, False])
@pytest.mark.parametrize(("f_width", "g_width"), [(3, 5), (20, 100)])
def test_networks_are_those_of_modules_made_one_after_the_other(f_width: int, g_width: int, loads: bool) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        f = parameters(f_width, 7)
        if loads:
            for _ in torch.utils.data.DataLoader([0], batch_size=1):  # pyright: ignore[reportArgumentType]
                pass
        g = parameters(g_width, 7)
    starts = SCHEME.standard, SCHEME.perturbation(f_width, g_width, loads=loads)
    for expected, start, width in zip((f, g), starts, (f_width, g_width), strict=True):
        for ours, theirs in zip(start.network(width, 7, seed=4), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_targets_follow_the_data() -> None:
    n_samples, dim = 500, 600  # halves of shifted Gauss, 150,000 elements, are one round; Gauss's 300,000 are two
    for data, calls in (
        ("gauss", [n_samples * dim, n_samples]),
        ("shifted_gauss", [n_samples // 2 * dim] * 2),
        ("mnist", []),
    ):
        generator = CudaGenerator(9)
        for call in calls:
            generator.normal(call)
        expected = 2 * generator.integers(2, n_samples) - 1
        assert torch.equal(SCHEME.targets(data, n_samples, dim).labels(n_samples, seed=9), expected)
        assert set(expected.tolist()) == {1, -1}


@pytest.mark.parametrize(("f_width", "g_width"), [(4, 6), (20, 100)])
def test_iclr_s_networks_are_linear_layers_of_which_the_second_learns_noise(f_width: int, g_width: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        f, of_noise, g = (torch.nn.Linear(7, width, bias=False).weight for width in (f_width, g_width, g_width))
    starts = ICLR.standard, ICLR.control(f_width), ICLR.perturbation(f_width, g_width, loads=False)
    for expected, start in zip((f, of_noise, g), starts, strict=True):
        (weight,) = start.network(len(expected), 7, seed=5)
        assert torch.equal(weight, expected)


@pytest.mark.parametrize(("data", "source"), [("uniform", "uniform"), ("gauss", "gauss")])
def test_iclr_s_noise_and_targets_follow_data_and_labels(data: str, source: str) -> None:
    n_samples, n_noise, dim = 70, 90, 1000  # 90,000 elements are two rounds of a T4
    generator = CudaGenerator(9, "t4")
    draw = generator.normal if source == "gauss" else generator.uniform
    draw(n_samples, dim)
    generator.integers(2, n_samples)
    noise, targets = draw(n_noise, dim), 2 * generator.integers(2, n_noise) - 1
    scheme = PublishedDraws("iclr2024", "t4")
    sources = scheme.sources(data, n_samples, dim)
    assert torch.equal(sources.noise(source, (n_noise, dim), range(n_noise), seed=9), noise)
    assert torch.equal(sources.noise(source, (n_noise, dim), range(16, 80), seed=9), noise[16:80])
    assert torch.equal(scheme.targets(data, n_samples, dim, n_noise=n_noise).labels(n_noise, seed=9), targets)
