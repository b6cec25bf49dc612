"""Why g fails for some seeds on shifted Gauss (a): the mean of its random labels, predicted against measured.

    python docs/evidence/mean_of_targets.py RUN_FOLDER

In scenario (a) g sees eps y' t/|t|, so its trained part is proportional to eps <t/|t|, z> + mean(y') up to a gate that
hardly varies: the labels' mean acts as a threshold. If t/|t| points along the shift, <t/|t|, z> is N(±shift sqrt(d),
1), which gives the predicted accuracy below.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from statistics import NormalDist

from safetensors.torch import load_file

folder = Path(sys.argv[1])
result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
config = result["config"]
distance = config["data"].get("shift", 0.3) * math.sqrt(config["data"]["input_dim"])
normal = NormalDist()
print("| seed | mean(y') / eps | predicted accuracy of g | measured, held out | maximum over the grid |")
print("|---|---|---|---|---|")
for seed in result["seeds"]:
    labels = load_file(folder / f"seed-{seed['seed']}" / "perturbed.safetensors")["target_labels"]
    threshold = labels.double().mean().item() / config["attack"]["epsilon"]
    predicted = (normal.cdf(distance + threshold) + normal.cdf(distance - threshold)) / 2
    measured = seed["measures"]
    print(
        f"| {seed['seed']} | {threshold:.2f} | {predicted:.3f} | {measured['perturbation_accuracy_heldout']:.3f} "
        f"| {measured['perturbation_accuracy_heldout_max']:.3f} |"
    )
