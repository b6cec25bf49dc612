"""Makes a folder of small images out of fast.ai's Imagenette, as unpacked from ``imagenette2-160.tgz``.

Images are squashed to 64 x 64 pixels, in a folder for each class under ``train`` and ``val``.
"""

import argparse
from pathlib import Path

from PIL import Image

CLASSES = {
    "n01440764": "tench",
    "n02102040": "english_springer",
    "n02979186": "cassette_player",
    "n03000684": "chain_saw",
    "n03028079": "church",
    "n03394916": "french_horn",
    "n03417042": "garbage_truck",
    "n03425413": "gas_pump",
    "n03445777": "golf_ball",
    "n03888257": "parachute",
}
"""What Imagenette's folders, named after WordNet, contain."""
SIZE = 64

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("source", type=Path, help="the unpacked folder, with train and val")
parser.add_argument("to", type=Path, help="the folder to write")
arguments = parser.parse_args()

count = 0
for part in ("train", "val"):
    for folder, name in CLASSES.items():
        place = arguments.to / part / name
        place.mkdir(parents=True, exist_ok=True)
        for file in sorted((arguments.source / part / folder).iterdir()):
            with Image.open(file) as image:
                small = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
            small.save(place / f"{file.stem}.jpg", quality=95)
            count += 1
print(f"{count} images in {arguments.to}")
