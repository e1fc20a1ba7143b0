"""The forms in which a demo writes what a detector finds."""

from __future__ import annotations

FORMATS = ("overlays", "coco", "labelstudio")
"""Pictures, a label set, and tasks for Label Studio."""
