"""List images: of a folder, an archive, an address, or a pattern of these; what is none is told apart.

An archive counts as a folder of the name of its file, so that names are ``n01440764.tar/n01440764_10026.JPEG`` or
``train-00000.parquet/000017.jpg``. `unseg_d2.storage` knows where their bytes are.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from PIL import Image

from unseg_d2.data.others import NO_PICTURES, VIDEOS, Others, ending
from unseg_d2.data.pictures.formats import (
    EXTENSIONS,
    NO_IMAGE,
    check_regular,
    describe_others,
    readable_formats,
    why_no_image,
)
from unseg_d2.data.pictures.reading import ImageProblem
from unseg_d2.errors import UnsegError
from unseg_d2.storage.access import StoredFile, files_below, is_folder, is_there
from unseg_d2.storage.addresses import to_path, to_text
from unseg_d2.storage.archives import is_archive, split
from unseg_d2.storage.patterns import expanded, fixed_folder, is_pattern
from unseg_d2.storage.problems import NoImageColumn

BESIDE = "an archive beside images, which is not looked into; name it, or a pattern such as '*.tar', to use it"
"""Why an archive is left out: a data set that was unpacked beside it would count twice."""
A_PACKED_VIDEO = "a video in an archive or behind an address, which is not read; unpack or copy it"


@dataclass(frozen=True)
class ImageFile:
    """An image on disk, in an archive, or behind an address.

    Attributes:
        path: of the file, see `unseg_d2.storage.access`.
        file_name: its path relative to the root of the set, with forward slashes; unique in the set.
    """

    path: Path
    file_name: str


@dataclass(frozen=True)
class Folder:
    """What a folder holds.

    Attributes:
        images: files that look like images, sorted by ``file_name``.
        videos: files with the ending of a video, sorted by ``file_name``.
        others: every other file that is not hidden.
    """

    images: list[ImageFile]
    videos: list[ImageFile]
    others: Others


def scan_folder(root: str | Path, *, without: Path | None = None) -> Folder:
    """List the files below a folder, an archive or an address, images and others apart.

    Sub-folders and links to folders are followed; names that start with a dot are left out. Files whose ending is that
    of no picture are not opened. Archives in a folder are looked into where it has no other images.

    Args:
        root: the folder.
        without: folder of a command's own output; where it lies below the root, nothing in it is listed.

    Raises:
        UnsegError: the folder does not exist, or an archive or address cannot be read.
    """
    root = to_path(root)
    if not is_folder(root):
        raise UnsegError(f"There is no folder {to_text(root)}.")
    scan = _Scan()
    scan.folder(root, "", without)
    return scan.done()


def scan_images(named: str | Path, *, without: Path | None = None) -> tuple[Path, Folder]:
    """List the files of what `scan_folder` takes, or of a pattern of such folders and of images.

    Args:
        named: what a user names, see also `unseg_d2.storage.patterns`.
        without: folder of a command's own output; where it lies below the root, nothing in it is listed.

    Returns:
        The folder that names are relative to, and what is in it; of a pattern the part that is the same for all.

    Raises:
        UnsegError: there is no such folder, no file matches, or an archive or address cannot be read.
    """
    text = os.fspath(named)
    if is_folder(text) or not is_pattern(text):
        return to_path(text), scan_folder(text, without=without)
    root, scan = to_path(fixed_folder(text)), _Scan()
    names = expanded(text)
    if not names:
        raise UnsegError(f"No file matches {text}.")
    for path in map(to_path, names):
        below = path.relative_to(root).as_posix()
        if is_folder(path):
            scan.folder(path, f"{below}/", without)
        elif is_there(path):
            scan.sort([(os.fspath(path), below)])
        else:
            raise UnsegError(f"There is no file {to_text(path)}, which {text} names.")
    return root, scan.done()


def list_images(named: str | Path) -> list[ImageFile]:
    """List the images of what `scan_images` takes, sorted by their path relative to its root.

    Raises:
        UnsegError: see `scan_images`; or there is no image.
    """
    root, folder = scan_images(named)
    if not folder.images:
        raise no_images(named, root, folder)
    return folder.images


def no_images(named: str | Path, root: Path, folder: Folder) -> UnsegError:
    """Return the error that there is no image in what a user names, with the likeliest reason."""
    names = [*(video.file_name for video in folder.videos[:1]), *folder.others.names()]
    count = len(folder.others) + len(folder.videos)
    files = f"none of its {count} files is one" if count else "it is empty"
    stated = next((f"{name}: {reason}" for name, reason in folder.others.problems()), "")
    first = stated or describe_others(root, names)
    return UnsegError(f"There is no image in {to_text(named)}: {files}{f' ({first})' if first else ''}.")


class _Scan:
    """Sorts files as they are found."""

    def __init__(self) -> None:
        self._images: list[ImageFile] = []
        self._videos: list[ImageFile] = []
        self._others = Others()

    def done(self) -> Folder:
        """Return what was found, in the order of the names."""
        for files in (self._images, self._videos):
            files.sort(key=lambda file: file.file_name)
        return Folder(self._images, self._videos, self._others)

    def folder(self, root: Path, prefix: str, without: Path | None = None) -> None:
        """Sort the files below a folder, an archive or an address; names begin with a prefix."""
        if split(os.fspath(root)):
            self._archive(os.fspath(root), prefix)
            return
        if os.path.isdir(root):
            own, above = os.path.realpath(without) if without else "", os.path.join(root, "")
            found = _files(root, own if own.startswith(os.path.realpath(root) + os.sep) else "")
            files = ((path, prefix + path[len(above) :].replace(os.sep, "/")) for path in found)
        else:
            listed = (name for name in files_below(root) if not _is_hidden(name))
            files = ((os.path.join(root, name), prefix + name) for name in listed)
        before = len(self._images)
        archives = sorted(self.sort(files), key=lambda file: file[1])
        if len(self._images) > before:
            for _, name in archives:
                self._others.add(name, ending(name), BESIDE if name.lower().endswith(".tar") else "")
            return
        for path, name in archives:
            try:
                self._archive(path, f"{name}/")
            except NoImageColumn:
                self._others.add(name, ending(name), "a table without a column of images")

    def sort(self, files: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Sort files, each a path and its name; return the archives."""
        archives = []
        for path, name in files:
            suffix = ending(name)
            if suffix in EXTENSIONS:
                self._images.append(ImageFile(Path(path), name))
            elif is_archive(name):
                archives.append((path, name))
            elif suffix in VIDEOS:
                self._video(path, name, suffix)
            elif suffix in NO_PICTURES:
                self._others.add(name, suffix)
            elif _opens(Path(path)):
                self._images.append(ImageFile(Path(path), name))
            else:
                what = why_no_image(Path(path))
                self._others.add(name, suffix, "" if what == NO_IMAGE else what)
        return archives

    def _archive(self, path: str, prefix: str) -> None:
        """Sort the files of an archive."""
        listed = files_below(path)
        for name, reason in listed.problems:
            self._others.add(prefix + name, ending(name), "" if ending(name) in NO_PICTURES else reason)
        names = self._of_samples(listed, prefix)
        for _, name in self.sort((os.path.join(path, name), prefix + name) for name in names):
            self._others.add(name, ending(name), "an archive in an archive, which is not looked into; unpack it")

    def _of_samples(self, listed: Iterable[str], prefix: str) -> Iterator[str]:
        """Yield the names of an archive without those of double endings that belong to an image of their sample."""
        for _, names in groupby(listed, key=_sample):
            sample = list(names)
            if len(sample) > 1 and any(ending(name) in EXTENSIONS and not _double_ending(name) for name in sample):
                for name in filter(_double_ending, sample):
                    self._others.add(prefix + name, _double_ending(name))
                sample = [name for name in sample if not _double_ending(name)]
            yield from sample

    def _video(self, path: str, name: str, suffix: str) -> None:
        if os.path.lexists(path):
            self._videos.append(ImageFile(Path(path), name))
        else:
            self._others.add(name, suffix, A_PACKED_VIDEO)


def _sample(name: str) -> str:
    """Return the key of a sample of webdataset: a name up to the first dot of its last part."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition('.')[0]}"


def _double_ending(name: str) -> str:
    """Return an ending of two parts, which in a sample of webdataset is what belongs to its image; else nothing.

    >>> _double_ending("a/000123.seg.png"), _double_ending("a/000123.png")
    ('.seg.png', '')
    """
    _, dot, suffix = name.rpartition("/")[2].partition(".")
    return f"{dot}{suffix.lower()}" if "." in suffix else ""


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or "/." in name


def _refuse(error: OSError) -> None:
    """Say that a folder cannot be read, instead of leaving its images out in silence."""
    raise UnsegError(
        f"The folder {error.filename} cannot be read: {error.strerror}; correct its permissions."
    ) from None


def _files(root: Path, own: str = "") -> Iterator[str]:
    """Yield the files below a folder; links are followed, except back to a folder above.

    Args:
        root: the folder.
        own: real path of a folder that is left out.
    """
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_refuse):
        real = os.path.realpath(folder) + os.sep
        below = {name: os.path.realpath(os.path.join(folder, name)) for name in folders if not name.startswith(".")}
        folders[:] = [name for name, path in below.items() if path != own and not real.startswith(path + os.sep)]
        yield from (os.path.join(folder, name) for name in names if not name.startswith("."))


def _opens(path: Path) -> bool:
    """Return whether Pillow recognises the first bytes of a file as one of the formats that are read.

    Raises:
        UnsegError: a store does not answer, or an archive is damaged.
    """
    file = StoredFile(path)
    try:
        check_regular(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.open(file.source(), formats=readable_formats()).close()
        return True
    except Image.DecompressionBombError:
        return True
    except ImageProblem:
        return False
    except UnsegError:
        raise
    except Exception:  # Pillow's decoders raise nearly anything on damaged files
        return False
