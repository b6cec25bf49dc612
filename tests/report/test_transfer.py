from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.report.cells import cell, run_cell
from tests.report.looking import Tags

from perturblearn import Result, TransferMatrix
from perturblearn.config import resolve_config
from perturblearn.experiment import FoolingSummary, summarise
from perturblearn.report import TransferReport
from perturblearn.report.transfer import _interval, spearman
from perturblearn.store import ArtefactStore

Pair = tuple[str, str]
MLP, OWN = "mlp", "mypackage.nets:make_transformer"


def matrix_of(
    reached: Mapping[Pair, Sequence[float]], fooling: Mapping[Pair, Sequence[float | None]] | None = None
) -> TransferMatrix:
    cells = {pair: cell(g, names=pair) for pair, g in reached.items()}
    fooled = {pair: FoolingSummary(summarise(values)) for pair, values in (fooling or {}).items()}
    return TransferMatrix(cells, fooled, "key", "small")


@pytest.fixture(scope="module")
def real() -> TransferMatrix:
    """One architecture's perturbations that were really learned by two sizes, under the names of two networks."""
    cells = {(MLP, MLP): run_cell(), (MLP, "convnet"): run_cell(perturbation__model__hidden_dim=16)}
    measured = FoolingSummary(summarise([0.25, 0.5]), summarise([0.75, None]))
    return TransferMatrix(cells, {(MLP, "convnet"): measured}, "key", "small")


# Numbers


def test_ranks_correlate_as_the_textbook_says() -> None:
    # Without ties: 1 - 6 sum d^2 / (n (n^2 - 1)).
    generator = np.random.default_rng(0)
    for count in (4, 7, 20):
        first, second = generator.permutation(count), generator.permutation(count)
        expected = 1 - 6 * float(((first - second) ** 2).sum()) / (count * (count**2 - 1))
        # Exponentials keep the order and nothing else.
        found = spearman(np.exp(first).tolist(), second.tolist())
        assert found == pytest.approx(expected, abs=1e-12)  # a few roundings of numbers of size 1


def test_ties_share_the_mean_of_their_ranks() -> None:
    ranks = [[1.5, 1.5, 3.0, 4.0], [4.0, 2.0, 2.0, 2.0]]
    expected = float(np.corrcoef(ranks[0], ranks[1])[0, 1])
    assert spearman([5, 5, 6, 9], [9, 0, 0, 0]) == pytest.approx(expected, abs=1e-12)
    assert spearman([1, 2, 3, 4], [7, 7, 7, 7]) is None


def test_an_interval_is_student_s() -> None:
    # By hand: differences of 1, 2 and 6 points have mean 3 and deviation sqrt(7); t of 2 degrees is 4.3027.
    mean, reach = _interval({0: 0.01, 1: 0.02, 2: 0.06}, {0: 0.0, 1: 0.0, 2: 0.0})
    assert mean == pytest.approx(3)
    assert reach == pytest.approx(4.3027 * math.sqrt(7 / 3), abs=1e-4)
    assert _interval({0: 0.5}, {0: 0.25}) == (25, None)


# Sentences


SURE = {
    (MLP, MLP): [0.80, 0.82, 0.81],
    (MLP, OWN): [0.50, 0.52, 0.51],
    (OWN, MLP): [0.60, 0.62, 0.61],
    (OWN, OWN): [0.70, 0.72, 0.71],
}


def test_a_difference_that_the_seeds_establish() -> None:
    reading = matrix_of(SURE).reading
    assert reading.startswith(
        "g beats its controls and chance in 4 of 4 cells. From perturbations of its own architecture g learns more "
        "than from those of others (76.0 % against 56.0 %; difference 20.0 points, 95 % interval 20.0 to 20.0 over 3 "
        "seeds)."
    )
    # Means of rows: 0.66 and 0.66, a tie; of columns: 0.71 and 0.61.
    assert "make_transformer" in reading
    assert "mlp learns most (71.0 % against 61.0 % for make_transformer; difference 10.0 points" in reading
    assert "mypackage" not in reading
    assert "rank correlation" not in reading


def test_a_difference_that_the_seeds_do_not_establish() -> None:
    # Differences of 0, 10 and 20 points: standard error 10 / sqrt(3), times 4.30 is 24.8.
    reached = {**SURE, (MLP, MLP): [0.5, 0.6, 0.7], (OWN, MLP): [0.5] * 3, (MLP, OWN): [0.5] * 3, (OWN, OWN): [0.5] * 3}
    reading = matrix_of(reached).reading
    assert (
        "g learns more than from those of others on average, which the seeds do not establish (55.0 % against 50.0 %; "
        "difference 5.0 points, 95 % interval -7.4 to 17.4 over 3 seeds)" in reading
    )
    assert "mlp learns most on average, which the seeds do not establish" in reading


def test_two_seeds_establish_nothing() -> None:
    # Their differences are equal, so the interval has no width.
    reading = matrix_of({pair: values[:2] for pair, values in SURE.items()}).reading
    assert "difference 20.0 points, 95 % interval 20.0 to 20.0 over 2 seeds" in reading
    assert reading.count("which the seeds do not establish") == 3


def test_one_seed_establishes_nothing() -> None:
    reading = matrix_of({pair: values[:1] for pair, values in SURE.items()}).reading
    assert reading.count("which the seeds do not establish") == 3
    assert reading.count("one seed") == 3
    assert "interval" not in reading


def test_less_is_said_too_and_what_was_not_learned() -> None:
    reached = {**SURE, (MLP, MLP): [0.1] * 3, (OWN, OWN): [0.1] * 3}
    reading = matrix_of(reached).reading
    assert reading.startswith("g beats its controls and chance in 2 of 4 cells.")
    assert "g learns less than from those of others (10.0 % against 56.0 %" in reading


def test_without_controls_nothing_is_counted() -> None:
    cells = {pair: cell(g, names=pair, controls=None) for pair, g in SURE.items()}
    reading = TransferMatrix(cells, {}, "key", "small").reading
    assert reading.startswith("Without controls it is not known how much of this comes from the perturbations. From")


def test_a_matrix_of_one_row_compares_columns_alone() -> None:
    reading = matrix_of({pair: g for pair, g in SURE.items() if pair[0] == MLP}).reading
    assert "own architecture" not in reading
    assert "teach most" not in reading
    assert "mlp learns most (81.0 % against 51.0 %" in reading
    alone = matrix_of({(MLP, MLP): [0.5, 0.6]}).reading
    assert alone == "g beats its controls and chance in 1 of 1 cell."


@pytest.mark.parametrize(
    ("fooling", "expected"),
    [
        (SURE, "Over 4 cells, perturbations of A that fool B more often teach it more: rank correlation 1.00, 1.00 to"),
        (
            {pair: [1 - value for value in values] for pair, values in SURE.items()},
            "teach it less: rank correlation -1.00, -1.00 to -1.00 seed by seed",
        ),
        (
            {pair: [values[0], 1 - values[1], values[2]] for pair, values in SURE.items()},
            "teach it more: rank correlation 1.00, -1.00 to 1.00 seed by seed",
        ),
    ],
    ids=["more", "less", "seeds disagree"],
)
def test_fooling_and_learning_are_compared_by_ranks(fooling: Mapping[Pair, Sequence[float]], expected: str) -> None:
    assert expected in matrix_of(SURE, fooling).reading


def test_cells_that_fooling_was_not_measured_in_are_left_out() -> None:
    names = ("mlp", "convnet", "resnet18")
    reached = {(a, b): [0.3 + 0.1 * i + 0.05 * j] * 2 for i, a in enumerate(names) for j, b in enumerate(names)}
    fooling = {pair: values if pair[0] != pair[1] else [None, None] for pair, values in reached.items()}
    matrix = matrix_of(reached, fooling)
    assert "Over 6 cells" in matrix.reading
    assert matrix.reading.count(". ") == 4  # five sentences
    few = {pair: fooling[pair] for pair in list(fooling)[:4]}  # one of them is None
    assert "rank" not in matrix_of(reached, few).reading


def test_seeds_that_agree_with_each_other_but_not_with_the_means() -> None:
    # Each seed's order is the same on both sides, but one seed has the spread of fooling, the other that of learning.
    reached = {pair: [0.2 + 0.2 * rank, 0.24 - 0.01 * rank, 0.24 - 0.01 * rank] for rank, pair in enumerate(SURE)}
    fooling = {pair: [0.01 * rank, 0.9 - 0.2 * rank, 0.9 - 0.2 * rank] for rank, pair in enumerate(SURE)}
    reading = matrix_of(reached, fooling).reading
    assert "does not show whether perturbations" in reading
    assert "rank correlation -1.00, 1.00 to 1.00" in reading


def test_a_weak_relation_is_none() -> None:
    # Ranks 1 2 3 4 against 2 1 4 3: 1 - 6 * 4 / 60 = 0.6; against 3 1 2 4: 1 - 6 * 6 / 60 = 0.4.
    reached = {pair: [0.2 + 0.1 * rank] * 3 for rank, pair in enumerate(SURE)}
    for order, found in (((2, 1, 4, 3), "teach it more: rank correlation 0.60"), ((3, 1, 2, 4), "teach it more: rank")):
        fooling = {pair: [0.1 * rank] * 3 for rank, pair in zip(order, SURE, strict=True)}
        assert found in matrix_of(reached, fooling).reading


def test_one_seed_of_fooling_shows_no_relation() -> None:
    reached = {pair: values[:1] for pair, values in SURE.items()}
    reading = matrix_of(reached, reached).reading
    assert "does not show whether" in reading
    assert "teach it more: rank correlation 1.00. Cells share" in reading


# Forms


def test_four_matrices_are_printed() -> None:
    cells: dict[Pair, Result] = {
        (MLP, MLP): cell([0.5, 0.7], names=(MLP, MLP), controls=(0.11, 0.12)),
        (MLP, OWN): cell([0.4, 0.4], names=(MLP, OWN), controls=None),
    }
    fooling = {(MLP, OWN): FoolingSummary(summarise([0.25, 0.75]), summarise([None, None]))}
    lines = [line.split() for line in str(TransferMatrix(cells, fooling, "key", "small")).splitlines()]
    heads = [
        number for number, words in enumerate(lines) if words == ["perturbations", "of", "mlp", "make_transformer"]
    ]
    assert [lines[number + 1] for number in heads] == [
        ["mlp", "0.600", "±", "0.141", "0.400", "±", "0.000"],
        ["mlp", "0.446–0.737", "0.263–0.554"],
        ["mlp", "0.110", "/", "0.120", "-"],
        ["mlp", "-", "0.50", "±", "0.35", "/", "-"],
    ]


def test_the_text_ends_with_the_reading(real: TransferMatrix) -> None:
    assert str(real).splitlines()[-1] == real.reading


def test_the_dict_is_json_and_holds_every_cell(real: TransferMatrix) -> None:
    content = real.to_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["kind"] == "transfer matrix"
    first, second = content["cells"]
    assert (first["standard"], first["perturbation"], first["fooling"]) == (MLP, MLP, {"success": None, "error": None})
    assert second["fooling"]["error"] == summarise([0.75, None])
    assert second["changes"] == {"perturbation.model.hidden_dim": 16}
    assert second["summary"] == real.cells[MLP, "convnet"].summary


def test_a_folder_gives_back_an_equal_matrix(tmp_path: Path, real: TransferMatrix) -> None:
    folder = tmp_path / "transfer"
    written = real.write(ArtefactStore(tmp_path / ".store"), folder)
    assert written == replace(real, folder=folder)
    loaded = TransferMatrix.load(folder)
    assert replace(loaded, fooling={}) == replace(written, fooling={})
    assert loaded.to_dict() == written.to_dict() == json.loads((folder / "transfer.json").read_text())
    assert str(loaded) == str(written)
    assert (folder / "transfer.png").read_bytes().startswith(b"\x89PNG")
    tomls = sorted((folder / "cells").iterdir())
    assert [path.name for path in tomls] == ["01-mlp-mlp.toml", "02-mlp-convnet.toml"]
    assert [resolve_config(path) for path in tomls] == [found.config for found in real.cells.values()]
    with (folder / "table.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert float(first["perturbation_accuracy_heldout"]) == real.cells[MLP, MLP].summary[
        "perturbation_accuracy_heldout"
    ]["mean"]  # fmt: skip
    assert (first["fooling_success"], second["fooling_success"], second["fooling_error"]) == ("", "0.375", "0.75")
    assert second["fooling_error_std"] == ""


def test_a_frame_has_one_row_per_pair_and_seed(real: TransferMatrix) -> None:
    frame = real.to_frame()
    names = ["standard", "perturbation", "seed"]
    assert frame[names].to_numpy().tolist() == [[MLP, g, seed] for g in (MLP, "convnet") for seed in (0, 1)]
    assert frame["fooling_success"].tolist()[2:] == [0.25, 0.5]
    assert frame["fooling_error"].isna().tolist() == [True, True, False, True]
    values = [value for found in real.cells.values() for value in found.summary["attack_success"]["values"]]
    assert frame["attack_success"].tolist() == values


def test_html_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = "<script>alert('&')</script>"
    monkeypatch.setattr(TransferReport, "reading", property(lambda _: hostile))
    matrix = TransferMatrix({(hostile, MLP): cell([0.5, 0.6])}, {}, "key", hostile)
    found = Tags(matrix._repr_html_())
    assert "script" not in found.tags
    assert (found.tags.count("tr"), found.tags.count("th"), found.tags.count("td")) == (4 * 2, 4 * 2, 4 * 2)
    assert "".join(found.words).count(hostile) == 1 + 4 + 1  # name, a row of each matrix, reading
