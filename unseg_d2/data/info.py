"""What a label set says about itself, without reading its images and masks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_START = re.compile(r'\s*\{\s*"info"\s*:\s*')
_LONGEST = 1 << 22
"""Bytes at the beginning of the file in which ``info`` must end."""


def read_info(path: str | Path) -> dict[str, Any]:
    """Return the ``info`` of a COCO file that begins with it, as every label set of this package does.

    Args:
        path: of the file.

    Returns:
        The entry; empty where the file is not there, or begins with something else.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(_LONGEST).decode("utf-8", errors="ignore")
        start = _START.match(head)
        info = json.JSONDecoder().raw_decode(head, start.end())[0] if start else {}
    except (OSError, ValueError):
        return {}
    return info if isinstance(info, dict) else {}
