"""What the runs of each study say together: derived tables, fits with confidence intervals, charts."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from perturblearn.experiment import (
    FEATURE_BANDS,
    MACHINES,
    Crossing,
    Fit,
    crossing,
    feature_measure,
    fit_line,
    fit_power_law,
    mean_of_seeds,
)
from perturblearn.papers.figure import label_of, number, whole, word
from perturblearn.papers.study import Analysis, Cell, Chart, Line, StudyRun, Table
from perturblearn.theory import expected_perturbation_accuracy

LEVEL = 0.9
"""The accuracy that the smallest perturbation has to reach."""
SIZE_LAW = statistics.NormalDist().inv_cdf(LEVEL)
"""Where the size law has it for Gaussian noise and as many sources as samples, whatever d and N: NormalCDF(epsilon)."""
_BOUND = {"input_dim": 0.5, "n_samples": -0.5}
_FACTOR = "training_orthogonality_factor"
_INTERVAL = "with 95 % confidence intervals of the bootstrap over seeds"
_FIT_HEADS = ("slope", "low", "high", "residual", "n_points", "n_seeds")
_SHARES = {
    "standard_accuracy_heldout": "f, accuracy on held-out inputs",
    "perturbation_accuracy_heldout": "g, accuracy on held-out inputs",
    "agreement": "agreement of f and g",
    "perturbation_kernel_prediction_agreement": "agreement of g and its kernel's prediction",
    "perturbation_kernel_prediction_correlation": "correlation of g and its kernel's prediction",
    "perturbation_kernel_prediction_accuracy": "its kernel's prediction, accuracy on held-out inputs",
    "standard_infinite_width_correlation": "correlation of what f learned and the kernel at infinite width",
    "perturbation_infinite_width_correlation": "correlation of what g learned and the kernel at infinite width",
    "perturbation_infinite_width_accuracy": "the kernel at infinite width, accuracy on held-out inputs",
    "attribution_needs_perturbation": "right, and wrong without the perturbations' part",
}
_DISTANCES = {
    "standard_linearisation_distance": "f, distance from its linearisation",
    "perturbation_linearisation_distance": "g, distance from its linearisation",
}
_DRIFTS = {"standard_kernel_drift": "f, kernel drift", "perturbation_kernel_drift": "g, kernel drift"}
_PARTS = {
    "attribution_total": "g, class signal",
    "attribution_perturbation": "perturbations' part",
    "attribution_source": "sources' part",
}
_OF_NETWORKS = (
    (_SHARES, "share, or correlation"),
    (_PARTS, "class signal"),
    (_DISTANCES, "distance"),
    (_DRIFTS, "kernel drift"),
    ({"perturbed_loss": "g, loss on the perturbed set", "attribution_error": "attribution, completeness error"}, None),
)
"""Measures of deep networks, a group for each chart; those without a label are in the table alone."""
_CORRELATION = "nearest_mean_correlation"
_NEAREST_MEAN = {
    "perturbation_accuracy_heldout": "g, accuracy on held-out inputs",
    "nearest_mean_accuracy": "the nearest mean, accuracy on held-out inputs",
    "nearest_mean_agreement": "agreement of g and the nearest mean",
    _CORRELATION: "correlation of what g learned and the nearest mean",
    "perturbation_kernel_prediction_correlation": "correlation of g and its kernel's prediction",
}
_OF_WEAK_LIMIT = (
    (_NEAREST_MEAN, "share, or correlation"),
    ({"perturbation_linearisation_distance": "g, distance from its linearisation"}, None),
    ({"perturbed_loss": "g, loss on the perturbed set"}, None),
)
"""The same of the weak limit."""
_ROBUST_BAND, _REFERENCE_BAND = "1_2", "10_29"
"""The only band that is robustly useful in the studied data, and the largest of which every feature is not."""
_SHOWN_BANDS = {"1_2": 1.5, "3_9": 5.0, "10_29": 17.0, "30_99": 55.0}
"""Bands of a chart, and where: those that hold a thousandth of f's variance or more. Weights of others are noise."""
_SHOWN_SIZES = {"none": 1.0, "natural": 4.0}
"""The perturbation size whose weights are drawn, by source."""
_KINDS = {"none": "bare perturbations", "natural": "images"}
_IS_LOG = ("kernel drift", None)
"""Axes of numbers that span orders of magnitude."""


def analyse_orthogonality(runs: Sequence[StudyRun]) -> Analysis:
    """Accuracy and agreement against the factor by which the condition of nearly orthogonal samples is missed."""
    conditions: list[tuple[Cell, ...]] = []
    slopes: list[tuple[Cell, ...]] = []
    sentences: list[str] = []
    lines: dict[tuple[str, str], list[Line]] = defaultdict(list)
    missed = "factor by which the condition is missed"
    for (way, panel), of_panel in _grouped(runs, lambda run: (run.way, run.panel)).items():
        x, title = of_panel[0].x, of_panel[0].name
        points = _grouped(of_panel, lambda run: run.settings[run.x])
        factors = [_geometric_mean(point, _FACTOR) for point in points.values()]
        conditions += [
            (
                way, panel, x, value, factor, _geometric_mean(point, "perturbed_orthogonality_factor"),
                *_mean_std(point, "perturbation_accuracy"), *_mean_std(point, "agreement"), len(point),
                _size_law(point[0]),
            )
            for (value, point), factor in zip(points.items(), factors, strict=True)
        ]  # fmt: skip
        decades = [math.log10(run.measures[_FACTOR]) for run in of_panel]
        for name, meaning in (("perturbation_accuracy", "accuracy of g"), ("agreement", "agreement of f and g")):
            lines[meaning, way].append(_line(f"{panel}: {title}", factors, points.values(), name))
            fit = fit_line(
                {"decades": decades}, [run.measures[name] for run in of_panel], [run.seed for run in of_panel]
            )
            slopes.append((way, panel, x, name, min(factors), max(factors), *_cells(fit, "decades")))
            if fit is not None and name == "perturbation_accuracy":
                sentences.append(
                    f"{way}, panel {panel} ({title}): the condition is missed by factors of {min(factors):.1e} to "
                    f"{max(factors):.1e}; accuracy changes by {fit.slopes['decades']} per factor of ten."
                )
    return Analysis(
        sentences,
        [
            Table(
                "conditions",
                "Factor by which ICLR24's condition is missed (below 1: it holds), geometric mean over seeds, for the "
                "training set and for the perturbed set, and what g reaches. size_law: the accuracy that the size law "
                "expects with noise sources if of each sample the part that it does not share counts, a length of "
                "sqrt((1 - rho) d).",
                (
                    "way", "panel", "setting", "value", "training_factor", "perturbed_factor", "accuracy",
                    "accuracy_std", "agreement", "agreement_std", "n_seeds", "size_law",
                ),
                conditions,
            ),
            Table(
                "per_decade",
                f"Change of a measure per factor of ten of the training set's factor, least squares {_INTERVAL}.",
                ("way", "panel", "setting", "measure", "least_factor", "largest_factor", *_FIT_HEADS),
                slopes,
            ),
        ],
        [
            Chart(f"{meaning}, {way}", missed, meaning, drawn, log_x=True, is_share=True)
            for (meaning, way), drawn in lines.items()
        ],
    )  # fmt: skip


def _size_law(run: StudyRun) -> float | None:
    """What the size law expects of noise sources, if what all samples share says nothing about their labels [own]."""
    settings = run.settings
    if settings["attack.source"] != "gauss":
        return None
    return expected_perturbation_accuracy(
        epsilon=number(settings, "epsilon") * math.sqrt(1 - number(settings, "rho")),
        n_sources=whole(settings, "n_adv"),
        n_samples=whole(settings, "n_samples"),
        input_dim=whole(settings, "input_dim"),
        data="gauss",
    )


class _Place(NamedTuple):
    """The smallest perturbation at one d and N, over the seeds."""

    way: str
    sources: str
    input_dim: int
    n_samples: int
    epsilon: float | None
    std: float | None
    n_seeds: int
    never: int
    below: int
    epsilon_over_sqrt_d_n: float | None


class _Reached(NamedTuple):
    """Where the curve of one seed reaches the level."""

    way: str
    sources: str
    input_dim: int
    n_samples: int
    seed: int
    where: Crossing


def analyse_smallest_perturbation(runs: Sequence[StudyRun]) -> Analysis:
    """Where accuracy first reaches 0.9, seed by seed, and how that size grows with d and N."""
    reached = _crossings(runs)
    places = [_place(of_place) for of_place in _grouped(reached, lambda one: one[:4]).values()]
    exponents: list[tuple[Cell, ...]] = []
    sentences: list[str] = []
    for (way, sources), curves in _grouped(reached, lambda one: one[:2]).items():
        crossed = [one for one in curves if one.where.size is not None]
        fit = fit_power_law(
            {name: [getattr(one, name) for one in crossed] for name in _BOUND},
            [one.where.size or 0.0 for one in crossed],
            [one.seed for one in crossed],
        )
        law = 0.0 if sources == "noise" else None
        exponents += [(way, sources, name, *_cells(fit, name), bound, law) for name, bound in _BOUND.items()]
        lost = f"; {len(curves) - len(crossed)} of {len(curves)} curves do not cross it" if curves != crossed else ""
        found = f"too few curves cross {LEVEL} for a fit"
        if fit is not None:
            found = (
                f"accuracy reaches {LEVEL} at {fit.constant:.2g} d^a N^b with a = {fit.slopes['input_dim']} and b = "
                f"{fit.slopes['n_samples']}"
            )
        sentences.append(f"{way}, {sources} sources: {found}{lost}.")
    return Analysis(
        sentences,
        [
            Table(
                "smallest",
                f"Smallest epsilon at which g's accuracy on f's samples reaches {LEVEL}: for each seed the first "
                "crossing of its curve, straight over log epsilon between the two points around it; mean and standard "
                "deviation over the seeds that have one. never: no size that was tried reaches it; below: the smallest "
                "one does.",
                _Place._fields,
                places,
            ),
            Table(
                "exponents",
                f"Exponents of d and N: least squares of log epsilon {_INTERVAL}; beside them those of sqrt(d/N), up "
                "to which ICLR24's theory allows perturbations, and those of the size law for noise sources.",
                ("way", "sources", "setting", *_FIT_HEADS, "sqrt_d_n", "size_law"),
                exponents,
            ),
        ],
        [_size_chart(places, "input_dim", "n_samples"), _size_chart(places, "n_samples", "input_dim")]
        if places
        else [],
    )


def _crossings(runs: Sequence[StudyRun]) -> list[_Reached]:
    def curve_of(run: StudyRun) -> tuple[Any, ...]:
        sources = "natural" if run.settings["attack.source"] == "natural" else "noise"
        return run.way, sources, run.settings["input_dim"], run.settings["n_samples"], run.seed

    found = []
    for curve, of_curve in _grouped(runs, curve_of).items():
        points = sorted((run.settings["epsilon"], run.measures["perturbation_accuracy"]) for run in of_curve)
        where = crossing([size for size, _ in points], [value for _, value in points], LEVEL)
        way, sources, input_dim, n_samples, seed = curve
        found.append(_Reached(way, sources, input_dim, n_samples, seed, where))
    return found


def _place(reached: Sequence[_Reached]) -> _Place:
    way, sources, input_dim, n_samples, *_ = reached[0]
    sizes = [one.where.size for one in reached if one.where.size is not None]
    states = Counter(one.where.state for one in reached)
    mean = statistics.fmean(sizes) if sizes else None
    std = statistics.stdev(sizes) if len(sizes) > 1 else None
    share = None if mean is None else mean / math.sqrt(input_dim / n_samples)
    return _Place(way, sources, input_dim, n_samples, mean, std, len(reached), states["never"], states["below"], share)


def _size_chart(places: Sequence[_Place], along: str, other: str) -> Chart:
    """The smallest size along d or N, at that value of the other which most places have in common."""
    letters = {"input_dim": "d", "n_samples": "N"}
    ((fixed, _),) = Counter(getattr(place, other) for place in places).most_common(1)
    at = [place for place in places if getattr(place, other) == fixed]
    lines = []
    for (way, sources), of_way in _grouped(at, lambda place: place[:2]).items():
        known = [(getattr(place, along), place.epsilon, place.std or 0.0) for place in of_way if place.epsilon]
        label = f"{way}, {sources} sources"
        lines.append(Line(label, [x for x, _, _ in known], [y for _, y, _ in known], [std for _, _, std in known]))
    across = sorted({getattr(place, along) for place in at})
    bounds = [math.sqrt(x / fixed if along == "input_dim" else fixed / x) for x in across]
    lines.append(Line("√(d/N)", across, bounds, is_reference=True))
    lines.append(Line("size law, noise sources", across, [SIZE_LAW] * len(across), is_reference=True))
    title = f"smallest perturbation, {letters[other]} = {fixed:,}"
    size = f"{label_of('epsilon')} at accuracy {LEVEL}"
    return Chart(title, label_of(along), size, lines, log_x=True, log_y=True)


def analyse_depth(runs: Sequence[StudyRun]) -> Analysis:
    """Accuracies, laziness, both kernels' predictions and attribution, over hidden layers and widths."""
    trends: list[tuple[Cell, ...]] = []
    sentences: list[str] = []
    for (way, _), of_panel in _by_panel(runs).items():
        if of_panel[0].x != "depth":
            continue
        for names, label in _OF_NETWORKS:
            is_log = label in _IS_LOG
            for name, meaning in names.items():
                known = _with(of_panel, name, positive=is_log)
                fit = fit_line(
                    {"depth": [number(run.settings, "depth") for run in known]},
                    [math.log10(run.measures[name]) if is_log else run.measures[name] for run in known],
                    [run.seed for run in known],
                )
                if known:
                    measure = f"log10 {name}" if is_log else name
                    trends.append((way, of_panel[0].name, measure, *_cells(fit, "depth")))
                if fit is not None and names is _SHARES:
                    change = f"{fit.slopes['depth']} per hidden layer"
                    sentences.append(f"{way}, {of_panel[0].name}, {meaning}: {change}.")
    per_layer = Table(
        "per_layer",
        f"Change per hidden layer, least squares {_INTERVAL}.",
        ("way", "panel", "measure", *_FIT_HEADS),
        trends,
    )
    return Analysis(
        sentences, [_table_of(runs, _OF_NETWORKS), *([per_layer] if trends else [])], _charts_of(runs, _OF_NETWORKS)
    )


def analyse_weak_limit(runs: Sequence[StudyRun]) -> Analysis:
    """How far g is the nearest class mean of its training set, over perturbation size and training time."""
    sentences = []
    for (way, _), of_panel in _by_panel(runs).items():
        points = _grouped(_with(of_panel, _CORRELATION), lambda run: run.settings[run.x])
        means = {x: _mean_std(point, _CORRELATION)[0] for x, point in points.items()}
        if means:
            reached = ", ".join(f"{x:g}" for x, mean in means.items() if mean >= LEVEL) or "no value"
            sentences.append(
                f"{way}, {of_panel[0].name}: what g learned has a correlation of {min(means.values()):.3f} to "
                f"{max(means.values()):.3f} with the nearest mean; at least {LEVEL} at {reached} of "
                f"{', '.join(f'{x:g}' for x in means)}."
            )
    return Analysis(sentences, [_table_of(runs, _OF_WEAK_LIMIT)], _charts_of(runs, _OF_WEAK_LIMIT))


def analyse_features(runs: Sequence[StudyRun]) -> Analysis:
    """Which of f's features perturbations carry, and which of them g has, over sizes and training times."""
    weights: list[tuple[Cell, ...]] = []
    features: list[tuple[Cell, ...]] = []
    machines: list[tuple[Cell, ...]] = []
    sentences: list[str] = []
    for (way, _), of_panel in _by_panel(runs).items():
        name, x = of_panel[0].name, of_panel[0].x
        points = _grouped(of_panel, lambda run: run.settings[run.x])
        for machine, kind in MACHINES.items():
            told: list[str] = []
            for place, (value, point) in enumerate(points.items()):
                known = [run for run in point if _reference(run, machine)]
                if not known:
                    continue
                start = (way, name, x, value, machine)
                reached = mean_of_seeds([_relative(run, machine, "weight", _ROBUST_BAND) for run in known])
                told.append(f"{reached} at {value:g}")
                bands = [
                    band for band in FEATURE_BANDS if feature_measure(machine, "weight", band) in known[0].measures
                ]
                for band in bands:
                    cells = [_relative_cells(known, machine, quantity, band) for quantity in _WEIGHTS]
                    weights.append((*start, band.replace("_", "-"), *itertools.chain(*cells), len(known)))
                    if place == 0:  # f and its features depend on nothing that varies along a panel
                        found = (_seed_cells(known, feature_measure(machine, each, band)) for each in _OF_FEATURES)
                        features.append((way, name, machine, band.replace("_", "-"), *itertools.chain(*found)))
                found = (_seed_cells(known, feature_measure(machine, each)) for each in _OF_MACHINES)
                machines.append((*start, *itertools.chain(*found)))
            if told:
                sentences.append(
                    f"{name}, by {label_of(x)}, {kind}: of f's features 1–2, relative to features 10–29, g has "
                    f"{', '.join(told)}."
                )
    return Analysis(
        sentences,
        [
            Table(
                "weights",
                "Weights of f's bands of features in g, divided seed by seed by g's weight of features 10-29, of its "
                "unperturbed control in the same units, and of the two terms of a kernel machine's g; with Student's "
                "95 % intervals over seeds. 1: as in f.",
                ("way", "panel", "setting", "value", "machine", "band", *_with_intervals(_WEIGHTS), "n_seeds"),
                weights,
            ),
            Table(
                "features",
                "Usefulness of f's bands, the same under L2 perturbations of 1, their shares of f's variance (held-out "
                "inputs), and the share of the perturbations' squared length along their gradients.",
                ("way", "panel", "machine", "band", *_with_intervals(_OF_FEATURES)),
                features,
            ),
            Table(
                "machines",
                "Accuracies on held-out inputs, shares of variance that f's bands explain, and the share of "
                "perturbations outside their gradients.",
                ("way", "panel", "setting", "value", "machine", *_with_intervals(_OF_MACHINES)),
                machines,
            ),
        ],
        [*_band_charts(runs), *_time_charts(runs)],
    )


def analyse_map(runs: Sequence[StudyRun]) -> Analysis:
    """What g learns from each source under each kind of targets, from both starts, beside its controls."""
    corners = _grouped(runs, lambda run: (run.panel, run.settings["targets"], run.way))
    rows: list[tuple[Cell, ...]] = []
    reached: dict[tuple[str, str], list[str]] = defaultdict(list)
    within: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (_, targets, way), of_corner in corners.items():
        source = of_corner[0].name
        found = [_mean_std(of_corner, name) for name in _OF_MAP]
        lead, spread = _lead(of_corner)
        published = _PUBLISHED_CORNERS.get((source, targets)) if way == _PUBLISHED_START else None
        rows.append((source, targets, way, *itertools.chain(*found), lead, spread, published, len(of_corner)))
        reached[targets, way].append(f"{found[0][0]:.3f} from {source} (permuted {found[1][0]:.3f})")
        if spread is not None and lead <= spread:
            within[targets, way].append(source)
    sentences = [f"{targets}, {way}: g has {', '.join(told)}." for (targets, way), told in sorted(reached.items())]
    sentences += [
        f"{targets}, {way}: from {', '.join(sources)}, g is not above its permuted control by more than the spread of "
        "the difference."
        for (targets, way), sources in sorted(within.items())
    ]
    heads = [head for name in ("g", "permuted", "unperturbed", "f") for head in (name, f"{name}_std")]
    corner_table = Table(
        "map",
        "Accuracy on clean held-out inputs of g, of both controls and of f, mean and standard deviation over the "
        "seeds. lead: g minus its permuted control, seed by seed. published: of other networks, sizes or data.",
        ("source", "targets", "start", *heads, "lead", "lead_std", "published", "n_seeds"),
        rows,
    )
    charts = [
        _map_chart(targets, of_targets)
        for targets, of_targets in _grouped(runs, lambda run: run.settings["targets"]).items()
    ]
    return Analysis(sentences, [corner_table], charts)


_OF_MAP = (
    "perturbation_accuracy_heldout", "permuted_control_heldout", "unperturbed_control_heldout",
    "standard_accuracy_heldout",
)  # fmt: skip
_PUBLISHED_START = "own start"
# [Wallace19]: errors of a ResNet-18 on CIFAR-10; Fashion-MNIST under the answers of a CNN that knows MNIST.
_PUBLISHED_CORNERS = {("f's errors", "f's answers"): 0.497, ("other images", "f's answers"): 0.91}


def _lead(runs: Sequence[StudyRun]) -> tuple[float, float | None]:
    """How far g is above its permuted control: mean and standard deviation over the seeds."""
    leads = [run.measures[_OF_MAP[0]] - run.measures[_OF_MAP[1]] for run in runs]
    return statistics.fmean(leads), statistics.stdev(leads) if len(leads) > 1 else None


def _sources_of(runs: Sequence[StudyRun]) -> list[str]:
    """Names of the panels of some runs, in the panels' order."""
    return list(dict.fromkeys(run.name for run in sorted(runs, key=lambda run: run.panel)))


def _map_chart(targets: str, runs: Sequence[StudyRun]) -> Chart:
    """All sources under one kind of targets."""
    sources = _sources_of(runs)
    lines: list[Line] = []
    for way, of_way in _grouped(runs, lambda run: run.way).items():
        is_published = way == _PUBLISHED_START
        points = _grouped(of_way, lambda run: sources.index(run.name))
        lines.append(
            _line("g, own start" if is_published else f"g from {way}", list(points), points.values(), _OF_MAP[0])
        )
        if is_published:
            lines += [
                _line(label, list(points), points.values(), name)
                for label, name in zip(("permuted control", "unperturbed control"), _OF_MAP[1:], strict=False)
            ]
    known = {
        place: value
        for place, source in enumerate(sources)
        if (value := _PUBLISHED_CORNERS.get((source, targets))) is not None
    }
    if known:
        lines.append(Line("published", list(known), list(known.values()), is_reference=True))
    return Chart(targets, "source", "accuracy on held-out inputs", lines, is_share=True, names=sources)


_OF_SETS = {
    "standard_accuracy_heldout": "f",
    "standard_robust_accuracy": "f_robust",
    "perturbation_accuracy_heldout": "g",
    "perturbation_robust_accuracy": "g_robust",
    "permuted_control_heldout": "permuted",
    "unperturbed_control_heldout": "unperturbed",
}
"""Measures of a constructed data set, and their columns."""
_ROBUST_OF_G = "perturbation_robust_accuracy"
_ROBUST_SET = "D_R"
_SET_CHARTS = {
    "accuracy": {
        "g, accuracy": "perturbation_accuracy_heldout",
        "f, accuracy": "standard_accuracy_heldout",
        "permuted control": "permuted_control_heldout",
        "unperturbed control": "unperturbed_control_heldout",
    },
    "robust accuracy": {"g, accuracy": _ROBUST_OF_G, "f, accuracy": "standard_robust_accuracy"},
}
"""Titles of the charts with the curves of each."""
# [Ilyas19]: CIFAR-10, ResNet-50, accuracy and robust accuracy at L2 0.25 of a network trained on each set.
_PUBLISHED_SETS = {"D_R": (0.84, 0.48), "D_NR": (0.88, 0.0), "D_rand": (0.63, 0.0), "D_det": (0.44, 0.0)}


def analyse_constructed_sets(runs: Sequence[StudyRun]) -> Analysis:
    """What g knows from each constructed data set of Ilyas19, what of it is robust, and whether their order holds."""
    unsorted = _grouped(runs, lambda run: run.settings["set"])
    by_set = {name: unsorted[name] for name in _PUBLISHED_SETS if name in unsorted}
    rows: list[tuple[Cell, ...]] = []
    sentences: list[str] = []
    for name, of_set in by_set.items():
        found = {measure: _mean_std(of_set, measure) for measure in _OF_SETS}
        rows.append((name, *itertools.chain(*found.values()), *_PUBLISHED_SETS[name], len(of_set)))
        known, robust, permuted, unperturbed = (
            _spread_text(*found[measure]) for measure in list(_OF_SETS)[2:]
        )  # fmt: skip
        sentences.append(
            f"{name}: g classifies {known} of held-out inputs correctly and {robust} robustly (published, of CIFAR-10: "
            f"{_PUBLISHED_SETS[name][0]:g} and {_PUBLISHED_SETS[name][1]:g}); controls: labels permuted {permuted}, "
            f"unperturbed {unperturbed}."
        )
    if by_set:
        sentences.insert(0, _order_of_sets(by_set))
    heads = [head for name in _OF_SETS.values() for head in (name, f"{name}_std")]
    table = Table(
        "sets",
        "Accuracy and robust accuracy of f and of g, and accuracy of both controls, on held-out inputs, mean and "
        "standard deviation over the seeds. f of D_R is trained adversarially, all other networks in the standard way. "
        "published: accuracy and robust accuracy of a ResNet-50 trained on the sets made of CIFAR-10, at L2 0.25.",
        ("set", *heads, "published", "published_robust", "n_seeds"),
        rows,
    )
    return Analysis(sentences, [table], list(_sets_charts(by_set)) if by_set else [])


def _order_of_sets(by_set: dict[Any, list[StudyRun]]) -> str:
    """Whether g is more robust from D_R than from every other set, by more than the difference varies."""
    others = [name for name in by_set if name != _ROBUST_SET]
    robust = {run.seed: run.measures[_ROBUST_OF_G] for run in by_set.get(_ROBUST_SET, [])}
    leads = {
        name: [robust[run.seed] - run.measures[_ROBUST_OF_G] for run in by_set[name] if run.seed in robust]
        for name in others
    }
    if len(others) < len(_PUBLISHED_SETS) - 1 or any(len(of_seeds) < 2 for of_seeds in leads.values()):
        return "Ilyas et al.'s order cannot be judged: it takes all four sets and at least two seeds of each."
    spreads = {name: (statistics.fmean(of_seeds), statistics.stdev(of_seeds)) for name, of_seeds in leads.items()}
    failing = [name for name, (lead, spread) in spreads.items() if lead <= spread]
    told = ", ".join(f"{name} by {_spread_text(*spread)}" for name, spread in spreads.items())
    if failing:
        return (
            "Ilyas et al.'s order does not hold here: the robust accuracy of g from D_R is not above that from "
            f"{' and '.join(failing)} by more than the spread of the difference (it leads {told})."
        )
    return (
        "Ilyas et al.'s order holds here: the robust accuracy of g from D_R is above that from every other set by more "
        f"than the spread of the difference ({told})."
    )


def _sets_charts(by_set: dict[Any, list[StudyRun]]) -> Iterator[Chart]:
    """Accuracies along the sets beside the published ones, and robust accuracies."""
    names, places = list(by_set), list(map(float, range(len(by_set))))
    for part, (title, of_chart) in enumerate(_SET_CHARTS.items()):
        lines = [_line(label, places, by_set.values(), measure) for label, measure in of_chart.items()]
        published = [_PUBLISHED_SETS[name][part] for name in names]
        lines.append(Line("published", places, published, is_reference=True))
        yield Chart(title, "data set", f"{title} on held-out inputs", lines, is_share=True, names=names)


def _spread_text(mean: float, std: float | None) -> str:
    return f"{mean:.3f}" if std is None else f"{mean:.3f} ± {std:.3f}"


_SEPARATED = {
    "standard_robust_accuracy": "f, robust accuracy",
    "robust_linear_share": "perturbations in robust linear features",
    "bottleneck_robust_share": "perturbations in units that bear noise",
    "robust_linear_g_heldout": "accuracy of g on robust linear features alone",
    "bottleneck_robust_agreement": "g agrees with f's units that bear noise",
    "perturbation_accuracy_heldout": "g, accuracy",
}
"""What of two separations is compared: shares of the perturbations, and what g has."""
_OF_SEPARATIONS = (
    (_SEPARATED, "share"),
    ({"bottleneck_robust_variance": "clean inputs' variance in these units"}, None),
)
_STRENGTH = "adversary"
_COMPARED = (
    (_STRENGTH, "robust_linear_share"),
    (_STRENGTH, "bottleneck_robust_share"),
    ("robust_linear_share", "bottleneck_robust_share"),
    ("robust_linear_g_heldout", "bottleneck_robust_agreement"),
)
"""Pairs whose order over the runs is compared."""


def analyse_separations(runs: Sequence[StudyRun]) -> Analysis:
    """Two separations of robust and non-robust features over the adversarial strength of f, and how far they agree."""
    rows: list[tuple[Cell, ...]] = []
    sentences: list[str] = []
    for of_panel in _by_panel(runs).values():
        for first, second in _COMPARED:
            known = _with(of_panel if first == _STRENGTH else _with(of_panel, first), second)
            before = [number(run.settings, first) if first == _STRENGTH else run.measures[first] for run in known]
            found = _rank_correlation(before, [run.measures[second] for run in known])
            rows.append((of_panel[0].name, first, second, found, len(known)))
            if found is not None:
                one = label_of(first) if first == _STRENGTH else _SEPARATED[first]
                sentences.append(
                    f"Over {len(known)} runs the rank correlation is {found:+.2f} of these two: {one}; "
                    f"{_SEPARATED[second]}."
                )
    ranks = Table(
        "rank_correlations",
        "Spearman's rank correlation of two measures, or of the strength and a measure, over all strengths and seeds; "
        "none where one of them does not vary.",
        ("panel", "first", "second", "correlation", "n_runs"),
        rows,
    )
    return Analysis(sentences, [_table_of(runs, _OF_SEPARATIONS), ranks], _charts_of(runs, _OF_SEPARATIONS))


def _rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's, with the mean rank for equal values; None for fewer than three pairs, or where one is constant."""
    if len(first) < 3 or len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return statistics.correlation(_ranks(first), _ranks(second))


def _ranks(values: Sequence[float]) -> list[float]:
    below = [sum(other < value for other in values) for value in values]
    equal = [sum(other == value for other in values) for value in values]
    return [before + (same - 1) / 2 for before, same in zip(below, equal, strict=True)]


_WEIGHTS = ("weight", "control_weight", "perturbation_term_weight", "source_term_weight")
_OF_FEATURES = ("usefulness", "robust_usefulness", "standard_share", "perturbation_share")
_OF_MACHINES = (
    "standard_accuracy", "perturbation_accuracy", "control_accuracy", "explained", "control_explained",
    "perturbation_share_outside",
)  # fmt: skip


def _with_intervals(names: Sequence[str]) -> list[str]:
    return [head for name in names for head in (name, f"{name}_low", f"{name}_high")]


def _reference(run: StudyRun, machine: str) -> float | None:
    return run.measures.get(feature_measure(machine, "weight", _REFERENCE_BAND))


def _relative(run: StudyRun, machine: str, quantity: str, band: str) -> float:
    """A weight in units of that of the reference band in the same g."""
    return (
        run.measures[feature_measure(machine, quantity, band)]
        / run.measures[feature_measure(machine, "weight", _REFERENCE_BAND)]
    )


def _relative_cells(runs: Sequence[StudyRun], machine: str, quantity: str, band: str) -> tuple[Cell, ...]:
    if feature_measure(machine, quantity, band) not in runs[0].measures:
        return (None,) * 3
    found = mean_of_seeds([_relative(run, machine, quantity, band) for run in runs])
    return found.value, found.low, found.high


def _seed_cells(runs: Sequence[StudyRun], name: str) -> tuple[Cell, ...]:
    found = mean_of_seeds([run.measures[name] for run in runs])
    return found.value, found.low, found.high


def _band_charts(runs: Sequence[StudyRun]) -> Iterator[Chart]:
    """Weights band by band, one chart for each data set: bare perturbations beside images."""
    along_size = [run for run in runs if run.x == "epsilon" and not _is_other_size(run)]
    for (way, data), of_data in _grouped(along_size, lambda run: (run.way, run.name.rpartition(", ")[0])).items():
        lines: list[Line] = []
        for (source, machine), of_line in _by_machine(of_data, lambda run: run.settings["attack.source"]).items():
            label = f"g from {_KINDS[source]}, {machine}"
            lines.append(
                _relative_line(label, machine, {place: (of_line, band) for band, place in _SHOWN_BANDS.items()})
            )
        lines.append(Line("f", list(_SHOWN_BANDS.values()), [1.0] * len(_SHOWN_BANDS), is_reference=True))
        places = ", ".join(band.replace("_", "–") for band in _SHOWN_BANDS)
        yield Chart(_named(way, data), f"feature by eigenvalue: bands {places}", "weight, 10–29: 1", lines, log_x=True)


def _time_charts(runs: Sequence[StudyRun]) -> Iterator[Chart]:
    """Weight of the robust band over the training time of g."""
    along_time = [run for run in runs if run.x != "epsilon"]
    for (way, name), of_panel in _grouped(along_time, lambda run: (run.way, run.name)).items():
        lines = []
        for (_, machine), of_line in _by_machine(of_panel, lambda run: "").items():
            points = _grouped(of_line, lambda run: run.settings[run.x])
            label = f"g from images, {machine}"
            lines.append(_relative_line(label, machine, {x: (point, _ROBUST_BAND) for x, point in points.items()}))
        x = label_of(of_panel[0].x)
        yield Chart(_named(way, name), x, "weight of features 1–2, 10–29: 1", lines, log_x=True)


def _named(way: str, title: str) -> str:
    return f"{way}: {title}" if way else title


def _is_other_size(run: StudyRun) -> bool:
    return run.settings["epsilon"] != _SHOWN_SIZES[word(run.settings, "attack.source")]


def _by_machine(runs: Sequence[StudyRun], key: Callable[[StudyRun], Any]) -> dict[tuple[Any, str], list[StudyRun]]:
    groups = _grouped(runs, key)
    return {
        (group, machine): known
        for group, of_group in groups.items()
        for machine in MACHINES
        if (known := [run for run in of_group if _reference(run, machine)])
    }


def _relative_line(label: str, machine: str, points: dict[float, tuple[list[StudyRun], str]]) -> Line:
    """Mean and standard deviation of relative weights; a point is some runs and a band."""
    values = {
        place: [
            _relative(run, machine, "weight", band)
            for run in runs
            if feature_measure(machine, "weight", band) in run.measures
        ]
        for place, (runs, band) in points.items()
    }
    known = {place: of_seeds for place, of_seeds in values.items() if of_seeds}
    return Line(
        label,
        list(known),
        [statistics.fmean(of_seeds) for of_seeds in known.values()],
        [statistics.stdev(of_seeds) if len(of_seeds) > 1 else 0.0 for of_seeds in known.values()],
    )


_Told = Sequence[tuple[dict[str, str], str | None]]
"""Measures with their meanings, and the axis of their chart; None for none."""


def _by_panel(runs: Sequence[StudyRun]) -> dict[Any, list[StudyRun]]:
    return _grouped(runs, lambda run: (run.way, run.panel))


def _with(runs: Sequence[StudyRun], name: str, *, positive: bool = False) -> list[StudyRun]:
    """Those that have a measure, and a logarithm of it: a lazy network's kernel does not drift at all."""
    known = [run for run in runs if run.measures.get(name) is not None]
    return [run for run in known if run.measures[name] > 0] if positive else known


def _table_of(runs: Sequence[StudyRun], told: _Told) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (way, of_panel[0].name, of_panel[0].x, value, name, *_mean_std(point, name), len(point))
        for (way, _), of_panel in _by_panel(runs).items()
        for names, _ in told
        for name in names
        for value, point in _grouped(_with(of_panel, name), lambda run: run.settings[run.x]).items()
    ]
    return Table(
        "measures",
        "Every number over the seeds, by parametrisation and training, and along each panel.",
        ("way", "panel", "setting", "value", "measure", "mean", "std", "n_seeds"),
        rows,
    )


def _charts_of(runs: Sequence[StudyRun], told: _Told) -> list[Chart]:
    charts: list[Chart] = []
    for (way, _), of_panel in _by_panel(runs).items():
        for names, label in told:
            is_log = label in _IS_LOG
            lines: list[Line] = []
            for name, meaning in names.items():
                points = _grouped(_with(of_panel, name, positive=is_log), lambda run: run.settings[run.x])
                if points:
                    lines.append(_line(meaning, list(points), points.values(), name))
            # The distance of a lazy network from its linearisation is 0 everywhere: no chart.
            if label is not None and any(any(line.y) for line in lines):
                x, title = of_panel[0].x, f"{way}: {of_panel[0].name}"
                log_x = x not in ("depth", "adversary")
                charts.append(
                    Chart(title, label_of(x), label, lines, log_x=log_x, log_y=is_log, is_share=label == "share")
                )
    return charts


def _grouped(entries: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = defaultdict(list)
    for entry in entries:
        groups[key(entry)].append(entry)
    return dict(sorted(groups.items()))


def _line(label: str, x: Sequence[float], points: Iterable[Sequence[StudyRun]], name: str) -> Line:
    """Mean and spread of a measure, point by point."""
    known = [(place, *_mean_std(point, name)) for place, point in zip(x, points, strict=True)]
    return Line(label, x, [mean for _, mean, _ in known], [std or 0.0 for _, _, std in known])


def _mean_std(runs: Sequence[StudyRun], name: str) -> tuple[float, float | None]:
    values = [run.measures[name] for run in runs]
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def _geometric_mean(runs: Sequence[StudyRun], name: str) -> float:
    """Of numbers that span orders of magnitude."""
    return statistics.geometric_mean(run.measures[name] for run in runs)


def _cells(fit: Fit | None, name: str) -> tuple[Cell, ...]:
    if fit is None:
        return (None,) * len(_FIT_HEADS)
    slope = fit.slopes[name]
    return slope.value, slope.low, slope.high, fit.residual, fit.n_points, fit.n_seeds
