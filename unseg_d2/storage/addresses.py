"""Addresses such as ``s3://bucket/photos`` as paths.

All other code knows files by absolute paths, which are joined, split, compared and made relative. An address has one
too, ``/s3:/bucket/photos``, as if its store were mounted there; nothing but :mod:`unseg_d2.storage` can open it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_ADDRESS = re.compile(r"/?([a-z][a-z0-9+.-]+):/+([^/].*)", re.DOTALL)  # of two letters or more: C:/ is a drive
_LOCAL = {"file", "local"}
STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oci", "hf"}
"""Schemes of addresses that a file may name, with the credentials of who reads it; others only a user may name."""


def to_path(text: str | os.PathLike[str]) -> Path:
    """Return the path of an address, or of a file or folder as it is.

    >>> to_path("s3://bucket/photos/").as_posix(), to_path("photos/a.jpg").as_posix()
    ('/s3:/bucket/photos', 'photos/a.jpg')
    >>> to_path("file:///data/photos").as_posix()
    '/data/photos'
    """
    text = os.fspath(text)
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return Path(text)
    scheme, rest = found.groups()
    return Path(f"/{rest}") if scheme in _LOCAL else Path(f"/{scheme}:/{rest}")


def to_text(path: str | os.PathLike[str]) -> str:
    """Return the address of a path, for people and for files; other paths as they are.

    >>> to_text("/s3:/bucket/photos"), to_text("photos")
    ('s3://bucket/photos', 'photos')
    """
    return address_of(path) or os.fspath(path)


def scheme_of(text: str) -> str:
    """Return the scheme of an address; empty for what is none.

    >>> scheme_of("s3://bucket/a"), scheme_of("photos/a")
    ('s3', '')
    """
    found = _ADDRESS.fullmatch(text)
    return found[1] if found and found[1] not in _LOCAL else ""


def address_of(path: str | os.PathLike[str]) -> str | None:
    """Return the address that a path stands for, ``None`` where it stands for a file of this machine."""
    text = os.fspath(path)
    if ":/" not in text:  # nearly all
        return None
    found = _ADDRESS.fullmatch(text)
    return None if found is None or found[1] in _LOCAL else f"{found[1]}://{found[2]}"
