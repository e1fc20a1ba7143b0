"""How a data set is named: ``PATH``, or ``PATH::FOLDER``.

The second part is the folder of what the first part lacks: the images of a COCO json (``labels.json::images``), the
masks (``images::masks``) or the labels (``images::labels``).
"""

from __future__ import annotations

from pathlib import Path

_SEPARATOR = "::"


def split_spec(spec: str | Path) -> tuple[str, str]:
    """Return both parts of a name; the second is empty where there is none.

    >>> split_spec("labels.json::photos/2024")
    ('labels.json', 'photos/2024')
    >>> split_spec("coco_val")
    ('coco_val', '')
    """
    path, _, folder = str(spec).partition(_SEPARATOR)
    return path, folder


def join_spec(path: str | Path, folder: str | Path) -> str:
    """Return the name that :func:`split_spec` splits into these parts.

    >>> join_spec("labels.json", "photos")
    'labels.json::photos'
    """
    return f"{path}{_SEPARATOR}{folder}"
