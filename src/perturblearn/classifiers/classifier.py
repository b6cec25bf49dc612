"""A trained network with its training history, and its conversion to and from artefacts."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic

import torch
from torch import Tensor, nn
from typing_extensions import TypeVar

from perturblearn.classifiers.copying import copied
from perturblearn.classifiers.estimator import Estimator
from perturblearn.classifiers.evaluating import evaluating
from perturblearn.classifiers.identity import add_tensors
from perturblearn.classifiers.linearised import is_linearised, linearised
from perturblearn.classifiers.make import make_network
from perturblearn.classifiers.network import Network, full_state, put_state
from perturblearn.classifiers.two_layer import TwoLayer
from perturblearn.config import Keys, NetworkConfig
from perturblearn.data import Signature
from perturblearn.errors import ModelError
from perturblearn.seeding import derive_seed, reproducible
from perturblearn.store import Artefact, load_from

AnyNetwork = TypeVar("AnyNetwork", bound=TwoLayer | Network, default=TwoLayer | Network, covariant=True)


def rows_per_pass(module: nn.Module) -> int:
    """Inputs that go through a network at once where memory is all that matters."""
    return 16384 if isinstance(module, TwoLayer) else 256


@dataclass(frozen=True, eq=False)
class Classifier(Generic[AnyNetwork]):
    """A classifier whose training is finished.

    The annotation ``Classifier[TwoLayer]`` stands for a two-layer network, ``Classifier`` for any network.

    Args:
        module: the network; `predicted_labels` converts its outputs to labels.
        training: how it was trained: the loss, learning rate, epochs, momentum and parametrisation.
        losses: mean training loss before each epoch's step, (epochs,) float64.
        final_lr: the learning rate at the end of the schedule.
    """

    module: AnyNetwork
    training: Keys = field(default_factory=dict)
    losses: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.float64))
    final_lr: float | None = None

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the network's parameters and buffers, and of everything else that determines its outputs."""
        digest = hashlib.sha256()
        if isinstance(self.module, TwoLayer):
            digest.update(repr(self.module.slope).encode())
        else:
            digest.update(json.dumps(_architecture(self.module), sort_keys=True).encode())
        add_tensors(digest, full_state(self.module))
        return digest.hexdigest()

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return self.module.weight.device if isinstance(self.module, TwoLayer) else self.module.mean.device

    def outputs(self, inputs: Tensor, *, block: int | None = None) -> Tensor:
        """f(x), (n,), or logits (n, K), in evaluation mode.

        A network that draws in evaluation mode, such as a randomised defence, draws the same in every call.

        Args:
            inputs: (n, ...), on any device.
            block: rows per block, None for a default; it changes outputs only by rounding, and what a network draws.

        Returns:
            The outputs, on the device of the inputs.

        Raises:
            ModelError: some outputs are NaN.
        """
        module = self.module
        if len(inputs) == 0:
            n_classes = 2 if isinstance(module, TwoLayer) else module.signature.n_classes
            return inputs.new_empty((0,) if n_classes == 2 else (0, n_classes))
        parts: list[Tensor] = []
        with evaluating(module):
            for number, part in enumerate(inputs.split(block or rows_per_pass(module))):
                with reproducible(derive_seed(0, "outputs", str(number))), torch.no_grad():
                    parts.append(module(part.to(self.device)).to(inputs.device))
        outputs = torch.cat(parts)
        broken = int(outputs.isnan().reshape(len(outputs), -1).any(dim=1).sum())
        if broken:
            raise ModelError(
                f"the network {module.extra_repr()} returns NaN for {broken} of {len(outputs)} inputs; train it at a "
                "lower learning rate, or give finite weights"
            )
        return outputs

    def auxiliary_outputs(self, inputs: Tensor) -> Tensor:
        """The auxiliary outputs, (n, A), as `outputs` gives those of the classes.

        Args:
            inputs: (n, ...), on any device.

        Raises:
            ModelError: the network has none, or some are NaN.
        """
        module = self.module
        if isinstance(module, TwoLayer) or module.config.auxiliary is None:
            raise ModelError("the network has no auxiliary outputs; set model.auxiliary to their number")
        module.reads_auxiliary = True
        try:
            return self.outputs(inputs)
        finally:
            module.reads_auxiliary = False

    def to(self, *, dtype: torch.dtype | None = None, device: str | None = None) -> Classifier[AnyNetwork]:
        """A copy in another precision (dtype) or on another device; it shares no parameters."""
        name = type(self.module).__name__ if isinstance(self.module, TwoLayer) else self.module.config.name
        moved = copied(self.module, name).to(device=device, dtype=dtype)
        return Classifier(moved, self.training, self.losses, self.final_lr)

    def dump(self) -> Artefact:
        """The classifier as an artefact."""
        module = self.module
        network = {"slope": module.slope} if isinstance(module, TwoLayer) else _architecture(module)
        tensors = {f"module.{name}": tensor for name, tensor in full_state(module).items()}
        content = {**network, "training": dict(self.training), "final_lr": self.final_lr, "hash": self.hash}
        return Artefact(content, {**tensors, "losses": self.losses})

    @staticmethod
    def load(source: Artefact | str | os.PathLike[str]) -> Classifier[TwoLayer | Network]:
        """The classifier that `dump` wrote.

        Args:
            source: the artefact, or the path of a file with one: ``seed-0/standard.safetensors`` and
                ``seed-0/perturbation.safetensors`` in the folder of a run, ``standard.safetensors`` in that of a
                perturbed set.

        Raises:
            StoreError: there is no such file, it is damaged, or it holds something else.
            ModelError: a custom network no longer exists or has changed.
        """
        return load_from(source, "classifier", Classifier._of)

    @staticmethod
    def _of(artefact: Artefact) -> Classifier[TwoLayer | Network]:
        state = {
            name.removeprefix("module."): tensor
            for name, tensor in artefact.tensors.items()
            if name.startswith("module.")
        }
        content = artefact.content
        if "signature" in content:
            # Where earlier versions wrote null, the key's default holds.
            given = {key: value for key, value in content["model"].items() if value is not None}
            config = NetworkConfig.model_validate(given)
            module = make_network(config, Signature.from_dict(content["signature"]), seed=0, role="", fresh=False)
            if isinstance(module.body, Estimator):
                module.body.make_room(*state["body.samples"].shape)
            if "linearised" in content:
                module = linearised(module)
            put_state(module, state)
        else:
            module = from_state(state, content["slope"])
        losses = artefact.tensors["losses"]
        return Classifier[TwoLayer | Network](module, content["training"], losses, content["final_lr"])

    def __repr__(self) -> str:
        return f"Classifier({self.module.extra_repr()}, hash {self.hash[:10]})"


def from_state(state: Mapping[str, Tensor], slope: float) -> TwoLayer:
    """A two-layer network with copies of these parameters.

    Args:
        state: ``weight`` (m, d), ``readout`` (m,) and, for units with a bias, ``bias`` (m,).
        slope: negative slope gamma, in [0, 1).
    """
    bias = state.get("bias")
    return TwoLayer(
        state["weight"].detach().clone(),
        state["readout"].detach().clone(),
        None if bias is None else bias.detach().clone(),
        slope,
    )


def _architecture(network: Network) -> dict[str, Any]:
    """Everything that defines a network except its weights, as JSON values."""
    # Without the keys that have no value: one that a later version adds leaves the hash as it is.
    config = network.config.model_dump(mode="json", exclude={"checkpoint"}, exclude_none=True)
    architecture = {"model": config, "signature": network.signature.to_dict()}
    return {**architecture, "linearised": True} if is_linearised(network) else architecture
