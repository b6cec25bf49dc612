"""What is said of routes whose numbers are the test's own choice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.report.cells import cell
from tests.report.looking import Tags

from perturblearn import Audit, Result
from perturblearn.experiment import ROUTES, RouteName, wilson_interval
from perturblearn.pages import audit_page
from perturblearn.report import AuditReport
from perturblearn.results import RouteResult
from perturblearn.store import ArtefactStore


def with_measures(result: Result, values: Mapping[str, Sequence[float]]) -> Result:
    seeds = [
        replace(seed, measures={**seed.measures, **{name: of_seeds[number] for name, of_seeds in values.items()}})
        for number, seed in enumerate(result.seeds)
    ]
    return Result.of(result.config, result.key, seeds, 0.0)


def route(name: RouteName, result: Result | None, reason: str = "", **attack: Any) -> RouteResult:
    return RouteResult.of(name, cell([0.5], **attack).config, result, reason)


def shortcut(rest: Sequence[float], **options: Any) -> Result:
    """g without the linear shortcut, whose own control is g without random directions."""
    same = dict.fromkeys(("heldout", "rest_linear_heldout", "random_heldout", "directions"), [0.7] * len(rest))
    values = {**same, "rest_heldout": rest, "directions": [9.0] * len(rest)}
    return with_measures(cell([0.9] * len(rest), **options), {f"linear_shortcut_{k}": v for k, v in values.items()})


# Whether a route teaches; cells have ten classes and 40 held-out inputs


@pytest.mark.parametrize(
    ("g", "options", "teaches"),
    [
        ([0.6, 0.7], {}, True),
        ([0.6, 0.1], {}, False),  # a tie with every draw of one seed
        ([0.15, 0.15], {}, False),  # above every draw, but sampling 40 inputs explains it
        ([0.6, 0.7], {"controls": (0.55, 0.1)}, False),  # likewise above the one control
        ([0.09, 0.09], {"controls": (0.0, 0.0)}, False),  # above the controls, but not above chance
        ([0.6, 0.7], {"controls": None}, None),
    ],
)
def test_a_route_teaches_where_it_is_surely_above_its_controls_and_chance(
    g: Sequence[float], options: dict[str, Any], teaches: bool | None
) -> None:
    for name in ("errors", "negative"):
        assert route(name, cell(g, **options)).teaches is teaches


def test_what_is_left_is_compared_with_g_s_controls_and_shown_beside_its_own() -> None:
    left = route("linear_shortcut", shortcut([0.5, 0.6]))
    assert left.control is not None
    assert left.control["values"] == [0.7, 0.7]
    assert left.teaches
    assert not route("linear_shortcut", shortcut([0.5, 0.6], controls=(0.1, 0.6))).teaches


def test_intervals_are_for_the_inputs_that_were_looked_at() -> None:
    parts = {"attribution_perturbation_accuracy": [0.5, 0.7], "attribution_source_accuracy": [0.0, 0.1]}
    found = route("attribution", with_measures(cell([0.9, 0.9]), parts))
    assert found.result is not None
    assert found.reached is not None
    assert found.reached.get("interval") == pytest.approx(wilson_interval(0.6, 40))
    few = found.result.config.model_copy(
        update={"measures": found.result.config.measures.model_copy(update={"attribution_inputs": 10})}
    )
    looked = replace(found, result=replace(found.result, config=few)).reached
    assert looked is not None
    assert looked.get("interval") == pytest.approx(wilson_interval(0.6, 10))


# Words and forms


def audit_with(*routes: RouteResult) -> Audit:
    return Audit([cell([0.6, 0.7]), cell([0.6, 0.7], epsilon=2.0)], "key", "small", routes=routes)


ROUTES_FOUND = (
    route("errors", None, "there is none"),
    route("linear_shortcut", shortcut([0.5, 0.6])),
    route("linear_shortcut", shortcut([0.1, 0.1], epsilon=2.0), epsilon=2.0),
    route("attribution", None, "nothing to follow"),
    route("attribution", None, "nothing to follow", epsilon=2.0),
)


def test_every_route_has_its_sentence_and_an_equal_reason_is_told_once() -> None:
    assert AuditReport(audit_with(*ROUTES_FOUND)).why == [
        "f's errors: not run, as there is none.",
        "The linear shortcut is not all that teaches (mlp, L2 1): trained without the 9 directions of a linear "
        "classifier (it reaches 70.0 %, another one of what is left 70.0 %), g classifies 55.0 ± 7.1 % correctly; "
        "without random directions 70.0 ± 0.0 %.",
        "Without the linear shortcut nothing is shown to be left (mlp, L2 2): trained without the 9 directions of a "
        "linear classifier (it reaches 70.0 %, another one of what is left 70.0 %), g classifies 10.0 ± 0.0 % "
        "correctly; without random directions 70.0 ± 0.0 %.",
        "Perturbations' part of g: not run, as nothing to follow.",
    ]


@pytest.mark.parametrize(
    ("success", "claim"),
    [(0.4, "Hardly anything is found that fools f alone"), (0.6, "What fools f alone teaches too")],
)
def test_of_a_set_that_does_not_fool_f_nothing_is_said_of_what_does(success: float, claim: str) -> None:
    searched = cell([0.6, 0.7], success=success, keep_others=5, keep="odds")
    found = route("negative", with_measures(searched, {"kept_share": [0.75, 0.75]}))
    assert AuditReport(audit_with(found)).why == [
        f"{claim}: trained on perturbations that fool f on {100 * success:.1f} %, while 5 networks like f give 75.0 % "
        "their true label, g classifies 65.0 ± 7.1 % correctly; no perturbation 10.0 ± 0.0 %."
    ]


@pytest.mark.parametrize("name", ROUTES)
def test_without_controls_nothing_is_claimed(name: RouteName) -> None:
    measures = {
        "robust_linear_heldout": [0.5], "linear_shortcut_rest_heldout": [0.5], "linear_shortcut_heldout": [0.5],
        "linear_shortcut_directions": [9.0], "linear_shortcut_rest_linear_heldout": [0.5], "kept_share": [0.5],
        "attribution_perturbation_accuracy": [0.5],
    }  # fmt: skip
    found = route(name, with_measures(cell([0.5], controls=None), measures))
    assert found.teaches is None
    (sentence,) = AuditReport(audit_with(found)).why
    assert sentence.startswith(f"{found.route.title[0].upper() if name not in ('errors', 'foreign') else 'f'}")
    assert "cannot be judged without controls: " in sentence


def test_the_text_ends_with_the_routes() -> None:
    found = audit_with(*ROUTES_FOUND)
    lines = str(found).splitlines()
    title = lines.index("Why did g learn?")
    assert [line.split("  ")[0] for line in lines[title + 4 : title + 9]] == [ROUTES[each.name].title for each in
                                                                             ROUTES_FOUND]  # fmt: skip
    assert lines[-4:] == [f"- {line}" for line in AuditReport(found).why]
    assert "Why did g learn?" not in str(audit_with())


def test_a_folder_gives_back_the_routes(tmp_path: Path) -> None:
    found = audit_with(*ROUTES_FOUND)
    written = found.write(ArtefactStore(tmp_path / ".store"), tmp_path / "audit")
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False)) == found.to_dict()
    loaded = Audit.load(tmp_path / "audit")
    assert list(loaded.routes) == [
        replace(each, result=None if each.result is None else replace(each.result, versions=loaded.versions))
        for each in written.routes
    ]
    assert sorted(path.name for path in (tmp_path / "audit" / "cells").iterdir()) == [
        "01-mlp-l2-1.toml", "02-mlp-l2-2.toml", "03-mlp-l2-1-linear_shortcut.toml", "04-mlp-l2-2-linear_shortcut.toml",
    ]  # fmt: skip


def test_pages_show_the_routes(tmp_path: Path) -> None:
    found = audit_with(*ROUTES_FOUND)
    page = audit_page(found, tmp_path)
    assert "The linear shortcut is not all that teaches (mlp, L2 1)" in page
    assert "Accuracy by route" in page
    assert Tags(found._repr_html_()).tags.count("table") == 2
    assert "Accuracy by route" not in audit_page(audit_with(), tmp_path)
