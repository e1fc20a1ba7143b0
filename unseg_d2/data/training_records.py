"""Which records of a data set can be trained on, and whether they have what the recipe relies on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode

from unseg_d2.data.annotations.columns import CONFIDENCE, CROWD, MASK, OUTSIDE, SCORE
from unseg_d2.data.classes import check_records
from unseg_d2.data.records import Records, as_records
from unseg_d2.errors import UnsegError

logger = logging.getLogger(__name__)


class MissingCertainty(UnsegError):
    """No mask has the score or the spatial confidence that a recipe relies on."""


def usable_records(records: Sequence[dict[str, Any]], cfg: CfgNode) -> Records:
    """Return the records to train on; those of an annotation file are not read for this.

    Args:
        records: Detectron2's standard dataset dicts.
        cfg: configuration; ``DATALOADER.FILTER_EMPTY_ANNOTATIONS`` leaves images without annotations out, except those
            that are done: a person has said that nothing is in them.

    Raises:
        UnsegError: nothing is left, the recipe needs masks, scores or spatial confidence that are not there, or an
            annotation has a class that the network does not have.
    """
    records = as_records(records)
    facts, kept = records.facts(), records
    owners = np.repeat(np.arange(len(records), dtype=np.int32), facts.counts)
    counted, done = np.ones(len(owners), bool), facts.done
    if cfg.MODEL.MASK_ON and not (counted := facts.flags & (MASK | CROWD) != 0).all():
        _check_boxes(records, facts.flags)
        kept, done = records.with_masks(), done.copy()
        done[owners[~counted]] = False
    is_instance = counted & (facts.flags & CROWD == 0)
    crowds = int(counted.sum() - is_instance.sum())
    if crowds:
        logger.info("Left out %d crowd regions (iscrowd 1), which are not trained on.", crowds)
    if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        is_kept = np.bincount(owners[is_instance], minlength=len(records)) > 0
        kept = kept if (is_kept | done).all() else kept.chosen(np.flatnonzero(is_kept | done))
    if len(kept) < len(records):
        logger.info("Left out %d of %d images, which have no annotations.", len(records) - len(kept), len(records))
    if not len(kept):
        raise UnsegError(f"There is nothing to train on: {_nothing(records, crowds)}.")
    num_classes, (lowest, highest) = cfg.MODEL.ROI_HEADS.NUM_CLASSES, facts.classes
    if num_classes > 1 and not 0 <= lowest <= highest < num_classes:
        check_records(kept, num_classes)
    instances = facts.flags[is_instance]
    _check_confidence(instances, cfg)
    if cfg.MODEL.ROI_HEADS.USE_SOFT_TARGETS:
        _check_scores(instances)
        outside = np.flatnonzero(is_instance & (facts.flags & OUTSIDE != 0))
        if len(outside):
            _refuse_score(records[int(owners[outside[0]])])
    return kept


def _check_boxes(records: Records, flags: np.ndarray) -> None:
    """Refuse to leave out all boxes; those without masks, from which no masks can be learnt, are left out."""
    is_mask = flags & MASK != 0
    if not (is_mask & (flags & CROWD == 0)).any():
        raise UnsegError(
            f"{records.image(0)['file_name']} and all other images have boxes without masks; give masks or set "
            "MODEL.MASK_ON False."
        )
    boxes = int((flags & (MASK | CROWD) == 0).sum())
    logger.info("Left out %d boxes without masks; with MODEL.MASK_ON False they count.", boxes)


def _nothing(records: Sequence[dict[str, Any]], crowds: int) -> str:
    if not records:
        return "the data set holds no images"
    only = f": all {crowds} annotations are crowd regions (iscrowd 1)" if crowds else ""
    return f"none of the {len(records)} images has an annotation{only}"


def _check_confidence(instances: np.ndarray, cfg: CfgNode) -> None:
    """Refuse a recipe that relies on spatial confidence where no mask has it; say how many masks lack it."""
    block, confidence = cfg.DATALOADER, cfg.MODEL.ROI_MASK_HEAD.CONFIDENCE
    keys = [("MODEL.ROI_MASK_HEAD.CONFIDENCE", confidence, "none")]
    if block.COPY_PASTE:
        keys.append(("DATALOADER.COPY_PASTE_SELECTION", block.COPY_PASTE_SELECTION, "random"))
        keys.append(("DATALOADER.COPY_PASTE_BLEND", block.COPY_PASTE_BLEND, "hard"))
    wanted = [f"{key} {value}" for key, value, without in keys if value != without]
    if not wanted:
        return
    present, number = int((instances & CONFIDENCE != 0).sum()), len(instances)
    if not present:
        raise MissingCertainty(
            f"The recipe asks for {' and '.join(wanted)}, but no mask has a spatial confidence: make the label set "
            "with MASKS.GENERATOR cuts3d or with cut-masks, or set these keys to none, random and hard."
        )
    if present < number:
        logger.info("%d of %d masks have no spatial confidence and count as fully certain.", number - present, number)


def _check_scores(instances: np.ndarray) -> None:
    """Refuse a label set in which no mask has a score; say how many masks lack it."""
    present, number = int((instances & SCORE != 0).sum()), len(instances)
    if not present:
        raise MissingCertainty(
            "The recipe asks for MODEL.ROI_HEADS.USE_SOFT_TARGETS True, but no mask has a score: use a label set with "
            "scores, as generate-masks makes them, or set the key to False."
        )
    if present < number:
        logger.info("%d of %d masks have no score and count fully, as with score 1.", number - present, number)


def _refuse_score(record: dict[str, Any]) -> None:
    """Raise the error about the first score of a record that is outside [0, 1]."""
    annotations = [item for item in record["annotations"] if not item.get("iscrowd", 0)]
    score = next(item["score"] for item in annotations if not 0 <= item.get("score", 1.0) <= 1)
    raise UnsegError(
        f"A mask of {record['file_name']} has the score {score:g}, but soft targets need scores from 0 to 1; rescale "
        "them or set MODEL.ROI_HEADS.USE_SOFT_TARGETS False."
    )
