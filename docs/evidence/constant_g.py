"""Why g is constant for some seeds of MNIST (a): its random start against what it learned.

    python docs/evidence/constant_g.py RUN_FOLDER [DATA_DIR]

After so few epochs g = g_0 + learned. Here g_0(z) is nearly the same for every z (its biases decide it, about N(0, 1/2)
over seeds), and the learned part is about ±s for the two classes. If |g_0 + offset| exceeds s, g predicts the same
label for every input. The script splits the trained g of every seed into these two parts, on clean held-out inputs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from perturblearn import Result, load_dataset
from perturblearn.classifiers import from_state, initialise

folder = Path(sys.argv[1])
result = Result.load(folder)
config = result.config
constant, explained = 0, 0
print("| seed | g_0 | learned, class +1 | learned, class -1 | share labelled +1 | accuracy of g, held out |")
print("|---|---|---|---|---|---|")
for seed in result.seeds:
    data = load_dataset(config.data, seed=seed.seed, data_dir=sys.argv[2] if len(sys.argv) > 2 else None)
    inputs, labels = data.heldout_inputs, data.heldout_labels
    tensors = load_file(folder / f"seed-{seed.seed}" / "perturbation.safetensors")
    state = {name.removeprefix("module."): tensor for name, tensor in tensors.items() if name.startswith("module.")}
    trained = from_state(state, config.perturbation.model.slope)
    start = initialise(config.perturbation.model, data.input_dim, seed=seed.seed, role="perturbation")
    with torch.no_grad():
        at_start = start(inputs)
        learned = trained(inputs) - at_start
    positive, negative = learned[labels == 1].mean().item(), learned[labels == -1].mean().item()
    middle, half = (positive + negative) / 2, (positive - negative) / 2
    accuracy = seed.measures["perturbation_accuracy_heldout"]
    share = seed.measures["positive_share"]
    failed = accuracy < 0.6
    constant += failed
    explained += failed and abs(at_start.mean().item() + middle) > 0.75 * half
    print(f"| {seed.seed} | {at_start.mean():.2f} | {positive:.2f} | {negative:.2f} | {share:.3f} | {accuracy:.3f} |")
print(
    f"\n{constant} of {len(result.seeds)} seeds below 0.6; in {explained} of these |g_0 + offset| is above 0.75 of the "
    "learned half-difference."
)
