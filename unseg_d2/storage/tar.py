"""Where the files of a tar lie in it, those of tars inside it too: its headers are read, and nothing is unpacked."""

from __future__ import annotations

import io
import logging
import os
import posixpath
import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from unseg_d2.storage.listing import Listing
from unseg_d2.storage.problems import BadArchive

ENDING = ".tar"
MOST_NESTED = 3
"""Tars inside one another that are looked into; ImageNet's has two."""
_RECORD = tarfile.RECORDSIZE
_REMEDY = "copy it again, or take it out of the folder"

logger = logging.getLogger(__name__)


def list_tar(file: BinaryIO, where: str) -> Listing:
    """List the files of a tar: name, first byte and size of each; a tar inside is a folder of its name.

    Hidden files are left out, and so is what cannot be an image, with its reason: a name that leads out of the archive,
    a link to nothing, a file with holes.

    Args:
        file: of the tar, which can seek.
        where: its name, for messages.

    Raises:
        BadArchive: it is no tar, is compressed, or ends early.
    """
    problems: list[tuple[str, str]] = []
    return Listing.of(_files(file, 0, "", where, problems), problems)


class Window(io.RawIOBase):
    """A part of a file as a file.

    Args:
        file: the whole.
        start: first byte.
        size: number of bytes.
    """

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self._size, self._place = file, start, size, 0

    def readable(self) -> bool:
        """Return whether it can be read: it can."""
        return True

    def seekable(self) -> bool:
        """Return whether it can seek: it can."""
        return True

    def tell(self) -> int:
        """Return the place in the part."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place in the part."""
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        """Return bytes from the place on, no more than the part has."""
        left = max(0, self._size - self._place)
        self._file.seek(self._start + self._place)
        found = self._file.read(left if size is None or size < 0 else min(size, left))
        self._place += len(found)
        return found


def _files(
    file: BinaryIO | Window, start: int, folder: str, where: str, problems: list[tuple[str, str]], depth: int = 1
) -> Iterator[tuple[str, int, int]]:
    """Yield name, first byte and size of the files of a tar.

    Args:
        file: of the tar.
        start: where it begins in the outermost one.
        folder: before its names.
        where: its name, for messages.
        problems: gets name and reason of what is left out.
        depth: how many tars this one is inside, itself included.
    """
    placed: dict[str, tuple[int, int]] = {}  # targets of links; filled only where a tar has links
    for member in _members(file, where):
        name = _inside(member.name)
        if name is None:
            problems.append((folder + member.name, "its name leads out of the archive"))
        elif any(part.startswith(".") for part in name.split("/")) or member.isdir():
            continue
        elif member.islnk() or member.issym():
            target = _target(member, name)
            found = placed.get(target) or _search(file, where, target, placed)
            if found is None:
                problems.append((folder + name, f"a link to {member.linkname}, which is not in the archive"))
            else:
                yield folder + name, start + found[0], found[1]
        elif not member.isreg() or member.issparse():
            problems.append((folder + name, "a special file or one with holes, which is not read from an archive"))
        elif name.lower().endswith(ENDING) and depth < MOST_NESTED:
            inner = Window(file, member.offset_data, member.size)  # type: ignore[arg-type]
            place, below = start + member.offset_data, f"{folder}{name}/"
            yield from _files(inner, place, below, f"{where}/{name}", problems, depth + 1)
        else:
            yield folder + name, start + member.offset_data, member.size


def _members(file: BinaryIO | Window, where: str) -> Iterator[tarfile.TarInfo]:
    """Yield the headers of a tar, of which none is kept: a million of them are a gigabyte."""
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            while (member := archive.next()) is not None:
                cast("Any", archive).members.clear()
                yield member
            end = archive.offset
    except tarfile.TarError as error:
        raise BadArchive(_why(file, where, error)) from None
    _check_end(file, end, where)


def _check_end(file: BinaryIO | Window, end: int, where: str) -> None:
    """Refuse a tar that ends within a file: `tarfile` takes a damaged header for the end."""
    size = file.seek(0, os.SEEK_END)
    file.seek(end)
    block = file.read(tarfile.BLOCKSIZE)
    if block.strip(b"\0") or 0 < len(block) < tarfile.BLOCKSIZE or end > size:
        raise BadArchive(f"The archive {where} ends early or is damaged after {end:,} bytes: {_REMEDY}.")
    if not block:
        logger.warning("The archive %s has no mark at its end: was it copied completely?", where)
    elif size - end > 2 * _RECORD:
        logger.warning(
            "After the end of the archive %s follow %s bytes, which are not read; archives are not joined with cat.",
            where,
            f"{size - end:,}",
        )


def _why(file: BinaryIO | Window, where: str, error: tarfile.TarError) -> str:
    file.seek(0)
    start = file.read(8)
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
        return f"The archive {where} is compressed, so its images cannot be read in any order: decompress it to .tar."
    if "unexpected end" in str(error):
        return f"The archive {where} ends early: {_REMEDY}."
    return f"{where} is no tar archive, or damaged ({' '.join(str(error).split())}): {_REMEDY}."


def _inside(name: str) -> str | None:
    """Return the name of a file in an archive in its plain form, ``None`` if it leads out of it.

    >>> _inside("./a//b.jpg"), _inside("a/../../b.jpg"), _inside("/etc/passwd")
    ('a/b.jpg', None, None)
    """
    plain = posixpath.normpath(name)
    return None if plain.startswith(("/", "../")) or plain == ".." or "\0" in name else plain


def _target(member: tarfile.TarInfo, name: str) -> str:
    """Return the name that a link leads to: a hard link names it from the root, a symbolic one from its folder."""
    folder = "" if member.islnk() else posixpath.dirname(name)
    return posixpath.normpath(posixpath.join(folder, member.linkname))


def _search(
    file: BinaryIO | Window, where: str, target: str, placed: dict[str, tuple[int, int]]
) -> tuple[int, int] | None:
    """Note the place of every file of a tar that has links, once, and return that of one."""
    if not placed:
        place = file.tell()
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:") as archive:
            while (member := archive.next()) is not None:
                cast("Any", archive).members.clear()
                if member.isreg():
                    placed[posixpath.normpath(member.name)] = member.offset_data, member.size
        placed.setdefault("", (0, 0))  # searched, though nothing was found
        file.seek(place)
    return placed.get(target)
