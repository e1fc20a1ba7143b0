"""The forms in which a demo writes what a detector finds, and a page shows a label set."""

from __future__ import annotations

FORMATS = ("overlays", "coco", "labelstudio")
"""Pictures, a label set, and tasks for Label Studio."""

ONE_FILE_LIMIT = 500
"""A page in a folder of its own keeps the pictures of more images than this in files beside it."""
