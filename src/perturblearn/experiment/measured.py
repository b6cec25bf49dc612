"""What one seed of an experiment has measured, and its way into JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

Number = float | Any
"""A number, or None where there was nothing to measure.

Few measures can be None, and who reads one of the others should not have to rule it out: `Any` stands for the None, as
in the types of Python's own library.
"""


@dataclass(frozen=True)
class AccuracyNames:
    """The clean inputs on which accuracies are taken, and what these accuracies are called.

    Args:
        standard, perturbation, linear_probe: measures of f, of g and of the linear classifier.
        controls: measures of the controls, by the control's name.
        is_heldout: whether f has not seen these inputs.
    """

    standard: str
    perturbation: str
    linear_probe: str
    controls: Mapping[str, str]
    is_heldout: bool


TRAINING = AccuracyNames(
    "standard_accuracy",
    "perturbation_accuracy",
    "linear_probe",
    {"unperturbed": "unperturbed_control", "permuted": "permuted_control"},
    is_heldout=False,
)
"""The samples that f was trained on."""
HELDOUT = AccuracyNames(
    "standard_accuracy_heldout",
    "perturbation_accuracy_heldout",
    "linear_probe_heldout",
    {"unperturbed": "unperturbed_control_heldout", "permuted": "permuted_control_heldout"},
    is_heldout=True,
)
"""Inputs that neither network has seen."""


@dataclass(frozen=True)
class GroupMeasures:
    """Measures group by group, over the held-out inputs of each; None where a group has none.

    Args:
        names: of the groups; everything else is in their order.
        n_heldout: held-out inputs of each group.
        standard_accuracy, perturbation_accuracy: of f and g, in [0, 1].
        agreement: share of inputs that f and g give the same label.
    """

    names: tuple[str, ...]
    n_heldout: tuple[int, ...]
    standard_accuracy: tuple[float | None, ...]
    perturbation_accuracy: tuple[float | None, ...]
    agreement: tuple[float | None, ...]

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """What `to_dict` gave; keys that a later version adds are left out.

        Raises:
            KeyError: a key is missing.
        """
        return cls(**{field.name: _to_tuples(content[field.name]) for field in fields(cls)})

    def to_dict(self) -> dict[str, Any]:
        """The measures as JSON values."""
        return {field.name: _to_lists(getattr(self, field.name)) for field in fields(self)}


@dataclass(frozen=True)
class ClassMeasures(GroupMeasures):
    """Measures class by class.

    Args:
        attack_success: share of the redirected samples with this target that f gives it.
        confusion: a row per true class, a column per class that g says, in numbers of held-out inputs. An output of
            exactly 0 is in no column.
    """

    attack_success: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class AttributionMeasures:
    """Where g's knowledge of each class comes from, in class signals.

    The class signal of an input is the output of its true class minus the mean of the others, each output centred over
    the inputs. It is linear, so the signals of parts add up.

    Args:
        names: of the classes.
        signals: by part (``perturbation``, ``source``, ``start``, ``total``, ...), the mean over each class's inputs;
            None where a class has none.
    """

    names: tuple[str, ...]
    signals: Mapping[str, tuple[float | None, ...]]

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> AttributionMeasures:
        """What `to_dict` gave."""
        signals = {part: tuple(values) for part, values in content["signals"].items()}
        return cls(tuple(content["names"]), signals)

    def to_dict(self) -> dict[str, Any]:
        """The signals as JSON values."""
        return {"names": list(self.names), "signals": {part: list(values) for part, values in self.signals.items()}}


@dataclass(frozen=True)
class LearnerMeasures:
    """What is measured of one g.

    Args:
        numbers: by measure; None where there is nothing to measure.
        classes: class by class.
        groups: group by group; None where the data name no groups.
    """

    numbers: Mapping[str, Number]
    classes: ClassMeasures
    groups: GroupMeasures | None = None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> LearnerMeasures:
        """What `to_dict` gave."""
        numbers = dict(content)
        classes, groups = numbers.pop("classes"), numbers.pop("groups", None)
        return cls(
            numbers, ClassMeasures.from_dict(classes), None if groups is None else GroupMeasures.from_dict(groups)
        )

    def to_dict(self) -> dict[str, Any]:
        """The measures as JSON values."""
        groups = {} if self.groups is None else {"groups": self.groups.to_dict()}
        return {**self.numbers, "classes": self.classes.to_dict(), **groups}


@dataclass(frozen=True)
class ControlAccuracies:
    """What every draw of a control reaches.

    Args:
        accuracy, accuracy_heldout: on f's training set and on held-out inputs, draw by draw.
    """

    accuracy: tuple[float, ...]
    accuracy_heldout: tuple[float, ...]

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ControlAccuracies:
        """What `to_dict` gave."""
        return cls(tuple(content["accuracy"]), tuple(content["accuracy_heldout"]))

    def to_dict(self) -> dict[str, list[float]]:
        """The accuracies as JSON values."""
        return {"accuracy": list(self.accuracy), "accuracy_heldout": list(self.accuracy_heldout)}

    def on(self, part: AccuracyNames) -> tuple[float, ...]:
        """The accuracies on these inputs."""
        return self.accuracy_heldout if part.is_heldout else self.accuracy


@dataclass(frozen=True)
class PairMeasures:
    """The measures of one pair of learning rates.

    Args:
        standard_lr, perturbation_lr: the rates of f and g.
        measures: by name; None where there is nothing to measure.
    """

    standard_lr: float
    perturbation_lr: float
    measures: Mapping[str, Number]

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> PairMeasures:
        """What `to_dict` gave."""
        numbers = dict(content)
        return cls(numbers.pop("standard_lr"), numbers.pop("perturbation_lr"), numbers)

    def to_dict(self) -> dict[str, Any]:
        """The measures as JSON values, beside the rates."""
        return {"standard_lr": self.standard_lr, "perturbation_lr": self.perturbation_lr, **self.measures}


@dataclass(frozen=True)
class SeedMeasures:
    """What one seed has measured.

    Args:
        seed: of the run.
        standard_lr, perturbation_lr: the chosen learning rates.
        measures: at these rates, by the names of `MEASURES`, with the papers' maxima; None where there is nothing to
            measure.
        controls: the draws of every control, by its name.
        classes: class by class.
        groups: group by group; None where the data name no groups.
        grid: the measures of every pair of learning rates.
        attribution: where g's knowledge of each class comes from; None if not asked for.
    """

    seed: int
    standard_lr: float
    perturbation_lr: float
    measures: Mapping[str, Number]
    controls: Mapping[str, ControlAccuracies]
    classes: ClassMeasures
    groups: GroupMeasures | None = None
    grid: tuple[PairMeasures, ...] = ()
    attribution: AttributionMeasures | None = None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SeedMeasures:
        """What `to_dict` gave, read from a file.

        Raises:
            KeyError, TypeError: it is something else.
        """
        return cls(
            seed=content["seed"],
            standard_lr=content["standard_lr"],
            perturbation_lr=content["perturbation_lr"],
            measures=dict(content["measures"]),
            controls={name: ControlAccuracies.from_dict(draws) for name, draws in content["controls"].items()},
            classes=ClassMeasures.from_dict(content["classes"]),
            groups=GroupMeasures.from_dict(content["groups"]) if "groups" in content else None,
            grid=tuple(PairMeasures.from_dict(pair) for pair in content["grid"]),
            attribution=AttributionMeasures.from_dict(content["attribution"]) if "attribution" in content else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """The measures as JSON values."""
        return {
            "seed": self.seed,
            "standard_lr": self.standard_lr,
            "perturbation_lr": self.perturbation_lr,
            "measures": dict(self.measures),
            "controls": {name: draws.to_dict() for name, draws in self.controls.items()},
            "classes": self.classes.to_dict(),
            **({} if self.groups is None else {"groups": self.groups.to_dict()}),
            "grid": [pair.to_dict() for pair in self.grid],
            **({} if self.attribution is None else {"attribution": self.attribution.to_dict()}),
        }


def _to_tuples(value: Any) -> Any:
    return tuple(map(_to_tuples, value)) if isinstance(value, (list, tuple)) else value


def _to_lists(value: Any) -> Any:
    return list(map(_to_lists, value)) if isinstance(value, (list, tuple)) else value
