"""Batch normalisation folded into convolutions: the same function, and left alone wherever that is not certain."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from tests.classifiers.reference import ROUNDING, draw, randomise, signature
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from perturblearn.classifiers import Network, ResNet9, ResNet18, WideResNet, folded
from perturblearn.config import NetworkConfig


def plain() -> nn.Sequential:
    """Nested, with what may lie between a convolution and its normalisation, and one that follows none."""
    inner = nn.Sequential(nn.Conv2d(4, 5, 3, groups=1, stride=2), nn.Dropout(0.3), nn.BatchNorm2d(5), nn.ReLU())
    return nn.Sequential(
        nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, affine=False), nn.GELU(), inner,
        nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(80, 2),
    )  # fmt: skip


BODIES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    # with the normalisations that must stay
    "resnet9": (lambda: ResNet9((3, 11, 11), 2, width=0.05), 0),
    "resnet18": (lambda: ResNet18(3, 2, width=0.05), 0),
    "wide_resnet": (lambda: WideResNet(3, 2, depth=10, width=1), 4),
    "sequential": (plain, 2),
}


def norms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


@pytest.mark.parametrize("is_wrapped", [False, True])
@pytest.mark.parametrize("name", BODIES)
def test_outputs_and_gradients_are_equal_but_for_rounding(name: str, is_wrapped: bool) -> None:
    make, left = BODIES[name]
    module = randomise(make())
    if is_wrapped:
        module = Network(module, signature(3, 11, 11), NetworkConfig(name="own.package:network"))
    before = copy.deepcopy(module.eval().state_dict())
    other = folded(module)
    images = draw(4, 3, 11, 11).requires_grad_()
    found, expected = other(images), module(images)
    assert torch.allclose(found, expected, rtol=0, atol=ROUNDING)
    gradients = [torch.autograd.grad(outputs.sum(), images)[0] for outputs in (found, expected)]
    assert torch.allclose(*gradients, rtol=0, atol=ROUNDING)
    assert norms(other) == left < norms(module)
    assert all(torch.equal(tensor, before[key]) for key, tensor in module.state_dict().items())


class Own(nn.Module):
    """Looks at what its convolution gives before it is normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.convolution(inputs)
        return (hidden + self.norm(hidden)).mean(dim=(2, 3))


def pair(norm: nn.BatchNorm2d | None = None) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), norm or nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2))


def hooked() -> nn.Module:
    module = pair()
    module[1].register_forward_hook(lambda part, given, outputs: outputs.clamp(-1, 1))
    return module


def shared() -> nn.Module:
    convolution = nn.Conv2d(3, 3, 3, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(3), convolution, nn.BatchNorm2d(3))


def replaced() -> nn.Module:
    module = pair()
    module[0].forward = torch.sin
    return module


LEFT_ALONE: dict[str, Callable[[], nn.Module]] = {
    "code of the user's own": Own,
    "the same inside a sequence": lambda: nn.Sequential(Own(), nn.Linear(4, 2)),
    "a hook": hooked,
    "a convolution used twice": shared,
    "a forward of its own": replaced,
    "statistics of the batch": lambda: pair(nn.BatchNorm2d(4, track_running_stats=False)),
    "a weight that is computed": lambda: nn.Sequential(spectral_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)),
    "nothing to fold": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)),
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_is_left_alone(name: str) -> None:
    module = LEFT_ALONE[name]().eval()
    assert folded(module) is module


def test_a_part_in_training_mode_is_left_alone() -> None:
    module = pair().eval()
    module[1].train()
    assert folded(module) is module
