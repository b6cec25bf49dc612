"""Inputs rebuilt from features, against a plain loop and where the answer is known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from perturblearn.attacks import L2, AttackContext, AttackResult, Iterate, Rebuild
from perturblearn.errors import ConfigError, ModelError

N, D, K = 6, 8, 3


def made(*, slope: float = 1.0) -> nn.Sequential:
    """Features are K of D coordinates, mixed; at slope 1 they are linear in the input."""
    generator = torch.Generator().manual_seed(1)
    network = nn.Sequential(nn.Linear(D, K), nn.LeakyReLU(slope), nn.Linear(K, 2)).double()
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return network


def samples() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    starts, originals = (torch.rand(N, D, generator=generator, dtype=torch.float64) for _ in range(2))
    return starts, originals, torch.randint(2, (N,), generator=generator)


def rebuilt(module: nn.Module, attack: Rebuild, **context: Any) -> AttackResult:
    starts, originals, labels = samples()
    return attack.search(module, starts, labels, AttackContext(originals=originals, **context))


def distances(module: nn.Sequential, x: Tensor, z: Tensor) -> Tensor:
    return (module[:2](x) - module[:2](z)).norm(dim=1)


def test_only_what_f_sees_is_rebuilt_and_the_rest_stays_that_of_the_start() -> None:
    # Linear features: the change lies in the K directions that f sees, where it can reach the original's features; in
    # the other D - K directions the rebuilt input is the start.
    module, (starts, originals, _) = made(), samples()
    result = rebuilt(module, Rebuild(L2(), math.inf, steps=2_000, step=0.005))
    weight = module.state_dict()["0.weight"]
    seen = weight.T @ torch.linalg.solve(weight @ weight.T, weight)
    assert torch.allclose((result.inputs - starts) @ (torch.eye(D) - seen), torch.zeros(N, D).double(), atol=1e-9)
    # It ends within a step of the minimum: a step changes a feature by the largest singular value times its length.
    largest = float(torch.linalg.matrix_norm(weight, 2))
    assert bool((distances(module, result.inputs, originals) <= largest * 0.005).all())
    assert bool((distances(module, starts, originals) > 0.1).all())


@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-math.inf, math.inf)])
def test_against_a_plain_loop(value_range: tuple[float, float]) -> None:
    module, (starts, originals, labels) = made(slope=0.2), samples()
    x, wanted = starts.clone(), module[:2](originals).detach()
    path = [x]
    for _ in range(7):
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad((module[:2](leaf) - wanted).norm(dim=1).sum(), leaf)
        x = (x - 0.3 * gradient / gradient.norm(dim=1, keepdim=True)).clamp(*value_range)
        path.append(x)
    apart = torch.stack([distances(module, each, originals) for each in path])
    best = torch.stack(path)[apart.argmin(dim=0), torch.arange(N)]
    result = rebuilt(module, Rebuild(L2(), math.inf, steps=7, step=0.3), value_range=value_range)
    # Two orders of summation of a dozen numbers, seven times.
    assert torch.allclose(result.inputs, best, rtol=0, atol=1e-13)
    assert torch.allclose(result.losses, apart.min(dim=0).values, rtol=0, atol=1e-12)
    assert torch.allclose(result.sizes, (best - starts).norm(dim=1), rtol=0, atol=1e-12)
    assert torch.equal(result.success, module(best).argmax(dim=1) == labels)
    assert bool((apart.argmin(dim=0) < 7).any())  # for some sample, the last iterate is not the one that is kept


def test_the_block_size_changes_nothing_beyond_rounding() -> None:
    module = made(slope=0.2)
    attack = Rebuild(L2(), math.inf, steps=5, step=0.1)
    whole, parts = rebuilt(module, attack), rebuilt(module, attack, block=2)
    assert torch.allclose(whole.inputs, parts.inputs, rtol=0, atol=1e-14)


def test_the_features_of_a_named_layer_are_rebuilt() -> None:
    module, (_, originals, _) = made(slope=0.2), samples()
    result = rebuilt(module, Rebuild(L2(), math.inf, steps=50, step=0.05, layer="0"))
    assert torch.allclose(result.losses, (module[0](result.inputs) - module[0](originals)).norm(dim=1), atol=1e-12)


def test_progress_and_iterates_are_told() -> None:
    told: list[tuple[int, int]] = []
    seen: list[Iterate] = []
    rebuilt(
        made(), Rebuild(L2(), math.inf, steps=3, step=0.1),
        block=4, callback=seen.append, report=lambda done, steps, note: told.append((done, steps)),
    )  # fmt: skip
    assert told == [(number, 6) for number in range(1, 7)]
    assert [each.step for each in seen] == [0, 1, 2, 3] * 2
    assert seen[-1].rows.tolist() == [4, 5]


def test_a_start_that_has_the_features_already_stays_and_is_counted() -> None:
    module, (_, originals, labels) = made(), samples()
    attack = Rebuild(L2(), math.inf, steps=3, step=0.1)
    result = attack.search(module, originals, labels, AttackContext(originals=originals))
    assert torch.equal(result.inputs, originals)
    assert attack.count_zero_gradients(module, originals, labels, result) == N


def test_rebuilt_inputs_are_in_the_range_and_the_module_is_as_before() -> None:
    module = made(slope=0.2)
    module[0].bias.requires_grad_(False)
    flags = [parameter.requires_grad for parameter in module.parameters()]
    result = rebuilt(module, Rebuild(L2(), math.inf, steps=9, step=0.5), value_range=(0.0, 1.0))
    assert (float(result.inputs.min()), float(result.inputs.max())) == (0.0, 1.0)  # steps of 0.5 reach its edges
    assert module.training
    assert [parameter.requires_grad for parameter in module.parameters()] == flags
    assert all(parameter.grad is None for parameter in module.parameters())


def test_features_without_a_gradient_are_refused() -> None:
    class Rounding(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs.detach().round()

    module = nn.Sequential(Rounding(), nn.Linear(D, 2).double())
    with pytest.raises(ModelError, match="the features of Sequential at the layer 1 have no gradient in its inputs"):
        rebuilt(module, Rebuild(L2(), math.inf, steps=2, step=0.1))


def test_starts_outside_the_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="outside the data's range"):
        rebuilt(made(), Rebuild(L2(), math.inf, steps=2, step=0.1), value_range=(0.0, 0.5))
