"""How a gallery names the masks that a person decides on, and the file that it saves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

KIND = "unseg_d2 decisions"
"""What the file says that it is."""
KIND_OF_NAMES = "unseg_d2 names of groups"
"""What the file says that it is, in which the page of `unseg_d2.groups` saves names."""
VERSION = 1


def masks_key(annotations: Sequence[dict[str, Any]]) -> str:
    """Return a short checksum of the masks of an image: their ids and boxes, in any order.

    >>> masks_key([{"id": 1, "bbox": [0, 0, 2, 2]}]) == masks_key([{"id": 1, "bbox": [0, 0, 2, 2.0]}])
    True
    """
    masks = sorted([str(item["id"]), *(round(float(side), 1) for side in item["bbox"])] for item in annotations)
    return hashlib.sha256(json.dumps(masks).encode()).hexdigest()[:12]


def fingerprint(index: Sequence[dict[str, Any]]) -> str:
    """Return a checksum of the masks that a page shows, under which a browser keeps what was decided about them.

    Args:
        index: lines of the page's index, with a ``name`` and, of images that can be shown, a ``key`` each.
    """
    shown = [[image["name"], image.get("key")] for image in index]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:16]
