"""The protocol of evaluators, their registry, and how those of a configuration are built."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

from fvcore.common.config import CfgNode

from unseg_d2.errors import UnsegError
from unseg_d2.registry import Registry
from unseg_d2.settings import Settings, section, setting

logger = logging.getLogger(__name__)

Kind = Literal["bbox", "segm"]
"""What is compared: boxes or masks."""
KINDS: tuple[Kind, ...] = get_args(Kind)


class Evaluator(Protocol):
    """Computes metrics of results.

    It is called once with the boxes and, where the ground truth and the results have them, once with the masks. One
    that compares only one of these says so by an attribute ``kinds = ("bbox",)``, and is refused where there is none.
    An attribute ``protocol``, a short sentence on how the metrics are computed, is printed below tables. One that tells
    categories apart has an attribute ``with_classes = True``, and gets ground truth with ``categories``.

    All images are in memory then; :class:`unseg_d2.evaluation.streams.StreamEvaluator` is the form without that.
    """

    def __call__(self, truth: Mapping[str, Any], results: Sequence[dict[str, Any]], kind: Kind, /) -> dict[str, float]:
        """Return metrics by name.

        Args:
            truth: COCO dictionary: ``images`` (``id``, ``height``, ``width``, px) and ``annotations`` (``image_id``,
                ``category_id``, ``bbox`` XYWH in px, ``segmentation``, ``iscrowd``). An image may have none of them.
            results: ``{image_id, category_id, bbox (XYWH, px), segmentation (RLE), score}`` each, in any order; a
                missing score counts as 1. There may be none of an image, or none at all.
            kind: whether to compare boxes or masks.

        Returns:
            Numbers by name, in percent where they are shares; NaN where a metric is undefined. No other metric has the
            same name. Neither argument is changed.
        """
        ...


EVALUATORS: Registry[Evaluator] = Registry("TEST.EVALUATORS", "TEST", by_name_only=True)
"""Classes that are made from their settings, or functions that return an evaluator; the key has the names."""


@section("TEST")
@dataclass(frozen=True)
class TestSettings(Settings):
    """Evaluation."""

    best: str = setting(
        "",
        "metric (segm/AP) that the best checkpoint is chosen by, at each EVAL_PERIOD and at the end; empty keeps the "
        "last; the built-in engine only",
    )
    eval_period: int = setting(0, "iterations between evaluations; 0 evaluates at the end only", low=0)
    evaluators: Sequence[str] = setting(("class_agnostic",), "names of the evaluators, which compute the metrics")
    ims_per_batch: int = setting(1, "images of the same size that are predicted in one batch", low=1)
    precision: str = setting(
        "float32",
        "precision of a detector's forward pass in prediction; results are float32",
        choices=("float32", "float16", "bfloat16"),
    )
    detections_per_image: int = setting(100, "largest number of detections per image; -1 keeps all", low=-1)
    expected_results: Sequence[Any] = setting(
        [], "checked after the last evaluation: [[iou_type, metric, value, tolerance], ...]"
    )
    no_segm: bool = setting(False, "evaluate boxes only (CutLER)")

    def check(self) -> None:
        """Raise an error where a name is missing or unknown, or an evaluator is asked for masks that are left out."""
        if not self.evaluators:
            raise ValueError("evaluators must name at least one evaluator")
        makers = {name: EVALUATORS.entry(name).make for name in self.evaluators}
        if self.no_segm:
            check_kinds(makers, ["bbox"], "TEST.NO_SEGM is True")


@section("TEST.PRECISE_BN")
@dataclass(frozen=True)
class PreciseBNSettings(Settings):
    """Statistics of BatchNorm, computed anew."""

    enabled: bool = setting(False, "recompute BatchNorm statistics before the final checkpoint")
    num_iter: int = setting(200, "number of batches that the statistics are computed from", low=1)


@section("TEST.AUG")
@dataclass(frozen=True)
class TestAugmentationSettings(Settings):
    """Test-time augmentation."""

    enabled: bool = setting(False, "test-time augmentation; not supported", choices=(False,))


def build_evaluators(cfg: CfgNode) -> dict[str, Evaluator]:
    """Return the evaluators that ``TEST.EVALUATORS`` names.

    Raises:
        UnsegError: a name is not registered, or one of its settings is out of range.
    """
    return {name: EVALUATORS.build(cfg, name) for name in EVALUATORS.named(cfg)}


def detector_evaluators(cfg: CfgNode) -> dict[str, Evaluator]:
    """Return the evaluators of a recipe for what its detector predicts.

    Raises:
        UnsegError: see :func:`build_evaluators`; or one compares masks or classes, which the detector does not predict.
    """
    evaluators = build_evaluators(cfg)
    apart = [name for name, evaluator in evaluators.items() if getattr(evaluator, "with_classes", False)]
    matched = [name for name in apart if getattr(evaluators[name], "matches_classes", False)]
    if matched and matched != apart:
        one = next(name for name in apart if name not in matched)
        raise UnsegError(
            f"The evaluators {one} and {matched[0]} of TEST.EVALUATORS take the classes of a detector for those of the "
            "data set and for groups that are matched with them; leave one of the two out."
        )
    if apart and cfg.MODEL.ROI_HEADS.NUM_CLASSES == 1:
        raise UnsegError(
            f"The evaluator {apart[0]} of TEST.EVALUATORS tells classes apart, but the detector has one class; use "
            "class_agnostic, or set MODEL.ROI_HEADS.NUM_CLASSES."
        )
    if not apart and cfg.MODEL.ROI_HEADS.NUM_CLASSES > 1:
        logger.info("No evaluator tells the detector's classes apart; TEST.EVALUATORS per_class does.")
    most = cfg.TEST.DETECTIONS_PER_IMAGE
    for name, evaluator in evaluators.items():
        if 0 <= most < (wanted := getattr(evaluator, "results_per_image", 0)):
            logger.warning(
                "The evaluator %s counts %d results per image and names metrics after them, but the detector predicts "
                "%d; set TEST.DETECTIONS_PER_IMAGE or TEST.%s.MAX_DETECTIONS to the same number.",
                *(name, wanted, most, name.upper()),
            )
    if not compares_masks(cfg):
        reason = "TEST.NO_SEGM is True" if cfg.TEST.NO_SEGM else "MODEL.MASK_ON is False"
        check_kinds(evaluators, ["bbox"], reason)
    return evaluators


def classes_told_apart(cfg: CfgNode) -> int:
    """Return how many classes the evaluators of a recipe tell apart: those of the detector, or 1 for none of them.

    Where one matches groups with the classes of the data set, the number is 0, `unseg_d2.data.classes.OF_THE_DATA`.
    """
    evaluators = build_evaluators(cfg).values()
    if any(getattr(one, "matches_classes", False) for one in evaluators):
        return 0
    return cfg.MODEL.ROI_HEADS.NUM_CLASSES if any(getattr(one, "with_classes", False) for one in evaluators) else 1


def compares_masks(cfg: CfgNode) -> bool:
    """Whether the detector of a recipe predicts masks that are to be compared."""
    return bool(cfg.MODEL.MASK_ON and not cfg.TEST.NO_SEGM)


def kinds_of(evaluator: object) -> tuple[str, ...]:
    """Return what an evaluator, or the class that makes it, compares."""
    kinds: tuple[str, ...] = getattr(evaluator, "kinds", KINDS)
    return kinds


def check_kinds(evaluators: Mapping[str, object], kinds: Sequence[str], reason: str) -> None:
    """Raise `UnsegError` where an evaluator compares none of the kinds that there are, for a reason."""
    for name, evaluator in evaluators.items():
        if not set(kinds) & set(kinds_of(evaluator)):
            raise UnsegError(
                f"The evaluator {name} of TEST.EVALUATORS compares masks, but {reason}; provide masks or leave it out."
            )
