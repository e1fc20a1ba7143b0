"""Images that are not what they were when their line was written: replaced, repaired, or with another depth file.

Their batches are computed again and the shard is replaced as a whole, so the label set ends as one that was made of the
images as they are now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.content import Comparison, Content, content_of
from unseg_d2.data.coco import resolve_image
from unseg_d2.data.images import ImageFile, ImageProblem
from unseg_d2.depth import GridDepth, build_depth
from unseg_d2.pseudo.shards import ShardFolder
from unseg_d2.storage.access import StoredFile, is_there

Line = dict[str, Any]


@dataclass(frozen=True)
class Sources:
    """The files that the line of an image is made from: the image, and its depth where that lies in files.

    Attributes:
        root: folder of the images.
        depth: source of depth, if any.
    """

    root: Path
    depth: GridDepth | None = None

    @property
    def has_depth_files(self) -> bool:
        """Whether the depth of an image, or what is recorded in its place, lies in a file of its own."""
        return self.depth is not None and self.depth.reads_files

    def depth_file(self, name: str) -> Path | None:
        """Return the file with the depth of an image, ``None`` where there is none or where one of several is it."""
        try:
            return self.depth.file(ImageFile(self.root / name, name)) if self.depth is not None else None
        except ImageProblem:  # which is said of the image when its depth is read
            return None

    def path(self, name: str) -> Path:
        """Return the file of an image."""
        return resolve_image(self.root, name)

    def recorded(self, name: str, file: StoredFile | None = None) -> dict[str, Content | None]:
        """Return what a line records of the files of an image: ``content`` and, where there are files, ``depth``.

        Args:
            name: of the image.
            file: its file, where it is read for its pixels too: what is not on the disk is then read once.
        """
        found: dict[str, Content | None] = {"content": content_of(file or self.path(name))}
        if self.has_depth_files:
            path = self.depth_file(name)
            found["depth"] = content_of(path) if path else None
        return found

    def is_current(self, line: Line, comparison: Comparison) -> bool:
        """Whether the files of a line are what they were when it was written; a depth file that has gone is not."""
        path = self.path(line["file_name"])
        if "content" not in line:  # earlier versions did not record it
            return "failure" not in line or not is_there(path)
        if comparison.has_changed(path, Content(*line["content"]) if line["content"] else None):
            return False
        if not self.has_depth_files or "depth" not in line:
            return True
        depth, seen = self.depth_file(line["file_name"]), line["depth"]
        if depth is None or seen is None:
            return depth is seen
        return not comparison.has_changed(depth, Content(*seen))

    def current_lines(self, written: Path) -> Callable[[Line], bool]:
        """Return a function that tells whether a line of a file is current."""
        comparison = Comparison(written, written.stat().st_mtime)
        return lambda line: self.is_current(line, comparison)


def sources_of(cfg: CfgNode, root: Path) -> Sources:
    """Return the files that a recipe makes label sets from.

    Args:
        cfg: recipe.
        root: folder of the images.
    """
    depth = build_depth(cfg)
    return Sources(root, GridDepth(depth) if depth else None)


def outdated(shards: ShardFolder, shard: int, sources: Sources) -> tuple[int, ...]:
    """Return the positions in a finished shard of the images whose files are not what they were."""
    is_current = sources.current_lines(shards.path(shard))
    return tuple(index for index, line in enumerate(shards.lines_of(shard)) if not is_current(line))


def changed_images(folder: str | Path, sources: Sources) -> list[str]:
    """Return the names of the images whose files are not what they were when a label set was made of them.

    Args:
        folder: of the label set; one that was not made here has no known images.
        sources: the files of the images.
    """
    shards = ShardFolder(folder)
    if not (shards.folder / "manifest.json").is_file():
        return []
    shards.load()
    names = []
    for shard in range(shards.num_shards):
        if shards.is_finished(shard) and (positions := set(outdated(shards, shard, sources))):
            names += [line["file_name"] for k, line in enumerate(shards.lines_of(shard)) if k in positions]
    return names


def renewed(
    lines: list[Line], positions: tuple[int, ...], batch_size: int, make: Callable[[int, int], list[Line]]
) -> Iterator[list[Line]]:
    """Compute the batches of some positions again, in place, and yield each.

    Args:
        lines: of a finished shard; those of the batches are replaced.
        positions: of images that have changed.
        batch_size: images per batch.
        make: returns the lines from one position to another.
    """
    for start in sorted({position // batch_size * batch_size for position in positions}):
        lines[start : start + batch_size] = batch = make(start, start + batch_size)
        yield batch
