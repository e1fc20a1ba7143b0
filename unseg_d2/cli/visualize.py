"""Show a label set or a file of predictions as a web page that opens from disk, and as overlay images."""

from __future__ import annotations

import argparse
import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unseg_d2.cli.groups import add_images, add_labels, add_output
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.errors import UnsegError

if TYPE_CHECKING:
    from unseg_d2.data.coco import CocoDataset
    from unseg_d2.viz.labels import LabelView

ONE_FILE_LIMIT = 500
"""A page in a folder of its own keeps the pictures of more images than this in files beside it."""


def _arguments(parser: CommandParser) -> None:
    add_labels(parser, "label set (COCO file or folder), or COCO results together with --gt")
    add_images(parser, text="folder of the images (default: looked for near --labels and --gt)", type=Path)
    parser.add_argument_group("ground truth").add_argument(
        "--gt",
        type=Path,
        metavar="FILE",
        help="ground truth, or any other label set, to show beside the labels (default: none)",
    )
    add_output(
        parser,
        f"page.html for one file, or a folder (pictures of more than {ONE_FILE_LIMIT} images lie beside the page)",
        required=True,
    )
    parser.add_argument("--overlays", action="store_true", help="also write each image with its masks, full size")
    parser.add_argument(
        "--limit", type=int, default=5000, metavar="N", help="most images, evenly spaced over the set; 0: all"
    )


def _execute(args: argparse.Namespace) -> None:
    """Write the page, and the overlays if asked for, and say where they are."""
    if args.limit < 0:
        raise UnsegError(f"--limit is {args.limit}, but a number of images is needed, or 0 for all.")
    from unseg_d2.progress import progress_bar
    from unseg_d2.viz.gallery import write_gallery
    from unseg_d2.viz.overlay_folder import write_overlays

    labels, compare = read_views(args.labels, args.gt)
    root = args.images or _find_images(labels.dataset, [args.labels, *([args.gt] if args.gt else [])])
    if not root.is_dir():
        raise UnsegError(f"There is no folder {root}; name the folder of the images with --images.")
    is_page = args.output.suffix.lower() in (".html", ".htm")
    page = args.output if is_page else args.output / "index.html"
    shown = min(len(labels.dataset.images), args.limit or len(labels.dataset.images))
    bar = functools.partial(progress_bar, unit=" images")
    summary = write_gallery(
        page,
        labels,
        root,
        compare=compare,
        one_file=is_page or shown <= ONE_FILE_LIMIT,
        limit=args.limit,
        progress=functools.partial(bar, desc="gallery"),
    )
    if summary.problems:
        name, problem = summary.problems[0]
        print(f"{len(summary.problems)} of {summary.images} images cannot be shown; the first is {name} ({problem}).")
    print(f"gallery   {page} ({summary.images} images, {summary.size / 1e6:.1f} MB)")
    if args.overlays:
        folder = page.with_name(f"{page.stem}_overlays")
        write_overlays(folder, labels, root, limit=args.limit, progress=functools.partial(bar, desc="overlays"))
        print(f"overlays  {folder}")


def read_views(labels: Path, truth: Path | None) -> tuple[LabelView, LabelView | None]:
    """Read the label set to show and the one beside it, whose images get the names of the first.

    Args:
        labels: label set, or COCO results whose image ids are those of ``truth``.
        truth: COCO file or label set.

    Raises:
        UnsegError: a file is missing or damaged, results have no ``truth``, or the two have no image in common.
    """
    from unseg_d2.data.results import read_result_list
    from unseg_d2.pseudo.label_set import read_label_set
    from unseg_d2.viz.labels import LabelView

    beside = read_label_set(truth) if truth else None
    results = read_result_list(labels)
    if results is None:
        dataset = read_label_set(labels)
    elif beside is None:
        raise UnsegError(f"{labels} holds results without file names; name the file that they are for with --gt.")
    else:
        dataset = _dataset_of(results, beside, labels)
    view = LabelView(_title(labels), dataset)
    if truth is None or beside is None:
        return view, None
    return view, LabelView(_title(truth), _renamed(beside, dataset))


def _find_images(dataset: CocoDataset, near: Sequence[Path]) -> Path:
    """Look for the images where the label set says that they are, and near the given files."""
    from unseg_d2.data.coco import find_image_root

    for path in near:
        with contextlib.suppress(UnsegError):
            return find_image_root(dataset, path / "labels.json" if path.is_dir() else path)
    raise UnsegError(f"The images of {near[0]} are not near it; name their folder with --images.")


def _dataset_of(results: Sequence[dict[str, Any]], truth: CocoDataset, path: Path) -> CocoDataset:
    from unseg_d2.data.coco import check_coco

    annotations = [{**result, "id": number} for number, result in enumerate(results, 1)]
    try:
        return check_coco({"images": truth.images, "annotations": annotations})
    except UnsegError as error:
        raise UnsegError(f"{path}: {error}") from None


def _renamed(dataset: CocoDataset, other: CocoDataset) -> CocoDataset:
    """Give the images of a data set the file names that they have in another one; drop those that it lacks."""
    from unseg_d2.data.coco import CocoDataset
    from unseg_d2.evaluation.align import align_images

    ids = align_images(dataset.images, other.images)
    names = {image["id"]: image["file_name"] for image in other.images}
    images = [{**image, "file_name": names[ids[image["id"]]]} for image in dataset.images if image["id"] in ids]
    annotations = [annotation for annotation in dataset.annotations if annotation["image_id"] in ids]
    return CocoDataset(images, annotations, dataset.categories, dataset.info)


def _title(path: Path) -> str:
    """The last two parts of the path: ``labels.json`` alone says little."""
    return "/".join(path.resolve().parts[-2:])


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 visualize --labels masks/ --output masks/gallery.html",
        "unseg-d2 visualize --labels results.json --gt instances.json --images photos/ --output page/ --overlays",
    ),
    notes="Images of the two files are matched by file name. The page needs no server and no network.",
)
main = COMMAND.main
