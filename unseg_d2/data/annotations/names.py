"""File names of annotation files, and the pictures that they mean below a folder."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from urllib.parse import unquote

from unseg_d2.data.annotations.dataset import CocoDataset
from unseg_d2.data.annotations.index import AnnotationIndex
from unseg_d2.data.annotations.parse import quoted
from unseg_d2.data.pictures.reading import ImageProblem
from unseg_d2.data.pictures.stored import shown_size
from unseg_d2.errors import UnsegError
from unseg_d2.files import same_name
from unseg_d2.storage.access import is_there, names_in
from unseg_d2.storage.addresses import STORES, scheme_of, to_path, to_text

_COCO_2014 = re.compile(r"COCO_(?:train|val|test)20\d\d_(?=\d{12}\.jpg$)")
"""Put before the names of COCO's pictures until 2014; files of LVIS v0.5 have it, the pictures of 2017 do not."""
MOST_LISTED = 64
"""Folders whose lists of names are kept."""
_NORMAL = re.compile(r"[^/.\0][^/\0]*(/[^/.\0][^/\0]*)*")  # relative, and neither "." nor ".." in it


class ImageFolder:
    """Finds pictures below a folder.

    Attributes:
        root: absolute path of the folder.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = os.path.abspath(to_path(root))
        self._listed: dict[str, dict[str, str]] = {}

    def find(self, file_name: str, *, whole: bool = False) -> str | None:
        """Return the name of a picture relative to the folder, as it is on the disk.

        Tried are the whole name and then, since files name folders of other machines, ever shorter ends of it; at last
        the name that an address or a data set of COCO's pictures means. Accents may be composed or not, and folders
        separated by backslashes.

        Args:
            file_name: as an annotation file has it.
            whole: try the whole name only.

        Returns:
            ``None`` where there is no such picture.
        """
        relative = inside(self.root, file_name)
        if relative is not None and (found := self._there(relative.split(os.sep))):
            return found
        parts = [part for part in same_name(file_name).split("/") if part not in ("", ".")]
        if ".." in parts or "\0" in file_name:
            return None
        for start in range(1 if whole else len(parts)):
            if found := self._there(parts[start:]):
                return found
        plain = _plain_name(file_name)
        return None if whole or plain == file_name else self.find(plain)

    def _there(self, parts: Sequence[str]) -> str | None:
        joined = "/".join(parts)
        if joined.isascii():  # a name has one form only, so no folder needs to be listed
            return joined if is_there(f"{self.root}{os.sep}{joined}") else None
        folder, names = self.root, []
        for part in parts:
            name = self._names(folder).get(unicodedata.normalize("NFC", part))
            if name is None:
                return None
            names.append(name)
            folder = f"{folder}{os.sep}{name}"
        return "/".join(names)

    def _names(self, folder: str) -> dict[str, str]:
        """Return what lies in a folder by its composed name; nothing where there is no such folder."""
        if folder not in self._listed:
            if len(self._listed) >= MOST_LISTED:
                self._listed.pop(next(iter(self._listed)))
            try:
                names = names_in(folder)
            except OSError:
                names = []
            self._listed[folder] = {unicodedata.normalize("NFC", name): name for name in names}
        return self._listed[folder]


def resolve_image(root: str | Path, file_name: str) -> Path:
    """Return the absolute path of an image, which must be below the root.

    Raises:
        UnsegError: an absolute path or ``..`` leads out of the root.

    >>> resolve_image("/data", "train/../1.jpg").as_posix()
    '/data/1.jpg'
    """
    absolute = os.path.abspath(to_path(root))
    relative = inside(absolute, file_name)
    if relative is None:
        raise UnsegError(f"file_name {quoted(file_name)} points outside the image folder {to_text(root)}.")
    return Path(absolute, relative)


def find_image_root(dataset: CocoDataset | AnnotationIndex, path: str | Path) -> Path:
    """Guess the folder of the images of an annotation file.

    Tried in this order: ``image_root`` in its ``info``, the folder of the file, ``images`` in it, and ``images`` beside
    it; the first that holds one of the first images is returned, and where none does, the first that holds one by the
    last parts of its name.

    Args:
        dataset: what `read_coco` or `open_coco` returned.
        path: the annotation file.

    Raises:
        UnsegError: none of them has the images.
    """
    roots = image_roots(dataset.info.get("image_root"), path)
    images = dataset.images() if isinstance(dataset, AnnotationIndex) else dataset.images
    names = [image["file_name"] for image in islice(images, 10)]
    for whole in (True, False):
        for root in roots:
            if not names or _holds(root, names, whole=whole):
                return root
    raise UnsegError(
        f"The images of {path} were not found: {names[0]} is in none of {', '.join(map(to_text, roots))}. "
        f"Name their folder with {path}::FOLDER."
    )


def image_roots(stated: object, path: str | Path) -> list[Path]:
    """Return the folders that may hold the images of an annotation file, the likeliest first."""
    folder = Path(path).resolve().parent
    roots = [folder, folder / "images", folder.parent / "images"]
    if not isinstance(stated, str) or not stated or "\0" in stated:
        return roots
    if scheme := scheme_of(stated):
        return [to_path(stated), *roots] if scheme in STORES else roots
    return [Path(os.path.normpath(folder / stated)), *roots]


def picture_size(path: Path) -> tuple[int, int] | None:
    """Return height and width of a picture in px as it is shown, ``None`` where it cannot be read."""
    try:
        return shown_size(path)
    except ImageProblem:  # who needs the pixels will say what is wrong
        return None


def _plain_name(file_name: str) -> str:
    """Return the name of a picture without what addresses and data sets add to it.

    >>> _plain_name("/data/local-files/?d=photos%5Ca%20b.jpg"), _plain_name("s3://bucket/a.jpg?sign=1")
    ('photos\\\\a b.jpg', 's3://bucket/a.jpg')
    >>> _plain_name("COCO_val2014_000000000042.jpg")
    '000000000042.jpg'
    """
    address, _, query = file_name.partition("?")
    name = unquote(query.removeprefix("d=") if query.startswith("d=") else address)
    return _COCO_2014.sub("", name)


def _holds(root: Path, names: Iterable[str], *, whole: bool) -> bool:
    folder = ImageFolder(root)
    return any(folder.find(name, whole=whole) for name in names)


def inside(root: str, file_name: str) -> str | None:
    """Return a name relative to an absolute folder, ``None`` if it leads out of it."""
    if _NORMAL.fullmatch(file_name):
        return file_name
    path, above = os.path.normpath(os.path.join(root, file_name)), os.path.join(root, "")
    return path[len(above) :] if path.startswith(above) and path != above and "\0" not in file_name else None
