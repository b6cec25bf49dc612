"""What a route of an audit has reached: one way in which g may have come to know the classes, beside its control."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, cast

from perturblearn.config import ExperimentConfig
from perturblearn.experiment import BEATEN_SHARE, ROUTES, Route, RouteName, Summary, wilson_interval
from perturblearn.results.names import size_of
from perturblearn.results.result import Result
from perturblearn.results.rows import Row


@dataclass(frozen=True)
class RouteResult:
    """A route of one combination of an audit.

    Args:
        name: of the route.
        learner: the network g, as the configuration names it.
        norm, epsilon: of the perturbations; None where the route is not about them.
        result: what the route's own experiment has measured; None where it could not be run.
        reason: why not, in one sentence.
    """

    name: RouteName
    learner: str
    norm: str | None
    epsilon: float | None
    result: Result | None
    reason: str = ""

    @classmethod
    def of(cls, name: RouteName, cell: ExperimentConfig, result: Result | None, reason: str = "") -> RouteResult:
        """That of a combination.

        Args:
            name: of the route.
            cell: the combination's configuration.
            result, reason: as in `RouteResult`.
        """
        attack = cell.attack if ROUTES[name].is_of_perturbations else None
        norm, epsilon = (None, None) if attack is None else (attack.norm, size_of(attack)[0])
        return cls(name, cell.perturbation.model.name, norm, epsilon, result, reason)

    @property
    def route(self) -> Route:
        """What it is about."""
        return ROUTES[self.name]

    @property
    def reached(self) -> Summary | None:
        """Its accuracy on clean held-out inputs, with the sampling interval; None where it was not measured."""
        return self._accuracy(self.route.reached)

    @property
    def control(self) -> Summary | None:
        """The accuracy of its control, likewise."""
        return self._accuracy(self.route.control)

    @property
    def teaches(self) -> bool | None:
        """Whether its accuracy is above what is reached where it teaches nothing; None where that was not measured.

        It must exceed nearly all draws of its own seed, and their mean and chance by more than the sampling of the
        held-out inputs explains: over a few seeds the former happens by accident.
        """
        reached = self.reached
        floors = [floor for name in self.route.floors if (floor := self._accuracy(name)) is not None]
        if self.result is None or reached is None or not floors:
            return None
        low = reached.get("interval", [0.0])[0]
        is_sure = all(low > level for level in (self.result.chance, *(floor["mean"] for floor in floors)))
        return is_sure and all(_beaten(reached, floor) >= BEATEN_SHARE for floor in floors)

    @property
    def row(self) -> Row:
        """A row of ``why.csv``."""
        return {
            "route": self.name,
            "learner": self.learner,
            "norm": self.norm,
            "epsilon": self.epsilon,
            **_columns("accuracy", self.reached),
            **_columns("control", self.control),
            "teaches": self.teaches,
            "reason": self.reason,
        }

    def to_dict(self, first: ExperimentConfig) -> dict[str, Any]:
        """The route as JSON values.

        Args:
            first: as for `Result.as_cell`.
        """
        return {
            **{name: self.row[name] for name in ("route", "learner", "norm", "epsilon", "teaches", "reason")},
            "accuracy": None if self.reached is None else dict(self.reached),
            "control": None if self.control is None else dict(self.control),
            "cell": None if self.result is None else self.result.as_cell(first),
        }

    @classmethod
    def from_dict(cls, route: Mapping[str, Any], content: Mapping[str, Any]) -> RouteResult:
        """What `to_dict` gave.

        Args:
            route: that.
            content: as for `Result.from_cell`.
        """
        result = None if route["cell"] is None else Result.from_cell(route["cell"], content)
        return cls(
            cast("RouteName", route["route"]),
            route["learner"],
            route["norm"],
            route["epsilon"],
            result,
            route["reason"],
        )

    def _accuracy(self, measure: str) -> Summary | None:
        """A measure with its interval for the number of inputs that it was taken on."""
        if self.result is None or measure not in self.result.summary:
            return None
        values = self.result.summary[measure]
        known = [value for value in values["values"] if value is not None]
        count = min(sum(seed.classes.n_heldout) for seed in self.result.seeds)
        if measure.startswith("attribution"):
            count = min(count, self.result.config.measures.attribution_inputs)
        return {**values, "interval": list(wilson_interval(fmean(known), count))}


def _beaten(reached: Summary, floor: Summary) -> float:
    """Share of the draws that the accuracy of their own seed exceeds; they are listed seed by seed."""
    per_seed = len(floor["values"]) // len(reached["values"])
    rivals = [value for value in reached["values"] for _ in range(per_seed)]
    return fmean(value > draw for value, draw in zip(rivals, floor["values"], strict=True))


def _columns(name: str, values: Summary | None) -> Row:
    low, high = (None, None) if values is None else values.get("interval", (None, None))
    mean, std = (None, None) if values is None else (values["mean"], values["std"])
    return {name: mean, f"{name}_std": std, f"{name}_low": low, f"{name}_high": high}
