"""What attribution costs by counted operations, and whether a run that leaves it open has it."""

from __future__ import annotations

from perturblearn.config import DescentConfig, ExperimentConfig, SGDConfig
from perturblearn.experiment.attribution import steps_merged
from perturblearn.experiment.context import Context
from perturblearn.experiment.network_costs import forward_operations
from perturblearn.experiment.shapes import Shapes

_MOST = 1e11
"""Floating-point operations up to which nobody has to ask: a few seconds of one core. They are counted and never timed,
so that the same configuration measures the same everywhere; for each seed, so that more seeds measure no less."""
_LEAST_OF_STEP, _LEAST_OF_CLOSED_FORM = 2e8, 1e7
"""What a step counts as at least, of a deep network and of a two-layer one: its many calls take milliseconds, and a
tenth of that, however little they compute."""


def is_attributed_unasked(config: ExperimentConfig, context: Context) -> bool:
    """Whether g's training can be followed, and that takes seconds.

    Not of the user's own g: nobody has asked for anything that may fail in its code. Not of one with rounded products,
    which the closed form does not repeat.

    Args:
        config: of the experiment.
        context: where it runs; real data are read for their size.
    """
    section = config.perturbation
    if config.why_no_attribution is not None or section.model.is_own:
        return False
    if isinstance(section, DescentConfig) and section.products != "exact":
        return False
    return attribution_operations(config, context.shapes()) <= _MOST


def attribution_operations(config: ExperimentConfig, shapes: Shapes) -> float:
    """Floating-point operations of attribution for one seed, about.

    Args:
        config: of the experiment; g's training can be attributed.
        shapes: of the experiment.
    """
    section, count = config.perturbation, shapes.n_perturbed
    assert isinstance(section, (DescentConfig, SGDConfig)), "the configuration refuses all others"
    if isinstance(section, SGDConfig):
        batch, least = min(section.batch_size, count), _LEAST_OF_STEP
    else:
        batch, least = count, _LEAST_OF_CLOSED_FORM
    steps, merged = section.epochs * (count // batch), config.measures.attribution_merged or steps_merged(section)
    if steps * least > _MOST:
        return steps * least  # a network that is not made need not be counted
    # Forward and back at the inputs, at the sources, and in a training on the sources alone; held-out inputs forward at
    # both ends of a chord, and on both sides of its middle for two parts.
    heldout = min(config.measures.attribution_inputs, shapes.outline.n_heldout)
    passes = 9 * batch + 6 * heldout / merged
    return steps * max(least, passes * forward_operations(section, shapes))
