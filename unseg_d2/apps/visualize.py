"""Show a label set or a file of predictions as a web page that opens from disk, and as overlay images."""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from pathlib import Path

from unseg_d2.data.coco import CocoDataset, locate_images
from unseg_d2.data.results import read_result_list
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.align import align_images
from unseg_d2.exchange.pictures import find_pictures
from unseg_d2.exchange.source import dataset_of
from unseg_d2.progress import progress_bar
from unseg_d2.pseudo.label_set import open_label_set, read_label_set
from unseg_d2.storage.access import is_folder
from unseg_d2.storage.addresses import to_path, to_text
from unseg_d2.viz.formats import ONE_FILE_LIMIT
from unseg_d2.viz.gallery import GallerySummary, write_gallery
from unseg_d2.viz.labels import LabelView
from unseg_d2.viz.overlay_folder import write_overlays


def visualize(
    labels: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str] | None = None,
    ground_truth: str | os.PathLike[str] | None = None,
    overlays: bool = False,
    limit: int = 5000,
) -> GallerySummary:
    """Write a page that shows the masks of a label set; it opens from disk and needs neither server nor network.

    Args:
        labels: label set (COCO file or folder), or COCO results together with ``ground_truth``.
        output: ``page.html`` for one file, or a folder, in which the pictures of more than 500 images lie beside the
            page.
        images: folder of the images; if omitted, it is searched for near ``labels`` and ``ground_truth``.
        ground_truth: ground truth, or any other label set, to show beside the labels; matched by file name.
        overlays: also write each image with its masks, full size, beside the page.
        limit: most images, evenly spaced over the set; 0 shows all.

    Returns:
        Where the page and the overlays are, and which images cannot be shown.

    Raises:
        UnsegError: a file is missing or damaged, the images are not found, or none of them can be shown.
    """
    if limit < 0:
        raise UnsegError(f"The limit is {limit}, but a number of images is needed, or 0 for all.")
    labels, output = Path(labels), Path(output)
    truth = None if ground_truth is None else Path(ground_truth)
    view, compare = read_views(labels, truth, limit)
    near = [labels, *([truth] if truth else [])]
    root = find_pictures(view.dataset, near) if images is None else to_path(images)
    if not is_folder(root):
        raise UnsegError(f"There is no folder {to_text(root)}; name the folder of the images (--images).")
    view = replace(view, dataset=locate_images(view.dataset, root, labels)[0])
    compare = compare and replace(compare, dataset=locate_images(compare.dataset, root, labels)[0])
    is_page = output.suffix.lower() in (".html", ".htm")
    page = output if is_page else output / "index.html"
    shown = min(len(view.dataset.images), limit or len(view.dataset.images))
    bar = functools.partial(progress_bar, unit=" images")
    summary = write_gallery(
        page,
        view,
        root,
        compare=compare,
        one_file=is_page or shown <= ONE_FILE_LIMIT,
        limit=limit,
        progress=functools.partial(bar, desc="gallery"),
    )
    if not overlays:
        return summary
    folder = page.with_name(f"{page.stem}_overlays")
    write_overlays(folder, view, root, limit=limit, progress=functools.partial(bar, desc="overlays"))
    return replace(summary, overlays=folder)


def read_views(labels: Path, truth: Path | None, limit: int = 0) -> tuple[LabelView, LabelView | None]:
    """Read what is shown of a label set, and the one to compare it with, whose images get the names of the first.

    Args:
        labels: label set, or COCO results whose image ids are those of ``truth``.
        truth: COCO file or label set.
        limit: most images that are shown, and read of a label set; 0 takes all.

    Raises:
        UnsegError: a file is missing or damaged, results have no ``truth``, or the two have no image in common.
    """
    beside = read_label_set(truth) if truth else None
    results = read_result_list(labels)
    if results is None:
        view = LabelView.of_some(_title(labels), open_label_set(labels), 0 if truth else limit)
    elif beside is None:
        raise UnsegError(f"{labels} holds results without file names; name the ground truth (--gt) that they are for.")
    else:
        view = LabelView(_title(labels), dataset_of(results, beside, labels))
    if truth is None or beside is None:
        return view, None
    return view, LabelView(_title(truth), _renamed(beside, view.dataset))


def _renamed(dataset: CocoDataset, other: CocoDataset) -> CocoDataset:
    """Give the images of a data set the file names that they have in another one; drop those that it lacks."""
    ids = align_images(dataset.images, other.images)
    names = {image["id"]: image["file_name"] for image in other.images}
    images = [{**image, "file_name": names[ids[image["id"]]]} for image in dataset.images if image["id"] in ids]
    annotations = [annotation for annotation in dataset.annotations if annotation["image_id"] in ids]
    return CocoDataset(images, annotations, dataset.categories, dataset.info)


def _title(path: Path) -> str:
    """The last two parts of the path: ``labels.json`` alone says little."""
    return "/".join(path.resolve().parts[-2:])
