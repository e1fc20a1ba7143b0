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
from unseg_d2.settings import Settings, section, setting


class ClassificationLoss(Protocol):
    """Classifies the RoIs of one stage.

    A loss that cannot use scores says so by an attribute ``takes_scores = False``, one that cannot use weights by
    ``takes_weights = False``: a recipe that would hand them in is refused, so that they are never ignored.
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
    """Compares the predicted masks of foreground RoIs with the pseudo-masks.

    A loss that cannot use weights says so by an attribute ``takes_weights = False``: a recipe that would hand them in
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


CLASSIFICATION_LOSSES: Registry[ClassificationLoss] = Registry("LOSSES.CLASSIFICATION", "LOSSES")
"""Classes, or functions that return a loss, which are called with their settings."""

MASK_LOSSES: Registry[MaskLoss] = Registry("LOSSES.MASK", "LOSSES")
"""The same for masks. The settings of both kinds are sections of ``LOSSES``, where each name has one owner."""


@section("LOSSES")
@dataclass(frozen=True)
class LossSettings(Settings):
    """Which losses the detector is trained with."""

    classification: str = setting("cross_entropy", "loss of the classes; soft targets and DropLoss are put into it")
    mask: str = setting("cross_entropy", "loss of the masks; spatial confidence and soft targets are put into it")
    soft_targets: bool = setting(False, "hand over scores", key="MODEL.ROI_HEADS.USE_SOFT_TARGETS")
    droploss: bool = setting(False, "hand over weights of RoIs", key="MODEL.ROI_HEADS.USE_DROPLOSS")
    confidence: str = setting("none", "hand over weights of cells", key="MODEL.ROI_MASK_HEAD.CONFIDENCE")

    def check(self) -> None:
        """Raise UnsegError where a name is not registered, or a loss would be handed what it cannot use."""
        classification, mask = CLASSIFICATION_LOSSES.entry(self.classification), MASK_LOSSES.entry(self.mask)
        check_classification_loss(classification.make, soft_targets=self.soft_targets, droploss=self.droploss)
        check_mask_loss(mask.make, soft_targets=self.soft_targets, confidence=self.confidence)


def check_classification_loss(loss: object, *, soft_targets: bool, droploss: bool) -> None:
    """See that a loss can use what it will be handed.

    Args:
        loss: a :class:`ClassificationLoss`, or what makes it.
        soft_targets: whether it is handed scores.
        droploss: whether it is handed weights.

    Raises:
        UnsegError: it cannot.
    """
    if soft_targets:
        _check(loss, "LOSSES.CLASSIFICATION", "scores", "MODEL.ROI_HEADS.USE_SOFT_TARGETS")
    if droploss:
        _check(loss, "LOSSES.CLASSIFICATION", "weights", "MODEL.ROI_HEADS.USE_DROPLOSS")


def check_mask_loss(loss: object, *, soft_targets: bool, confidence: str) -> None:
    """See that a loss can use what it will be handed.

    Args:
        loss: a :class:`MaskLoss`, or what makes it.
        soft_targets: whether the scores of instances are among its weights.
        confidence: kind of the confidence among its weights; ``none`` is none.

    Raises:
        UnsegError: it cannot.
    """
    if soft_targets:
        _check(loss, "LOSSES.MASK", "weights", "MODEL.ROI_HEADS.USE_SOFT_TARGETS")
    if confidence != "none":
        _check(loss, "LOSSES.MASK", "weights", "MODEL.ROI_MASK_HEAD.CONFIDENCE")


def _check(loss: object, key: str, what: str, cause: str) -> None:
    if not getattr(loss, f"takes_{what}", True):
        name = getattr(loss, "__name__", type(loss).__name__)
        raise UnsegError(
            f"The loss {name} of {key} cannot use {what}, which {cause} hands to it; switch {cause} off or choose "
            "another loss."
        )


@CLASSIFICATION_LOSSES.register("cross_entropy")
def _cross_entropy() -> ClassificationLoss:
    return cross_entropy


@MASK_LOSSES.register("cross_entropy")
def _mask_cross_entropy() -> MaskLoss:
    return mask_cross_entropy
