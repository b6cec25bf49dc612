"""Fresh networks: what fixes their weights, and what does not."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.classifiers.reference import signature
from torch import nn

from perturblearn.classifiers import Network, hand_over, make_network
from perturblearn.config import NetworkConfig, OwnNetworkConfig
from perturblearn.errors import ConfigError
from perturblearn.seeding import derive_seed

IMAGES = signature(1, 11, 11, n_classes=3)
TINY: list[dict[str, Any]] = [
    {"name": "mlp", "hidden_dim": 4},
    {"name": "convnet", "width": 0.03, "depth": 1},
    {"name": "wide_resnet", "width": 1, "depth": 10},
    {"name": "resnet18", "width": 0.03},
    {"name": "resnet9", "width": 0.05},
]


def factory() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(121, 5), nn.ReLU(), nn.Linear(5, 3))


@cache
def configs() -> list[NetworkConfig]:
    """Of our own networks, of a factory, and of a module."""
    with torch.random.fork_rng(devices=[]):
        own = [{"name": hand_over(factory)}, {"name": hand_over(factory())}]
    return [NetworkConfig.model_validate(keys) for keys in (*TINY, *own)]


def made(config: NetworkConfig, *, seed: int = 0, role: str = "standard") -> Network:
    return make_network(config, IMAGES, seed=seed, role=role)


def weights(network: Network) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def test_seed_and_role_fix_the_weights() -> None:
    tried = configs()
    before = torch.random.get_rng_state()
    for config in tried:
        first = made(config)
        assert torch.equal(weights(first), weights(made(config))), config.name
        for other in (made(config, seed=1), made(config, role="perturbation")):
            # All but the normalisations' weights, which begin at 1 and 0.
            changed = [
                not torch.equal(one, two) or bool((one == one.flatten()[0]).all())
                for one, two in zip(first.parameters(), other.parameters(), strict=True)
            ]
            assert all(changed), config.name
            assert not torch.equal(weights(first), weights(other)), config.name
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_draws_are_torch_s_own_from_that_seed() -> None:
    """What a user gets who seeds torch's generator and makes the network."""
    config = OwnNetworkConfig(name=hand_over(factory))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(3, "initialisation", "standard"))
        expected = factory()
    found = made(config, seed=3).body
    for one, two in zip(found.parameters(), expected.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.usefixtures("double_by_default")
def test_the_session_s_defaults_do_not_move_the_draws() -> None:
    tried = configs()
    networks = [made(config) for config in tried]
    assert torch.get_default_dtype() == torch.float64
    torch.set_default_dtype(torch.float32)
    with torch.device("meta"):
        again = [made(config) for config in tried]
    for network, other in zip(networks, again, strict=True):
        assert weights(network).dtype == weights(other).dtype == torch.float32
        assert network.mean.dtype == torch.float32
        assert weights(other).device.type == other.mean.device.type == "cpu"
        assert torch.equal(weights(network), weights(other))


def test_an_error_leaves_the_session_as_it_was() -> None:
    def failing() -> nn.Module:
        torch.rand(3)
        raise RuntimeError("no")

    before = torch.random.get_rng_state()
    with pytest.raises(ValueError, match="RuntimeError: no"):
        hand_over(failing)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.get_default_dtype() == torch.float32


def test_networks_share_nothing() -> None:
    for config in configs():
        first, second = made(config), made(config)
        for one, two in zip(first.parameters(), second.parameters(), strict=True):
            assert one.data_ptr() != two.data_ptr()


@pytest.mark.parametrize("keys", TINY, ids=lambda keys: keys["name"])
def test_a_checkpoint_takes_the_place_of_the_draws(keys: dict[str, Any], tmp_path: Path) -> None:
    trained = made(NetworkConfig.model_validate(keys), seed=7)
    torch.save(trained.body.state_dict(), tmp_path / "weights.pt")
    config = NetworkConfig.model_validate({**keys, "checkpoint": str(tmp_path / "weights.pt")})
    assert torch.equal(weights(made(config)), weights(trained))


@pytest.mark.parametrize("name", ["convnet", "wide_resnet", "resnet18", "resnet9"])
@pytest.mark.parametrize("shape", [(81,), (9, 9)])
def test_networks_of_images_need_images(name: str, shape: tuple[int, ...]) -> None:
    message = f"model.name = '{name}' takes images, but inputs have the shape {shape}; choose mlp, or data of images"
    with pytest.raises(ConfigError, match=re.escape(message)):
        make_network(NetworkConfig(name=name), signature(*shape), seed=0, role="f")


def test_keys_reach_the_network() -> None:
    def parts(**keys: Any) -> list[nn.Module]:
        return list(made(NetworkConfig.model_validate(keys)).body.modules())

    def count(kind: type[nn.Module], **keys: Any) -> int:
        return sum(isinstance(part, kind) for part in parts(**keys))

    assert count(nn.Linear, name="mlp", hidden_dim=3) == 3
    assert count(nn.Linear, name="mlp", hidden_dim=3, depth=4) == 5
    slopes = {part.negative_slope for part in parts(name="mlp", slope=0.25) if isinstance(part, nn.LeakyReLU)}
    assert slopes == {0.25}
    assert count(nn.Conv2d, name="convnet", width=0.01, depth=1) == 3
    assert {part.p for part in parts(**TINY[2]) if isinstance(part, nn.Dropout)} == {0.3}
    assert {part.p for part in parts(**TINY[2], dropout=0.0) if isinstance(part, nn.Dropout)} == {0.0}
    wide = [part.out_channels for part in parts(**{**TINY[2], "width": 2}) if isinstance(part, nn.Conv2d)]
    assert max(wide) == 128
    narrow = [part.out_channels for part in parts(**TINY[3]) if isinstance(part, nn.Conv2d)]
    assert max(narrow) == round(512 * 0.03)


def test_the_defaults_are_the_published_networks() -> None:
    """Counted once each in the networks' own tests."""
    expected = {
        "convnet": (signature(1, 28, 28, n_classes=10), 1_054_122),
        "resnet18": (signature(3, 32, 32, n_classes=10), 11_173_962),
        "resnet9": (signature(3, 32, 32, n_classes=10), 2_274_880),
    }
    for name, (data, number) in expected.items():
        network = make_network(NetworkConfig(name=name), data, seed=0, role="f")
        assert sum(parameter.numel() for parameter in network.parameters()) == number
