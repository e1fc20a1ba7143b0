"""Cut the masks of a label set in 3D (LocalCut of CutS3D): what touches in the image comes apart in depth."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from unseg_d2.cli.common import add_config_arguments
from unseg_d2.config import load_cfg
from unseg_d2.data.coco import CocoDataset
from unseg_d2.pseudo.cut_labels import cut_label_set
from unseg_d2.pseudo.label_set import read_label_set, summarise


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Depth comes from DEPTH.SOURCE, for example: DEPTH.SOURCE files DEPTH.KIND metric DEPTH.FILES.ROOT "
        "depth DEPTH.FILES.SCALE 0.001. The settings of the cut are those of MASKS.CUTS3D.",
    )
    add_config_arguments(parser)
    parser.add_argument("--masks", required=True, type=Path, help="label set (COCO file or folder), from anywhere")
    parser.add_argument("--images", type=Path, help="folder of the images, where the label set does not name it")
    parser.add_argument("--output", required=True, type=Path, help="folder of the new label set")
    parser.add_argument("--num-workers", type=int, help="processes (default: one per GPU, or one per core)")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Cut the masks and say how many of them changed."""
    args = parser().parse_args(arguments)
    cfg = load_cfg(args.config_file, args.opts)
    cut_label_set(cfg, args.masks, args.output, image_root=args.images, num_workers=args.num_workers)
    print(summarise(args.output))
    before, after = area(read_label_set(args.masks)), area(read_label_set(args.output))
    smaller = sum(after.get(key, value) < value for key, value in before.items())
    print(f"{smaller} of {len(before)} masks lost a part ({100 * smaller / max(1, len(before)):.1f} %).")


def area(labels: CocoDataset) -> dict[tuple[str, int], int]:
    """Return the area of each mask by the name of its image and its place among the masks of it."""
    names = {image["id"]: image["file_name"] for image in labels.images}
    areas: dict[tuple[str, int], int] = {}
    count: dict[str, int] = {}
    for annotation in labels.annotations:
        name = names[annotation["image_id"]]
        areas[name, count.setdefault(name, 0)] = int(annotation["area"])
        count[name] += 1
    return areas
