"""Stores behind addresses, by fsspec: S3, Google Cloud Storage and what else has a file system for it."""

from __future__ import annotations

import importlib
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, BinaryIO, NamedTuple

from unseg_d2.errors import UnsegError, missing_extra
from unseg_d2.storage.problems import Unreachable

EXTRAS = {"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3"), "gs": ("gcsfs", "gcs"), "gcs": ("gcsfs", "gcs")}
"""Scheme of an address to the library that reads it, and to the extra that brings it."""
BLOCK = 2**22
"""Bytes that are fetched at once where an archive is listed, most of which are headers if its images are small."""

UNKNOWN_TIME = 2.0**62
"""Stands for the last change where a store does not tell it: what is made from such a file is compared by its bytes."""


class Object(NamedTuple):
    """A file or folder of a store: size in bytes, seconds since the epoch of its last change."""

    is_folder: bool
    size: int
    changed: float


def look(address: str) -> Object:
    """Return what is at an address.

    Raises:
        FileNotFoundError: nothing is.
        Unreachable: the store does not answer, or refuses.
    """
    with _reaching(address):
        found = _store(address).info(address)
        return Object(found["type"] == "directory", int(found.get("size") or 0), _changed(found))


def names_in(address: str) -> list[str]:
    """Return the names in a folder; for errors see `look`."""
    with _reaching(address):
        return [posixpath.basename(name.rstrip("/")) for name in _store(address).ls(address, detail=False)]


def walk(address: str) -> Iterator[tuple[str, int, int]]:
    """Yield name, time of the last change and size of all files below a folder; for errors see `look`.

    Folders are asked for one by one, so that no answer is longer than a folder.
    """
    with _reaching(address):
        store = _store(address)
        root = store._strip_protocol(address).rstrip("/")
        for folder, _, files in store.walk(address, detail=True):
            below = folder.rstrip("/")[len(root) :].strip("/")
            for name, found in files.items():
                yield posixpath.join(below, name), int(_changed(found)), int(found.get("size") or 0)


def read(address: str, start: int | None = None, stop: int | None = None) -> bytes:
    """Return the bytes of a file, or some of them; for errors see `look`."""
    with _reaching(address):
        return bytes(_store(address).cat_file(address, start=start, end=stop))


@contextmanager
def opened(address: str) -> Iterator[BinaryIO]:
    """Open a file that is read in order, or jumps over parts; for errors see `look`."""
    with _reaching(address), _store(address).open(address, "rb", block_size=BLOCK, cache_type="readahead") as file:
        yield file


def matching(pattern: str) -> list[str]:
    """Return the addresses that match a pattern, sorted; for errors see `look`."""
    scheme = pattern.partition("://")[0]
    with _reaching(pattern):
        return [f"{scheme}://{name.lstrip('/')}" for name in sorted(_store(pattern).glob(pattern))]


def _store(address: str) -> Any:
    """Return the file system of an address; asked for each time, since one that was made before a fork cannot be used.

    It keeps no lists of folders, which would be out of date for who runs a command again in the same process.
    """
    scheme = address.partition("://")[0]
    try:
        fsspec = importlib.import_module("fsspec")
    except ImportError:
        raise missing_extra("fsspec", "s3") from None
    try:
        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        if scheme in EXTRAS:
            raise missing_extra(*EXTRAS[scheme]) from None
        raise UnsegError(f"{address} needs another library: {' '.join(str(error).split())}.") from None
    except ValueError as error:
        known = "s3://, gs:// and those of fsspec's file systems"
        raise UnsegError(f"{address} is an address of an unknown kind ({error}); known are {known}.") from None


@contextmanager
def _reaching(address: str) -> Iterator[None]:
    """Turn whatever a store's library raises into `Unreachable`, except that there is no such file."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, UnsegError):
        raise
    except Exception as error:  # each library has errors of its own, and so has each that it is built on
        detail = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise Unreachable(
            f"{address} cannot be reached ({detail[:200]}); check the address, the network and the credentials. "
            "Finished work is kept, and the same command resumes."
        ) from None


def _changed(found: dict[str, Any]) -> float:
    """Return when a file was last changed, in seconds; libraries give it different names."""
    for key in ("LastModified", "last_modified", "mtime", "updated", "created"):
        value = found.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, (int, float)):
            return float(value)
        if isinstance(value, str):
            try:
                return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
            except ValueError:
                continue
    return UNKNOWN_TIME
