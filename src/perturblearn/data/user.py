"""Data sets from Python objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perturblearn.config.data import OutputsOfClasses, outputs_of_classes
from perturblearn.data.dataset import Dataset
from perturblearn.data.groups import group_positions
from perturblearn.data.labels import as_indices, class_values, label_array, names_of
from perturblearn.data.prepare import DEFAULT_HELDOUT_SHARE, prepare
from perturblearn.data.raw import RawData, mean_value, observed_range
from perturblearn.data.samples import as_array, called, read_parts
from perturblearn.data.standardise import warn_of_scale
from perturblearn.errors import DataError


def dataset_from(
    data: Any,
    *,
    heldout: Any = None,
    class_names: Sequence[str] | None = None,
    value_range: tuple[float, float] | None = None,
    targets: Any = None,
    groups: Any = None,
    heldout_groups: Any = None,
    centre: bool | float = False,
    standardise: bool = False,
    flatten: bool = True,
    seed: int = 0,
    heldout_share: float = DEFAULT_HELDOUT_SHARE,
    model_classes: Mapping[Any, int | Sequence[int]] | None = None,
) -> Dataset:
    """A data set from tensors, arrays, frames, or any sequence of samples.

    Args:
        data: a ``Dataset``, which is returned unchanged; a pair (inputs, labels) of tensors, arrays, or frames and
            series of pandas; a sequence of (input, label) pairs such as a torch or torchvision data set, or of mappings
            such as a data set of Hugging Face, whose inputs may be PIL images; a ``DataLoader``, whose data set is
            taken; a Bunch of scikit-learn, a frame or another mapping of columns; a mapping of such parts, ``train``
            and ``test``; or a function without arguments that returns one of these. Inputs have the form that
            ``as_inputs`` accepts: bytes are scaled to [0, 1], everything else becomes float32. Labels are integers or
            names. Classes are in ascending order, but +1 before -1 if there are no others.
        heldout: the held-out part in the same form; None draws it, stratified by class.
        class_names: one name per class in that order; None for those that come with the data, or the labels.
        value_range: smallest and largest value an input may take; None means [0, 1] for bytes, otherwise the observed
            range.
        targets: one target label per sample of ``data``, in the form of the labels. If the held-out part is drawn, the
            targets of the remaining samples are kept.
        groups: each sample's group, one integer or name per sample of ``data``; groups are in ascending order.
        heldout_groups: those of ``heldout``; required if both ``groups`` and ``heldout`` are given.
        centre: True subtracts the mean over the training inputs, a number is itself subtracted.
        standardise: bring every feature to mean 0 and deviation 1 over the training inputs; of images all values are
            one feature.
        flatten: one vector per sample.
        seed: fixes the drawn split.
        heldout_share: share of each class to hold out if ``heldout`` is None.
        model_classes: which outputs of your own network each class is, by its name, if the network has others too:
            ``{"cat": 281, "dog": [151, 152]}``. The output of a class with several is their log-sum-exp.

    Returns:
        The data set.

    Raises:
        DataError: the data have another form, or shapes, labels or values do not match.
    """
    data = called(data)
    if isinstance(data, Dataset):
        _refuse_options(
            heldout=heldout,
            class_names=class_names,
            value_range=value_range,
            targets=targets,
            groups=groups,
            heldout_groups=heldout_groups,
            standardise=standardise or None,
            model_classes=model_classes,
        )
        return data
    if not 0 < heldout_share < 1:
        raise DataError(f"heldout_share = {heldout_share} is not between 0 and 1; choose a share such as 0.2")
    training, other = read_parts(data, heldout)
    inputs, labels = training.inputs, training.labels
    other_inputs, other_labels = (None, None) if other is None else (other.inputs, other.labels)
    if other_inputs is not None and other_inputs.dtype != inputs.dtype:
        raise DataError(
            f"training inputs are {inputs.dtype} but held-out inputs {other_inputs.dtype} (bytes are scaled to [0, 1], "
            "other numbers are not); give both in one type"
        )
    if standardise and (centre is not False or value_range is not None):
        given = "centre" if centre is not False else "value_range"
        raise DataError(f"standardise sets mean and scale of every feature itself; leave out {given}")
    if not standardise:
        warn_of_scale(inputs, name="the data", advice="make them with dataset_from(..., standardise=True)")
    classes = class_values(labels)
    positions, heldout_positions, group_names = _groups(
        groups, heldout_groups, len(labels), None if other_labels is None else len(other_labels)
    )
    raw = RawData(
        inputs=inputs,
        labels=torch.from_numpy(as_indices(labels, classes, what="the labels")),
        class_names=_names(classes, class_names, training.names),
        value_range=_checked_range(value_range, inputs, other_inputs),
        mean=mean_value(inputs),
        heldout_inputs=other_inputs,
        heldout_labels=None
        if other_labels is None
        else torch.from_numpy(as_indices(other_labels, classes, what="the held-out labels")),
        given_targets=_given(targets, classes, len(labels)),
        groups=positions,
        heldout_groups=heldout_positions,
        group_names=group_names,
    )
    return prepare(
        raw,
        heldout_share=heldout_share if other is None else None,
        model_classes=_outputs(model_classes),
        centre=centre,
        standardise=standardise,
        flatten=flatten,
        seed=seed,
        provenance={"name": "python"},
    )


def _outputs(wanted: Mapping[Any, int | Sequence[int]] | None) -> OutputsOfClasses | None:
    try:
        return None if wanted is None else outputs_of_classes(wanted)
    except ValueError as error:
        raise DataError(f"model_classes: {error}") from None


def _refuse_options(**options: object) -> None:
    for key, value in options.items():
        if value is not None:
            raise DataError(f"{key} does not apply to a Dataset, which is complete; remove it or give tensors instead")


def _names(classes: list[Any], wanted: Sequence[str] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    if wanted is None:
        # Names that came with the data count labels from 0.
        return known if known and classes == list(range(len(known))) else names_of(classes)
    if len(wanted) != len(classes):
        listed = ", ".join(names_of(classes))
        raise DataError(f"{len(wanted)} class names for {len(classes)} classes ({listed}); give one name per class")
    return tuple(wanted)


def _checked_range(wanted: tuple[float, float] | None, inputs: Tensor, heldout: Tensor | None) -> tuple[float, float]:
    seen = observed_range(inputs, heldout)
    if wanted is None:
        return seen
    low, high = wanted
    if inputs.dtype == torch.uint8 and (low, high) != (0, 1):
        raise DataError(
            f"value_range = ({low:g}, {high:g}) does not fit bytes, which are scaled to [0, 1]; "
            "leave it out or give floats"
        )
    # In float32 like the inputs: the float32 value of 0.1 must not count as outside a bound of 0.1.
    if not float(np.float32(low)) <= seen[0] <= seen[1] <= float(np.float32(high)):
        raise DataError(
            f"value_range = ({low:g}, {high:g}) does not contain the inputs, which run from {seen[0]:g} to "
            f"{seen[1]:g}; widen it"
        )
    return float(low), float(high)


def _given(targets: Any, classes: list[Any], number: int) -> Tensor | None:
    if targets is None:
        return None
    array = label_array(as_array(targets), what="the targets")
    if len(array) != number:
        raise DataError(f"{len(array)} targets for {number} training samples; give one for each")
    return torch.from_numpy(as_indices(array, classes, what="the targets"))


def _groups(
    groups: Any, heldout_groups: Any, n_samples: int, n_heldout: int | None
) -> tuple[Tensor | None, Tensor | None, tuple[str, ...]]:
    if groups is None and heldout_groups is None:
        return None, None, ()
    if n_heldout is None and heldout_groups is not None:
        raise DataError("heldout_groups is given without heldout; give the held-out part too, or only groups")
    if groups is None or (n_heldout is not None and heldout_groups is None):
        given, lacking = ("heldout_groups", "groups") if groups is None else ("groups", "heldout_groups")
        raise DataError(f"{given} is given without {lacking}; give one group for each sample of both parts")
    training = label_array(as_array(groups), what="groups")
    heldout = None if n_heldout is None else label_array(as_array(heldout_groups), what="heldout_groups")
    for array, number, part in ((training, n_samples, "training"), (heldout, n_heldout, "held-out")):
        if array is not None and len(array) != number:
            raise DataError(f"{len(array)} groups for {number} {part} samples; give one for each")
    return group_positions(training, heldout, what="groups")
