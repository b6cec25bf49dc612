"""Why did g learn? The routes of an audit in words and lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from perturblearn.experiment import RouteName
from perturblearn.report.words import (
    NORMS,
    interval_text,
    percent,
    percent_with_spread,
    plural,
    shown_number,
    with_spread,
)
from perturblearn.results import Result, RouteResult

WHY_TITLE = "Why did g learn?"
"""Of the table."""
WHY_HEADS = ("route", "learner", "norm", "epsilon", "accuracy", "95 %", "control", "accuracy of it", "95 % of it")
"""Of the table."""
WHY_LEGEND = (
    "each route is an experiment of its own, measured on clean held-out inputs; routes overlap, so their accuracies "
    "are no shares of a sum"
)
"""What the table's numbers are not."""

_FOOLED = 0.5
"""Share of targets reached on f below which a set is not one of what fools f."""


def why_lines(routes: Sequence[RouteResult], short: Mapping[str, str]) -> list[tuple[str, ...]]:
    """The table's lines under `WHY_HEADS`; of a route that could not be run dashes.

    Args:
        routes: of an audit.
        short: what networks are called.
    """
    return [
        (
            each.route.title,
            short[each.learner],
            shown_number(each.norm),
            shown_number(each.epsilon),
            with_spread(each.reached),
            interval_text(each.reached, digits=2),
            each.route.control_title,
            with_spread(each.control),
            interval_text(each.control, digits=2),
        )
        for each in routes
    ]


def why_sentences(routes: Sequence[RouteResult], short: Mapping[str, str]) -> Iterator[str]:
    """A verdict for every route, or why it could not be run.

    Args:
        routes: of an audit.
        short: what networks are called.
    """
    told: dict[str, None] = {}  # whatever the combination, a route that is not run mostly has the same reason
    several = {each.name: sum(other.name == each.name for other in routes) > 1 for each in routes}
    for each in routes:
        if each.result is None:
            told[f"{_capitalised(each.route.title)}: not run, as {each.reason}."] = None
            continue
        where = f" ({_where(each, short)})" if several[each.name] else ""
        told[f"{_claim(each)}{where}: {_numbers(each, each.result)}."] = None
    yield from told


def _where(each: RouteResult, short: Mapping[str, str]) -> str:
    attack = "" if each.norm is None else f", {NORMS[each.norm]} {shown_number(each.epsilon)}"
    return f"{short[each.learner]}{attack}"


def _claim(each: RouteResult) -> str:
    if each.teaches is None:
        return f"{_capitalised(each.route.title)} cannot be judged without controls"
    if each.name == "negative" and each.result and each.result.summary["attack_success"]["mean"] < _FOOLED:
        return "Hardly anything is found that fools f alone"
    yes, no = _CLAIMS[each.name]
    return yes if each.teaches else no


def _numbers(each: RouteResult, result: Result) -> str:
    assert each.reached is not None, "its experiment has measured it"
    reached = percent_with_spread(each.reached)
    beside = "" if each.control is None else f"; {each.route.control_title} {percent_with_spread(each.control)}"
    return (
        _WHAT[each.name].format(reached=reached, other=result.config.attack.foreign, more=_more(each, result)) + beside
    )


def _more(each: RouteResult, result: Result) -> str:
    """What else has to be known to read a route."""
    summary = result.summary
    if each.name == "linear_shortcut":
        count = plural(round(summary["linear_shortcut_directions"]["mean"]), "direction")
        return (
            f"the {count} of a linear classifier (it reaches {percent(summary['linear_shortcut_heldout']['mean'])} %, "
            f"another one of what is left {percent(summary['linear_shortcut_rest_linear_heldout']['mean'])} %)"
        )
    if each.name == "negative":
        success, kept = (summary[name]["mean"] for name in ("attack_success", "kept_share"))
        return (
            f"f on {percent(success)} %, while {result.config.attack.n_others} networks like f give "
            f"{percent(kept)} % their true label"
        )
    return ""


_CLAIMS: dict[RouteName, tuple[str, str]] = {
    "errors": ("f's errors alone teach the classes", "f's errors alone are not shown to teach the classes"),
    "foreign": (
        "f's answers to other data alone teach the classes",
        "f's answers to other data alone are not shown to teach the classes",
    ),
    "robust_linear": ("Robust linear features leak", "No robust linear features are seen to leak"),
    "linear_shortcut": (
        "The linear shortcut is not all that teaches",
        "Without the linear shortcut nothing is shown to be left",
    ),
    "negative": ("What fools f alone teaches too", "What fools f alone is not shown to teach the classes"),
    "attribution": (
        "The perturbations' part of g knows the classes",
        "The perturbations' part of g is not shown to know the classes",
    ),
}
"""What is said of a route that teaches, and of one that does not."""
_WHAT: dict[RouteName, str] = {
    "errors": "trained only on the inputs that f gets wrong, under f's wrong answers, g classifies {reached} correctly",
    "foreign": "trained only on inputs of {other} under f's answers, g classifies {reached} correctly",
    "robust_linear": "a linear classifier of the perturbed set that has robust linear features alone classifies "
    "{reached} correctly",
    "linear_shortcut": "trained without {more}, g classifies {reached} correctly",
    "negative": "trained on perturbations that fool {more}, g classifies {reached} correctly",
    "attribution": "what the perturbations alone added to g along its training classifies {reached} correctly",
}
"""What was measured."""


def _capitalised(text: str) -> str:
    return text if text.startswith("f's") else text[0].upper() + text[1:]
