"""Decision maps of an experiment's classifiers, and their way to disk and back."""

from __future__ import annotations

import torch
from torch import Tensor

from perturblearn.experiment.case import Case
from perturblearn.store import Artefact
from perturblearn.theory import (
    DecisionMap,
    DecisionPlane,
    decision_map,
    mean_plane,
    perturbation_direction,
    predictions_on,
    weight_plane,
)

MAP_POINTS = 400
"""Points a side [NeurIPS24, section 5]."""


def draw_map(case: Case, *, limits: tuple[float, float] | None = None) -> DecisionMap:
    """Both classifiers and their predictions on the paper's plane.

    NeurIPS24's plane of class means with fhat and ghat for networks with a bias; ICLR24's plane of f's mean weight rows
    with the limits' boundaries (under the names ``fhat`` and ``ghat``, where there are such limits) for the others.

    Args:
        case: the classifiers with their data.
        limits: least and largest coordinate of both axes; None for limits that show nearly all samples.

    Raises:
        ConfigError: limits that are not in order.
    """
    f = case.f
    if f.model.has_bias:
        plane = mean_plane(case.inputs, case.data.labels)
    else:
        plane = weight_plane(f.network.weight.detach(), f.network.readout)
    limits = limits or _frame_of(plane.project(case.inputs))
    networks = {"f": case.standard.outputs, "g": case.perturbation.outputs}
    drawn = decision_map(
        plane, networks, limits=limits, points=MAP_POINTS, samples=case.inputs, labels=case.data.labels
    )
    if f.model.has_bias:
        predicted = predictions_on(
            plane,
            case.inputs,
            case.data.labels,
            case.seen,
            kernel=case.kernel,
            limits=limits,
            points=MAP_POINTS,
            directions=perturbation_direction(case.inputs, case.data.labels, kernel=case.kernel, at=case.places),
        ).values
    else:
        limits_of = case.limits()
        lines = {
            name: limit.classifier.outputs
            for name, limit in (("fhat", limits_of.f), ("ghat", limits_of.g))
            if limit is not None
        }
        predicted = decision_map(plane, lines, limits=limits, points=MAP_POINTS).values
    return DecisionMap(plane, drawn.grid, {**drawn.values, **predicted}, drawn.samples, drawn.labels)


def dump_map(drawn: DecisionMap) -> Artefact:
    """A map as an artefact."""
    tensors = {f"values.{name}": values for name, values in drawn.values.items()}
    tensors |= {"first": drawn.plane.first, "second": drawn.plane.second, "grid": drawn.grid}
    if drawn.samples is not None and drawn.labels is not None:
        tensors |= {"samples": drawn.samples, "labels": drawn.labels}
    return Artefact({}, tensors)


def load_map(artefact: Artefact) -> DecisionMap:
    """The map that `dump_map` wrote."""
    tensors = artefact.tensors
    values = {name.removeprefix("values."): tensor for name, tensor in tensors.items() if name.startswith("values.")}
    plane = DecisionPlane(tensors["first"], tensors["second"])
    return DecisionMap(plane, tensors["grid"], values, tensors.get("samples"), tensors.get("labels"))


def _frame_of(samples: Tensor) -> tuple[float, float]:
    """Limits of a square map that show nearly all samples and the origin."""
    low, high = torch.quantile(samples.flatten().double(), samples.new_tensor([0.002, 0.998]).double()).tolist()
    low, high = min(low, 0.0), max(high, 0.0)
    # Quantiles, so that a few outliers do not shrink all other samples to a point.
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin
