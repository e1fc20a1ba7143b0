"""Merge detections with the pseudo-masks before: the label set of the next self-training round (CutLER, section 3.4).

Detections above a score are kept; a previous mask survives where no kept detection covers it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pycocotools import mask as mask_utils

from unseg_d2.data.annotations.masks import draw_polygons
from unseg_d2.data.coco import find_image_root
from unseg_d2.data.results import read_results
from unseg_d2.data.spec import relative_root, split_spec
from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.label_set import read_label_set, write_label_set
from unseg_d2.pseudo.tally import Tally, advice

logger = logging.getLogger(__name__)

Annotation = dict[str, Any]


@dataclass
class Merged:
    """Result of a merge.

    Attributes:
        annotations: of the new label set, ids from 1 on.
        kept_predictions: how many of them are detections.
        kept_previous: how many are previous masks.
        mismatched: ids of images whose detections have another size than their previous masks; these images keep
            their previous masks.
    """

    annotations: list[Annotation]
    kept_predictions: int = 0
    kept_previous: int = 0
    mismatched: list[Any] = field(default_factory=list)


def merge(
    previous: Sequence[Annotation],
    predictions: Sequence[Annotation],
    *,
    score_threshold: float,
    match_iou: float,
    parity: bool = False,
) -> Merged:
    """Merge the detections of a set of images with the masks that the detector was trained on.

    Args:
        previous: COCO annotations with an RLE each.
        predictions: COCO results with an RLE and a ``score`` each.
        score_threshold: detections with this score or more are kept.
        match_iou: a previous mask survives when its IoU with every kept detection of its image is less than this.
        parity: write what the published script writes: the area is that of the box, and an annotation's ``width`` and
            ``height`` are exchanged.

    Returns:
        Per image the kept detections, then the surviving masks; images with previous masks come first.

    Raises:
        ValueError: a mask is not a compressed RLE, or a detection has no score.
    """
    kept = _by_image([item for item in predictions if _score(item) >= score_threshold])
    before = _by_image(previous)
    merged = Merged([])
    for image in [*before, *(key for key in kept if key not in before)]:
        detections, masks = kept.get(image, []), before.get(image, [])
        if len({_size(item) for item in [*detections, *masks]}) > 1:
            merged.mismatched.append(image)
            survivors, detections = masks, []
        else:
            survivors = _uncovered(masks, detections, match_iou)
        merged.kept_predictions += len(detections)
        merged.kept_previous += len(survivors)
        merged.annotations += [_complete(item, parity) for item in [*detections, *survivors]]
    for index, annotation in enumerate(merged.annotations):
        annotation["id"] = index + 1
    return merged


def merge_files(
    previous: str | Path,
    predictions: str | Path,
    output: str | Path,
    *,
    score_threshold: float,
    match_iou: float,
) -> Path:
    """Merge a label set with a file of detections into a new label set.

    Args:
        previous: label set: folder, ``labels.json`` or ``labels.json::image/root``.
        predictions: COCO results of the same images.
        output: COCO file to write.
        score_threshold: see `merge`.
        match_iou: see `merge`.

    Returns:
        ``output``. Its ``info`` is that of the previous label set, the folder of the images and, under ``rounds``, the
        settings and numbers of this merge and the ids of images whose detections had another size.

    Raises:
        UnsegError: a file is missing or damaged, the detections are of other images, or the images are not found.
    """
    path, root = split_spec(previous)
    labels = read_label_set(path)
    results = read_results(Path(predictions))
    known = {image["id"] for image in labels.images}
    unknown = next((item["image_id"] for item in results if item["image_id"] not in known), None)
    if unknown is not None:
        raise UnsegError(f"{predictions} has detections of image {unknown}, which {previous} does not list.")
    masks = [annotation for annotation in labels.annotations if "segmentation" in annotation]
    if len(masks) < len(labels.annotations):
        logger.info("Left out %d boxes of %s, which have no mask.", len(labels.annotations) - len(masks), previous)
    sizes = {image["id"]: (image.get("height"), image.get("width")) for image in labels.images}
    masks, results = list(draw_polygons(masks, sizes, previous)), list(draw_polygons(results, sizes, predictions))
    try:
        merged = merge(masks, results, score_threshold=score_threshold, match_iou=match_iou)
    except ValueError as error:
        raise UnsegError(f"{previous} and {predictions} cannot be merged: {error}") from None
    if merged.mismatched:
        logger.warning("The detections of %d images have another size than the images.", len(merged.mismatched))
    record = {
        "score_threshold": score_threshold,
        "match_iou": match_iou,
        "kept_predictions": merged.kept_predictions,
        "kept_previous": merged.kept_previous,
        "mismatched_images": merged.mismatched,
    }
    info = labels.info | {"rounds": [*labels.info.get("rounds", []), record]}
    counts = Tally.of_annotations(labels.images, merged.annotations)
    info["counts"] = counts.to_info()
    logger.info("After the merge: %s.", counts.line())
    if remedy := advice(counts, info):
        logger.warning("%s", remedy)
    folder = Path(root) if root else find_image_root(labels, _file(Path(path)))
    info["image_root"] = relative_root(folder, Path(output).parent)
    write_label_set(output, info, labels.images, merged.annotations)
    return Path(output)


def _file(path: Path) -> Path:
    """Return the annotation file that a label set's folder would have; its images are searched for from there."""
    return path / "labels.json" if path.is_dir() else path


def _uncovered(masks: list[Annotation], detections: list[Annotation], match_iou: float) -> list[Annotation]:
    """Return the masks whose best IoU with the detections is less than a limit."""
    if not masks or not detections:
        return masks
    # Overlap of run lengths: no mask is ever expanded to pixels.
    iou = mask_utils.iou(
        [m["segmentation"] for m in masks], [d["segmentation"] for d in detections], [0] * len(detections)
    )
    return [mask for mask, best in zip(masks, iou.max(axis=1)) if best < match_iou]


def _by_image(annotations: Sequence[Annotation]) -> dict[Any, list[Annotation]]:
    grouped: dict[Any, list[Annotation]] = {}
    for annotation in annotations:
        grouped.setdefault(annotation["image_id"], []).append(annotation)
    return grouped


def _score(prediction: Annotation) -> float:
    if "score" not in prediction:
        raise ValueError(f"a detection of image {prediction.get('image_id')} has no score.")
    return prediction["score"]


def _size(annotation: Annotation) -> tuple[int, int]:
    segmentation = annotation.get("segmentation")
    if not isinstance(segmentation, dict):
        raise ValueError(f"an annotation of image {annotation['image_id']} has no RLE mask.")
    height, width = segmentation["size"]
    return height, width


def _complete(annotation: Annotation, parity: bool) -> Annotation:
    """Return the annotation as the new label set holds it."""
    segmentation = annotation["segmentation"]
    bbox = [float(value) for value in annotation.get("bbox") or mask_utils.toBbox(segmentation)]
    item = annotation | {"category_id": 1, "iscrowd": 0, "bbox": bbox}
    if parity:
        height, width = _size(annotation)
        return item | {"area": bbox[2] * bbox[3], "width": height, "height": width}
    return item | {"area": int(mask_utils.area(segmentation))}
