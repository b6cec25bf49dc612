"""What an audit's numbers mean, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perturblearn.experiment import BEATEN_SHARE, chance_of
from perturblearn.report.conclusion import FEW_DRAWS, near_chance
from perturblearn.report.grid import attack_text, controls_of, has_learned, learner_of, mean_over, percent, plural
from perturblearn.report.result import Result

LINEAR_SHARE = 0.5
"""Where a linear classifier of g's perturbed set stays below this share of g's gain over chance, in every seed, most of
what g has learned is beyond linear leakage. Half, because the sentence says "most"; every seed, because the mean over a
few can be the doing of one."""
_HARDLY_SUCCEEDS = 0.1
"""Below this share of targets reached, f's outputs have hardly moved, so its perturbations can tell little."""
_NAMED = 3
"""Attacks that a warning names at most."""


def audit_verdict(cells: Sequence[Result], names: Mapping[str, str]) -> str:
    """What is learned from the perturbations, and how much of it is more than linear leakage: two sentences.

    The cell that the first one tells of is the one with the largest margin of g's mean accuracy over the larger of its
    controls' means, on held-out inputs; of those that beat their controls, if any does.

    Args:
        cells: an audit's.
        names: how its learners are called.
    """
    learned = [cell for cell in cells if has_learned(cell)]
    best = max(learned or cells, key=_margin)
    return f"{_what(best, cells, names)} {_how_much(best, learned, cells)}"


def audit_warnings(cells: Sequence[Result]) -> list[str]:
    """What makes an audit's numbers weaker than they look.

    Args:
        cells: an audit's.
    """
    found = (_weak_model(cells), _one_seed(cells), _few_draws(cells), _weak_attacks(cells))
    return [warning for warning in found if warning is not None]


def _margin(cell: Result) -> float:
    rivals = [values["mean"] for values in controls_of(cell).values()]
    return cell.summary["perturbation_accuracy_heldout"]["mean"] - max(rivals, default=chance_of(cell.seeds))


def _what(best: Result, cells: Sequence[Result], names: Mapping[str, str]) -> str:
    count = f"best of {len(cells)} combinations" if len(cells) > 1 else "the one combination"
    reached = _reached(best, names)
    if has_learned(best):
        teach = "teach" if min(_draws([best])) >= FEW_DRAWS else "seem to teach"
        return f"Perturbations of f {teach} the classes ({count}): {reached}."
    if not controls_of(best):
        return f"Without controls nothing follows ({count}): {reached}."
    return (
        f"Nothing was shown to be learned: in no combination does g beat {BEATEN_SHARE:.0%} of the draws of each "
        f"control, and chance; {count}: {reached}."
    )


def _reached(cell: Result, names: Mapping[str, str]) -> str:
    """What g reaches in a cell, and everything that it has to be compared with."""
    attack, g = cell.config.attack, cell.summary["perturbation_accuracy_heldout"]
    spread = "" if g["std"] is None else f" +- {percent(g['std'])}"
    compared = [
        f"f {percent(cell.summary['standard_accuracy_heldout']['mean'])} %",
        f"chance {percent(chance_of(cell.seeds))} %",
        *(
            f"{name} control {percent(values['mean'])} % ({values['beaten']:.0%} of its draws beaten)"
            for name, values in controls_of(cell).items()
        ),
    ]
    return (
        f"trained on those of {attack.name}, {attack_text(attack)}, g ({names[learner_of(cell)]}) "
        f"gives {percent(g['mean'])}{spread} % of clean held-out inputs their true class over "
        f"{plural(len(cell.seeds), 'seed')}, against {', '.join(compared)}"
    )


def _how_much(best: Result, learned: Sequence[Result], cells: Sequence[Result]) -> str:
    probed = [cell for cell in learned or cells if "linear_probe_heldout" in cell.summary]
    beaten = f"In {len(learned)} of {plural(len(cells), 'combination')} g beats its controls and chance"
    if not controls_of(cells[0]):
        beaten = "No combination has controls to beat"
    if not probed:
        return f"{beaten}; how much leaks to a linear classifier was not measured (controls.linear_probe = true does)."
    if not learned:
        reached = [cell.summary["linear_probe_heldout"]["mean"] for cell in probed]
        return f"{beaten}; a linear classifier of the same perturbed sets reaches {_span(reached)} %."
    shares = [_linear_gain(cell) for cell in probed]
    of_best = f" ({percent(_linear_gain(best))} % in the best)" if best in probed and len(probed) > 1 else ""
    where = "" if len(probed) == len(learned) else f" in the {len(probed)} where it was fitted"
    return (
        f"{beaten}; there a linear classifier of the same perturbed sets makes {_span(shares)} % of g's gain "
        f"over chance{of_best}{where}, so {_leakage([_is_more_than_linear(cell) for cell in probed])}."
    )


def _leakage(more: Sequence[bool]) -> str:
    if all(more):
        return "most of what transfers is more than linear leakage"
    if not any(more):
        return "most of what transfers may be linear leakage"
    return f"most of it is more than linear leakage in {sum(more)} of these, and may be that in the others"


def _linear_gain(cell: Result) -> float:
    """The linear classifier's gain over chance, as a share of g's; 0 where it has none."""
    chance = chance_of(cell.seeds)
    gain = cell.summary["linear_probe_heldout"]["mean"] - chance
    return max(0.0, gain) / (cell.summary["perturbation_accuracy_heldout"]["mean"] - chance)


def _is_more_than_linear(cell: Result) -> bool:
    chance = chance_of(cell.seeds)
    g, linear = (cell.summary[name]["values"] for name in ("perturbation_accuracy_heldout", "linear_probe_heldout"))
    return all(max(0.0, low - chance) < LINEAR_SHARE * (high - chance) for high, low in zip(g, linear, strict=True))


def _span(shares: Sequence[float]) -> str:
    low, high = percent(min(shares)), percent(max(shares))
    return low if low == high else f"{low} to {high}"


def _weak_model(cells: Sequence[Result]) -> str | None:
    accuracy = mean_over(cells, "standard_accuracy_heldout")
    chance = chance_of(cells[0].seeds)
    if accuracy >= near_chance(chance):
        return None
    return (
        f"Note: f itself is near chance on held-out inputs ({percent(accuracy)} %, chance {percent(chance)} %), so its "
        "perturbations have little to teach; audit a network that has learned its task."
    )


def _one_seed(cells: Sequence[Result]) -> str | None:
    if min(len(cell.seeds) for cell in cells) > 1:
        return None
    return "Note: one seed shows no spread, and the best of many combinations can be lucky; give --seeds 3 or more."


def _draws(cells: Sequence[Result]) -> list[int]:
    """Over all seeds, of each control of each cell."""
    return [len(values["values"]) for cell in cells for values in controls_of(cell).values()]


def _few_draws(cells: Sequence[Result]) -> str | None:
    draws = _draws(cells)
    if not draws or min(draws) >= FEW_DRAWS:
        return None
    return (
        f"Note: a control has {plural(min(draws), 'draw')} over all seeds, which hardly tells how far chance reaches; "
        "raise controls.draws where time allows."
    )


def _weak_attacks(cells: Sequence[Result]) -> str | None:
    reached = {attack_text(cell.config.attack): cell.summary["attack_success"]["mean"] for cell in cells}
    weak = {name: share for name, share in reached.items() if share is not None and share < _HARDLY_SUCCEEDS}
    if not weak:
        return None
    named = "; ".join(f"{name}: {percent(share)} %" for name, share in list(weak.items())[:_NAMED])
    more = f" and {len(weak) - _NAMED} more" if len(weak) > _NAMED else ""
    return (
        f"Note: {plural(len(weak), 'attack')} of {len(reached)} hardly "
        f"reach{'es' * (len(weak) == 1)} the targets on f ({named}{more}), and perturbations that do not move f teach "
        "little; raise epsilon there."
    )
