"""The picture of docs/groups.md: masks of each group, from the most to the least certain, on scenes with known classes.

pip install 'unseg-d2[groups]'
python benchmarks/groups_picture.py [--output docs/groups.jpg]
"""

from __future__ import annotations

import argparse
import base64
import io
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from unseg_d2.config import load_cfg
from unseg_d2.data.pictures.reading import DEFAULT_READING
from unseg_d2.data.synthetic import ensure_synthetic
from unseg_d2.groups.group_masks import group_label_set
from unseg_d2.groups.page import crops_of, shown_of
from unseg_d2.groups.source import open_source

SETTINGS = ["FEATURES.NAME", "palette", "FEATURES.IMAGE_SIZE", "240", "GROUPS.NUMBER", "4"]
SCENES = ["SYNTHETIC.SURFACES", "by_class", "SYNTHETIC.SIZE", "(160, 208)", "SYNTHETIC.PITCH", "(10.0, 28.0)"]
SHOWN = 9
SIDE = 96  # px of a mask in the picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/groups.jpg"))
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        cfg = load_cfg(None, [*SETTINGS, *SCENES, "SYNTHETIC.NUM_TRAIN", "60", "SYNTHETIC.ROOT", folder])
        _, path = ensure_synthetic(cfg, "train")
        grouped = group_label_set(cfg, path, Path(folder) / "groups", images=path.parent / "images")
        source = open_source(path, cfg, images=path.parent / "images")
        rows = [shown_of(grouped.members, group, SHOWN) for group in range(4)]
        crops, _ = crops_of(source, grouped.members, [place for row in rows for place in row], DEFAULT_READING)
        lines = [np.concatenate([square(crops[place].picture) for place in row], axis=1) for row in rows]
    picture = Image.fromarray(np.concatenate(lines))
    picture.save(args.output, quality=80, optimize=True)
    print("\n".join(grouped.lines()[:-1]))
    print(f"{args.output}: {picture.width}x{picture.height} px, {args.output.stat().st_size / 1000:.0f} kB")


def square(picture: str) -> np.ndarray:
    """Return a picture in base64 in the middle of a white square, ``(SIDE, SIDE, 3)`` uint8."""
    image = Image.open(io.BytesIO(base64.b64decode(picture)))
    image.thumbnail((SIDE - 6, SIDE - 6))
    canvas = Image.new("RGB", (SIDE, SIDE), "white")
    canvas.paste(image, ((SIDE - image.width) // 2, (SIDE - image.height) // 2))
    return np.asarray(canvas)

    return DEFAULT_READING


if __name__ == "__main__":
    main()
