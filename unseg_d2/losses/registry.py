"""The classification loss and the mask loss of the detector: what they are, and their names in a recipe.

Shape legend
    R   regions of interest (RoIs) over all images of the batch
    K   classes; the logits have K + 1 columns, the last one is the background
    F   foreground RoIs
    M   cells per side of a predicted mask
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from unseg_d2.errors import UnsegError
from unseg_d2.losses.cross_entropy import cross_entropy, mask_cross_entropy
from unseg_d2.registry import Registry
from unseg_d2.settings import Settings, known_settings, section, setting


class ClassificationLoss(Protocol):
    """Loss of the class logits of one stage of the box heads.

    A loss that cannot use scores says so by an attribute ``takes_scores = False``, one that cannot use weights by
    ``takes_weights = False``: a recipe that would pass them is refused, so that they are never ignored.
    """

    def __call__(self, logits: Tensor, labels: Tensor, scores: Tensor | None, weights: Tensor | None, /) -> Tensor:
        """Return the loss of a batch.

        Args:
            logits: ``(R, K + 1)`` of any float type.
            labels: ``(R,)`` int64 in [0, K]; K is the background.
            scores: ``(R,)`` float32 in [0, 1], the score of the instance that each RoI is matched to, to be ignored for
                background; ``None``, which counts as 1, unless ``MODEL.ROI_HEADS.USE_SOFT_TARGETS`` is on.
            weights: ``(R,)`` float32, how much each RoI counts; ``None``, which counts as 1, unless
                ``MODEL.ROI_HEADS.USE_DROPLOSS`` is on.

        Returns:
            Finite scalar; 0 where all weights are 0, and where there are no RoIs, then with a gradient path.
        """
        ...


class MaskLoss(Protocol):
    """Loss of the predicted masks of the foreground RoIs.

    A loss that cannot use weights says so by an attribute ``takes_weights = False``: a recipe that would pass them
    is refused, so that they are never ignored.
    """

    def __call__(self, logits: Tensor, targets: Tensor, weights: Tensor | None, /) -> Tensor:
        """Return the loss of a batch.

        Args:
            logits: ``(F, M, M)`` float32, the mask of each RoI's class.
            targets: ``(F, M, M)`` bool, the pseudo-mask that the RoI is matched to.
            weights: float32 in [0, 1], how much each cell counts, ``(F, M, M)``, or each RoI, ``(F, 1, 1)``; ``None``,
                which counts as 1, unless ``MODEL.ROI_MASK_HEAD.CONFIDENCE`` or ``MODEL.ROI_HEADS.USE_SOFT_TARGETS``
                is on.

        Returns:
            Finite scalar; 0 where all weights are 0, and where there are no RoIs, then with a gradient path.
        """
        ...


CLASSIFICATION_LOSSES: Registry[ClassificationLoss] = Registry("LOSSES.CLASSIFICATION", "LOSSES", by_name_only=True)
"""Classes of losses, or functions that return one; they are called with their settings.

DropLoss and soft targets are the cross entropy with weights and scores; their names set the published keys that pass
these, so that either way of writing a recipe gives the same detector.
"""

MASK_LOSSES: Registry[MaskLoss] = Registry("LOSSES.MASK", "LOSSES", by_name_only=True)
"""The same for masks. The settings of both kinds are sections of ``LOSSES``, where each name has one owner."""


@section("LOSSES")
@dataclass(frozen=True)
class LossSettings(Settings):
    """Which losses the detector is trained with."""

    classification: str = setting(
        "cross_entropy",
        "loss of the class logits; droploss and soft_target set USE_DROPLOSS and USE_SOFT_TARGETS of MODEL.ROI_HEADS",
    )
    mask: str = setting(
        "cross_entropy",
        "loss of the masks; spatial_confidence and scalar_confidence set MODEL.ROI_MASK_HEAD.CONFIDENCE",
    )
    soft_targets: bool = setting(False, "whether scores are passed", key="MODEL.ROI_HEADS.USE_SOFT_TARGETS")
    droploss: bool = setting(False, "whether weights of RoIs are passed", key="MODEL.ROI_HEADS.USE_DROPLOSS")
    confidence: str = setting("none", "which weights of cells are passed", key="MODEL.ROI_MASK_HEAD.CONFIDENCE")
    mask_on: bool = setting(False, "whether masks are predicted", key="MODEL.MASK_ON")

    def check(self) -> None:
        """Raise an error where a name is not registered, or a loss has no effect or cannot use what is passed to it."""
        if not self.mask_on:
            without = known_settings(LossSettings)
            for name, key in (("mask", "LOSSES.MASK"), ("confidence", without["confidence"].key)):
                if getattr(self, name) != without[name].default:
                    raise ValueError(
                        f"{key} {getattr(self, name)} has no effect while MODEL.MASK_ON is False; set that to True"
                    )
        classification, mask = CLASSIFICATION_LOSSES.entry(self.classification), MASK_LOSSES.entry(self.mask)
        check_classification_loss(classification.make, soft_targets=self.soft_targets, droploss=self.droploss)
        check_mask_loss(mask.make, soft_targets=self.soft_targets, confidence=self.confidence)


def check_classification_loss(loss: object, *, soft_targets: bool, droploss: bool) -> None:
    """Refuse a loss that cannot use the scores or weights that are passed to it.

    Args:
        loss: a :class:`ClassificationLoss`, or the class or function that makes it.
        soft_targets: whether scores are passed to it.
        droploss: whether weights are passed to it.

    Raises:
        UnsegError: it cannot.
    """
    if soft_targets:
        _check(loss, "LOSSES.CLASSIFICATION", "scores", "MODEL.ROI_HEADS.USE_SOFT_TARGETS", "False")
    if droploss:
        _check(loss, "LOSSES.CLASSIFICATION", "weights", "MODEL.ROI_HEADS.USE_DROPLOSS", "False")


def check_mask_loss(loss: object, *, soft_targets: bool, confidence: str) -> None:
    """Refuse a loss that cannot use the scores or weights that are passed to it.

    Args:
        loss: a :class:`MaskLoss`, or the class or function that makes it.
        soft_targets: whether its weights contain the scores of instances.
        confidence: kind of spatial confidence that its weights contain, or ``none``.

    Raises:
        UnsegError: it cannot.
    """
    if soft_targets:
        _check(loss, "LOSSES.MASK", "weights", "MODEL.ROI_HEADS.USE_SOFT_TARGETS", "False")
    if confidence != "none":
        _check(loss, "LOSSES.MASK", "weights", "MODEL.ROI_MASK_HEAD.CONFIDENCE", "none")


def _check(loss: object, key: str, what: str, source: str, off: str) -> None:
    if not getattr(loss, f"takes_{what}", True):
        name = getattr(loss, "__name__", type(loss).__name__)
        raise UnsegError(
            f"The loss {name} of {key} cannot use the {what} that {source} passes to it; set {source} to {off} or "
            "choose another loss."
        )


@CLASSIFICATION_LOSSES.register("cross_entropy")
@CLASSIFICATION_LOSSES.register("droploss", sets={"MODEL.ROI_HEADS.USE_DROPLOSS": True})
@CLASSIFICATION_LOSSES.register("soft_target", sets={"MODEL.ROI_HEADS.USE_SOFT_TARGETS": True})
def _cross_entropy() -> ClassificationLoss:
    return cross_entropy


@MASK_LOSSES.register("cross_entropy")
@MASK_LOSSES.register("spatial_confidence", sets={"MODEL.ROI_MASK_HEAD.CONFIDENCE": "spatial"})
@MASK_LOSSES.register("scalar_confidence", sets={"MODEL.ROI_MASK_HEAD.CONFIDENCE": "scalar"})
def _mask_cross_entropy() -> MaskLoss:
    return mask_cross_entropy
