"""What a writer is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from unseg_d2.data.annotations.counts import Counts
from unseg_d2.data.coco import CocoDataset
from unseg_d2.data.spec import relative_root
from unseg_d2.exchange.pictures import Placing


@dataclass(frozen=True)
class Request:
    """A label set to write in one format.

    Attributes:
        dataset: images, annotations (``iscrowd`` 1 marks regions to ignore) and categories.
        output: folder, or for some formats file, to write.
        placing: what becomes of the pictures.
        root: their folder; ``None`` where it was not found and is not needed.
        polygons: write polygons where the format has run lengths too.
        prefix: what comes before a file name in an address of Label Studio.
        counts: of what the format cannot hold, for one line at the end.
    """

    dataset: CocoDataset
    output: Path
    placing: Placing
    root: Path | None = None
    polygons: bool = False
    prefix: str = ""
    counts: Counts = field(default_factory=Counts)

    def info(self, folder: Path) -> dict[str, object]:
        """Return what the data set says about itself, for a file in a folder that refers to the pictures."""
        info = dict(self.dataset.info)
        info.pop("image_root", None)
        return info | ({} if self.root is None else {"image_root": relative_root(self.root, folder)})
