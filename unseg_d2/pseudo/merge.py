"""Merge detections with the pseudo-masks before: the label set of the next self-training round (CutLER, section 3.4).

Detections above a score are kept; a previous mask survives where no kept detection covers it. Masks that a
person has drawn or approved survive in any case, and detections of the same objects go. Detections have no level of
detail; of masks that have one, the nearest ancestor that survives becomes the parent.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.data.annotations.index import AnnotationIndex
from unseg_d2.data.annotations.masks import draw_polygons
from unseg_d2.data.coco import CocoDataset, find_image_root
from unseg_d2.data.results import ResultsIndex
from unseg_d2.data.spec import relative_root, split_spec
from unseg_d2.errors import UnsegError
from unseg_d2.levels import reconnected
from unseg_d2.pseudo.corrections import is_corrected, yield_to_corrections
from unseg_d2.pseudo.label_set import open_label_set, write_label_set
from unseg_d2.pseudo.tally import Tally, advice
from unseg_d2.storage.patterns import image_root
from unseg_d2.supervision import from_info, joined, to_info

logger = logging.getLogger(__name__)

Annotation = dict[str, Any]
AT_ONCE = 64
"""Images that are read together."""


@dataclass
class Merged:
    """Result of a merge.

    Attributes:
        annotations: of the new label set, ids from 1 on.
        kept_predictions: how many of them are detections.
        kept_previous: how many are previous masks.
        yielded: detections that went since a person has drawn or approved the masks.
        mismatched: ids of images whose detections have another size than their previous masks; these images keep
            their previous masks.
    """

    annotations: list[Annotation] = field(default_factory=list)
    kept_predictions: int = 0
    kept_previous: int = 0
    yielded: int = 0
    mismatched: list[Any] = field(default_factory=list)

    def image(
        self,
        image: Any,
        masks: Sequence[Annotation],
        detections: Sequence[Annotation],
        *,
        match_iou: float,
        parity: bool = False,
        done: bool = False,
    ) -> list[Annotation]:
        """Count an image in, and return its annotations, which are not kept.

        Args:
            image: its id.
            masks: previous ones of the image.
            detections: of the image, those above the score.
            match_iou: see `merge`.
            parity: see `merge`.
            done: see `merge`.
        """
        survivors = list(masks)
        found = [] if done else list(detections)
        if len({_size(item) for item in [*found, *masks]}) > 1:
            self.mismatched.append(image)
            found = []
        else:
            found = yield_to_corrections(found, masks, match_iou=match_iou, done=done)
            self.yielded += len(detections) - len(found)
            survivors = _uncovered(survivors, found, match_iou)
        survivors = reconnected(masks, survivors)
        first = self.kept_predictions + self.kept_previous + 1
        self.kept_predictions += len(found)
        self.kept_previous += len(survivors)
        return [_complete(item, parity) | {"id": number} for number, item in enumerate([*found, *survivors], first)]


def merge(
    previous: Sequence[Annotation],
    predictions: Sequence[Annotation],
    *,
    score_threshold: float,
    match_iou: float,
    parity: bool = False,
    done: Collection[Any] = (),
) -> Merged:
    """Merge the detections of a set of images with the masks that the detector was trained on.

    Args:
        previous: COCO annotations with an RLE each; those that say ``"corrected": true`` survive, and detections whose
            IoU with one of them is ``match_iou`` or more go.
        predictions: COCO results with an RLE and a ``score`` each.
        score_threshold: detections with this score or more are kept.
        match_iou: a previous mask survives when its IoU with every kept detection of its image is less than this.
        parity: write what the published script writes: the area is that of the box, and an annotation's ``width`` and
            ``height`` are exchanged.
        done: ids of images in which a person has given every object its mask: no detections are added.

    Returns:
        Per image the kept detections, then the surviving masks; images with previous masks come first.

    Raises:
        ValueError: a mask is not a compressed RLE, or a detection has no score.
    """
    kept = _by_image([item for item in predictions if _score(item) >= score_threshold])
    before = _by_image(previous)
    merged = Merged()
    for image in [*before, *(key for key in kept if key not in before)]:
        merged.annotations += merged.image(
            *(image, before.get(image, []), kept.get(image, [])),
            match_iou=match_iou,
            parity=parity,
            done=image in done,
        )
    return merged


def merge_files(
    previous: str | Path,
    predictions: str | Path,
    output: str | Path,
    *,
    score_threshold: float,
    match_iou: float,
    learnt: Sequence[str] = (),
) -> Path:
    """Merge a label set with a file of detections into a new label set, as `merge` does; one image is held at a time.

    Args:
        previous: label set: folder, ``labels.json`` or ``labels.json::image/root``; images that are done say
            ``"done": true``.
        predictions: COCO results of the same images.
        output: COCO file to write.
        score_threshold: see `merge`.
        match_iou: see `merge`.
        learnt: what the detector has learnt from, words of `unseg_d2.supervision`; empty where it is not known.

    Returns:
        ``output``. Its ``info`` is that of the previous label set, the folder of the images and, under ``rounds``, the
        settings and numbers of this merge and the ids of images whose detections had another size.

    Raises:
        UnsegError: a file is missing or damaged, the detections are of other images, or the images are not found.
    """
    path, root = split_spec(previous)
    labels = open_label_set(path)
    results = ResultsIndex(predictions, min_score=score_threshold)
    unknown = next((key for key in results.image_ids if labels.position_of(key) is None), None)
    if unknown is not None:
        raise UnsegError(f"{predictions} has detections of image {unknown}, which {previous} does not list.")
    folder = image_root(root) if root else _image_root(labels, Path(path))
    merging = _Merging(labels, results, previous, score_threshold, match_iou)

    def info() -> dict[str, Any]:
        own = {"image_root": relative_root(folder, Path(output).parent)}
        words = [from_info(labels.info), learnt, *([["human-masks"]] if merging.has_corrections else [])]
        return merging.info() | own | {"supervision": to_info(joined(words))}

    write_label_set(output, info, labels.images(), merging.annotations())
    return Path(output)


class _Merging:
    """The merge of two files: annotations image by image and, once all were taken, what the new file says of them."""

    def __init__(
        self, labels: AnnotationIndex, results: ResultsIndex, previous: object, score_threshold: float, match_iou: float
    ) -> None:
        self.labels, self.results, self.previous = labels, results, previous
        self.score_threshold, self.match_iou = score_threshold, match_iou
        self.merged, self.num_masks, self.num_filled, self.most = Merged(), 0, 0, 0
        self.has_corrections = bool(labels.done.any())

    def annotations(self) -> Iterator[Annotation]:
        """Yield the annotations of the new file: images with previous masks first, in the order of these."""
        before = self.labels.by_first_mask()
        has_masks = np.zeros(len(self.labels), bool)
        has_masks[before] = True
        found_in = (self.labels.position_of(key) for key in self.results.image_ids)
        later = (position for position in found_in if position is not None and not has_masks[position])
        positions = chain(before.tolist(), later)
        while some := list(islice(positions, AT_ONCE)):
            parts = self.labels.some(some)
            for (image, known), detections in zip(parts, self.results.of_images(image["id"] for image, _ in parts)):
                found = self._of_image(image, known, detections)
                self.num_filled += bool(found)
                self.most = max(self.most, len(found))
                yield from found

    def _of_image(self, image: dict[str, Any], known: list[Annotation], found: list[Annotation]) -> list[Annotation]:
        sizes = {image["id"]: (image.get("height"), image.get("width"))}
        masks = list(draw_polygons((item for item in known if "segmentation" in item), sizes, self.previous))
        self.num_masks += len(masks)
        self.has_corrections = self.has_corrections or any(map(is_corrected, masks))
        detections = list(draw_polygons(found, sizes, self.results.path))
        try:
            kept = [item for item in detections if _score(item) >= self.score_threshold]
            done = bool(image.get("done"))
            return self.merged.image(image["id"], masks, kept, match_iou=self.match_iou, done=done)
        except ValueError as error:
            raise UnsegError(f"{self.previous} and {self.results.path} cannot be merged: {error}") from None

    def info(self) -> dict[str, Any]:
        """Return what the new file says about itself, and tell the user what is remarkable in it."""
        merged, num_images = self.merged, len(self.labels)
        if boxes := int(self.labels.counts().sum()) - self.num_masks:
            logger.info("Left out %d boxes of %s, which have no mask.", boxes, self.previous)
        if merged.mismatched:
            logger.warning("The detections of %d images have another size than the images.", len(merged.mismatched))
        if merged.yielded:
            logger.info("%d detections yield to masks that a person has drawn or approved.", merged.yielded)
        record = {
            "score_threshold": self.score_threshold,
            "match_iou": self.match_iou,
            "kept_predictions": merged.kept_predictions,
            "kept_previous": merged.kept_previous,
            **({"yielded_to_corrections": merged.yielded} if merged.yielded else {}),
            "mismatched_images": merged.mismatched,
        }
        info = self.labels.info | {"rounds": [*self.labels.info.get("rounds", []), record]}
        total = merged.kept_predictions + merged.kept_previous
        counts = Tally(num_images, total, num_images - self.num_filled, self.most)
        info["counts"] = counts.to_info()
        logger.info("After the merge: %s.", counts.line())
        if remedy := advice(counts, info):
            logger.warning("%s", remedy)
        return info


def _image_root(labels: AnnotationIndex, path: Path) -> Path:
    """Return the folder of the images of a label set."""
    few = CocoDataset(list(islice(labels.images(), 10)), [], labels.categories, labels.info)
    return find_image_root(few, _file(path))


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
    crowd = 0 if parity else int(bool(annotation.get("iscrowd")))  # the published script knows no crowd regions
    item = annotation | {"category_id": 1, "iscrowd": crowd, "bbox": bbox}
    if parity:
        height, width = _size(annotation)
        return item | {"area": bbox[2] * bbox[3], "width": height, "height": width}
    return item | {"area": int(mask_utils.area(segmentation))}
