"""Cut the masks of a label set in 3D (LocalCut of CutS3D): objects that touch in the image are separated by depth."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from unseg_d2.cli.common import recipe
from unseg_d2.cli.groups import add_images, add_labels, add_output, add_processes, add_recipe, as_path, where
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.cli.reads import CUTS, SPREAD

if TYPE_CHECKING:
    from unseg_d2.data.coco import CocoDataset


def _arguments(parser: CommandParser) -> None:
    add_recipe(parser, (*CUTS, *SPREAD))
    add_labels(parser, "label set (COCO file or folder) from any source")
    add_images(
        parser,
        text="folder of the images (default: where the label set says they are)",
        type=as_path,
    )
    add_output(parser, "folder of the new label set", required=True, metavar="FOLDER")
    add_processes(parser, workers="processes (default: one per GPU, or one per core)", engine="cut them")
    parser.renamed["--masks"] = "--labels"


def _execute(args: argparse.Namespace) -> None:
    """Cut the masks and print how many of them changed."""
    cfg = recipe(args)
    from unseg_d2.pseudo.cut_labels import cut_label_set
    from unseg_d2.pseudo.label_set import read_label_set, summarise

    cut_label_set(cfg, args.labels, args.output, image_root=args.images, **where(args))
    print(summarise(args.output))
    before, after = area(read_label_set(args.labels)), area(read_label_set(args.output))
    smaller = sum(after.get(key, value) < value for key, value in before.items())
    print(f"{smaller} of {len(before)} masks lost a part ({100 * smaller / max(1, len(before)):.1f} %).")


def area(labels: CocoDataset) -> dict[tuple[Any, int], int]:
    """Return the area of each mask by the id of its image and its index among that image's masks."""
    areas: dict[tuple[Any, int], int] = {}
    count: dict[Any, int] = {}
    for annotation in labels.annotations:
        if "segmentation" in annotation and not annotation.get("iscrowd"):
            image = annotation["image_id"]
            areas[image, count.setdefault(image, 0)] = int(annotation["area"])
            count[image] += 1
    return areas


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 cut-masks --labels masks/ --output cut/ DEPTH.SOURCE hub",
        "unseg-d2 cut-masks --labels masks/labels.json --output cut/ DEPTH.SOURCE files DEPTH.KIND metric "
        "DEPTH.FILES.ROOT depth/ DEPTH.FILES.SCALE 0.001",
    ),
    notes="Depth comes from DEPTH.SOURCE. The settings of the cut are those of MASKS.CUTS3D.LOCALCUT.",
    resumes=True,
)
main = COMMAND.main
