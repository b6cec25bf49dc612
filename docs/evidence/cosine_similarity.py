"""NeurIPS24's figure of cosine similarities: perturbations of trained networks against the prediction t_n.

    python docs/evidence/cosine_similarity.py PANEL [SEEDS] [POINTS]

PANEL is 1, 2, 3, 5 or 6, as in the paper's figure; POINTS selects some of its x values, such as 3,5,10.

Every point is f alone at the paper's settings (m = 100, slope 0, identity loss). It is the mean |cos(r_n, t_n)| over
the training set, maximised over the learning rates of f as published, with mean and standard deviation over the seeds.
The published values are one seed each, read off the figure to within 0.015. MNIST and Fashion-MNIST must be in
PERTURBLEARN_DATA.
"""

from __future__ import annotations

import sys

import perturblearn

TO_TEN = list(range(1, 11))
TO_HUNDRED = [*TO_TEN, *range(20, 101, 10)]
GAUSS_DIMS = list(range(100, 1001, 100))
SHIFTED = {"data.name": "shifted_gauss", "data.input_dim": 100, "data.n_samples": 1000}
IMAGES = {"standard.lr": [0.01, 0.001]}
PANELS = {
    1: (
        "shifted Gauss, input_dim", "data.input_dim", list(range(10, 101, 10)),
        {**SHIFTED, "standard.lr": [1.0, 0.1], "standard.epochs": 1000},
        [1.0] * 10,
    ),
    2: (
        "shifted Gauss, epochs", "standard.epochs", TO_TEN, {**SHIFTED, "standard.lr": 0.1},
        [0.06, None, None, 0.717, 0.837, 0.901, 0.939, 0.961, 0.974, 0.982],
    ),
    3: (
        "Gauss, input_dim", "data.input_dim", GAUSS_DIMS,
        {"data.name": "gauss", "data.n_samples": 10_000, "standard.lr": [1.0, 0.1], "standard.epochs": 1000},
        [0.965, 0.957, 0.965, 0.952, 0.952, 0.944, 0.94, 0.947, None, 0.948],
    ),
    5: (
        "MNIST, epochs", "standard.epochs", TO_HUNDRED, {**IMAGES, "data.name": "mnist", "data.classes": ["1", "2"]},
        [0.017, 0.047, 0.094, 0.149, 0.218, 0.286, 0.361, 0.434, None, 0.561, 0.862, 0.935, 0.956, 0.961, 0.961, 0.961,
         0.961, None, 0.961],
    ),
    6: (
        "Fashion-MNIST, epochs", "standard.epochs", TO_HUNDRED,
        {**IMAGES, "data.name": "fashion_mnist", "data.classes": ["0", "9"]},
        [0.056, 0.111, 0.188, 0.279, 0.377, 0.465, 0.548, 0.616, None, 0.717, 0.892, 0.901, 0.901, 0.897, 0.897, 0.893,
         0.893, None, 0.892],
    ),
}  # fmt: skip

title, swept, values, settings, published = PANELS[int(sys.argv[1])]
seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
print(f"| {title} | cosine similarity, {seeds} seeds | published | difference |")
print("|---|---|---|---|")
points = [int(point) for point in sys.argv[3].split(",")] if len(sys.argv) > 3 else values
for value, reference in zip(values, published, strict=True):
    if value not in points:
        continue
    keys = {
        "seeds": seeds,
        **settings,
        swept: value,
        "standard.loss": "identity",
        "attack.source": "none",
        "attack.epsilon": 0.1,
        "perturbation.epochs": 1,
        "controls.draws": 0,
        "measures.cosine_similarity": True,
    }
    found = perturblearn.learn_from_perturbations(overrides=keys).summary["cosine_similarity_max"]
    shown = ("-", "-") if reference is None else (f"{reference:.3f}", f"{found['mean'] - reference:+.3f}")
    print(f"| {value} | {found['mean']:.3f} ± {found['std'] or 0:.3f} | {shown[0]} | {shown[1]} |", flush=True)
