"""What a comparison counts besides metrics, and whether masks can be compared, over a stream of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.errors import UnsegError

NO_TRUTH_MASKS = "the ground truth has annotations without masks"
NO_RESULT_MASKS = "there are results without masks"

Sizes = Mapping[Any, tuple[int | None, int | None]]


class Tally:
    """Checks and counts images, annotations and results, as they pass by.

    Attributes:
        counts: how many there are, by name.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._images: set[Any] = set()

    def add(self, truth: Mapping[str, Any], results: Sequence[dict[str, Any]]) -> None:
        """Check and count some images.

        Raises:
            UnsegError: see :func:`check_results`; or an image comes twice.
        """
        sizes = image_sizes(truth)
        check_results(results, sizes)
        for image in truth["images"]:
            if image["id"] in self._images:
                raise UnsegError(f"The ground truth lists image {image['id']} twice.")
            self._images.add(image["id"])
        annotations = truth["annotations"]
        objects = [item for item in annotations if not item.get("iscrowd", 0)]
        with_objects = {item["image_id"] for item in objects}
        self.counts.update(
            images=len(sizes),
            images_without_objects=len(sizes) - len(with_objects),
            annotations=len(annotations),
            objects=len(objects),
            without_mask=_without_mask(annotations),
            objects_without_mask=_without_mask(objects),
            results=len(results),
            results_without_mask=_without_mask(results),
            result_images=len({result["image_id"] for result in results}),
        )

    @property
    def missing_masks(self) -> str:
        """Why masks cannot be compared, so far; empty where they can."""
        n = self.counts
        if n["annotations"] and n["annotations"] == n["without_mask"]:
            return NO_TRUTH_MASKS
        return NO_RESULT_MASKS if n["results"] and n["results"] == n["results_without_mask"] else ""

    @property
    def masks_on_both_sides(self) -> bool:
        """Whether an annotation and a result with a mask have passed, so that masks will be compared."""
        n = self.counts
        return n["without_mask"] < n["annotations"] and n["results_without_mask"] < n["results"]

    def notes(self) -> tuple[str, ...]:
        """Say what the masks are not compared of, where they are compared."""
        n, notes = self.counts, []
        if missing := n["objects_without_mask"]:
            notes.append(f"{missing} objects have no mask; where masks are compared, they count as crowd regions.")
        if missing := n["results_without_mask"]:
            notes.append(f"{missing} results have no mask and count only where boxes are compared.")
        return tuple(notes)

    def to_counts(self, ignored_images: int) -> dict[str, int]:
        """Return the counts of :class:`~unseg_d2.evaluation.scores.Scores`."""
        n = self.counts
        names = ("images", "images_without_objects", "objects")
        return {name: n[name] for name in names} | {
            "crowds": n["annotations"] - n["objects"],
            "without_mask": n["without_mask"],
            "results": n["results"],
            "ignored_images": ignored_images,
        }


def missing_masks(annotations: Iterable[Mapping[str, Any]], results: Iterable[Mapping[str, Any]] = ()) -> str:
    """Return why masks cannot be compared; empty where they can.

    Args:
        annotations: of the ground truth; they are read up to the first with a mask.
        results: what is compared with it; likewise.
    """
    for reason, items in ((NO_TRUTH_MASKS, annotations), (NO_RESULT_MASKS, results)):
        there_are_some = False
        for item in items:
            if item.get("segmentation"):
                break
            there_are_some = True
        else:
            if there_are_some:
                return reason
    return ""


def with_masks(
    truth: Mapping[str, Any], results: Sequence[dict[str, Any]]
) -> tuple[Mapping[str, Any], list[dict[str, Any]]]:
    """Return what masks are compared of.

    Results without a mask are left out. An object without one becomes a crowd region, its box: it cannot be found, and
    what is found of it is not false.
    """
    sizes = image_sizes(truth)
    annotations = []
    for item in truth["annotations"]:
        height, width = sizes[item["image_id"]]
        if item.get("segmentation"):
            annotations.append(item)
        elif height is not None and width is not None:
            region = mask_utils.frPyObjects(np.array([item["bbox"]], np.float64), height, width)[0]
            rle = {"size": [height, width], "counts": region["counts"].decode("ascii")}
            annotations.append({**item, "iscrowd": 1, "segmentation": rle})
    return {**truth, "annotations": annotations}, [item for item in results if item.get("segmentation")]


def image_sizes(truth: Mapping[str, Any]) -> dict[Any, tuple[int | None, int | None]]:
    """Return height and width of each image of a COCO dictionary by its id, in pixels; ``None`` where not stated."""
    return {image["id"]: (image.get("height"), image.get("width")) for image in truth["images"]}


def check_results(results: Sequence[dict[str, Any]], sizes: Sizes) -> None:
    """Refuse what would silently count as a result without overlap.

    Args:
        results: see :class:`~unseg_d2.evaluation.registry.Evaluator`.
        sizes: see :func:`image_sizes`.

    Raises:
        UnsegError: a result is of an image that is not there, or its mask has another size than the image.
    """
    for result in results:
        if result["image_id"] not in sizes:
            raise UnsegError(f"There is a result of image {result['image_id']}, which the ground truth does not have.")
        segmentation, size = result.get("segmentation"), sizes[result["image_id"]]
        if isinstance(segmentation, dict) and None not in size and tuple(segmentation["size"]) != size:
            turned = tuple(segmentation["size"]) == size[::-1]
            one_as_stored = "as it is stored, the other as EXIF turns it; make both alike"
            reason = f"one is of the picture {one_as_stored}" if turned else "were both made of the same picture?"
            raise UnsegError(
                f"A mask of image {result['image_id']} has the size {'x'.join(map(str, segmentation['size']))}, "
                f"but the ground truth has {size[0]}x{size[1]}: {reason}"
            )


def _without_mask(items: Sequence[Mapping[str, Any]]) -> int:
    return sum(not item.get("segmentation") for item in items)
