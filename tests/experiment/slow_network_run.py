"""A small experiment on convolutional networks, in a process that may be killed at any moment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # as an optimiser does when it is first used, which takes a second

from perturblearn.config import resolve_config
from perturblearn.data import Dataset
from perturblearn.experiment import Experiment
from perturblearn.store import ArtefactStore

NETWORK = {"model.name": "convnet", "model.width": 0.1, "epochs": 2, "lr": 0.05, "batch_size": 64}
KEYS: dict[str, Any] = {
    "seeds": [4],
    "checkpoint_minutes": 0.002,
    "data.name": "python",
    "attack.name": "radial_pgd",
    "attack.epsilon": 1.0,
    "attack.steps": 6,
    "attack.targets": "other",
    "controls.draws": 1,
    "perturbation.augmentation": ["flip"],
    **{f"{role}.{key}": value for role in ("standard", "perturbation") for key, value in NETWORK.items()},
}


def stripes(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy images of three kinds: a bright row, a bright column, a bright diagonal."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = 0.5 * torch.rand(count, 1, 14, 14, generator=generator)
    place = torch.randint(14, (count,), generator=generator)
    for image, label, position in zip(images[:, 0], labels.tolist(), place.tolist(), strict=True):
        if label == 0:
            image[position] += 0.5
        elif label == 1:
            image[:, position] += 0.5
        else:
            image += 0.5 * torch.eye(14).roll(position, 1)
    return images, labels


def experiment() -> Experiment:
    """Three parts of sources, so that the attack can be killed between them."""
    inputs, labels = stripes(2100, 0)
    heldout, heldout_labels = stripes(90, 1)
    data = Dataset(inputs, labels, heldout, heldout_labels, (0.0, 1.0), ("row", "column", "diagonal"), 0.0, (1, 14, 14))
    return Experiment(resolve_config({}, KEYS), dataset=data)


def main(folder: Path) -> None:
    torch.set_num_threads(1)  # bits are equal at an equal number of threads
    of_stripes = experiment()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    of_stripes.run(ArtefactStore(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
