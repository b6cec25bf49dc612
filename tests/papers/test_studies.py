"""The studies' settings, and their analyses on runs whose answer is known."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import pytest

from perturblearn.config import value_of
from perturblearn.data import load_dataset
from perturblearn.experiment import FEATURE_BANDS, FEATURE_NUMBERS, feature_measure
from perturblearn.papers import STUDIES, Analysis, Study, StudyRun
from perturblearn.papers.figure import number
from perturblearn.papers.study_analyses import SIZE_LAW
from perturblearn.theory import expected_perturbation_accuracy, orthogonality

SEEDS = (0, 1, 2)


def rows_of(analysis: Analysis, table: str) -> list[dict[str, Any]]:
    (found,) = [one for one in analysis.tables if one.name == table]
    return [dict(zip(found.heads, row, strict=True)) for row in found.rows]


def runs_of(study: Study, measures: Any) -> list[StudyRun]:
    """Every run of a study as if it had measured what a function of its settings says."""
    found = []
    for way in study.ways:
        for point in study.points(way=way):
            for seed in SEEDS:
                run = study.run(point.panel, way, point.values, seed, {})
                found.append(study.run(point.panel, way, point.values, seed, measures(run)))
    return found


@pytest.mark.parametrize("scale", ["quick", "full"])
@pytest.mark.parametrize("name", STUDIES)
def test_every_point_is_an_experiment(name: str, scale: Any) -> None:
    study = STUDIES[name].at(scale)
    for way in study.ways:
        points = list(study.points(way=way))
        assert len({point.config.model_dump_json() for point in points}) > len(points) / 2
        without = ("smallest_perturbation", "features", "map", "constructed_sets", "separations")
        with_theory = name.removeprefix("studies/") not in without
        assert all(point.config.measures.theory == with_theory for point in points)
        assert all(point.config.measures.features == (name == "studies/features") for point in points)
    assert len(study.panels) == len({panel.name for panel in study.panels}), "a panel is known by its name"


def test_the_sizes_span_what_is_expected() -> None:
    study = STUDIES["studies/smallest_perturbation"]
    for panel in study.panels:
        sizes = panel.varied["epsilon"]
        assert list(sizes) == sorted(sizes)
        if panel.fixed["attack.source"] == "natural":
            bound = math.sqrt(number(panel.fixed, "input_dim") / number(panel.fixed, "n_samples"))
            assert sizes[0] < bound < 4 * bound < sizes[-1]
        else:
            assert panel.fixed["n_adv"] == panel.fixed["n_samples"]
            assert sizes[0] < SIZE_LAW / 2 < 2 * SIZE_LAW < sizes[-1]
    assert expected_perturbation_accuracy(
        epsilon=SIZE_LAW, n_sources=160, n_samples=160, input_dim=4000, data="gauss"
    ) == pytest.approx(0.9)


def test_the_condition_holds_at_one_end() -> None:
    study = STUDIES["studies/orthogonality"]
    point = next(study.points(panels=[7]))
    inputs = load_dataset(point.config.data, seed=0).inputs
    assert orthogonality(inputs, slope=value_of(point.config, "standard.model.slope")).factor < 1


def test_the_orthogonality_s_slopes() -> None:
    def measures(run: StudyRun) -> dict[str, float]:
        rho, n_samples, slope = (number(run.settings, name) for name in ("rho", "n_samples", "slope"))
        decades = 8 * rho + math.log10(n_samples) - 3 * math.log10(slope)
        return {
            "training_orthogonality_factor": 10**decades,
            "perturbed_orthogonality_factor": 10.0,
            "perturbation_accuracy": 0.9 - 0.02 * decades,
            "agreement": 0.5 + 0.01 * run.seed,
        }

    study = STUDIES["studies/orthogonality"]
    found = study.analysis(runs_of(study, measures))
    slopes = rows_of(found, "per_decade")
    assert len(slopes) == 2 * 7 * 2
    for row in slopes:
        assert row["slope"] == pytest.approx(-0.02 if row["measure"] == "perturbation_accuracy" else 0.0, abs=1e-12)
        assert row["low"] == pytest.approx(row["slope"], abs=1e-12)
        assert row["n_seeds"] == 3
    conditions = rows_of(found, "conditions")
    assert conditions[0]["agreement"] == pytest.approx(0.51)
    assert conditions[0]["agreement_std"] == pytest.approx(0.01)
    assert conditions[0]["perturbed_factor"] == pytest.approx(10.0)
    laws = {(row["panel"], row["value"]): row["size_law"] for row in conditions}
    assert laws[1, 0.0] == pytest.approx(0.9, abs=1e-3)
    assert laws[1, 0.6] == pytest.approx(NormalDist().cdf(1.28 * math.sqrt(0.4)))
    assert laws[3, 0.0] is None, "the law is of noise sources"
    assert len(found.charts) == 4
    assert [len(chart.lines) for chart in found.charts] == [7] * 4
    assert "accuracy changes by -0.020 (-0.020 to -0.020) per factor of ten" in found.sentences[0]


def test_the_smallest_perturbation_s_exponents() -> None:
    def measures(run: StudyRun) -> dict[str, float]:
        noise = run.settings["attack.source"] == "gauss"
        dim, n_samples, size = (number(run.settings, name) for name in ("input_dim", "n_samples", "epsilon"))
        smallest = 1.1 if noise else 1.7 * math.sqrt(dim / n_samples)
        if not noise and run.way == "flow":
            smallest = (
                math.inf if (dim, n_samples) == (4000, 160) else 0.0 if (dim, n_samples) == (500, 160) else smallest
            )
        steepness = 1.0 + 0.1 * run.seed
        # A curve that is straight over the logarithm, so that interpolation is exact.
        gained = -9.0 if smallest == math.inf else 9.0 if smallest == 0 else math.log(size / smallest)
        return {"perturbation_accuracy": 0.9 + 0.1 * steepness * gained}

    study = STUDIES["studies/smallest_perturbation"]
    found = study.analysis(runs_of(study, measures))
    exponents = {(row["way"], row["sources"], row["setting"]): row for row in rows_of(found, "exponents")}
    for (_, sources, setting), row in exponents.items():
        expected = {"natural": {"input_dim": 0.5, "n_samples": -0.5}, "noise": {"input_dim": 0, "n_samples": 0}}
        # Sizes are rounded to 4 digits after the point.
        assert row["slope"] == pytest.approx(expected[sources][setting], abs=1e-3)
        assert row["low"] - 1e-9 <= row["slope"] <= row["high"] + 1e-9
        assert row["sqrt_d_n"] == {"input_dim": 0.5, "n_samples": -0.5}[setting]
        assert row["size_law"] == (0.0 if sources == "noise" else None)
    assert exponents["flow", "natural", "input_dim"]["n_points"] == 3 * 7
    places = {tuple(row[name] for name in ("way", "sources", "input_dim", "n_samples")): row
              for row in rows_of(found, "smallest")}  # fmt: skip
    assert len(places) == 2 * 2 * 9
    never, below = places["flow", "natural", 4000, 160], places["flow", "natural", 500, 160]
    assert (never["epsilon"], never["never"], never["below"]) == (None, 3, 0)
    assert (below["epsilon"], below["never"], below["below"]) == (None, 0, 3)
    assert places["limit", "natural", 8000, 160]["epsilon_over_sqrt_d_n"] == pytest.approx(1.7, rel=1e-3)
    assert places["limit", "noise", 8000, 160]["epsilon"] == pytest.approx(1.1, rel=1e-3)
    assert any("6 of 27 curves do not cross it" in sentence for sentence in found.sentences)
    along_d, along_n = found.charts
    assert along_d.title.endswith("N = 160")
    assert along_n.title.endswith("d = 4,000")
    (bound,) = [line for line in along_d.lines if line.label == "√(d/N)"]
    assert list(bound.y) == pytest.approx([math.sqrt(dim / 160) for dim in bound.x])


def test_the_depth_s_trends() -> None:
    def measures(run: StudyRun) -> dict[str, float]:
        depth = number(run.settings, "depth")
        return {
            "perturbation_accuracy_heldout": 1.0 - 0.05 * depth + 0.001 * run.seed,
            "agreement": 0.9,
            "standard_kernel_drift": 10.0**depth,
        }

    study = STUDIES["studies/depth"]
    found = study.analysis(runs_of(study, measures))
    trends = {(row["way"], row["panel"], row["measure"]): row for row in rows_of(found, "per_layer")}
    bare, natural = (f"hidden layers, {sources}" for sources in ("bare perturbations", "natural sources"))
    assert {(way, panel) for way, panel, _ in trends} == {
        (way, panel) for way in ("torch", "ntk", "lazy") for panel in (bare, natural)
    }
    assert trends["lazy", bare, "perturbation_accuracy_heldout"]["slope"] == pytest.approx(-0.05)
    assert ("ntk", bare, "perturbation_kernel_drift") not in trends, "what was not measured is not shown"
    depths = rows_of(found, "measures")
    assert len(depths) == 3 * (6 + 6 + 6) * 3
    (row,) = [row for row in depths if (row["way"], row["panel"], row["value"], row["measure"]) ==
              ("ntk", natural, 4, "standard_kernel_drift")]  # fmt: skip
    assert (row["mean"], row["std"], row["n_seeds"]) == (1e4, 0.0, 3)
    assert sorted(chart.log_y for chart in found.charts) == 9 * [False] + 9 * [True]
    assert {chart.x for chart in found.charts} == {"hidden layers", "width m"}


def test_where_the_nearest_mean_is_left() -> None:
    study = STUDIES["studies/weak_limit"]

    def measures(run: StudyRun) -> dict[str, float]:
        # Right at small sizes and depths, lost beyond 2 hidden layers at size 8.
        correlation = 0.5 if number(run.settings, "depth") * number(run.settings, "epsilon") >= 24 else 0.95
        return {"nearest_mean_correlation": correlation + 0.01 * run.seed, "perturbation_accuracy_heldout": 0.7}

    found = study.analysis(runs_of(study, measures))
    assert len(found.sentences) == 3 * 5
    assert found.sentences[1].endswith(
        "hidden layers: 3: what g learned has a correlation of 0.510 to 0.960 with the nearest mean; at least 0.9 at "
        "0.125, 0.25, 0.5, 1, 2, 4 of 0.125, 0.25, 0.5, 1, 2, 4, 8."
    )
    rows = rows_of(found, "measures")
    assert len(rows) == 3 * (3 * 7 + 5 + 4) * 2
    (row,) = [row for row in rows if (row["way"], row["value"], row["measure"]) ==
              ("lazy", 8.0, "nearest_mean_correlation") and row["panel"].endswith("6")]  # fmt: skip
    assert (row["mean"], row["std"], row["n_seeds"]) == (pytest.approx(0.51), pytest.approx(0.01), 3)
    assert {chart.x for chart in found.charts} == {
        "perturbation size ε",
        "training time of g, epochs",
        "learning rate of g",
    }


def test_weights_of_features_are_relative_to_a_band_seed_by_seed() -> None:
    def measures(run: StudyRun) -> dict[str, float]:
        is_bare = run.settings["attack.source"] == "none"
        # Sizes of g's outputs differ from seed to seed; proportions do not, but for a tenth.
        scale = 10.0 ** (run.seed + 1)
        lost = 1.0 if is_bare else 0.3 + 0.1 * run.seed
        found = dict.fromkeys(FEATURE_NUMBERS, 0.25)
        for machine in ("kernel", "network"):
            for band in FEATURE_BANDS:
                found[feature_measure(machine, "weight", band)] = scale * (lost if band == "1_2" else 1.0)
                found[feature_measure(machine, "control_weight", band)] = -0.01 * scale
        return found

    study = STUDIES["studies/features"]
    found = study.analysis(runs_of(study, measures))
    (images,) = [line for line in found.sentences if line.startswith("MNIST 3 and 8, images") and "network" in line]
    assert "1–2, relative to features 10–29, g has 0.400 (0.152 to 0.648) at 2, 0.400 (0.152 to 0.648) at 4" in images
    rows = rows_of(found, "weights")
    assert len(rows) == (3 * (2 + 3) + 4 + 3) * 2 * 7
    chosen = [row for row in rows if (row["panel"], row["value"], row["machine"], row["band"]) ==
              ("Fashion-MNIST 0 and 9, images", 4.0, "kernel", "1-2")]  # fmt: skip
    (row,) = chosen
    # Student's interval of three seeds: 4.3027 standard errors.
    reach = 4.302653 * 0.1 / math.sqrt(3)
    assert (row["weight"], row["weight_low"]) == (pytest.approx(0.4), pytest.approx(0.4 - reach, rel=1e-5))
    assert (row["control_weight"], row["control_weight_high"]) == (pytest.approx(-0.01), pytest.approx(-0.01))
    (of_network,) = [row for row in rows if row["panel"] == "MNIST 1 and 2, bare" and row["value"] == 1.0
                     and row["machine"] == "network" and row["band"] == "1-2"]  # fmt: skip
    assert of_network["weight"] == pytest.approx(1.0)
    assert of_network["source_term_weight"] is None, "a network's g has no two terms"
    assert [chart.title for chart in found.charts] == [
        "Fashion-MNIST 0 and 9", "MNIST 1 and 2", "MNIST 3 and 8", "MNIST 1 and 2, images, training time of g",
        "MNIST 1 and 2, images, training time of g, identity loss",
    ]  # fmt: skip
    lines = {line.label: line for line in found.charts[0].lines}
    assert lines["g from images, kernel"].y[0] == pytest.approx(0.4)
    assert lines["g from bare perturbations, kernel"].y[0] == pytest.approx(1.0)
    assert lines["f"].is_reference


def test_the_map_says_where_g_beats_its_permuted_control_by_more_than_the_spread() -> None:
    def measures(run: StudyRun) -> dict[str, float]:
        # From noise g is above its control on average, but not by more than it varies over the seeds.
        lead = -0.1 + 0.15 * run.seed if run.name == "noise" else 0.4
        return {
            "perturbation_accuracy_heldout": 0.3 + lead, "permuted_control_heldout": 0.3,
            "unperturbed_control_heldout": 0.1, "standard_accuracy_heldout": 0.9,
        }  # fmt: skip

    study = STUDIES["studies/map"]
    found = study.analysis(runs_of(study, measures))
    reached, within = [line for line in found.sentences if line.startswith("f's answers, own start")]
    assert "0.700 from f's errors (permuted 0.300), " in reached
    assert within.endswith("from noise, g is not above its permuted control by more than the spread of the difference.")
    rows = rows_of(found, "map")
    assert len(rows) == 2 * (4 + 4 + 1 + 2 + 2 + 2)
    corners = {(row["source"], row["targets"], row["start"]): row for row in rows}
    noise = corners["noise", "f's answers", "own start"]
    assert (noise["lead"], noise["lead_std"]) == (pytest.approx(0.05), pytest.approx(0.15))
    published = {corner: row["published"] for corner, row in corners.items() if row["published"] is not None}
    assert published == {
        ("f's errors", "f's answers", "own start"): 0.497,
        ("other images", "f's answers", "own start"): 0.91,
    }
    by_title = {chart.title: chart for chart in found.charts}
    chart = by_title["f's answers"]
    assert chart.names == ["images", "noisy images", "f's errors", "other images", "noise"]
    rings = next(line for line in chart.lines if line.is_reference)
    assert [(chart.names[int(x)], y) for x, y in zip(rings.x, rings.y, strict=True)] == [
        ("f's errors", 0.497), ("other images", 0.91),
    ]  # fmt: skip
    assert by_title["true, loss maximised"].names == ["images", "noisy images"]


def test_a_corner_of_the_map_is_perturbed_only_where_its_targets_ask_for_it() -> None:
    study = STUDIES["studies/map"]
    for way in study.ways:
        for point in study.points(way=way):
            attack = point.config.attack
            says = point.values["targets"] == "f's answers"
            assert (attack.targets == "predicted") == says == (attack.epsilon == 0)
            assert (attack.name == "pgd") == (not says and attack.source != "none")
            assert value_of(point.config, "perturbation.start") == (None if way == "own start" else "standard")


def of_sets(robust: dict[str, tuple[float, float, float]]) -> Analysis:
    """The analysis of made runs, by set the robust accuracy of g with each seed."""

    def measures(run: StudyRun) -> dict[str, float]:
        reached = robust[str(run.settings["set"])][run.seed]
        return {
            "standard_accuracy_heldout": 0.9, "standard_robust_accuracy": 0.5, "perturbation_accuracy_heldout": 0.8,
            "perturbation_robust_accuracy": reached, "permuted_control_heldout": 0.1,
            "unperturbed_control_heldout": 0.1,
        }  # fmt: skip

    return STUDIES["studies/constructed_sets"].analysis(runs_of(STUDIES["studies/constructed_sets"], measures))


def test_the_order_of_the_constructed_sets_is_judged_by_the_spread_of_each_lead() -> None:
    none = (0.0, 0.0, 0.0)
    holds = of_sets({"D_R": (0.4, 0.5, 0.6), "D_NR": (0.1, 0.2, 0.3), "D_rand": none, "D_det": none})
    assert holds.sentences[0].startswith("Ilyas et al.'s order holds here: ")
    assert "D_NR by 0.300 ± 0.000" in holds.sentences[0]
    # On average 0.1 above, but it varies by 0.2.
    fails = of_sets({"D_R": (0.2, 0.2, 0.2), "D_NR": (0.3, -0.1, 0.1), "D_rand": none, "D_det": none})
    assert fails.sentences[0].startswith("Ilyas et al.'s order does not hold here: ")
    assert (
        "from D_NR by more than the spread of the difference (it leads D_NR by 0.100 ± 0.200, D_rand by"
        in (fails.sentences[0])
    )
    rows = {row["set"]: row for row in rows_of(holds, "sets")}
    assert list(rows) == ["D_R", "D_NR", "D_rand", "D_det"], "in the paper's order"
    assert rows["D_R"]["g_robust"] == pytest.approx(0.5)
    assert (rows["D_det"]["published"], rows["D_det"]["published_robust"]) == (0.44, 0.0)


def test_an_order_is_not_judged_without_all_sets_and_several_seeds() -> None:
    study = STUDIES["studies/constructed_sets"]
    measures = {
        "standard_accuracy_heldout": 0.9, "standard_robust_accuracy": 0.5, "perturbation_accuracy_heldout": 0.8,
        "perturbation_robust_accuracy": 0.3, "permuted_control_heldout": 0.1, "unperturbed_control_heldout": 0.1,
    }  # fmt: skip
    runs = [study.run(1, "", point.values, 0, measures) for point in study.points()]
    for known in (runs, runs[:2], runs[1:]):
        assert "order cannot be judged" in study.analysis(known).sentences[0]


@pytest.mark.parametrize("scale", ["quick", "full"])
def test_only_one_constructed_set_is_made_with_a_robust_network(scale: Any) -> None:
    points = {point.values["set"]: point.config for point in STUDIES["studies/constructed_sets"].at(scale).points()}
    assert [name for name, config in points.items() if config.standard.is_adversarial] == ["D_R"]
    assert [name for name, config in points.items() if config.attack.name == "rebuild"] == ["D_R", "D_NR"]
    assert [points[name].attack.targets for name in ("D_rand", "D_det")] == ["uniform", "next"]
    assert not any(config.perturbation.is_adversarial for config in points.values())


def test_separations_that_order_the_runs_alike_have_a_rank_correlation_of_one() -> None:
    def measures(run: StudyRun) -> dict[str, float]:
        strength = number(run.settings, "adversary")
        return {
            "standard_robust_accuracy": strength, "robust_linear_share": math.exp(strength),
            "bottleneck_robust_share": -(strength**3), "bottleneck_robust_variance": 0.5,
            "robust_linear_g_heldout": float(run.seed), "bottleneck_robust_agreement": 0.7,
            "perturbation_accuracy_heldout": 0.6,
        }  # fmt: skip

    study = STUDIES["studies/separations"]
    found = study.analysis(runs_of(study, measures))
    ranks = {(row["first"], row["second"]): row["correlation"] for row in rows_of(found, "rank_correlations")}
    assert ranks["adversary", "robust_linear_share"] == pytest.approx(1)
    assert ranks["adversary", "bottleneck_robust_share"] == pytest.approx(-1)
    assert ranks["robust_linear_share", "bottleneck_robust_share"] == pytest.approx(-1)
    assert ranks["robust_linear_g_heldout", "bottleneck_robust_agreement"] is None, "one is constant"
    assert len(found.sentences) == 3


def test_f_is_trained_as_usual_at_a_strength_of_0_alone() -> None:
    for point in STUDIES["studies/separations"].points():
        assert point.config.standard.is_adversarial == (number(point.values, "adversary") > 0)
        assert not point.config.perturbation.is_adversarial


@pytest.mark.parametrize("way", ["torch", "ntk", "lazy"])
def test_the_rate_of_g_varies_in_every_parametrisation(way: str) -> None:
    study = STUDIES["studies/weak_limit"]
    points = list(study.points(way=way, panels=[5]))
    assert [value_of(point.config, "perturbation.lr") for point in points] == [(0.001,), (0.003,), (0.01,), (0.03,)]
    assert len({value_of(point.config, "standard.lr") for point in points}) == 1


def test_networks_of_images_have_no_limit_at_infinite_width() -> None:
    study = STUDIES["studies/architectures"]
    assert "ntk" not in study.ways
    for way, training in (("torch", "sgd"), ("lazy", "linearised")):
        for point in study.points(way=way):
            assert value_of(point.config, "standard.training") == training
            assert value_of(point.config, "perturbation.model.width") == point.values["width"]
    depth = STUDIES["studies/depth"]
    (lazy, *_) = depth.points(way="lazy")
    assert value_of(lazy.config, "standard.model.parametrization") == "ntk", "an MLP's linearisation has a limit"


@pytest.mark.parametrize("name", STUDIES)
def test_runs_that_are_missing_are_done_without(name: str) -> None:
    study = STUDIES[name]
    assert study.analysis([]) == Analysis([], study.analysis([]).tables, [])
    point = next(study.points(way=next(iter(study.ways))))
    run = study.run(1, point.way, point.values, 0, {
        "perturbation_accuracy": 0.8, "agreement": 0.7, "training_orthogonality_factor": 2.0,
        "perturbed_orthogonality_factor": 3.0, "perturbation_accuracy_heldout": 0.6, "standard_accuracy_heldout": 0.9,
        "permuted_control_heldout": 0.1, "unperturbed_control_heldout": 0.1,
        "standard_robust_accuracy": 0.5, "perturbation_robust_accuracy": 0.4,
        **dict.fromkeys(FEATURE_NUMBERS, 0.5)})  # fmt: skip
    assert any(table.rows for table in study.analysis([run]).tables)


def test_a_kernel_that_does_not_drift_has_no_place_on_a_logarithmic_axis() -> None:
    def measures(run: StudyRun) -> dict[str, float]:
        drift = 0.0 if run.way == "lazy" else 10.0 ** number(run.settings, "depth")
        return {"perturbation_kernel_drift": drift, "perturbation_linearisation_distance": drift}

    study = STUDIES["studies/depth"]
    found = study.analysis([run for run in runs_of(study, measures) if run.x == "depth"])
    assert {chart.title.partition(":")[0] for chart in found.charts} == {"torch", "ntk"}, "all of lazy is 0"
    drifts = {chart.title.partition(":")[0]: list(chart.lines[0].y) for chart in found.charts if chart.log_y}
    assert drifts["torch"] == [10.0**depth for depth in range(1, 7)]
    rows = [row for row in rows_of(found, "per_layer") if row["measure"] == "log10 perturbation_kernel_drift"]
    assert {row["way"] for row in rows if row["slope"] is not None} == {"torch", "ntk"}
    assert all(row["slope"] == pytest.approx(1.0) for row in rows if row["slope"] is not None)
