"""Networks that are replaced by their linearisation at the start: lazy training of any architecture."""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.func import functional_call, jvp
from typing_extensions import override

from perturblearn.classifiers.evaluating import differentiable_forward
from perturblearn.classifiers.network import Network


class LinearisedBody(nn.Module):
    r"""f_lin(x) = f_0(x) + grad f_0(x) . step, whose only parameters are the step, which starts at 0.

    Its training is that of the network's tangent kernel at the start, with no kernel matrix: forward, one derivative
    along the step; backward, one gradient of f_0 (Lee et al., "Wide Neural Networks of Any Depth Evolve as Linear
    Models Under Gradient Descent", NeurIPS 2019). Batch statistics and dropout stay as in evaluation.

    Args:
        body: the network as it starts; it is copied.

    Attributes:
        start: that copy.
        moved: names of its parameters that training moves.
        steps: how far, in their order.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.start = copy.deepcopy(body).eval()
        moved = {name: parameter for name, parameter in self.start.named_parameters() if parameter.requires_grad}
        self.moved = list(moved)
        self.steps = nn.ParameterList(
            [nn.Parameter(parameter.detach().clone().zero_()) for parameter in moved.values()]
        )
        self.start.requires_grad_(False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs shaped as the body's."""
        own = dict(self.start.named_parameters())
        along = dict(zip(self.moved, self.steps, strict=True))
        at = {name: own[name] for name in self.moved}
        with differentiable_forward():
            outputs, change = jvp(lambda values: functional_call(self.start, values, (inputs,)), (at,), (along,))[:2]
        return outputs + change

    @override
    def train(self, mode: bool = True) -> LinearisedBody:
        super().train(mode)
        self.start.eval()
        return self


def linearised(network: Network) -> Network:
    """A network's linearisation where it stands, as a network; it shares nothing with it."""
    # Torch's transforms of functions do not know the channels-last format.
    other = network.channels_first()
    other.body = LinearisedBody(other.body)
    return other


def is_linearised(network: Network) -> bool:
    """Whether a network is the linearisation of one."""
    return isinstance(network.body, LinearisedBody)


def linearised_from(network: Network) -> Network:
    """The network whose linearisation this is, where it was taken; a copy."""
    other = copy.deepcopy(network)
    body = other.body
    assert isinstance(body, LinearisedBody)
    other.body = body.start
    for name, parameter in body.start.named_parameters():
        parameter.requires_grad_(name in body.moved)
    return other
