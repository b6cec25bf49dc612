"""A network as attacks see it: in evaluation mode, its parameters constants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from perturblearn.classifiers import evaluating


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, without gradients of its parameters, and back again whatever happens.

    Every part gets its own flag back: one that was in evaluation mode inside a training module stays so, and a
    parameter that was a constant remains one.
    """
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    with evaluating(module):
        try:
            for parameter in learning:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter in learning:
                parameter.requires_grad_(True)
