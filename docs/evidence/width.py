"""How well both predictions of NeurIPS24 hold as width grows, with a table and a plot.

    python docs/evidence/width.py DATA [SEEDS] [WIDTHS]     DATA: mnist or shifted_gauss; WIDTHS: 10,100,1000,10000

Scenario (a) at the settings of the paper's decision maps, one learning rate, sign agreement on held-out inputs. The
table is printed and the plot written to width_DATA.png. MNIST must be in PERTURBLEARN_DATA.
"""

from __future__ import annotations

import sys
import tempfile

from matplotlib.figure import Figure

import perturblearn

SETTINGS = {
    "mnist": {
        "data.name": "mnist", "data.classes": ["1", "2"], "standard.lr": 0.01, "perturbation.lr": 0.01,
        "attack.epsilon": 0.14,
    },
    "shifted_gauss": {
        "data.name": "shifted_gauss", "data.input_dim": 100, "data.n_samples": 1000, "standard.lr": 1.0,
        "perturbation.lr": 1.0, "attack.epsilon": 0.01,
    },
}  # fmt: skip
SHOWN = {
    "standard_sign_agreement": "f, fhat",
    "standard_sign_agreement_time": "f, lazy f at its time",
    "perturbation_sign_agreement": "g, ghat",
    "perturbation_sign_agreement_full": "g, ghat with what is left out",
    "perturbation_sign_agreement_time": "g, lazy g at its time",
    "cosine_similarity": "cosine",
    "standard_kernel_drift": "kernel drift f",
    "standard_linearisation_distance": "f from its linearisation",
    "perturbation_kernel_drift": "kernel drift g",
    "perturbation_linearisation_distance": "g from its linearisation",
}

data = sys.argv[1]
seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
widths = [int(width) for width in (sys.argv[3] if len(sys.argv) > 3 else "10,100,1000,10000").split(",")]
print("| m | " + " | ".join(SHOWN.values()) + " |")
print("|---" * (len(SHOWN) + 1) + "|")
curves: dict[str, list[dict[str, float]]] = {name: [] for name in SHOWN}
with tempfile.TemporaryDirectory() as folder:
    for width in widths:
        keys = {
            **SETTINGS[data],
            "name": f"{data}-{width}",
            "seeds": seeds,
            "attack.source": "none",
            "controls.draws": 0,
            **{
                f"{stage}.{key}": value
                for stage in ("standard", "perturbation")
                for key, value in {"loss": "identity", "epochs": 100, "model.hidden_dim": width}.items()
            },
        }
        result = perturblearn.learn_from_perturbations(overrides=keys, out=folder)
        summary = perturblearn.compare_with_theory(result).summary
        for name in SHOWN:
            curves[name].append(summary[name])
        cells = [f"{summary[name]['mean']:.3f} ± {summary[name]['std'] or 0:.3f}" for name in SHOWN]
        print(f"| {width:,} | " + " | ".join(cells) + " |", flush=True)

figure = Figure(figsize=(6.4, 4), layout="constrained")
axes = figure.add_subplot()
colours = ("#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73")
for (name, label), colour, marker in zip(list(SHOWN.items())[:5], colours, "osv^D", strict=True):
    means = [values["mean"] for values in curves[name]]
    spreads = [values["std"] or 0 for values in curves[name]]
    axes.errorbar(widths, means, spreads, label=label, color=colour, marker=marker, markersize=5, capsize=3)
axes.set_xscale("log")
axes.set_ylim(0.4, 1.02)
axes.set_xlabel("width $m$")
axes.set_ylabel("same sign, share of held-out inputs")
axes.set_title(f"{data}, scenario (a), {seeds} seeds, mean and standard deviation", fontsize=9)
axes.spines[["top", "right"]].set_visible(False)
axes.legend(fontsize=8, frameon=False)
figure.savefig(f"width_{data}.png", dpi=130)
