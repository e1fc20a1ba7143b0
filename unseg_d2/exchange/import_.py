"""Bring corrections back into a label set, from whichever tool they are."""

from __future__ import annotations

import logging
import os
import zipfile
from pathlib import Path
from typing import Any

from unseg_d2.data.annotations.counts import Counts
from unseg_d2.data.annotations.parse import read_json
from unseg_d2.data.coco import CocoDataset, find_image_root
from unseg_d2.data.spec import relative_root, split_spec
from unseg_d2.errors import UnsegError
from unseg_d2.exchange.corrections import Report, apply
from unseg_d2.exchange.decisions import apply_decisions
from unseg_d2.exchange.readers.coco import read_coco_corrections
from unseg_d2.exchange.readers.cvat import read_cvat
from unseg_d2.exchange.readers.fiftyone import read_fiftyone
from unseg_d2.exchange.readers.label_studio import read_label_studio
from unseg_d2.exchange.returned import ImageNames
from unseg_d2.files import check_apart
from unseg_d2.pseudo.label_set import labels_file, read_label_set, write_label_set
from unseg_d2.pseudo.tally import Tally
from unseg_d2.storage.addresses import to_path
from unseg_d2.supervision import from_info, joined, to_info
from unseg_d2.viz.decisions import KIND, KIND_OF_NAMES

logger = logging.getLogger(__name__)


def import_corrections(
    corrections: str | os.PathLike[str],
    *,
    labels: str | os.PathLike[str],
    output: str | os.PathLike[str],
    all_done: bool = False,
    overwrite: bool = False,
) -> Report:
    """Put a person's corrections into a label set.

    Corrected masks have score and confidence 1; detections of a self-training round yield to them. Images that are
    marked as done are trained on without DropLoss.

    Args:
        corrections: an export of Label Studio (JSON), CVAT (XML or zip) or FiftyOne (``samples.json``), a COCO file, or
            decisions that the page of :func:`visualize` saved.
        labels: the label set that was corrected: COCO file or folder.
        output: COCO file to write; it may be ``labels`` itself.
        all_done: every image that comes back is done: all its objects have masks.
        overwrite: what comes back also replaces masks that a person drew before; without it, such images stay as they
            are, as a file that was exported before the last corrections lacks these.

    Returns:
        What the corrections did; its ``lines()`` say it.

    Raises:
        UnsegError: a file is missing or damaged, of an unknown kind, or nothing in it can be used for the label set.
    """
    path, (source, root) = Path(corrections), split_spec(os.fspath(labels))
    output = Path(output)
    check_apart(output, path)
    dataset = read_label_set(source)
    merged, report = _applied(path, dataset, all_done, overwrite)
    if not report.images and not report.unchanged:
        details = " ".join(report.lines()[1:])
        raise UnsegError(f"Nothing in {path} can be used for {labels}, so nothing was written. {details}".rstrip())
    record = {"file": path.name, "images": report.images, "new": report.new, "approved": report.approved}
    record |= {"removed": report.removed, "done": report.done}
    info = merged.info | {"corrections": [*merged.info.get("corrections", []), record]}
    info["counts"] = Tally.of_annotations(merged.images, merged.annotations).to_info()
    if report.images:  # keeping and dropping masks is a person's knowledge too
        info["supervision"] = to_info(joined([from_info(info), ["human-masks"]]))
    info |= _image_root(dataset, source, root, output)
    write_label_set(output, info, merged.images, merged.annotations, merged.categories)
    return report


def _applied(path: Path, dataset: CocoDataset, all_done: bool, overwrite: bool) -> tuple[CocoDataset, Report]:
    """Read corrections of any kind and put them into a label set."""
    counts = Counts()
    content = None if _is_cvat(path) else read_json(path)
    if isinstance(content, dict) and content.get("kind") == KIND:
        if overwrite:
            raise UnsegError(
                "--overwrite has no effect on decisions of a gallery, which name every mask; leave it out."
            )
        return apply_decisions(dataset, content, path, all_done=all_done)
    if isinstance(content, dict) and content.get("kind") == KIND_OF_NAMES:
        raise UnsegError(f"{path} holds names of groups; add --names {path} to the group-masks that made these.")
    if content is None:
        returned = read_cvat(path, counts)
    elif isinstance(content, dict) and "images" in content:
        returned = read_coco_corrections(path)
    elif isinstance(content, dict) and isinstance(content.get("samples"), list):
        returned = read_fiftyone(content["samples"], path, ImageNames(dataset.images).find, counts)
    elif _are_tasks(content):
        returned = read_label_studio(content, path, counts)
    else:
        raise UnsegError(
            f"{path} is neither an export of Label Studio (JSON), CVAT (XML, zip) or FiftyOne (samples.json) nor a "
            "COCO file or decisions of a gallery."
        )
    merged, report = apply(dataset, returned, all_done=all_done, overwrite=overwrite)
    for what, number in counts.of.items():
        report.left_out[what] = (number, f"in {path.name}")
    return merged, report


def _is_cvat(path: Path) -> bool:
    if not path.is_file():
        raise UnsegError(f"There is no file {path}.")
    if zipfile.is_zipfile(path):
        return True
    with path.open("rb") as file:
        return file.read(100).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def _are_tasks(content: Any) -> bool:
    tasks = content if isinstance(content, list) else []
    return bool(tasks) and all(isinstance(task, dict) and "annotations" in task and "data" in task for task in tasks)


def _image_root(dataset: CocoDataset, source: str, root: str, output: Path) -> dict[str, str]:
    """Return where the images are, seen from the new file; nothing where they are not found."""
    try:
        folder = to_path(root) if root else find_image_root(dataset, labels_file(source))
    except UnsegError:
        logger.warning("The images of %s were not found; name their folder where they are needed.", source)
        return {}
    return {"image_root": relative_root(folder, output.parent)}
