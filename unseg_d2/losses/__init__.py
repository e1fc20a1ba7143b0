"""Losses as pure functions of tensors, shared by everything that trains; the registry of the detector's losses."""

from unseg_d2.losses.class_focal import class_focal_loss, class_weights
from unseg_d2.losses.consistency import dice_loss, multi_scale_loss, subresolution_loss
from unseg_d2.losses.cross_entropy import cross_entropy, mask_cross_entropy
from unseg_d2.losses.droploss import classification_loss, droploss_weights, published_references, spare_crowds
from unseg_d2.losses.gtv import feature_weights, gtv_loss, image_weights
from unseg_d2.losses.ncut import binary_graph, ncut_loss
from unseg_d2.losses.registry import (
    CLASSIFICATION_LOSSES,
    MASK_LOSSES,
    ClassificationLoss,
    LossSettings,
    MaskLoss,
    check_classification_loss,
    check_mask_loss,
)
from unseg_d2.losses.soft_target import soft_box_loss, soft_classification_loss, soft_mask_loss
from unseg_d2.losses.spatial_confidence import (
    confidence_weights,
    mask_cell_weights,
    mean_confidence,
    spatial_confidence_loss,
)

__all__ = [
    "CLASSIFICATION_LOSSES",
    "ClassificationLoss",
    "LossSettings",
    "MASK_LOSSES",
    "MaskLoss",
    "binary_graph",
    "check_classification_loss",
    "check_mask_loss",
    "class_focal_loss",
    "class_weights",
    "classification_loss",
    "confidence_weights",
    "cross_entropy",
    "dice_loss",
    "droploss_weights",
    "feature_weights",
    "gtv_loss",
    "image_weights",
    "mask_cell_weights",
    "mask_cross_entropy",
    "mean_confidence",
    "multi_scale_loss",
    "ncut_loss",
    "published_references",
    "soft_box_loss",
    "soft_classification_loss",
    "soft_mask_loss",
    "spare_crowds",
    "spatial_confidence_loss",
    "subresolution_loss",
]
