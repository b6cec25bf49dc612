"""Gradient flow compared with gradient descent over the same number of epochs.

    python docs/evidence/flow.py [SEEDS]

Uniform noise, N = 100, d = 1,000, m = 1,000, slope 0.01, exponential loss, lr 0.01, momentum 0.9. From the same
weights, the script runs 30,000 and 100,000 real epochs, and the flow to the same time. It prints sign agreement and
correlation of outputs on 20,000 fresh draws, and the distance of the weights relative to their length.
"""

from __future__ import annotations

import sys
import time

import torch

from perturblearn import load_dataset
from perturblearn.classifiers import initialise
from perturblearn.config import DataConfig, OneHiddenConfig
from perturblearn.training import Descent, Flow

seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
model = OneHiddenConfig(hidden_dim=1000, slope=0.01)
print("| seed | epochs | exact epochs | steps | same sign | correlation | weights differ by | seconds: descent, flow |")
print("|---|---|---|---|---|---|---|---|")
for seed in range(seeds):
    data = load_dataset(DataConfig(name="uniform", n_samples=100, input_dim=1000, n_heldout=20_000), seed=seed)
    network = initialise(model, 1000, seed=seed, role="standard")
    z = data.heldout_inputs
    for epochs in (30_000, 100_000):
        started = time.perf_counter()
        real = Descent("exponential", 0.01, epochs).train(network, data.inputs, data.labels)
        real_seconds = time.perf_counter() - started
        outputs, weight = real.outputs(z), real.module.weight.detach()
        for exact in (0, 100):
            started = time.perf_counter()
            flow = Flow("exponential", 0.01, epochs, exact_epochs=exact)
            found = flow.train(network, data.inputs, data.labels)
            seconds = time.perf_counter() - started
            ours = found.outputs(z)
            same = (ours.sign() == outputs.sign()).double().mean()
            correlation = torch.corrcoef(torch.stack((ours, outputs)).double())[0, 1]
            apart = (found.module.weight.detach() - weight).norm() / weight.norm()
            print(
                f"| {seed} | {epochs:,} | {exact} | {found.training['steps']} | {same:.4f} | {correlation:.6f} | "
                f"{apart:.4f} | {real_seconds:.0f}, {seconds:.2f} |",
                flush=True,
            )
