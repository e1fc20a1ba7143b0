"""Losses as pure functions of tensors, shared by both engines."""

from unseg_d2.losses.class_focal import class_focal_loss, class_weights
from unseg_d2.losses.droploss import classification_loss, droploss_weights, published_references
from unseg_d2.losses.soft_target import soft_box_loss, soft_classification_loss, soft_mask_loss
from unseg_d2.losses.spatial_confidence import confidence_weights, mean_confidence, spatial_confidence_loss

__all__ = [
    "class_focal_loss",
    "class_weights",
    "classification_loss",
    "confidence_weights",
    "droploss_weights",
    "mean_confidence",
    "published_references",
    "soft_box_loss",
    "soft_classification_loss",
    "soft_mask_loss",
    "spatial_confidence_loss",
]
