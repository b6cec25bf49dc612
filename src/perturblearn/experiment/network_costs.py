"""What deep networks cost, from one small step of each on this machine: for the plan."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from perturblearn.classifiers import TwoLayer, label_loss, linearised, make_network
from perturblearn.config import (
    AdversarialConfig,
    ClassifierConfig,
    LimitConfig,
    LinearisedConfig,
    NetworkConfig,
    SGDConfig,
    TwoLayerModelConfig,
    UntrainedConfig,
)
from perturblearn.data import Signature
from perturblearn.experiment.shapes import Shapes
from perturblearn.graph import Estimate

_SAMPLES = 16
"""Of the step that is timed: enough for a rate, few enough to be quick."""
_ROWS = 1024
"""The same for a two-layer network, whose weights are read once for all of them."""
_REPEATS = 2
_FIXED = 2**28
"""Bytes that libraries, blocks of measures and the rest take."""


@dataclass(frozen=True)
class Passes:
    """What one sample costs.

    Args:
        operations: floating-point operations of a pass forward.
        training_seconds: of a step of training.
        gradient_seconds: of a pass forward and back to the inputs.
        activations: bytes that a step of training keeps until its way back.
        parameters: bytes of all weights.
    """

    operations: float
    training_seconds: float
    gradient_seconds: float
    activations: float
    parameters: int


def estimate_network(section: ClassifierConfig, shapes: Shapes, *, on_perturbed: bool, draws: int = 1) -> Estimate:
    """Cost of training deep networks of one kind, one after the other.

    Args:
        section: how each is made and trained.
        shapes: of the experiment.
        on_perturbed: whether they see the perturbed set, instead of the data.
        draws: how many.
    """
    if section.model.is_fitted:
        held = 3 * (shapes.n_samples + shapes.n_perturbed) * shapes.input_dim * shapes.number_bytes
        return Estimate(0.0, 0.0, held + _FIXED, 0.0, "fitted at once; how long it takes is not known")
    costs = _passes(section, shapes)
    if not isinstance(section, SGDConfig):
        return Estimate(0.0, 0.0, costs.parameters + _FIXED, 0.0, "as it is")
    count = shapes.n_perturbed if on_perturbed else shapes.n_samples
    batch = min(section.batch_size, count)
    seen = draws * section.epochs * (count // batch) * batch
    inner = section.adversary.n_steps if isinstance(section, AdversarialConfig) else 0
    operations = (3.0 + 2.0 * inner) * seen * costs.operations
    # Weights, gradients, momentum and the first weights; the data and the set; one batch on its way.
    held = 2 * (shapes.n_samples + count) * shapes.input_dim * shapes.number_bytes
    memory = 4 * costs.parameters + held + int(batch * costs.activations) + _FIXED
    note = f"{section.epochs} epochs of {count // batch:,} steps, batches of {batch}"
    if inner:
        note += f", each moved by {inner} step{'s' * (inner != 1)} of an attack"
    if draws > 1:
        note = f"{draws} one after the other, each {note}"
    seconds = seen * (costs.training_seconds + inner * costs.gradient_seconds)
    return Estimate(operations, operations, memory, seconds, note)


def forward_operations(section: ClassifierConfig, shapes: Shapes) -> float:
    """Floating-point operations of one sample's pass forward, by shapes alone.

    Args:
        section: how the network is made.
        shapes: of the experiment.
    """
    model = section.model
    if isinstance(model, TwoLayerModelConfig):
        return 2.0 * model.units * shapes.input_dim
    assert isinstance(model, NetworkConfig)
    kind = (not isinstance(section, UntrainedConfig), isinstance(section, LinearisedConfig))
    return _counted(model, *kind, shapes.outline.signature)  # pyright: ignore[reportArgumentType] - frozen


def step_operations(section: ClassifierConfig, shapes: Shapes, *, on_perturbed: bool) -> float:
    """Floating-point operations of a step's pass forward; infinite where they cannot be counted by shapes alone.

    Args:
        section: how the network is made and trained.
        shapes: of the experiment.
        on_perturbed: whether it sees the perturbed set, instead of the data.
    """
    model = section.model
    if model.is_own or model.is_fitted or isinstance(model, LimitConfig):  # code that is not ours, and no steps at all
        return math.inf
    count = shapes.n_perturbed if on_perturbed else shapes.n_samples
    batch = min(section.batch_size, count) if isinstance(section, SGDConfig) else count
    return batch * forward_operations(section, shapes)


def estimate_shard(section: ClassifierConfig, shapes: Shapes, n_rows: int) -> Estimate:
    """Cost of a shard of a perturbed set, whatever network f is.

    Args:
        section: how f is made and trained.
        shapes: of the experiment.
        n_rows: samples of the shard.
    """
    attack, input_dim = shapes.attack, shapes.input_dim
    steps = attack.gradient_steps(input_dim)
    # The start and each step forward and back, the last iterate forward.
    passes = (steps * 2 + 1) * attack.searches * (1 + attack.n_others)
    memory = 3 * n_rows * input_dim * shapes.number_bytes + _FIXED
    note = f"{steps} step{'s' * (steps != 1)} on {n_rows:,} samples"
    if attack.n_others:
        note += f", each through {1 + attack.n_others} networks"
    if isinstance(section.model, TwoLayerModelConfig):
        costs = _measured_two_layer(section.model.units, input_dim, shapes.dtype, shapes.device)
    else:
        costs = _passes(section, shapes, bfloat16=attack.is_bfloat16)
    operations = passes * n_rows * costs.operations
    seconds = passes / 2 * n_rows * costs.gradient_seconds
    return Estimate(operations, operations, memory + int(256 * costs.activations), seconds, note)


def _passes(section: ClassifierConfig, shapes: Shapes, *, bfloat16: bool | None = None) -> Passes:
    model, is_fresh = section.model, not isinstance(section, UntrainedConfig)
    assert isinstance(model, NetworkConfig)
    in_bfloat16 = section.is_bfloat16 if bfloat16 is None else bfloat16
    kind = (is_fresh, isinstance(section, LinearisedConfig), in_bfloat16)
    where = (shapes.outline.signature, shapes.dtype, shapes.device)
    return _measured(model, *kind, *where)  # pyright: ignore[reportArgumentType] - frozen


class Operations(TorchDispatchMode):
    """Floating-point operations as `torch.utils.flop_counter` counts them, which imports PyTorch's compiler first."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from torch.utils.flop_counter import flop_registry

        kwargs = kwargs or {}
        if func._overloadpacket not in flop_registry:
            with self:
                result = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if result is NotImplemented else result
        result = func(*args, **kwargs)
        self.total += flop_registry[func._overloadpacket](*args, **kwargs, out_val=result)
        return result


@lru_cache(maxsize=16)
def _counted(model: NetworkConfig, is_fresh: bool, is_linearised: bool, signature: Signature) -> float:
    network = make_network(model, signature, seed=0, role="cost", fresh=is_fresh)
    network = (linearised(network) if is_linearised else network).eval()
    like = next(network.parameters())
    batch = torch.zeros(_SAMPLES, signature.input_dim, dtype=like.dtype, device=like.device)
    with torch.no_grad(), Operations() as operations:
        network(batch)
    return operations.total / _SAMPLES


@lru_cache(maxsize=16)
def _measured(
    model: NetworkConfig,
    is_fresh: bool,
    is_linearised: bool,
    bfloat16: bool,
    signature: Signature,
    dtype: str,
    device: str,
) -> Passes:
    network = make_network(model, signature, seed=0, role="cost", fresh=is_fresh)
    network = (linearised(network) if is_linearised else network).to(device=device, dtype=getattr(torch, dtype))
    batch = torch.zeros(_SAMPLES, signature.input_dim, dtype=getattr(torch, dtype), device=device)
    labels = torch.ones(_SAMPLES, dtype=torch.int64, device=device)
    network.train()
    kept_bytes = 0

    def note(tensor: Tensor) -> Tensor:
        nonlocal kept_bytes
        kept_bytes += tensor.nbytes
        return tensor

    with torch.random.fork_rng(devices=[]):  # dropout draws
        with saved_tensors_hooks(note, lambda tensor: tensor):
            _step(network, batch, labels, bfloat16)
        parameters = sum(parameter.nbytes for parameter in network.parameters())
        training = min(_seconds(network, batch, labels, bfloat16, device) for _ in range(_REPEATS))
        network.eval().requires_grad_(False)
        gradient = min(_seconds(network, batch.requires_grad_(), labels, bfloat16, device) for _ in range(_REPEATS))
    operations = _counted(model, is_fresh, is_linearised, signature)  # pyright: ignore[reportArgumentType] - frozen
    return Passes(operations, training / _SAMPLES, gradient / _SAMPLES, kept_bytes / _SAMPLES, parameters)


@lru_cache(maxsize=16)
def _measured_two_layer(units: int, input_dim: int, dtype: str, device: str) -> Passes:
    """Of such a network nothing but its gradients in the inputs is asked for here."""
    weight = torch.zeros(units, input_dim, dtype=getattr(torch, dtype), device=device)
    network = TwoLayer(weight, weight.new_zeros(units), None, 0.0).requires_grad_(False)
    batch = weight.new_zeros(_ROWS, input_dim).requires_grad_()
    labels = torch.ones(_ROWS, dtype=torch.int64, device=device)
    gradient = min(_seconds(network, batch, labels, False, device) for _ in range(_REPEATS + 1))
    return Passes(2.0 * units * input_dim, 0.0, gradient / _ROWS, units * weight.element_size(), weight.nbytes)


def _seconds(network: nn.Module, batch: Tensor, labels: Tensor, bfloat16: bool, device: str) -> float:
    started = time.perf_counter()
    _step(network, batch, labels, bfloat16)
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _step(network: nn.Module, batch: Tensor, labels: Tensor, bfloat16: bool) -> None:
    with torch.autocast(batch.device.type, torch.bfloat16, enabled=bfloat16):
        outputs = network(batch)
    label_loss(outputs.float(), labels).mean().backward()
