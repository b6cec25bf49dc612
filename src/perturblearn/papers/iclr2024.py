"""The figures of ICLR24: perturbations of networks that were trained on noise, against dimension and sizes.

Settings as in the paper's section 5 and appendix; its networks are trained for 100,000 epochs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

from perturblearn.config import JSON, Keys
from perturblearn.papers.figure import Figure, Panel, Settings, Smaller, number, whole, word

DIMS = (100, 500, 1000, 2500, 5000, 7500, 10_000)
N_ADV = (1, 10, 100, 500, 1000, 1500, 2500, 5000, 7500, 10_000)
N_SAMPLES = (1000, 2000, 3000, 5000, 7000, 10_000)
PIXEL_SHARES = (0.0001, 0.0004, 0.0008, 0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.02, 0.03, 0.04, 0.05)
L0_STEP = 0.3
"""Step of the paper's search in L0, in units of the largest entry of the gradient."""
SOFTNESS = 0.1
"""Of limits over more samples than dimensions [own]."""


def l0_length(pixels: int, input_dim: int, data: str) -> float:
    r"""Length in L2 of what the paper's search in L0 finds [own].

    The limit has no search, so its L0 perturbation has to be given the length that the search reaches. Step by step the
    search takes one coordinate more, in the order of the gradient's entries, and moves all it has by 0.3 of their ratio
    to the largest. For Gaussian entries |g_1| >= |g_2| >= ... of the gradient, coordinate i has in the end moved by
    :math:`s_i = 0.3\,(k - i + 1)\,|g_i|/|g_1|`, or, in data on [-1, 1], to the end of the range, if that is nearer: its
    distance w is uniform on [0, 2], so :math:`E[\min(w, s)^2] = s^2 - s^3/3` for s < 2, and 4/3 beyond.

    Args:
        pixels: coordinates k that are changed.
        input_dim: dimension d.
        data: ``uniform``, clipped to [-1, 1], or ``gauss``.
    """
    entry = NormalDist().inv_cdf
    sizes = [entry(1 - (rank - 0.5) / (2 * input_dim)) for rank in range(1, pixels + 1)]
    moves = [L0_STEP * (pixels - index) * size / sizes[0] for index, size in enumerate(sizes)]
    if data == "gauss":
        return math.sqrt(sum(move**2 for move in moves))
    return math.sqrt(sum(move**2 - move**3 / 3 if move < 2 else 4 / 3 for move in moves))


def _flow(settings: Settings) -> Settings:
    """Train f and g for the time of the paper's 100,000 epochs, and search for perturbations as the paper does."""
    return {
        **_both({"model.name": "one_hidden", "model.hidden_dim": settings["units"], "training": "flow"}),
        "loss": "exponential", "lr": 0.01, "epochs": 100_000, "attack.name": "radial_pgd", "controls.draws": 1,
    }  # fmt: skip


def _limit(settings: Settings) -> Settings:
    """Take f and g to the limits of long training, and perturb along the normal of f's boundary.

    Where there are more samples than dimensions two directions may not separate them, and the limit is the soft one.
    """
    limit = {**_both({"model.name": "limit", "model.method": "two_direction"}), "attack.name": "geometry"}
    input_dim = whole(settings, "input_dim")
    if max(whole(settings, "n_samples"), whole(settings, "n_adv")) > input_dim:
        limit |= _both({"model.softness": SOFTNESS})
    if settings["attack.norm"] != "l0":
        return limit
    pixels = max(1, int(number(settings, "pixel_share") * input_dim))
    return {**limit, "epsilon": l0_length(pixels, input_dim, word(settings, "data.name"))}


def _size_law(settings: Settings) -> float | None:
    """Accuracy of g by the size law, which holds for fewer samples and sources than dimensions."""
    from perturblearn.theory import expected_perturbation_accuracy

    n_samples, n_sources, input_dim = (whole(settings, name) for name in ("n_samples", "n_adv", "input_dim"))
    if max(n_samples, n_sources) >= input_dim:
        return None
    return expected_perturbation_accuracy(
        epsilon=number(settings, "epsilon"),
        n_sources=n_sources,
        n_samples=n_samples,
        input_dim=input_dim,
        data=word(settings, "data.name"),
    )


def _both(keys: Keys) -> dict[str, JSON]:
    return {f"{role}.{key}": value for role in ("standard", "perturbation") for key, value in keys.items()}


def _artificial(norm: str, data: str) -> Figure:
    size, along_dims, sizes = _SIZES[norm]
    (name,) = size
    return Figure(
        f"iclr2024/artificial_{norm}_{data}",
        {**_NOISE, "data.name": data, "attack.source": data, "attack.norm": norm, **size},
        [
            Panel({"input_dim": DIMS, name: along_dims}),
            Panel({"n_adv": N_ADV}),
            Panel({"n_samples": N_SAMPLES}),
            Panel({name: sizes}),
        ],
        caption=f"f learns random labels of {_LAWS[data]}, g from {_NORMS[norm]} perturbations of fresh noise; "
        "accuracy of g, and of a network trained on the noise alone, on f's samples.",
        measures={"perturbation_accuracy": "perturbation_accuracy", "noise_accuracy": "unperturbed_control"},
        ways={"flow": _flow, "limit": _limit},
        laws={"size law": _size_law} if norm == "l2" else {},
        control_draws=1,
        quick=_TWENTIETHS[norm],
        seed=_SEEDS[data],
        full_takes="hours by the flow, minutes in the limit",
    )


def _map(norm: str, data: str) -> Figure:
    size, _, _ = _SIZES[norm]
    counts = [
        Panel(fixed={"n_adv": count}, title=f"{count} perturbed samples", limits=(-3.4, 3.4)) for count in (10, 20, 100)
    ]
    nothing = {"n_adv": 100, "attack.norm": "l2", "epsilon": 0.0, "pixel_share": None}
    return Figure(
        f"iclr2024/map_{norm}_{data}",
        {**_NOISE, "data.name": data, "attack.source": data, "attack.norm": norm, **size},
        [*counts, Panel(fixed=nothing, title="control, 100 unperturbed samples", limits=(-3.4, 3.4))],
        caption=f"{_LAWS[data].capitalize()}, {_NORMS[norm]} perturbations: signs of f and g in the plane of the mean "
        "positive and the mean negative unit of f, with the boundaries of their limits.",
        draws="decision maps",
        measures={"perturbation_accuracy": "perturbation_accuracy"},
        ways={"flow": _flow},
        control_draws=1,
        quick=_SMALL_MAPS[norm],
        full_takes="minutes",
    )


_SEEDS = {"uniform": 5, "gauss": 2}
"""Of the published points."""
_LAWS = {"uniform": "uniform noise", "gauss": "Gaussian noise"}
_NORMS = {"l2": "L2", "l0": "L0", "linf": "L-infinity"}
_NOISE = {
    "input_dim": 10_000, "n_samples": 1000, "data.n_heldout": 100, "units": 1000, "slope": 0.01, "n_adv": 10_000,
    "attack.targets": "uniform",
}  # fmt: skip
_SIZES: Mapping[str, tuple[Settings, Sequence[float], Sequence[float]]] = {
    # epsilon grows with the square root of the dimension; the paper cuts it to two digits.
    "l2": (
        {"epsilon": 0.78},
        (0.078, 0.17, 0.24, 0.39, 0.55, 0.67, 0.78),
        (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.78),
    ),
    "l0": ({"pixel_share": 0.05}, (0.05,) * len(DIMS), PIXEL_SHARES),
    "linf": ({"epsilon": 0.03}, (0.03,) * len(DIMS), (0.001, 0.005, 0.01, 0.015, 0.02, 0.03)),
}
_DIVIDED = {"input_dim": 20, "n_samples": 20, "n_adv": 20}
_NARROWER = {"units": 200}
_LEAST = {"input_dim": 25}
# With all three divided alike, the size law stays the same at equal length in L2; an entry of a perturbation that is
# bounded in L-infinity is then the larger by the square root.
_TWENTIETHS = {
    "l2": Smaller(_DIVIDED, _NARROWER, least=_LEAST, points=4),
    "l0": Smaller(_DIVIDED, _NARROWER, least={**_LEAST, "pixel_share": 0.002}, points=4),
    "linf": Smaller({**_DIVIDED, "epsilon": 1 / math.sqrt(20)}, _NARROWER, least=_LEAST, points=4),
}
# 10 perturbed samples teach g more than its controls if f has few samples and the perturbations are large. In
# L-infinity epsilon is the larger by the square root of the dimension's divisor.
_SMALL = {"input_dim": 10, "n_samples": 25}
_SMALL_MAPS = {
    "l2": Smaller({**_SMALL, "epsilon": 1 / 3}, _NARROWER),
    "l0": Smaller(_SMALL, _NARROWER),
    "linf": Smaller({**_SMALL, "epsilon": 1 / (2 * math.sqrt(10))}, _NARROWER),
}
_ALL = [(norm, data) for norm in _SIZES for data in _LAWS]
ARTIFICIAL_FIGURES = {figure.name: figure for figure in (_artificial(norm, data) for norm, data in _ALL)}
"""ICLR24's figures on artificial data by name."""
MAPS = {figure.name: figure for figure in (_map(norm, data) for norm, data in _ALL)}
"""ICLR24's decision maps by name."""
