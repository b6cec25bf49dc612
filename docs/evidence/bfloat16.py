"""Results with bfloat16 products compared with exact ones: python docs/evidence/bfloat16.py [--data-dir DIR]

The same experiments, five seeds, with both kinds of products. For each measure the script prints mean and standard
deviation over the seeds of both, and the largest difference for one seed, to compare with that deviation. The last row
of each block repeats the exact products in another form, which shows the effect of rounding alone.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from perturblearn import learn_from_perturbations
from perturblearn.papers import ACCURACY_FIGURES

SEEDS = 5
MEASURES = ("standard_accuracy_max", "perturbation_accuracy_max", "agreement_max")
SMALLER = {"data.input_dim": 2000, "data.n_samples": 2000}
CASES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("shifted_gauss_a", "shifted Gauss (a)", {}),
    ("mnist_a", "MNIST (a)", {}),
    ("fmnist_a", "Fashion-MNIST (a)", {}),
    ("mnist_b", "MNIST (b), logistic, epsilon 1.4", {"loss": "logistic", "attack.epsilon": 1.4}),
    ("gauss_a", "Gauss (a), d = N = 2,000", {**SMALLER, "attack.epsilon": 0.045}),
    ("gauss_b", "Gauss (b), d = N = 2,000", {**SMALLER, "attack.epsilon": 4.5}),
)


def values(figure: str, keys: dict[str, Any], data_dir: Path | None, **both: str) -> dict[str, list[float]]:
    """Each measure, seed by seed, at a figure's default setting."""
    settings = {**ACCURACY_FIGURES[figure].default(seeds=SEEDS).model_dump(mode="json")}
    overrides = {name: value for name, value in keys.items() if name != "loss"}
    for role in ("standard", "perturbation"):
        overrides |= {f"{role}.{name}": value for name, value in both.items()}
        if "loss" in keys:
            overrides[f"{role}.loss"] = keys["loss"]
    result = learn_from_perturbations(settings, overrides=overrides, data_dir=data_dir)
    return {name: [seed.measures[name] for seed in result.seeds] for name in MEASURES}


def main() -> None:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path)
    arguments = parser.parse_args()
    for figure, name, keys in CASES:
        exact = values(figure, keys, arguments.data_dir)
        print(f"\n{name}, {SEEDS} seeds")
        others = {
            "bfloat16": values(figure, keys, arguments.data_dir, products="bfloat16"),
            "row space": values(figure, keys, arguments.data_dir, form="row_space"),
        }
        for measure in MEASURES:
            print(
                f"  {measure:27} exact {statistics.mean(exact[measure]):.4f} ± {statistics.stdev(exact[measure]):.4f}"
            )
            for other, found in others.items():
                differences = [abs(a - b) for a, b in zip(exact[measure], found[measure], strict=True)]
                print(
                    f"  {'':27} {other} {statistics.mean(found[measure]):.4f} ± "
                    f"{statistics.stdev(found[measure]):.4f}, one seed differs by {max(differences):.4f} at most",
                    flush=True,
                )


if __name__ == "__main__":
    main()
