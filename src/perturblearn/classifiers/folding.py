"""Batch normalisation folded into the convolutions before it, for networks that are only evaluated."""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from perturblearn.classifiers.copying import copied
from perturblearn.classifiers.network import Network
from perturblearn.classifiers.resnet import ResNet18
from perturblearn.classifiers.resnet9 import ResNet9
from perturblearn.classifiers.wide_resnet import WideResNet

SomeModule = TypeVar("SomeModule", bound=nn.Module)
_OURS = (ResNet9, ResNet18, WideResNet)


def folded(module: SomeModule) -> SomeModule:
    """A copy of a network in which each normalisation of a convolution's outputs is part of the convolution.

    Outputs are equal but for rounding, and a pass through a convolutional network saves a sixth or so of its time.
    Pairs are known in our own networks and in plain ``nn.Sequential`` ones. A network of another class is left as it
    is, because what its code does with its parts cannot be seen; so is one with hooks.

    Args:
        module: in evaluation mode; it is not changed.

    Returns:
        The copy, or the module itself where there is nothing to fold.
    """
    body = module.body if isinstance(module, Network) else module
    pairs = _pairs(body) if _is_known(body) and not _has_hooks(module) else []
    if not pairs:
        return module
    other = copied(module, type(module).__name__)
    parts = other.body if isinstance(other, Network) else other
    for convolution, norm in pairs:
        first, second = parts.get_submodule(convolution), parts.get_submodule(norm)
        assert isinstance(first, nn.Conv2d)
        assert isinstance(second, nn.BatchNorm2d)
        parts.set_submodule(convolution, fuse_conv_bn_eval(first, second))
        parts.set_submodule(norm, nn.Identity())
    return other


def _is_known(body: nn.Module) -> bool:
    if type(body) in _OURS:
        return True
    return type(body) is nn.Sequential and all(
        type(part) is nn.Sequential or type(part).__module__.startswith("torch.nn.modules.") for part in body.modules()
    )


def _has_hooks(module: nn.Module) -> bool:
    """Whether somebody watches or changes what goes through a part, which must then be what it is."""
    return any(
        part._forward_hooks
        or part._forward_pre_hooks
        or part._backward_hooks
        or part._backward_pre_hooks
        or "forward" in vars(part)
        for part in module.modules()
    )


def _pairs(body: nn.Module) -> list[tuple[str, str]]:
    """Convolutions and the normalisations that alone see their outputs, by name."""
    graph = fx.symbolic_trace(body).graph
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    found = []
    for node in graph.nodes:
        if not _calls(node, body, nn.BatchNorm2d):
            continue
        before = node.args[0]
        # Dropout does nothing in evaluation.
        while _calls(before, body, nn.Dropout, nn.Identity) and len(before.users) == 1:
            before = before.args[0]
        norm = body.get_submodule(str(node.target))
        assert isinstance(norm, nn.BatchNorm2d), "checked above"
        if (
            _calls(before, body, nn.Conv2d)
            and len(before.users) == 1
            and calls[node.target] == calls[before.target] == 1
            and isinstance(norm.running_mean, Tensor)
            and not norm.training
        ):
            found.append((before.target, node.target))
    return found


def _calls(node: fx.Node, body: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether a node calls a part of exactly one of these types: subclasses may do anything."""
    return node.op == "call_module" and type(body.get_submodule(str(node.target))) in kinds
