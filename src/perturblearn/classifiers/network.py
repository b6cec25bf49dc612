"""A deep network as a classifier: inputs in the data's range, one output for two classes, otherwise one per class."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from perturblearn.classifiers.copying import copied
from perturblearn.classifiers.evaluating import evaluating
from perturblearn.classifiers.importing import describe_error
from perturblearn.classifiers.outputs import outputs_by_class, unwrapped
from perturblearn.config import NetworkConfig
from perturblearn.data import Signature
from perturblearn.errors import ModelError


class Network(nn.Module):
    """A network's body between the preparation of inputs and the convention for labels.

    Inputs come from a data set, with the data's offset subtracted. The body receives them normalised per channel if the
    configuration asks for it, otherwise with the values of the original data; images as (n, channels, height, width),
    vectors as (n, d). For two classes it may return one output, or one logit per class. Then f(x) is the logit of
    class 0, labelled +1, minus the other, so that the logistic loss equals the cross-entropy. A body that returns more
    than a tensor is unwrapped, with a warning that says what is taken; see `unwrapped`. Where the data name
    the outputs of the user's own network for their classes, these are taken, if there are so many; see
    `outputs_by_class`.

    Args:
        body: any network that fits the data.
        signature: signature of the data.
        config: the configuration of the body, and whether inputs are normalised.

    A body with auxiliary outputs returns them after those of the classes; whoever wants them in the place of these says
    so by ``reads_auxiliary``.

    Attributes:
        is_mapped: whether the classes are chosen among the body's outputs.
        reads_auxiliary: whether `forward` returns the auxiliary outputs, (n, A), instead of those of the classes.

    Raises:
        ModelError: the body fails on two inputs of zeros, or its outputs have another shape.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, body: nn.Module, signature: Signature, config: NetworkConfig) -> None:
        super().__init__()
        self.signature = signature
        self.config = config
        self.is_channels_last = config.is_convolutional
        self.reads_auxiliary = False
        self.body = body
        if self.is_channels_last:
            _put_channels_last(body)
        # Buffers in the body's precision and on its device, so that `Module.to` moves both together.
        made = (tensor for _, tensor in _named_tensors(body) if not is_lazy(tensor) and tensor.is_floating_point())
        like = next(made, torch.empty(0))
        means, stds = (signature.means, signature.stds) if config.normalise else _back_to_original(signature)
        per_channel = (-1, 1, 1) if signature.is_image else (-1,)
        self.register_buffer("mean", torch.tensor(means, dtype=like.dtype, device=like.device).view(per_channel))
        self.register_buffer("std", torch.tensor(stds, dtype=like.dtype, device=like.device).view(per_channel))
        self._try_out()

    def forward(self, inputs: Tensor) -> Tensor:
        r"""Outputs (n,) for two classes or (n, K) for more, given inputs (n, d) or (n, \*input_shape).

        Raises:
            ModelError: the body's outputs have another shape.
        """
        return self._outputs(self.returned(inputs), len(inputs))

    def returned(self, inputs: Tensor) -> Any:
        """What the body returns for inputs as `forward` takes them."""
        values = self.prepared(inputs)
        if self.is_channels_last:
            values = values.contiguous(memory_format=torch.channels_last)
        return self.body(values)

    def _outputs(self, returned: Any, count: int) -> Tensor:
        """The outputs among what the body returned for so many inputs."""
        outputs, _ = unwrapped(returned)
        classes, indices = self.signature.n_classes, self._indices
        if self.config.auxiliary is not None and outputs is not None:
            auxiliary = outputs[:, -self.config.auxiliary :]
            if self.reads_auxiliary:
                return auxiliary
            outputs = outputs[:, : -self.config.auxiliary]
        raw = None if outputs is None else tuple(outputs.shape)
        if outputs is not None:
            if indices is not None and _has_outputs(outputs, indices):
                outputs = outputs_by_class(outputs, indices)
            shape = tuple(outputs.shape)
            if classes == 2 and shape == (count, 2):
                return outputs[:, 0] - outputs[:, 1]
            if classes == 2 and shape in ((count,), (count, 1)):
                return outputs.reshape(count)
            if classes > 2 and shape == (count, classes):
                return outputs
        found = f"outputs of shape {raw}" if raw is not None else f"a {type(returned).__name__}"
        wanted = "(n,), (n, 1) or (n, 2)" if classes == 2 else f"(n, {classes})"
        returns = f"the network {self.config.name} returns {found} for n = {count} inputs of {classes} classes, but"
        if indices is not None and raw is not None and len(raw) == 2:
            raise ModelError(
                f"{returns} model_classes names the output {max(map(max, indices))} (counted from 0); correct the "
                "indices, or change the network's last layer"
            )
        has_more = self.config.is_own and raw is not None and len(raw) == 2 and raw[1] > classes
        mapped = ", or name those of the classes with data.model_classes" if has_more else ""
        raise ModelError(f"{returns} {wanted} is needed; change its last layer{mapped}")

    @property
    def _indices(self) -> tuple[tuple[int, ...], ...] | None:
        """Which of the body's outputs each class is, if it is the user's own and the data say so."""
        return self.signature.model_classes if self.config.is_own else None

    def prepared(self, inputs: Tensor) -> Tensor:
        """Inputs as the body receives them: in their shape, and normalised if the configuration asks for it."""
        return (inputs.reshape(len(inputs), *self.signature.input_shape) - self.mean) / self.std

    def channels_first(self) -> Network:
        """A copy in torch's default memory format."""
        other = copied(self, self.config.name)
        other.is_channels_last = False
        other.body.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue] - as below
        return other

    def _try_out(self) -> None:
        zeros = self.mean.new_zeros(2, *self.signature.input_shape)
        try:
            with evaluating(self), torch.no_grad():
                returned = self.returned(zeros)
                self._outputs(returned, len(zeros))
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(
                f"the network {self.config.name} fails on inputs of shape {tuple(zeros.shape)} "
                f"({describe_error(error)}); it must accept such inputs"
            ) from error
        outputs, place = unwrapped(returned)
        self.is_mapped = self._indices is not None and outputs is not None and _has_outputs(outputs, self._indices)
        if place:
            warnings.warn(
                f"the network {self.config.name} returns more than a tensor ({type(returned).__name__}): {place} is "
                "taken as its outputs",
                stacklevel=2,
            )
        for name, value in self.state_dict().items():
            if not isinstance(value, Tensor):
                raise ModelError(
                    f"the network {self.config.name} has {name}, a {type(value).__name__}, in its state dict; only "
                    "tensors can be stored"
                )

    def extra_repr(self) -> str:
        """The part of the network's `repr` besides its body."""
        shape = " x ".join(str(length) for length in self.signature.input_shape)
        number = sum(parameter.numel() for parameter in self.parameters())
        return f"{self.config.name}, inputs {shape}, {self.signature.n_classes} classes, {number} parameters"


def _has_outputs(outputs: Tensor, indices: Sequence[Sequence[int]]) -> bool:
    return outputs.ndim == 2 and outputs.shape[1] > max(map(max, indices))


def _back_to_original(signature: Signature) -> tuple[Sequence[float], Sequence[float]]:
    """What has to be subtracted from inputs, and what they are divided by, for the values of the original data."""
    standardisation = signature.standardisation
    if standardisation is None:
        return (-signature.offset,), (1.0,)
    # x = z std + mean = (z + mean / std) / (1 / std)
    pairs = list(zip(standardisation.means, standardisation.stds, strict=True))
    return [-mean / std for mean, std in pairs], [1 / std for _, std in pairs]


def full_state(module: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by name, including buffers that a state dict omits."""
    return {name: tensor if is_lazy(tensor) else tensor.detach() for name, tensor in _named_tensors(module)}


def put_state(network: Network, state: Mapping[str, Tensor]) -> None:
    """Copy the parameters and buffers of `full_state` into a network, in their stored precision.

    Raises:
        ModelError: they belong to another network.
    """
    own = dict(_named_tensors(network))
    different = sorted(own.keys() ^ state.keys()) or [name for name in own if own[name].shape != state[name].shape]
    if different:
        raise ModelError(
            f"the network {network.config.name} is not the one that was stored: {different[0]} differs; go back to "
            "the stored version, or compute the result again"
        )
    for name, tensor in own.items():
        # Through .data, like Module.to, so that parameters shared between parts of the network stay shared.
        tensor.data = state[name].detach().clone(memory_format=torch.contiguous_format)
    if network.is_channels_last:
        _put_channels_last(network.body)


def _put_channels_last(body: nn.Module) -> None:
    body.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's types do not list it


def _named_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)
