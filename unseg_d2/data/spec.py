"""How a data set is named: ``PATH``, or ``PATH::FOLDER``.

The second part is the folder of what the first part lacks: the images of a COCO json (``labels.json::images``), the
masks (``images::masks``) or the labels (``images::labels``).
"""

from __future__ import annotations

import os
from pathlib import Path

from unseg_d2.storage.access import resolved
from unseg_d2.storage.addresses import address_of, scheme_of, to_path, to_text

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
    return f"{path}{_SEPARATOR}{to_text(folder)}"


def stated_root(stated: str, folder: str | Path) -> Path:
    """Return the folder of images that a file in a folder names: relative to it, absolute, or an address."""
    return to_path(stated) if scheme_of(stated) else Path(folder) / stated


def relative_root(root: str | Path, folder: str | Path) -> str:
    """Return how a file in a folder names the folder of its images: relative, so that both can be moved together.

    Args:
        root: folder of the images.
        folder: of the file that names it.

    Returns:
        The relative path with forward slashes; the absolute one where the two share no folder but that of the system,
        and an address as it is.
    """
    if address := address_of(root):
        return address
    root, folder = resolved(root), Path(folder).resolve()
    try:
        shared = Path(os.path.commonpath([root, folder]))
    except ValueError:  # on two drives
        return str(root)
    return str(root) if shared == Path(shared.anchor) else Path(os.path.relpath(root, folder)).as_posix()
