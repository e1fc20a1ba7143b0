"""Weights of the zoo on this machine: fetched once, found again, checked."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from unseg_d2.errors import UnsegError, missing_extra
from unseg_d2.files import atomic_write
from unseg_d2.supervision import Supervision
from unseg_d2.zoo.download import checksum, download
from unseg_d2.zoo.registry import Entry, entries, find

PREFIX = "zoo:"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """The result of checking a file of the zoo.

    Attributes:
        good: the file exists and no check failed.
        wrong: the file exists but is not what it should be.
        text: the result in words.
    """

    good: bool
    wrong: bool
    text: str


def home() -> Path:
    """Folder of fetched weights: ``$UNSEG_D2_ZOO``, else ``unseg_d2/zoo`` in the user's cache."""
    if os.environ.get("UNSEG_D2_ZOO"):
        return Path(os.environ["UNSEG_D2_ZOO"]).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "unseg_d2" / "zoo"


def resolve(weights: str | Path) -> str:
    """Return the file of a zoo name, fetching it on first use; anything else unchanged.

    Args:
        weights: ``zoo:NAME``, the published address of an entry (as in CutLER's configurations), or a path.

    Raises:
        UnsegError: the zoo has no such entry, or it cannot be fetched.
    """
    entry = _named(str(weights))
    return str(get(entry.name)) if entry else str(weights)


def learnt_from(weights: str | Path) -> tuple[Supervision, ...]:
    """Return the supervision of weights of the zoo, by name or by content; empty for any other file.

    Args:
        weights: see :func:`resolve`.

    Raises:
        UnsegError: the zoo has no such entry.
    """
    entry, path = _named(str(weights)), Path(weights)
    if entry is None and path.is_file():
        content = _checksum_of(path, path.stat().st_mtime_ns, path.stat().st_size)
        entry = next((known for known in entries().values() if known.sha256 == content), None)
    return entry.supervision if entry else ()


def get(name: str, *, sha256: str | None = None) -> Path:
    """Return the file of an entry, fetching it on first use.

    Where the authors publish no checksum, that of the first download is kept beside the file
    (``<file>.sha256``, as ``sha256sum`` writes it) and demanded from then on; such a file, or ``sha256``, pins the
    content before anything is fetched.

    Args:
        name: of the entry.
        sha256: in hexadecimal, to be demanded where the authors publish none.

    Raises:
        UnsegError: the zoo has no such entry, it is not published or cannot be fetched from here, or the content is not
            the known one.
    """
    entry = find(name)
    if entry.file is None:
        raise UnsegError(f"The authors publish no weights of {entry.name}; look at {entry.page}")
    path = local_path(entry)
    known = entry.sha256 or sha256 or _recorded(path)
    if sha256 and known != sha256:
        raise UnsegError(f"{entry.name} has the published sha256 {known}, so {sha256} cannot be demanded.")
    if not path.is_file():
        if entry.package:
            raise missing_extra(entry.package, entry.extra)
        if entry.address is None:
            raise UnsegError(
                f"{entry.name} is published without an address of the file: fetch it with a browser from {entry.page} "
                f"and put it there: {path} (licence: {entry.licence['name']})"
            )
        logger.info("Fetching %s from %s; licence: %s.", entry.name, entry.address, entry.licence["name"])
        known = download(entry.address, path, sha256=known, page=entry.page)
        _write_record(path, known)
    elif known:
        if _checksum_of(path, path.stat().st_mtime_ns, path.stat().st_size) != known:
            again = f"install {entry.package} again" if entry.package else "delete it and fetch it again"
            raise UnsegError(f"{path} has another content than its sha256 says, {known}; {again}.")
        if sha256:
            _write_record(path, known)
    return path


def verify(name: str) -> Verdict:
    """Compare a fetched file with its published checksum or, where there is none, with what was fetched.

    Raises:
        UnsegError: the zoo has no such entry.
    """
    entry = find(name)
    if entry.file is None:
        return Verdict(False, False, "not published")
    path = local_path(entry)
    if not path.is_file():
        return Verdict(False, False, str(missing_extra(entry.package, entry.extra)) if entry.package else "not fetched")
    found = checksum(path)
    if entry.sha256:
        if found == entry.sha256:
            return Verdict(True, False, f"as published, sha256 {found}")
        return Verdict(False, True, f"WRONG: sha256 {found} instead of {entry.sha256}; delete {path}")
    unpublished = "the authors publish no checksum"
    if not _record(path).is_file():
        return Verdict(True, False, f"not verifiable ({unpublished}, and it was not fetched from here), sha256 {found}")
    try:
        recorded = _recorded(path)
    except UnsegError as error:
        return Verdict(False, True, f"WRONG: {error}")
    if found != recorded:
        return Verdict(False, True, f"WRONG: sha256 {found}, but {recorded} when it was fetched; delete {path}")
    return Verdict(True, False, f"as fetched, not verifiable further ({unpublished}), sha256 {found}")


def local_path(entry: Entry) -> Path:
    """Return where the file of an entry is, or will be; that of a package on the index lies where pip installed it."""
    if entry.package:
        try:  # its metadata tells where it is; importing it would run its code
            return Path(str(importlib.metadata.distribution(entry.package).locate_file(str(entry.file))))
        except importlib.metadata.PackageNotFoundError:
            pass
    return home() / str(entry.file)


def _named(weights: str) -> Entry | None:
    """Return the entry of ``zoo:NAME`` or of a published address."""
    if weights.startswith(PREFIX):
        return find(weights)
    if weights.startswith(("http://", "https://")):
        return next((entry for entry in entries().values() if entry.address and _same(entry.address, weights)), None)
    return None


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _recorded(path: Path) -> str | None:
    """Return the checksum that is kept beside a file, ``None`` where none is."""
    if not _record(path).is_file():
        return None
    words = _record(path).read_text(encoding="utf-8", errors="replace").split()
    if not words or not re.fullmatch(r"[0-9a-fA-F]{64}", words[0]):
        raise UnsegError(f"{_record(path)} is damaged: it must hold a sha256 of 64 digits; correct or delete it.")
    return words[0].lower()


def _write_record(path: Path, sha256: str) -> None:
    with atomic_write(_record(path)) as file:
        file.write(f"{sha256}  {path.name}\n".encode())


@functools.cache
def _checksum_of(path: Path, time: int, size: int) -> str:
    """Return the sha256 of a file, once per process and version of the file."""
    return checksum(path)


def _same(address: str, other: str) -> bool:
    """Return whether two addresses are equal apart from ``http`` and ``https``."""
    return urlsplit(address)._replace(scheme="") == urlsplit(other)._replace(scheme="")
