"""Join the masks of the frames of videos into tracks: which are the same object, gaps filled, the best ones marked."""

from __future__ import annotations

import argparse

from unseg_d2.cli.common import look_at, recipe
from unseg_d2.cli.groups import add_images, add_labels, add_output, add_recipe, as_path
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.cli.reads import TRACKS


def _arguments(parser: CommandParser) -> None:
    add_recipe(parser, TRACKS)
    add_labels(parser, "label set of frames (COCO or YouTube-VIS file, or folder): a folder per video, or video_id")
    add_images(parser, text="folder of the frames (default: where the label set says they are)", type=as_path)
    add_output(parser, "folder of the new label set", required=True, metavar="FOLDER")


def _execute(args: argparse.Namespace) -> None:
    """Make the tracks and print how many there are."""
    cfg = recipe(args)
    from unseg_d2.tracks.label_set import track_label_set

    path, counts = track_label_set(cfg, args.labels, args.output, image_root=args.images)
    print(f"{counts.line()}: {path}")
    if counts.tracks:
        print(look_at(args.output, "page", "--overlays"))  # in which an object keeps its colour


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 track-masks --labels masks/ --output tracks/",
        "unseg-d2 track-masks --labels predictions.json --output tracks/ TRACKS.APPEARANCE 0 TRACKS.MIN_SIMILARITY 0.1",
    ),
    notes="Frames of a video lie in one folder and are numbered in their names, or have video_id and frame_id. "
    "labels.json has a track_id for each mask, keys.json the key masks; unseg-d2 export --format youtube-vis "
    "writes the layout of YouTube-VIS. With TRACKS.APPEARANCE 0 no image is read.",
    resumes=True,
)
main = COMMAND.main
