"""Features as pictures, with what f, the perturbations and g have of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from perturblearn.attacks import frozen
from perturblearn.classifiers import Classifier, rows_per_pass
from perturblearn.data import Dataset, row_slices
from perturblearn.experiment.numbers import Numbers
from perturblearn.graph import Stored
from perturblearn.perturbed import PerturbedSet
from perturblearn.store import Artefact

PARTIES = ("f", "perturbations", "g")
"""Whose shares are compared: of the gradient of f's class signal, of the perturbations, of that of g's."""
MOST_INPUTS = 500
"""Held-out inputs, and perturbed samples, whose gradients and steps are taken for pictures."""

ShareOf = Callable[[Tensor, Tensor], Tensor]
"""From points (n, d) and steps there (n, d) to the share of the steps' squared length along each feature, (p,)."""


@dataclass(frozen=True, eq=False)
class PicturedFeatures:
    """Some features of f, or of the data.

    Args:
        patterns: direction in which each feature rises fastest, (p, d) float32, of length 1.
        names: of each, in a few words.
        shares: for each of `PARTIES` the share of its squared length along each feature, in [0, 1]; g has none where
            it has no gradients, such as nearest neighbours.
    """

    patterns: Tensor
    names: tuple[str, ...]
    shares: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, eq=False)
class FeatureMeasures:
    """What is measured of features.

    Args:
        numbers: by the name of the measure.
        pictured: the features that are shown.
    """

    numbers: Numbers
    pictured: PicturedFeatures


class FeatureStage(Stored[FeatureMeasures]):
    """A stage that measures features."""

    @classmethod
    def dump(cls, result: FeatureMeasures) -> Artefact:
        """The numbers and the features as an artefact."""
        pictured = result.pictured
        shares = {party: list(values) for party, values in pictured.shares.items()}
        content = {"numbers": dict(result.numbers), "names": list(pictured.names), "shares": shares}
        return Artefact(content, {"patterns": pictured.patterns})

    @classmethod
    def load(cls, artefact: Artefact) -> FeatureMeasures:
        """What `dump` has made an artefact of."""
        content = artefact.content
        shares = {party: tuple(values) for party, values in content["shares"].items()}
        pictured = PicturedFeatures(artefact.tensors["patterns"], tuple(content["names"]), shares)
        return FeatureMeasures(dict(content["numbers"]), pictured)


def pictured_features(
    patterns: Tensor,
    names: tuple[str, ...],
    share_of: ShareOf,
    data: Dataset,
    standard: Classifier,
    perturbed: PerturbedSet,
    perturbation: Classifier,
    *,
    places: Tensor,
) -> PicturedFeatures:
    """Features with the shares of f, of the perturbations and of g.

    Args:
        patterns: of each feature, (p, d), of any length.
        names: of each.
        share_of: how much of some steps lies along each.
        data: clean inputs, of which the first held-out ones are taken.
        standard, perturbation: f and g.
        perturbed: what g was trained on, with its sources.
        places: where its perturbations were taken, (n, ...).
    """
    heldout, labels = data.heldout_inputs[:MOST_INPUTS], data.heldout_labels[:MOST_INPUTS]
    rows = slice(0, MOST_INPUTS)
    steps = {
        "f": (heldout, signal_gradients(standard, heldout, labels)),
        "perturbations": (places[rows], perturbed.perturbations_of(rows).cpu()),
        "g": (heldout, signal_gradients(perturbation, heldout, labels)),
    }
    shares = {
        party: tuple(share_of(at.cpu().flatten(1).double(), along.flatten(1).double()).tolist())
        for party, (at, along) in steps.items()
        if along is not None
    }
    lengths = patterns.norm(dim=1, keepdim=True)
    return PicturedFeatures((patterns / torch.where(lengths > 0, lengths, 1.0)).float().cpu(), names, shares)


def signal_gradients(classifier: Classifier, inputs: Tensor, labels: Tensor) -> Tensor | None:
    """Gradients of the outputs for the true class minus the mean of the others, (n, ...), on the CPU; None for none.

    Args:
        classifier: f or g.
        inputs: (n, ...).
        labels: their true labels.
    """
    module, device, found = classifier.module, classifier.device, list[Tensor]()
    with frozen(module), torch.enable_grad():
        for rows in row_slices(inputs, block=rows_per_pass(module)):
            leaf = inputs[rows].to(device).requires_grad_()
            signal = _signal(module(leaf.clone()), labels[rows].to(device))
            if not signal.requires_grad:
                return None
            (gradient,) = torch.autograd.grad(signal, leaf)
            found.append(gradient.cpu())
    return torch.cat(found)


def _signal(outputs: Tensor, labels: Tensor) -> Tensor:
    """Sum over the inputs of what their outputs say for the true class, above the others."""
    if outputs.ndim == 1:
        return (labels * outputs).sum()
    own = outputs.gather(1, labels[:, None]).sum()
    return own - (outputs.sum() - own) / (outputs.shape[1] - 1)
