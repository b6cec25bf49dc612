"""Gradients that are means over flipped and shifted copies of the images, so that a perturbation survives both."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from perturblearn.attacks.objective import Objective, name_of_network
from perturblearn.classifiers import Network
from perturblearn.data import AUGMENTATIONS, augment
from perturblearn.errors import ConfigError

SHIFT = 2
"""Pixels by which a copy is moved at most in each direction; what moves in is black."""


@dataclass(frozen=True)
class Copies:
    """How images are copied in every step of a search.

    Args:
        number: copies per step.
        image_shape: (channels, height, width) of one input.
        black: value of the pixels that move in.
    """

    number: int
    image_shape: tuple[int, ...]
    black: float

    @staticmethod
    def of(module: nn.Module, sources: Tensor, value_range: tuple[float, float], number: int) -> Copies:
        """Copies of the inputs of a network, which may be images laid out as vectors.

        Raises:
            ConfigError: the inputs are no images.
        """
        signature = module.signature if isinstance(module, Network) else None
        shape = tuple(sources.shape[1:]) if signature is None else signature.input_shape
        if len(shape) != 3:
            raise ConfigError(
                f"augment = {number} flips and shifts images, but an input of {name_of_network(module)} has the shape "
                f"{shape}; remove it, or use images"
            )
        low = value_range[0] if math.isfinite(value_range[0]) else 0.0
        return Copies(number, shape, low if signature is None else signature.black)

    def draw(self, count: int, steps: int, generator: torch.Generator) -> Int[Tensor, "n steps copies"]:
        """What is done to every copy of so many samples in every step of a search.

        One number each, drawn sample by sample, so that a sample's draws do not depend on how many are drawn at a time.
        """
        places = 2 * SHIFT + 1
        return torch.randint(2 * places**2, (count, steps, self.number), generator=generator)

    def differentiate(
        self, objective: Objective, points: Float[Tensor, "n d"], draws: Int[Tensor, "n copies"]
    ) -> tuple[Tensor, Float[Tensor, " n"], Float[Tensor, "n d"]]:
        """Outputs and losses at some points, and the mean over the copies of the losses' gradients in the points.

        Args:
            objective: the loss.
            points: images as vectors.
            draws: of one step, on the points' device.
        """
        outputs, losses = objective.evaluate(points)
        images = points.view(-1, *self.image_shape)
        mean = torch.zeros_like(points)
        for drawn in draws.unbind(dim=1):
            places = 2 * SHIFT + 1
            moves = torch.stack((drawn // 2 // places, drawn // 2 % places, drawn % 2))
            moved = augment(images, moves, AUGMENTATIONS, padding=SHIFT, black=self.black)
            _, _, gradient = objective.differentiate(moved.flatten(1))
            # A copy is linear in its image, so that the gradient moves back: flipped, then shifted the other way. By
            # autograd the shift's derivative would take a matrix of the image's width times its size.
            gradient = augment(gradient.view_as(images), moves, ("flip",))
            back = torch.stack((2 * SHIFT - moves[0], 2 * SHIFT - moves[1], moves[2]))
            mean += augment(gradient, back, ("crop",), padding=SHIFT).flatten(1)
        return outputs, losses, mean / self.number
