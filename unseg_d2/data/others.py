"""The files of a folder of pictures that are none: counted by ending, and named where they look like pictures.

SA-1B has a JSON file beside each of 11 million pictures: to open each, or to keep each name, takes minutes and hundreds
of megabytes, and tells nobody anything.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

VIDEOS = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv"}
"""Extensions of files that are read frame by frame."""
NO_PICTURES = {
    *(".json", ".jsonl", ".geojson", ".txt", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg"),
    *(".md", ".rst", ".tex", ".bib", ".log", ".out", ".err", ".html", ".htm", ".css", ".js", ".py", ".ipynb", ".sh"),
    *(".npy", ".npz", ".pkl", ".pth", ".pt", ".ckpt", ".safetensors", ".onnx", ".h5", ".hdf5", ".mat", ".parquet"),
    *(".db", ".sqlite", ".tfrecord", ".tmp", ".part", ".lock", ".md5", ".sha1", ".sha256", ".xmp", ".aae", ".thm"),
    *(".mp3", ".wav", ".flac", ".ply", ".pcd", ".las", ".obj"),
    *(".cls", ".cls2", ".id", ".index", ".inx", ".count", ".pyd", ".ten", ".tb", ".mp", ".msg", ".msgpack"),
    *(".cbor", ".arrow", ".feather"),
}
"""Extensions of files that are not opened to find out whether they are pictures."""
NAMED, NAMED_WITH_REASON = 3, 1000
"""How many files of a kind are named; the rest is counted."""
MOST_KINDS = 40


@dataclass
class Kind:
    """Files of one ending that are no pictures.

    Attributes:
        suffix: their ending, with its dot, in small letters; empty for files without one.
        reason: why one that looks like a picture is not read; empty for what is plainly none.
        count: how many there are.
        first: the first of their names.
    """

    suffix: str
    reason: str = ""
    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, name: str, count: int = 1) -> None:
        """Count files, and keep the name of one of them if it is among the first."""
        most = NAMED_WITH_REASON if self.reason else NAMED
        self.count += count
        if len(self.first) < most or name < self.first[-1]:
            bisect.insort(self.first, name)
            del self.first[most:]


class Others:
    """Kinds of files that are no pictures.

    Args:
        kinds: as `to_json` returned them.
    """

    def __init__(self, kinds: Iterable[Kind] = ()) -> None:
        self._kinds = {(kind.suffix, kind.reason): kind for kind in kinds}

    @classmethod
    def from_json(cls, stored: Any) -> Others:
        """Return what `to_json` wrote; earlier versions wrote a list of all names.

        Raises:
            TypeError: it is something else.
        """
        others = cls()
        if not isinstance(stored, (list, type(None))):
            raise TypeError("kinds of files are a list")
        for item in stored or ():
            if isinstance(item, str):
                others.add(item, ending(item))
                continue
            kind = Kind(**item)
            texts = (kind.suffix, kind.reason, *kind.first)
            if type(kind.count) is not int or not all(isinstance(text, str) for text in texts):
                raise TypeError("a kind of files is a suffix, a reason, a count and names")
            others._kinds[kind.suffix, kind.reason] = kind
        return others

    def __len__(self) -> int:
        return sum(kind.count for kind in self._kinds.values())

    def add(self, name: str, suffix: str, reason: str = "") -> None:
        """Count a file.

        Args:
            name: relative to the folder.
            suffix: see `ending`.
            reason: why it is not read, if it looks like a picture.
        """
        kind = self._kinds.get((suffix, reason))
        if kind is None:
            kind = self._kinds[suffix, reason] = Kind(suffix, reason)
        kind.add(name)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the kinds, most frequent first; rare ones beyond a number are joined."""
        kinds = sorted(self._kinds.values(), key=lambda kind: (-kind.count, kind.suffix, kind.reason))
        rest = Kind("*")
        for kind in kinds[MOST_KINDS:]:
            rest.add(kind.first[0], kind.count)
        return [asdict(kind) for kind in [*kinds[:MOST_KINDS], *[rest] * bool(rest.count)]]

    def names(self) -> list[str]:
        """Return some names, those of files that look like pictures first."""
        return [name for kind in sorted(self._kinds.values(), key=lambda kind: not kind.reason) for name in kind.first]

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield name and reason of what looks like a picture and is not read; beyond 1000 of a kind, how many more."""
        for kind in self._kinds.values():
            if kind.reason:
                yield from ((name, kind.reason) for name in kind.first)
                more = kind.count - len(kind.first)
                if more > 0:
                    yield f"*{kind.suffix}", f"{kind.reason} ({more} more)"

    @property
    def num_problems(self) -> int:
        """Number of files that look like pictures and are not read."""
        return sum(kind.count for kind in self._kinds.values() if kind.reason)

    def line(self) -> str:
        """Say how many files are plainly no pictures: ``3 other files are no pictures (2 .json, 1 .txt).``; or nothing.

        >>> others = Others()
        >>> for name in ("a.json", "b.json", "c.txt"):
        ...     others.add(name, ending(name))
        >>> others.line()
        '3 other files are no pictures (2 .json, 1 .txt).'
        """
        plain = sorted((kind for kind in self._kinds.values() if not kind.reason), key=lambda kind: -kind.count)
        if not plain:
            return ""
        count = sum(kind.count for kind in plain)
        named = [f"{kind.count} {kind.suffix or 'without ending'}" for kind in plain[:NAMED]]
        have = "other files are no pictures" if count > 1 else "other file is no picture"
        return f"{count} {have} ({', '.join(named)}{', ...' if len(plain) > NAMED else ''})."


def ending(name: str) -> str:
    """Return the ending of a name in small letters; a number, as of ``scan.0017``, is none.

    >>> ending("a/B.JSON"), ending("scan.0017"), ending("README")
    ('.json', '', '')
    """
    stem, _, suffix = name.rpartition("/")[2].rpartition(".")
    return f".{suffix.lower()}" if stem and suffix and not suffix.isdigit() else ""
