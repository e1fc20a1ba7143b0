"""Decisions of the gallery: which masks a person keeps and which ones go.

The page names the masks of an image by their ids, and says with a short checksum which masks it has shown, so that
decisions about other masks are never followed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unseg_d2.data.annotations.parse import quoted
from unseg_d2.data.coco import CocoDataset
from unseg_d2.errors import UnsegError
from unseg_d2.exchange.corrections import Merged, Report, approved
from unseg_d2.exchange.returned import ImageNames
from unseg_d2.exchange.source import by_image
from unseg_d2.pseudo.corrections import is_corrected
from unseg_d2.viz.decisions import KIND, VERSION, masks_key


def apply_decisions(
    dataset: CocoDataset, content: Mapping[str, Any], path: Path, *, all_done: bool = False
) -> tuple[CocoDataset, Report]:
    """Put the decisions of a gallery into a label set.

    A mask that is kept has score 1 and outranks detections from then on; one that is dropped is gone. In an image that
    is done, all masks that were not dropped are kept.

    Args:
        dataset: the label set; it is not changed.
        content: of the file that the page saved.
        path: of that file, for messages.
        all_done: every image with decisions is done.

    Raises:
        UnsegError: the file is damaged, or of a later version.
    """
    images = _checked(content, path)
    report, names = Report(), ImageNames(dataset.images)
    found: dict[Any, Mapping[str, Any]] = {}
    for entry in images:
        image = names.find((entry["file_name"],))
        if image is None:
            report.leave_out("images with decisions are not in the label set", quoted(entry["file_name"]))
        else:
            found[image["id"]] = entry
    merged = Merged(dataset, report)
    for image, items in by_image(dataset):
        entry = found.get(image["id"], {})
        if entry and masks_key(items) != entry["key"]:
            report.leave_out("images with decisions have other masks than the page showed", quoted(image["file_name"]))
            entry = {}
        if not entry:
            merged.keep(image, items)
            continue
        done = bool(entry["done"]) or all_done
        kept, changed = _decided(items, entry["masks"], done, report)
        merged.add(image, kept, done, changed)
    return merged.dataset(dataset.categories), report


def _decided(
    items: Sequence[dict[str, Any]], masks: Mapping[str, str], done: bool, report: Report
) -> tuple[list[dict[str, Any]], bool]:
    kept, changed = [], False
    for item in items:
        decision = masks.get(str(item["id"]))
        if decision == "drop":
            report.removed += 1
            changed = True
            continue
        if (decision == "keep" or done) and not is_corrected(item) and not item["iscrowd"]:
            item = approved(item)
            report.approved += 1
            changed = True
        kept.append(item)
    return kept, changed


def _checked(content: Mapping[str, Any], path: Path) -> list[Mapping[str, Any]]:
    if content.get("version") != VERSION:
        raise UnsegError(
            f"{path} is of version {quoted(content.get('version'))} of {KIND}, but {VERSION} is read here."
        )
    images: list[Any] = content["images"] if isinstance(content.get("images"), list) else [None]
    for number, entry in enumerate(images, 1):
        fits = isinstance(entry, dict) and isinstance(entry.get("file_name"), str) and isinstance(entry.get("key"), str)
        if not fits or not isinstance(entry.get("masks"), dict) or not isinstance(entry.get("done"), bool):
            raise UnsegError(f"{path}: image {number} of the decisions is damaged; save them from the page again.")
        if odd := next((value for value in entry["masks"].values() if value not in ("keep", "drop")), None):
            raise UnsegError(f"{path}: image {number} decides {quoted(odd)} on a mask; only keep and drop are known.")
    return images
