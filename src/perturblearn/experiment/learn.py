"""A classifier from inputs and labels, in the way that its section of the configuration asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from perturblearn.classifiers import Classifier, initialise
from perturblearn.config import ClassifierConfig
from perturblearn.theory import margin_limit
from perturblearn.training import Descent, Flow, train_by_flow, train_side_by_side

FLOW_STEP = 0.1
"""Largest change of a margin in one step of the flow, where the configuration does not say."""


def learn(
    config: ClassifierConfig,
    inputs: Tensor,
    labels: Tensor,
    *,
    lr: float,
    seed: int,
    role: str,
    report: Callable[[int, int, str], None],
) -> Classifier:
    """One classifier; see `learn_side_by_side`."""
    return learn_side_by_side(config, inputs, labels[None], lr=lr, seed=seed, roles=[role], report=report)[0]


def learn_side_by_side(
    config: ClassifierConfig,
    inputs: Tensor | Sequence[Tensor],
    labels: Tensor,
    *,
    lr: float,
    seed: int,
    roles: Sequence[str],
    report: Callable[[int, int, str], None],
) -> list[Classifier]:
    """Classifiers that are trained by descent or by flow, or are limits and need no training.

    Args:
        config: network, loss and training.
        inputs: (N, ...) for all, or one tensor for each.
        labels: +1 and -1, (R, N).
        lr: the learning rate, one of the section's.
        seed: the run's seed.
        roles: who asks, R of them: each has its own initialisation.
        report: called with steps done and in all.

    Raises:
        ConfigError, DataError: the data have no such limit.
        DivergenceError: training left the finite numbers.
    """
    first = inputs if isinstance(inputs, Tensor) else inputs[0]
    if config.model.name != "limit" and config.training == "descent":
        networks = [initialise(config.model, first[0].numel(), seed=seed, role=role).to(first) for role in roles]
        descent = Descent(config.loss, lr, config.epochs, config.momentum, config.plateau)
        return train_side_by_side(networks, inputs, labels, descent, report=report)
    learned = []
    for index, role in enumerate(roles):
        own = inputs if isinstance(inputs, Tensor) else inputs[index]

        def note(done: int, steps: int, word: str, index: int = index) -> None:
            report(index * steps + done, len(roles) * steps, word)

        learned.append(_learn_one(config, own, labels[index], lr, seed, role, note))
    return learned


def _learn_one(
    config: ClassifierConfig,
    inputs: Tensor,
    labels: Tensor,
    lr: float,
    seed: int,
    role: str,
    report: Callable[[int, int, str], None],
) -> Classifier:
    if config.model.name == "limit":
        limit = margin_limit(
            inputs.flatten(1),
            labels,
            slope=config.model.slope,
            method=config.model.method or "two_direction",
            both_classes=False,  # one noise source has one target
        )
        report(1, 1, f"duality gap {limit.duality_gap:.1g}")
        return limit.classifier
    flow = Flow(
        config.loss,
        lr,
        config.epochs,
        config.momentum,
        step=config.flow_step or FLOW_STEP,
        target_loss=config.target_loss,
        exact_epochs=config.exact_epochs or 0,
    )
    network = initialise(config.model, inputs[0].numel(), seed=seed, role=role).to(inputs)
    return train_by_flow(network, inputs, labels, flow, report=report)
