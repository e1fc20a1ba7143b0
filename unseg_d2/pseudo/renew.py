"""Images that are not what they were when their line was written: replaced under the same name, or repaired.

Their batches are computed again and the shard is replaced as a whole, so the label set ends as one that was made of the
images as they are now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from unseg_d2.content import Comparison, Content
from unseg_d2.data.coco import resolve_image
from unseg_d2.pseudo.shards import ShardFolder

Line = dict[str, Any]


def current_lines(written: Path, root: Path) -> Callable[[Line], bool]:
    """Return a function that tells whether the image of a line is what it was when the line was written.

    Args:
        written: file of the lines.
        root: folder of the images.
    """
    comparison = Comparison(written, written.stat().st_mtime)

    def is_current(line: Line) -> bool:
        path = resolve_image(root, line["file_name"])
        if "content" not in line:  # earlier versions did not record it
            return "failure" not in line or not path.is_file()
        return not comparison.has_changed(path, Content(*line["content"]) if line["content"] else None)

    return is_current


def outdated(shards: ShardFolder, shard: int, root: Path) -> tuple[int, ...]:
    """Return the positions in a finished shard of the images that are not what they were."""
    is_current = current_lines(shards.path(shard), root)
    return tuple(index for index, line in enumerate(shards.lines_of(shard)) if not is_current(line))


def changed_images(folder: str | Path, root: Path) -> list[str]:
    """Return the names of the images that are not what they were when a label set was made of them.

    Args:
        folder: of the label set; one that was not made here has no known images.
        root: folder of the images.
    """
    shards = ShardFolder(folder)
    if not (shards.folder / "manifest.json").is_file():
        return []
    shards.load()
    names = []
    for shard in range(shards.num_shards):
        if shards.is_finished(shard) and (positions := set(outdated(shards, shard, root))):
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
