"""Fetch one large file over HTTP: an interrupted download resumes, and the file appears completely or not at all."""

from __future__ import annotations

import errno
import hashlib
import http.client
import logging
import os
import ssl
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

from unseg_d2.errors import UnsegError
from unseg_d2.files import explained, no_link
from unseg_d2.locks import locked
from unseg_d2.progress import progress_bar

ATTEMPTS = 5  # connections in a row without progress
TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 20
_CUT = (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)

logger = logging.getLogger(__name__)


def download(address: str, path: Path, *, sha256: str | None = None, page: str = "", pause: float = 1.0) -> str:
    """Fetch a file, or the rest of it, and rename it into place when it is complete.

    A partial download is kept in ``<path>.part`` for the next call. Processes that want the same file wait for each
    other.

    Args:
        address: http or https.
        path: where the file goes; if it exists, nothing is fetched.
        sha256: its checksum in hexadecimal; ``None`` accepts any content.
        page: web page of the file, for messages.
        pause: seconds before reconnecting; they double each time.

    Returns:
        The sha256 of the file.

    Raises:
        UnsegError: no connection, no such file, a web page instead of it, a wrong checksum, or a full disk.
    """
    part, lock = path.with_name(f"{path.name}.part"), path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for own in (part, _validator(part), lock):
            if own.is_symlink():  # to whatever file; it is not ours to write
                raise UnsegError(f"{own} is a symbolic link, which is not followed; remove it.")
        with locked(lock, until=path, busy=f"is fetching {path.name}"):
            if not path.is_file():
                _fetch(address, part, path, page or address, pause)
                found = checksum(part)
                if not sha256:
                    refuse_other_content(part, path, address, page or address)
                if sha256 and found != sha256:
                    part.unlink()
                    _validator(part).unlink(missing_ok=True)
                    raise UnsegError(
                        f"{address} has the sha256 {found} instead of {sha256}: it was damaged in transit or replaced. "
                        f"The download was deleted; try again, or look at {page or address}."
                    )
                os.replace(part, path)
                _validator(part).unlink(missing_ok=True)
                return found
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UnsegError(
                f"The disk is full: {path} is not complete. Free some space and run the same command again; the "
                "download resumes."
            ) from error
        raise explained(error, path) from error
    return checksum(path)


def checksum(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def refuse_other_content(file: Path, path: Path, address: str, page: str) -> None:
    """Delete a finished download and raise :class:`UnsegError` if its first bytes are not those of weights.

    Args:
        file: what was fetched.
        path: where it was to go; its ending tells the format.
        address: where it came from.
        page: web page of the file.
    """
    with open(file, "rb") as content:
        start = content.read(512)
        content.seek(max(0, _size(file) - 66_000))
        end = content.read()
    problem = _problem(start, end, _size(file), path.suffix)
    if problem:
        file.unlink()
        _validator(file).unlink(missing_ok=True)
        raise UnsegError(
            f"{address} delivers {problem} instead of weights; the download was deleted. Fetch the file with a browser "
            f"from {page} and put it there: {path}"
        )


def _problem(start: bytes, end: bytes, size: int, suffix: str) -> str:
    """Say what a file is that is no file of weights; empty if nothing speaks against it."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not size:
        return "an empty file"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        return "a web page"
    if start.startswith(b"\x1f\x8b") and suffix not in (".gz", ".tgz"):
        return "a file compressed with gzip"
    if text.startswith((b"{", b"[")) and suffix not in (".json",) and not start.startswith(b"{\x00"):
        return "a text (JSON)"
    if suffix == ".safetensors":
        length = int.from_bytes(start[:8], "little")
        return "" if 2 <= length <= size - 8 and start[8:9] == b"{" else "a damaged file"
    if suffix in (".pth", ".pt", ".ckpt", ".pkl"):
        if start.startswith(b"PK\x03\x04"):  # torch's format since 1.6 is a zip file, whose contents stand at its end
            return "" if b"PK\x05\x06" in end else "a file that was cut off"
        return "" if start.startswith(b"\x80") else "something else"  # a pickle
    return ""


def _fetch(address: str, part: Path, path: Path, page: str, pause: float) -> None:
    """Bring ``part`` to its full length, over as many connections as it takes."""
    fruitless, first = 0, _size(part)
    while True:
        before = _size(part)
        try:
            if _connection(address, part, path, page):
                return
            reason = "the connection was cut"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:
                raise UnsegError(f"{address} answers {error.code} {error.reason}; look at {page}.") from None
            reason = f"the server answers {error.code} {error.reason}"
        except (urllib.error.URLError, *_CUT) as error:
            reason = str(getattr(error, "reason", "") or error) or type(error).__name__
        fruitless = 0 if _size(part) > before else fruitless + 1
        if fruitless >= ATTEMPTS or _size(part) <= first:  # without a network, say so at once
            raise UnsegError(
                f"{address} cannot be fetched ({reason}). Run the same command again when connected, and the download "
                f"resumes where it stopped; or put the file there by other means: {path}"
            )
        time.sleep(pause * 2**fruitless)


def _connection(address: str, part: Path, path: Path, page: str) -> bool:
    """Append what one connection delivers to ``part``; return whether it is complete."""
    start = _size(part)
    request = urllib.request.Request(address, headers={"User-Agent": "unseg-d2", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
        if _validator(part).is_file():  # if the file has changed since, the server sends all of it
            request.add_header("If-Range", _validator(part).read_text())
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not start:
            raise
        if error.headers.get("Content-Range") == f"bytes */{start}":
            return True
        part.unlink()  # longer than the file, so not a part of it
        return False
    with response:
        if response.headers.get_content_type() == "text/html":
            raise UnsegError(
                f"{address} answers with a web page instead of the file; fetch it with a browser from {page} and put "
                f"it there: {path}"
            )
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        start = start if resumed else 0
        if not resumed:
            _remember(part, response.headers.get("ETag") or response.headers.get("Last-Modified"))
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":
            raise UnsegError(f"{address} answers with a compressed file ({encoding}); fetch it with a browser: {page}.")
        length = response.headers.get("Content-Length", "")
        if length and not length.isdecimal():
            raise UnsegError(f"{address} states no valid length ({length[:40]!r}); look at {page}.")
        total = start + int(length) if length else None
        _append(response, part, start, total, path.name)
    if total is not None and _size(part) > total:
        part.unlink()
    return total is None or _size(part) == total


def _append(response: http.client.HTTPResponse, part: Path, start: int, total: int | None, name: str) -> None:
    with (
        open(part, "ab" if start else "wb", opener=no_link) as file,
        progress_bar(total=total, initial=start, desc=name, unit="B", unit_scale=True) as bar,
    ):
        try:
            while chunk := response.read1(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
        finally:
            file.flush()
            os.fsync(file.fileno())


def _remember(part: Path, validator: str | None) -> None:
    """Keep what identifies this version of the file; weak ETags do not."""
    if validator and not validator.startswith("W/"):
        _validator(part).write_text(validator)
    else:
        _validator(part).unlink(missing_ok=True)


def _validator(part: Path) -> Path:
    return part.with_name(f".{part.name}.version")


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
