"""Preparation of a provider's data for an experiment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from perturblearn.config import JSON
from perturblearn.config.data import OutputsOfClasses
from perturblearn.data.dataset import Dataset
from perturblearn.data.draws import generator_for, stratified_counts, stratified_draw
from perturblearn.data.labels import choose_classes, choose_outputs
from perturblearn.data.raw import RawData, observed_range
from perturblearn.data.standardise import Standardisation
from perturblearn.errors import DataError

DEFAULT_HELDOUT_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class _Part:
    """Samples of one part; ``labels`` are indices into the chosen classes."""

    inputs: Tensor
    labels: Tensor
    targets: Tensor | None = None
    groups: Tensor | None = None

    def take(self, positions: Tensor) -> _Part:
        targets = None if self.targets is None else self.targets[positions]
        groups = None if self.groups is None else self.groups[positions]
        return _Part(self.inputs[positions], self.labels[positions], targets, groups)


def prepare(
    raw: RawData,
    *,
    classes: Sequence[str] | None = None,
    n_samples: int | None = None,
    n_heldout: int | None = None,
    heldout_share: float | None = None,
    model_classes: OutputsOfClasses | None = None,
    centre: bool | float = True,
    standardise: bool = False,
    flatten: bool = True,
    seed: int = 0,
    provenance: Mapping[str, JSON] | None = None,
) -> Dataset:
    """Choose classes, split if there is no split, limit, label, scale and centre.

    Every draw is stratified by class and fixed by the seed; samples keep their order. Two classes are labelled
    +1 (the first) and -1, more classes 0 .. K-1. Groups are renumbered: those of the remaining samples, in their order.
    The tensors of ``raw`` are not changed.

    Args:
        raw: samples and class indices.
        classes: classes to keep, by name or index, in this order; None keeps all.
        n_samples: training samples to draw; None uses all.
        n_heldout: held-out samples to draw; None uses all.
        heldout_share: share of each class that is held out if the data have no split (0.2); a class with at
            least two samples is in both parts.
        model_classes: outputs of the user's own network by the name of a class.
        centre: True subtracts ``raw.mean``, a number is itself subtracted, False subtracts nothing; the value range is
            shifted too.
        standardise: bring every feature to mean 0 and deviation 1 over the training part instead of centring; of images
            all values are one feature.
        flatten: one vector per sample.
        seed: the run's seed.
        provenance: what is known about the origin; the choices made here are added.

    Raises:
        DataError: classes are unknown or have no training samples, limits exceed the data, a share is given for data
            that have a split, or targets are outside the chosen classes.
    """
    chosen = choose_classes(raw.class_names, classes)
    names = tuple(raw.class_names[index] for index in chosen)
    if len(names) < 2:
        raise DataError(f"the data have {len(names)} class ({', '.join(names)}); at least two are needed")
    training, heldout = _parts(raw, chosen, heldout_share, seed)
    missing = next((name for k, name in enumerate(names) if not bool((training.labels == k).any())), None)
    if missing is not None:
        raise DataError(f"there are no training samples of class {missing}; add some, or choose other classes")
    if len(heldout.labels) == 0:
        raise DataError(_nothing_held_out(raw, names))
    training = _limited(training, len(names), n_samples, "n_samples", "training", seed)
    heldout = _limited(heldout, len(names), n_heldout, "n_heldout", "held-out", seed)

    mean = 0.0 if standardise else _centre_value(raw, centre)
    groups, heldout_groups, group_names = _occurring(raw.group_names, training.groups, heldout.groups)
    label_values = torch.tensor([1, -1] if len(names) == 2 else range(len(names)))
    shape = tuple(training.inputs.shape[1:])
    origin = {
        **(provenance or {}),
        "classes": list(names),
        "n_samples": len(training.labels),
        "n_heldout": len(heldout.labels),
        "split": "own" if raw.heldout_inputs is not None else "drawn",
        "centre": mean,
        "flatten": flatten,
        "seed": seed,
        **({"standardise": True} if standardise else {}),
    }
    inputs, heldout_inputs = (_scaled(part.inputs, mean) for part in (training, heldout))
    value_range = _shifted_range(raw.value_range, mean)
    standardisation = None
    if standardise:
        standardisation = Standardisation.of(inputs)
        inputs, heldout_inputs = standardisation.apply(inputs), standardisation.apply(heldout_inputs)
        value_range = _standardised_range(raw.value_range, standardisation, inputs, heldout_inputs)
    return Dataset(
        inputs=inputs.flatten(1) if flatten else inputs,
        labels=label_values[training.labels],
        heldout_inputs=heldout_inputs.flatten(1) if flatten else heldout_inputs,
        heldout_labels=label_values[heldout.labels],
        value_range=value_range,
        class_names=names,
        mean=mean,
        standardisation=standardisation,
        image_shape=(shape[0], shape[1], shape[2]) if len(shape) == 3 else None,
        given_targets=None if training.targets is None else label_values[training.targets],
        groups=groups,
        heldout_groups=heldout_groups,
        group_names=group_names,
        provenance=origin,
        model_classes=choose_outputs(raw.class_names, names, model_classes),
    )


def _parts(raw: RawData, chosen: list[int], share: float | None, seed: int) -> tuple[_Part, _Part]:
    everything = _of_classes(_Part(raw.inputs, raw.labels, raw.given_targets, raw.groups), chosen, raw.class_names)
    if raw.heldout_inputs is None or raw.heldout_labels is None:
        return _split(everything, len(chosen), DEFAULT_HELDOUT_SHARE if share is None else share, seed)
    if share is not None:
        raise DataError(f"heldout_share = {share:g} does not apply to data that have a held-out part; remove it")
    heldout = _Part(raw.heldout_inputs, raw.heldout_labels, groups=raw.heldout_groups)
    return everything, _of_classes(heldout, chosen, raw.class_names)


def _of_classes(part: _Part, chosen: list[int], names: tuple[str, ...]) -> _Part:
    """Samples of the chosen classes; their labels and targets become indices into these."""
    position = torch.full((len(names),), -1, dtype=torch.int64)
    position[chosen] = torch.arange(len(chosen))
    part = replace(part, labels=position[part.labels])
    if bool((part.labels < 0).any()):
        part = part.take(torch.nonzero(part.labels >= 0).flatten())
    if part.targets is None:
        return part
    outside = torch.nonzero(position[part.targets] < 0).flatten()
    if len(outside):
        name = names[int(part.targets[outside[0]])]
        raise DataError(
            f"a given target is the class {name}, which was not chosen; choose it too or change the targets"
        )
    return replace(part, targets=position[part.targets])


def _nothing_held_out(raw: RawData, names: tuple[str, ...]) -> str:
    if raw.heldout_inputs is not None:
        return f"the held-out part has no samples of the classes {', '.join(names)}; add some, or choose other classes"
    return (
        "every class has a single sample, so none can be held out; give at least two samples of a class, or a "
        "held-out part"
    )


def _occurring(
    names: tuple[str, ...], training: Tensor | None, heldout: Tensor | None
) -> tuple[Tensor | None, Tensor | None, tuple[str, ...]]:
    """Groups as indices into the names of those that occur, and these names."""
    parts = [part for part in (training, heldout) if part is not None]
    if not parts:
        return None, None, ()
    present = torch.cat(parts).unique()
    position = torch.full((len(names),), -1, dtype=torch.int64)
    position[present] = torch.arange(len(present))
    renumbered = [None if part is None else position[part] for part in (training, heldout)]
    return renumbered[0], renumbered[1], tuple(names[index] for index in present.tolist())


def _split(part: _Part, n_classes: int, share: float, seed: int) -> tuple[_Part, _Part]:
    counts = torch.bincount(part.labels, minlength=n_classes).tolist()
    wanted = [min(max(1, round(share * count)), count - 1) if count > 1 else 0 for count in counts]
    held = stratified_draw(part.labels, wanted, generator_for(seed, "split"))
    is_held = torch.zeros(len(part.labels), dtype=torch.bool)
    is_held[held] = True
    return part.take(torch.nonzero(~is_held).flatten()), part.take(held)


def _limited(part: _Part, n_classes: int, limit: int | None, key: str, what: str, seed: int) -> _Part:
    available = len(part.labels)
    if limit is None or limit == available:
        return part
    if limit > available:
        raise DataError(f"{key} = {limit}, but there are only {available} {what} samples; ask for at most {available}")
    counts = torch.bincount(part.labels, minlength=n_classes).tolist()
    present = sum(count > 0 for count in counts)
    if limit < present:
        raise DataError(f"{key} = {limit} is too few for {present} classes; ask for at least {present}")
    return part.take(stratified_draw(part.labels, stratified_counts(counts, limit), generator_for(seed, key)))


def _centre_value(raw: RawData, centre: bool | float) -> float:
    if isinstance(centre, bool):
        return raw.mean if centre else 0.0
    if not math.isfinite(centre):
        raise DataError(f"centre = {centre} is not finite; give true, false or a number")
    return float(centre)


def _scaled(inputs: Tensor, mean: float) -> Tensor:
    # In place on a fresh copy, so that a large set is in memory only once besides the original.
    if inputs.dtype == torch.uint8:
        return inputs.to(torch.float32).div_(255).sub_(mean).contiguous()
    return inputs.to(torch.float32, copy=True).sub_(mean).contiguous()


def _standardised_range(
    known: tuple[float, float], standardisation: Standardisation, *parts: Tensor
) -> tuple[float, float]:
    if not all(map(math.isfinite, known)):
        return known
    if parts[0].ndim == 2:  # every feature has bounds of its own, so what was seen of all of them has to do
        return observed_range(*parts)
    low, high = standardisation.apply(torch.tensor(known, dtype=torch.float32)[:, None]).flatten().tolist()
    return low, high


def _shifted_range(value_range: tuple[float, float], mean: float) -> tuple[float, float]:
    # In float32 like the inputs, because rounding in their subtraction must not move them out of the range.
    low, high = (torch.tensor(value_range, dtype=torch.float32) - mean).tolist()
    return low, high
