"""What there is to read and see of a transfer matrix."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from perturblearn.experiment import HELDOUT, Pair
from perturblearn.report.attribution import attribution_cell
from perturblearn.report.words import (
    aligned,
    attack_text,
    data_text,
    html_lines,
    html_table,
    interval_text,
    latex_table,
    mean_text,
    percent,
    plural,
    size_text,
    source_text,
    with_spread,
)
from perturblearn.results import Result, Style, TransferMatrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Value = TypeVar("Value")

_CORNER = "perturbations of"
_ENOUGH_SEEDS = 3
"""Seeds from which on a sign counts as established: shares of a small data set can differ equally in two by accident,
which leaves an interval of no width."""
_ENOUGH_CELLS = 4
"""Cells from which on a rank correlation is told: three are in order by chance too often."""
_CLEAR = 0.5
"""Size that a rank correlation has in every seed before it is called a relation."""


@dataclass(frozen=True)
class TransferReport:
    """Sentences, tables and pictures of a transfer matrix.

    Args:
        matrix: what it has measured.
    """

    matrix: TransferMatrix

    @property
    def title(self) -> str:
        """What was measured, in one line."""
        config, attack = self.matrix.first.config, self.matrix.first.config.attack
        return (
            f"{self.matrix.name}: transfer of perturbations, {data_text(config)}, {attack.name}, "
            f"{attack_text(attack)}, {source_text(attack)}, targets {attack.targets}, "
            f"{plural(len(self.matrix.first.seeds), 'seed')}{size_text(self.matrix.first.size)}"
        )

    @property
    def reading(self) -> str:
        """What the numbers mean, with no more certainty than the seeds allow."""
        fooling: dict[Pair, dict[int, float]] = {}
        for pair, cell in self.matrix.cells.items():
            success = self.matrix.fooling_of(pair).success
            if success is not None:
                by_seed = zip((seed.seed for seed in cell.seeds), success["values"], strict=True)
                fooling[pair] = {seed: value for seed, value in by_seed if value is not None}
        return read_transfer(self.matrix.cells, fooling, self.matrix.short_names)

    @property
    def tables(self) -> list[tuple[str, list[list[str]]]]:
        """What is printed: heads and lines, the first of which names the columns."""
        matrix, short = self.matrix, self.matrix.short_names

        def controls(pair: Pair) -> str:
            found = matrix.cells[pair].controls
            return _both(mean_text(found.get(name)) for name in ("unperturbed", "permuted"))

        def fooling(pair: Pair) -> str:
            found = matrix.fooling_of(pair)
            return _both(with_spread(part, digits=2) for part in (found.success, found.error))

        shown: list[tuple[str, Callable[[Pair], str]]] = [
            (
                f"accuracy of g on clean held-out inputs, over the seeds; chance {matrix.first.chance:.3f}",
                lambda pair: with_spread(matrix.cells[pair].summary[HELDOUT.perturbation]),
            ),
            (
                "its 95 % interval (Wilson's, for sampling the held-out inputs)",
                lambda pair: interval_text(matrix.cells[pair].summary[HELDOUT.perturbation]),
            ),
            ("the same of its controls, unperturbed / permuted", controls),
            (
                "how often perturbed inputs fool another network, trained on clean data: to their target / from their "
                "true label",
                fooling,
            ),
        ]
        if "attribution_total" in matrix.first.summary:
            shown.append(
                (
                    "g's class signal, taught by perturbations / by their sources under the target labels / in all",
                    lambda pair: attribution_cell(matrix.cells[pair]),
                )
            )
        return [
            (
                head,
                [
                    [_CORNER, *(short[name] for name in matrix.columns)],
                    *([short[row], *(cell((row, column)) for column in matrix.columns)] for row in matrix.rows),
                ],
            )
            for head, cell in shown
        ]

    @property
    def text(self) -> str:
        """The tables and their reading."""
        lines = [line for head, table in self.tables for line in (head, *aligned(table), "")]
        rule = "-" * max(map(len, lines))
        return "\n".join((self.title, rule, *lines[:-1], rule, "", self.reading))

    @property
    def html(self) -> str:
        """The same for a notebook."""
        tables = (html_lines([head]) + html_table(table[0], table[1:]) for head, table in self.tables)
        return html_lines([self.title]) + "".join(tables) + html_lines([self.reading])

    @property
    def latex(self) -> str:
        """The tables in LaTeX."""
        tables = (latex_table(f"{self.title}: {head}", table[0], table[1:]) for head, table in self.tables)
        return "\n".join(tables)

    def plot(self, style: Style | None = None) -> Figure:
        """Accuracy of g, and how often B gives A's perturbed inputs their target."""
        from perturblearn.report.charts import draw
        from perturblearn.report.charts.grid import transfer_picture

        return draw(transfer_picture(self.matrix, self.title), style)


def _both(texts: Iterable[str]) -> str:
    """Two numbers in one cell; one dash where neither was measured."""
    text = " / ".join(texts)
    return "-" if text == "- / -" else text


def read_transfer(
    cells: Mapping[Pair, Result], fooling: Mapping[Pair, Mapping[int, float]], names: Mapping[str, str]
) -> str:
    """Whether networks learn most from their own kind, who teaches and who learns most, and whether fooling goes along.

    Differences are taken seed by seed and told with Student's interval.

    Args:
        cells: a transfer matrix's, all over the same seeds.
        fooling: of the cells where it was measured, by seed: how often the perturbed inputs reach their targets.
        names: how the networks are called.
    """
    reached = {
        pair: {seed.seed: seed.measures[HELDOUT.perturbation] for seed in cell.seeds} for pair, cell in cells.items()
    }
    sentences = (_own_kind(cells, reached), _most(reached, names), _fooling_and_learning(reached, fooling))
    return " ".join(sentence for sentence in sentences if sentence)


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Rank correlation, in [-1, 1]; None where all values of one side are equal.

    Args:
        first, second: as many values each; equal ones share the mean of their ranks.
    """
    if len(set(first)) == 1 or len(set(second)) == 1:
        return None
    # Here and not above: scipy.stats takes longer to import than many a command to run.
    from scipy.stats import rankdata

    # Not spearmanr, which is off by a rounding where the correlation is 0.5 exactly, the size that is asked for below.
    return statistics.correlation(rankdata(first).tolist(), rankdata(second).tolist())


def _own_kind(cells: Mapping[Pair, Result], reached: Mapping[Pair, Mapping[int, float]]) -> str:
    learned = sum(cell.has_learned is True for cell in cells.values())
    start = f"g beats its controls and chance in {learned} of {plural(len(cells), 'cell')}."
    if not any(cell.controls for cell in cells.values()):
        start = "Without controls it is not known how much of this comes from the perturbations."
    # Columns that have both: learners differ in what they learn from anything.
    rivals = {
        learner: [pair for pair in cells if pair[1] == learner and pair[0] != learner]
        for learner in dict.fromkeys(pair[1] for pair in cells)
    }
    compared = [learner for learner, others in rivals.items() if others and (learner, learner) in cells]
    if not compared:
        return start
    own = _mean_by_seed([[reached[learner, learner]] for learner in compared])
    other = _mean_by_seed([[reached[pair] for pair in rivals[learner]] for learner in compared])
    difference = _mean(own) - _mean(other)
    how_much = "as much as" if difference == 0 else "more than" if difference > 0 else "less than"
    return (
        f"{start} From perturbations of its own architecture g learns {how_much} from those of others"
        f"{_unless_shown(own, other)} ({percent(_mean(own))} % against {percent(_mean(other))} %; "
        f"{_difference(own, other)})."
    )


def _most(reached: Mapping[Pair, Mapping[int, float]], names: Mapping[str, str]) -> str:
    parts: list[str] = []
    for side, says in ((0, "perturbations of {} teach most"), (1, "{} learns most")):
        of_one = {
            name: _mean_by_seed([[values for pair, values in reached.items() if pair[side] == name]])
            for name in dict.fromkeys(pair[side] for pair in reached)
        }
        if len(of_one) < 2:
            continue
        first, second = sorted(of_one, key=lambda name: _mean(of_one[name]), reverse=True)[:2]
        parts.append(
            f"{says.format(names[first])}{_unless_shown(of_one[first], of_one[second])} "
            f"({percent(_mean(of_one[first]))} % against {percent(_mean(of_one[second]))} % for {names[second]}; "
            f"{_difference(of_one[first], of_one[second])})"
        )
    text = ", and ".join(parts)
    return f"In this matrix {text}." if text else ""


def _fooling_and_learning(
    reached: Mapping[Pair, Mapping[int, float]], fooling: Mapping[Pair, Mapping[int, float]]
) -> str:
    pairs = [pair for pair in reached if fooling.get(pair)]
    if len(pairs) < _ENOUGH_CELLS:
        return ""
    overall = spearman([_mean(fooling[pair]) for pair in pairs], [_mean(reached[pair]) for pair in pairs])
    if overall is None:
        return ""
    seeds = set.intersection(*(set(reached[pair]) & set(fooling[pair]) for pair in pairs))
    of_seeds = [
        spearman([fooling[pair][seed] for pair in pairs], [reached[pair][seed] for pair in pairs]) for seed in seeds
    ]
    known = [value for value in of_seeds if value is not None]
    sign = math.copysign(1, overall)
    agree = len(known) >= _ENOUGH_SEEDS and min(sign * value for value in known) >= _CLEAR
    span = f", {min(known):.2f} to {max(known):.2f} seed by seed" if len(known) > 1 else ""
    relation = (
        f"perturbations of A that fool B more often teach it {'more' if overall > 0 else 'less'}"
        if agree
        else "this matrix does not show whether perturbations of A that fool B more often teach it more"
    )
    return (
        f"Over {plural(len(pairs), 'cell')}, {relation}: rank correlation {overall:.2f}{span}. Cells share networks, "
        "so this describes them and tests nothing."
    )


def _mean_by_seed(groups: Iterable[Sequence[Mapping[int, float]]]) -> dict[int, float]:
    """Seed by seed the mean over groups of the mean in each."""
    groups = list(groups)
    return {
        seed: statistics.fmean(statistics.fmean(values[seed] for values in group) for group in groups)
        for seed in groups[0][0]
    }


def _mean(of_seeds: Mapping[int, float]) -> float:
    return statistics.fmean(of_seeds.values())


def _unless_shown(first: Mapping[int, float], second: Mapping[int, float]) -> str:
    """What a comparison has to add where the seeds do not tell the sign of the difference."""
    mean, reach = _interval(first, second)
    is_shown = len(first) >= _ENOUGH_SEEDS and reach is not None and abs(mean) > reach
    return "" if is_shown else " on average, which the seeds do not establish"


def _difference(first: Mapping[int, float], second: Mapping[int, float]) -> str:
    """The difference in points with its interval."""
    mean, reach = _interval(first, second)
    if reach is None:
        return f"difference {mean:.1f} points, one seed"
    return (
        f"difference {mean:.1f} points, 95 % interval {mean - reach:.1f} to {mean + reach:.1f} over {len(first)} seeds"
    )


def _interval(first: Mapping[int, float], second: Mapping[int, float]) -> tuple[float, float | None]:
    """Mean of the seeds' differences in points, and half the width of Student's interval; None for one seed."""
    from scipy.stats import t  # as in `spearman`

    values = [100 * (first[seed] - second[seed]) for seed in first]
    mean = statistics.fmean(values)
    if len(values) == 1:
        return mean, None
    quantile = float(t.ppf(0.975, len(values) - 1))
    return mean, quantile * statistics.stdev(values) / math.sqrt(len(values))
