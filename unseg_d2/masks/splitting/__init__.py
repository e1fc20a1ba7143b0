"""Masks that hold several objects, divided along edges or by object-centric fields."""

from __future__ import annotations

from unseg_d2.masks.splitting.bgp import Fragment, split_masks
from unseg_d2.masks.splitting.centre_field import split_by_fields
from unseg_d2.masks.splitting.edges import canny_edges, depth_edges
from unseg_d2.masks.splitting.fields import ObjectFields, fields_of_masks
from unseg_d2.masks.splitting.settings import FieldSettings, SplitSettings

__all__ = [
    "FieldSettings",
    "Fragment",
    "ObjectFields",
    "SplitSettings",
    "canny_edges",
    "depth_edges",
    "fields_of_masks",
    "split_by_fields",
    "split_masks",
]
