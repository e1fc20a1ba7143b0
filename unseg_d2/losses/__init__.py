"""Losses as pure functions of tensors, shared by both engines."""

from unseg_d2.losses.droploss import classification_loss, droploss_weights, published_references

__all__ = ["classification_loss", "droploss_weights", "published_references"]
