"""Compare a set of masks, of which no detector is needed, with ground truth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unseg_d2.data.coco import CocoDataset, read_coco
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.align import align_images
from unseg_d2.evaluation.backends import select_backend
from unseg_d2.evaluation.class_agnostic import evaluate
from unseg_d2.pseudo.label_set import read_label_set


@dataclass(frozen=True)
class MaskScores:
    """Figures of a set of masks.

    Attributes:
        figures: percent per kind of overlap, see `unseg_d2.evaluation.class_agnostic.evaluate`.
        backend: the library that did the matching.
        num_masks: masks compared.
        num_images: images that have masks or are listed with none.
        num_objects: objects of the ground truth, without crowd regions.
        num_crowds: crowd regions.
        num_truth_images: images of the ground truth; those without masks count as missed.
        num_ignored_images: images that the ground truth does not have; their masks are left out.
    """

    figures: dict[str, dict[str, float]]
    backend: str
    num_masks: int
    num_images: int
    num_objects: int
    num_crowds: int
    num_truth_images: int
    num_ignored_images: int


def score_masks(masks: str | Path, ground_truth: str | Path, *, backend: str = "auto") -> MaskScores:
    """Score a label set, or a list of COCO results, against ground truth, class-agnostically.

    Args:
        masks: label set (COCO file or folder), whose images are matched by file name, or COCO results, whose image
            ids are those of the ground truth.
        ground_truth: COCO file; boxes only are compared when an annotation of it has no mask.
        backend: see `unseg_d2.evaluation.class_agnostic.select_backend`.

    Raises:
        UnsegError: a file is missing or damaged, or the two have no image in common.
    """
    backend = select_backend(backend)
    truth = read_coco(ground_truth)
    if not truth.annotations:
        raise UnsegError(f"{ground_truth} has no annotations, so there is nothing to compare with.")
    results, num_images, num_ignored = match_masks(Path(masks), truth)
    has_masks = all(annotation.get("segmentation") for annotation in truth.annotations)
    content = {"images": truth.images, "annotations": truth.annotations}
    crowds = sum(annotation["iscrowd"] for annotation in truth.annotations)
    return MaskScores(
        figures=evaluate(content, results, ("bbox", "segm") if has_masks else ("bbox",), backend),
        backend=backend,
        num_masks=len(results),
        num_images=num_images,
        num_objects=len(truth.annotations) - crowds,
        num_crowds=crowds,
        num_truth_images=len(truth.images),
        num_ignored_images=num_ignored,
    )


def match_masks(path: Path, truth: CocoDataset) -> tuple[list[dict[str, Any]], int, int]:
    """Read a label set or COCO results and give them the image ids of the ground truth.

    Args:
        path: label set (COCO file or folder) or COCO results.
        truth: what they will be compared with.

    Returns:
        COCO results, the number of their images, and the number of images that the ground truth does not have.
    """
    results = read_result_list(path)
    if results is not None:
        return results, len({result["image_id"] for result in results}), 0
    labels = read_label_set(path)
    ids = align_images(labels.images, truth.images)
    kept = [item | {"image_id": ids[item["image_id"]]} for item in labels.annotations if item["image_id"] in ids]
    return kept, len(ids), len(labels.images) - len(ids)


def read_result_list(path: Path) -> list[dict[str, Any]] | None:
    """Return the content of a file of COCO results, ``None`` when it is a label set or no JSON at all.

    Raises:
        UnsegError: it is a damaged list, or one of something else.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        if not file.read(100).lstrip().startswith(b"["):
            return None
    try:
        results = json.loads(path.read_bytes())
    except ValueError as error:
        raise UnsegError(f"{path} is not JSON: {error}.") from None
    if not all(isinstance(item, dict) and "image_id" in item for item in results):
        raise UnsegError(f"{path} is a list, but not of COCO results: each needs an image_id.")
    return results
