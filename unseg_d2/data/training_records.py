"""Which records of a data set can be trained on, and whether they have what the recipe relies on."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.data.classes import check_records
from unseg_d2.errors import UnsegError

logger = logging.getLogger(__name__)


class MissingCertainty(UnsegError):
    """No mask has the score or the spatial confidence that a recipe relies on."""


def usable_records(records: Sequence[dict[str, Any]], cfg: CfgNode) -> list[dict[str, Any]]:
    """Return the records to train on.

    Args:
        records: Detectron2's standard dataset dicts.
        cfg: configuration; ``DATALOADER.FILTER_EMPTY_ANNOTATIONS`` leaves images without annotations out, except those
            that are done: a person has said that nothing is in them.

    Raises:
        UnsegError: nothing is left, the recipe needs masks, scores or spatial confidence that are not there, or an
            annotation has a class that the network does not have.
    """
    kept = _with_masks(records) if cfg.MODEL.MASK_ON else list(records)
    crowds = sum(len(record.get("annotations", ())) - len(_instances(record)) for record in kept)
    if crowds:
        logger.info("Left out %d crowd regions (iscrowd 1), which are not trained on.", crowds)
    if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        kept = [record for record in kept if _instances(record) or record.get("done")]
    if len(kept) < len(records):
        logger.info("Left out %d of %d images, which have no annotations.", len(records) - len(kept), len(records))
    if not kept:
        raise UnsegError(f"There is nothing to train on: {_nothing(records, crowds)}.")
    if cfg.MODEL.ROI_HEADS.NUM_CLASSES > 1:
        check_records(kept, cfg.MODEL.ROI_HEADS.NUM_CLASSES)
    _check_confidence(kept, cfg)
    if cfg.MODEL.ROI_HEADS.USE_SOFT_TARGETS:
        _check_scores(kept)
    return kept


def _with_masks(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out the boxes without masks, which a network with masks cannot learn from; refuse to leave out all."""
    kept, boxes = [], 0
    for record in records:
        annotations = record.get("annotations", ())
        masks = [a for a in annotations if a.get("segmentation") or a.get("iscrowd")]
        boxes += len(annotations) - len(masks)
        kept.append(record if len(masks) == len(annotations) else record | {"annotations": masks, "done": False})
    if boxes and not any(map(_instances, kept)):
        raise UnsegError(
            f"{records[0]['file_name']} and all other images have boxes without masks; give masks or set MODEL.MASK_ON "
            "False."
        )
    if boxes:
        logger.info("Left out %d boxes without masks; with MODEL.MASK_ON False they count.", boxes)
    return kept


def _nothing(records: Sequence[dict[str, Any]], crowds: int) -> str:
    if not records:
        return "the data set holds no images"
    only = f": all {crowds} annotations are crowd regions (iscrowd 1)" if crowds else ""
    return f"none of the {len(records)} images has an annotation{only}"


def _check_confidence(records: Sequence[dict[str, Any]], cfg: CfgNode) -> None:
    """Refuse a recipe that relies on spatial confidence where no mask has it; say how many masks lack it."""
    block, confidence = cfg.DATALOADER, cfg.MODEL.ROI_MASK_HEAD.CONFIDENCE
    keys = [("MODEL.ROI_MASK_HEAD.CONFIDENCE", confidence, "none")]
    if block.COPY_PASTE:
        keys.append(("DATALOADER.COPY_PASTE_SELECTION", block.COPY_PASTE_SELECTION, "random"))
        keys.append(("DATALOADER.COPY_PASTE_BLEND", block.COPY_PASTE_BLEND, "hard"))
    wanted = [f"{key} {value}" for key, value, without in keys if value != without]
    if not wanted:
        return
    present, number = _count(records, "confidence")
    if not present:
        raise MissingCertainty(
            f"The recipe asks for {' and '.join(wanted)}, but no mask has a spatial confidence: make the label set "
            "with MASKS.GENERATOR cuts3d or with cut-masks, or set these keys to none, random and hard."
        )
    if present < number:
        logger.info("%d of %d masks have no spatial confidence and count as fully certain.", number - present, number)


def _check_scores(records: Sequence[dict[str, Any]]) -> None:
    """Refuse scores outside [0, 1], and a label set in which no mask has one; say how many masks lack it."""
    present, number = _count(records, "score")
    if not present:
        raise MissingCertainty(
            "The recipe asks for MODEL.ROI_HEADS.USE_SOFT_TARGETS True, but no mask has a score: use a label set with "
            "scores, as generate-masks makes them, or set the key to False."
        )
    if present < number:
        logger.info("%d of %d masks have no score and count fully, as with score 1.", number - present, number)
    for record in records:
        for annotation in _instances(record):
            if not 0 <= annotation.get("score", 1.0) <= 1:
                raise UnsegError(
                    f"A mask of {record['file_name']} has the score {annotation['score']:g}, but soft targets need "
                    "scores from 0 to 1; rescale them or set MODEL.ROI_HEADS.USE_SOFT_TARGETS False."
                )


def _count(records: Sequence[dict[str, Any]], key: str) -> tuple[int, int]:
    """How many instances have a value under a key, and how many there are."""
    values = [annotation.get(key) is not None for annotation in _all_instances(records)]
    return sum(values), len(values)


def _all_instances(records: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for record in records:
        yield from _instances(record)


def _instances(record: dict[str, Any]) -> list[dict[str, Any]]:
    return [annotation for annotation in record.get("annotations", ()) if not annotation.get("iscrowd", 0)]
