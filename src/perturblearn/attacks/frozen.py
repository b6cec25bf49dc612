"""A network as attacks see it: in evaluation mode, its parameters constants, its draws seeded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from perturblearn.classifiers import evaluating
from perturblearn.seeding import reproducible


@contextmanager
def frozen(module: nn.Module, seed: int = 0) -> Iterator[None]:
    """Put a module into evaluation mode, without gradients of its parameters, and back again whatever happens.

    Every part and every parameter gets its own flag back, whatever the block does to it: one that was in evaluation
    mode inside a training module stays so, and a parameter that was a constant remains one. Meanwhile a module that
    draws does so as in `reproducible`.

    Args:
        module: f.
        seed: of what it draws.
    """
    flags = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    with evaluating(module), reproducible(seed):
        try:
            for parameter, flag in flags:
                if flag:
                    parameter.requires_grad_(False)
            yield
        finally:
            for parameter, flag in flags:
                if parameter.requires_grad != flag:
                    parameter.requires_grad_(flag)
