"""Measures of a seed with numbers of the test's own choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perturblearn.experiment import ClassMeasures, ControlAccuracies, GroupMeasures, SeedMeasures


def class_measures(names: Sequence[str] = ("+1", "-1")) -> ClassMeasures:
    """Classes of 50 held-out inputs each, of which nothing was measured."""
    nothing = (None,) * len(names)
    none = (0,) * len(names)
    return ClassMeasures(tuple(names), (50,) * len(names), nothing, nothing, nothing, nothing, (none,) * len(names))


def seed_measures(
    measures: Mapping[str, float | None],
    controls: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
    *,
    seed: int = 0,
    lr: tuple[float, float] = (0.1, 0.1),
    classes: ClassMeasures | None = None,
    groups: GroupMeasures | None = None,
) -> SeedMeasures:
    """What a seed has measured.

    Args:
        measures: by name.
        controls: by name, the draws on f's training set and those on held-out inputs.
        seed: its number.
        lr: the learning rates of f and g.
        classes: None for two of which nothing was measured.
        groups: None for data without groups.
    """
    return SeedMeasures(
        seed,
        *lr,
        measures,
        {name: ControlAccuracies(tuple(known), tuple(heldout)) for name, (known, heldout) in (controls or {}).items()},
        class_measures() if classes is None else classes,
        groups,
    )
