"""The formats in which a demo writes what a detector finds, and the size limit of a page in one file."""

from __future__ import annotations

FORMATS = ("overlays", "coco", "labelstudio")
"""Pictures, a label set, and tasks for Label Studio."""

ONE_FILE_LIMIT = 500
"""With more images than this, a page in a folder keeps its pictures in files beside it."""
