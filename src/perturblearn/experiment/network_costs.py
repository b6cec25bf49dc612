"""What deep networks cost, from one small step of each on this machine: for the plan."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from perturblearn.attacks import make_attack
from perturblearn.classifiers import TwoLayer, label_loss
from perturblearn.config import ClassifierConfig
from perturblearn.data import Signature
from perturblearn.experiment.context import Context
from perturblearn.experiment.networks import BATCH_SIZE, first_network
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


def estimate_network(section: ClassifierConfig, context: Context, *, perturbed: bool, draws: int = 1) -> Estimate:
    """Cost of training one deep network, or several one after the other.

    Args:
        section: how it is made and trained.
        context: of its stage.
        perturbed: whether it is trained on a perturbed set.
        draws: how many.
    """
    outline = context.outline()
    n_samples, input_dim = outline.n_samples, outline.signature.input_dim
    count = (context.attack.n_sources or n_samples) if perturbed else n_samples
    costs = _passes(section, context)
    if section.training == "none":
        return Estimate(0.0, 0.0, costs.parameters + _FIXED, 0.0, "as it is")
    batch = min(section.batch_size or BATCH_SIZE, count)
    seen = draws * section.epochs * (count // batch) * batch
    operations = 3.0 * seen * costs.operations
    size = 8 if context.dtype == "float64" else 4
    # Weights, gradients, momentum and the first weights; the data and the set; one batch on its way.
    memory = 4 * costs.parameters + 2 * (n_samples + count) * input_dim * size + int(batch * costs.activations) + _FIXED
    note = f"{section.epochs} epochs of {count // batch:,} steps, batches of {batch}"
    if draws > 1:
        note = f"{draws} one after the other, each {note}"
    return Estimate(operations, operations, memory, seen * costs.training_seconds, note)


def estimate_shard(count: int, context: Context) -> Estimate:
    """Cost of a shard of a perturbed set, whatever network f is.

    Args:
        count: of samples.
        context: of its stage.
    """
    attack, section = context.attack, context.standard
    input_dim = context.outline().signature.input_dim
    steps = make_attack(attack, input_dim).n_steps
    # The start and each step forward and back, the last iterate forward.
    passes = (steps * 2 + 1) * attack.restarts
    size = 8 if context.dtype == "float64" else 4
    memory = 3 * count * input_dim * size + _FIXED
    note = f"{steps} step{'s' * (steps != 1)} on {count:,} samples"
    if section.model.is_network:
        costs = _passes(section.model_copy(update={"products": attack.products}), context)
    else:
        units = 2 if section.model.name == "limit" else section.model.hidden_dim  # a limit has two directions
        costs = _measured_two_layer(units, input_dim, context.dtype, context.device)
    operations = passes * count * costs.operations
    seconds = passes / 2 * count * costs.gradient_seconds
    return Estimate(operations, operations, memory + int(256 * costs.activations), seconds, note)


def _passes(section: ClassifierConfig, context: Context) -> Passes:
    # Sections that differ in these cost the same per sample.
    kept = section if section.training == "none" else section.model_copy(update={"epochs": 1, "lr": (0.1,)})
    signature = context.outline().signature
    return _measured(kept.model_dump_json(), signature, context.dtype, context.device)


@lru_cache(maxsize=16)
def _measured(section: str, signature: Signature, dtype: str, device: str) -> Passes:
    config = ClassifierConfig.model_validate_json(section)
    network = first_network(config, signature, seed=0, role="cost").to(device=device, dtype=getattr(torch, dtype))
    batch = torch.zeros(_SAMPLES, signature.input_dim, dtype=getattr(torch, dtype), device=device)
    labels = torch.ones(_SAMPLES, dtype=torch.int64, device=device)
    bfloat16 = config.products == "bfloat16"
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(batch)
    operations = counter.get_total_flops() / _SAMPLES
    network.train()
    kept = 0

    def note(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    with torch.random.fork_rng(devices=[]):  # dropout draws
        with saved_tensors_hooks(note, lambda tensor: tensor):
            _step(network, batch, labels, bfloat16)
        parameters = sum(parameter.nbytes for parameter in network.parameters())
        training = min(_seconds(network, batch, labels, bfloat16, device) for _ in range(_REPEATS))
        network.eval().requires_grad_(False)
        gradient = min(_seconds(network, batch.requires_grad_(), labels, bfloat16, device) for _ in range(_REPEATS))
    return Passes(operations, training / _SAMPLES, gradient / _SAMPLES, kept / _SAMPLES, parameters)


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
