"""Stands in for what you already have: PNGs in one folder per class, and a network trained on them.

Writes ``photos`` and ``transformer.pt`` beside this file. Takes ten seconds.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from nets import WEIGHTS, Transformer
from PIL import Image
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
PHOTOS = Path(__file__).with_name("photos")

digits = load_digits()
for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
    path = PHOTOS / str(label) / f"{number:04}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((pixels * 255 / 16).astype(np.uint8)).resize((20, 14), Image.Resampling.BILINEAR).save(path)

files = sorted(PHOTOS.rglob("*.png"))
images = torch.stack([torch.from_numpy(np.array(Image.open(file), dtype=np.float32) / 255)[None] for file in files])
labels = torch.tensor([int(file.parent.name) for file in files])

torch.manual_seed(0)
network = Transformer()
optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=EPOCHS * (len(images) // 64))
for _ in range(EPOCHS):
    for rows in torch.randperm(len(images))[: len(images) // 64 * 64].view(-1, 64):
        loss = cross_entropy(network(images[rows]), labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
torch.save(network.state_dict(), WEIGHTS)
print(f"{len(files)} images in {PHOTOS.name}, weights in {WEIGHTS.name}; loss {loss.item():.4f}")
