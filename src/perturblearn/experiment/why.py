"""Why did g learn? Every route by which it may have, as an experiment of its own beside its own control.

The routes of an audit are its own experiments with a few keys changed. They share every stage with them that they have
in common, and each can be run alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from perturblearn.config import JSON, ExperimentConfig, config_tree, resolve_config
from perturblearn.data import Signature
from perturblearn.errors import ConfigError
from perturblearn.experiment.audit import default_epsilons
from perturblearn.experiment.measured import HELDOUT

RouteName = Literal["errors", "foreign", "robust_linear", "linear_shortcut", "negative", "attribution"]
KEPT = 5
"""Networks that the negative control leaves alone: each trains as f does, and more leave less that transfers."""
ROBUST_SHARE = 0.1
"""L2 size against which a linear feature counts as robust, as a share of an audit's default L2 perturbation."""


@dataclass(frozen=True)
class Route:
    """One way in which g may have come to know the classes.

    Args:
        title: as tables call it.
        reached: the measure that is its accuracy.
        control: the measure beside it.
        control_title: what this is, in a few words.
        floors: the measures that say what is reached where the route teaches nothing.
        is_of_perturbations: whether it is about the perturbations, so that it differs from attack to attack.
    """

    title: str
    reached: str
    control: str
    control_title: str
    floors: tuple[str, ...]
    is_of_perturbations: bool = True


_G, _UNPERTURBED, _PERMUTED = HELDOUT.perturbation, HELDOUT.controls["unperturbed"], HELDOUT.controls["permuted"]
_CONTROLS = (_UNPERTURBED, _PERMUTED)
ROUTES: dict[RouteName, Route] = {
    "errors": Route("f's errors", _G, _PERMUTED, "labels permuted", _CONTROLS, is_of_perturbations=False),
    "foreign": Route(
        "f's answers to other data", _G, _PERMUTED, "labels permuted", _CONTROLS, is_of_perturbations=False
    ),
    "robust_linear": Route(
        "robust linear features",
        "robust_linear_heldout",
        "robust_linear_permuted_best_heldout",
        "best of 5 permutations",
        ("robust_linear_permuted_best_heldout", "robust_linear_unperturbed_heldout"),
    ),
    "linear_shortcut": Route(
        "without the linear shortcut",
        "linear_shortcut_rest_heldout",
        "linear_shortcut_random_heldout",
        "without random directions",
        _CONTROLS,
    ),
    "negative": Route("what fools f alone", _G, _UNPERTURBED, "no perturbation", _CONTROLS),
    "attribution": Route(
        "perturbations' part of g",
        "attribution_perturbation_accuracy",
        "attribution_source_accuracy",
        "sources' part of g",
        ("attribution_source_accuracy",),
    ),
}
"""All routes, in the order of tables."""


@dataclass(frozen=True)
class RouteCase:
    """A route of one combination of an audit.

    Args:
        name: of the route.
        cell: the combination.
        config: the experiment that follows it; None where there is none.
        reason: why there is none, in one sentence.
    """

    name: RouteName
    cell: ExperimentConfig
    config: ExperimentConfig | None
    reason: str = ""


def route_cases(
    cells: Sequence[ExperimentConfig], signature: Signature, foreign: Mapping[str, int]
) -> Iterator[RouteCase]:
    """Every route of every combination of an audit; those that are not about perturbations once for each learner.

    Args:
        cells: the combinations.
        signature: of the data.
        foreign: how many inputs g sees of other data sets, by their names.

    Raises:
        ConfigError: another data set cannot be used.
    """
    first: dict[str, ExperimentConfig] = {}
    for cell in cells:
        first.setdefault(cell.perturbation.model.name, cell)
    for cell in first.values():
        yield _case("errors", cell, lambda cell: _answers(cell, source="errors"))
    for cell in first.values():
        for name, count in foreign.items():
            yield RouteCase("foreign", cell, _answers(cell, source=f"data:{name}", n_sources=count))
        if not foreign:
            yield RouteCase("foreign", cell, None, "no other data set was named; name one with --foreign")
    for name in ROUTES:
        for cell in cells if ROUTES[name].is_of_perturbations else ():
            why = (
                "is left out by measures.attribution = false"
                if cell.measures.attribution is False
                else cell.why_no_attribution
            )
            if name == "attribution" and why is not None:
                yield RouteCase(name, cell, None, f"attribution {why}")
            else:
                yield _case(name, cell, lambda cell, name=name: resolve_config(cell, _keys(name, cell, signature)))


def _case(name: RouteName, cell: ExperimentConfig, make: Callable[[ExperimentConfig], ExperimentConfig]) -> RouteCase:
    try:
        return RouteCase(name, cell, make(cell))
    except ConfigError as error:
        return RouteCase(name, cell, None, str(error))


def _answers(cell: ExperimentConfig, **source: JSON) -> ExperimentConfig:
    """The combination in which g learns f's answers to inputs as they are."""
    attack = {"name": "one_step", "targets": "predicted", "epsilon": 0.0, **source}
    return resolve_config({**config_tree(cell), "attack": attack})


def _keys(name: RouteName, cell: ExperimentConfig, signature: Signature) -> dict[str, JSON]:
    match name:
        case "robust_linear":
            epsilon = float(f"{ROBUST_SHARE * default_epsilons(signature)['l2'][0]:.2g}")
            asked = cell.measures.robust_leakage
            return {"measures.robust_leakage": epsilon if asked is None else asked}
        case "negative":
            # Between more than two classes, networks that keep their labels do not stop what they share with f.
            return {"attack.keep_others": KEPT, "attack.keep": "odds" if signature.n_classes > 2 else "labels"}
        case _:
            return {f"measures.{name}": True}
