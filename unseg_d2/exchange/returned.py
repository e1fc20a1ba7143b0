"""What comes back from another tool: images with all masks that a person left in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from unseg_d2.files import same_name


@dataclass(frozen=True)
class Shape:
    """One mask or box.

    Attributes:
        label: name of its class, ``None`` where the tool has none.
        box: x, y, width and height in px.
        mask: run lengths or polygons, ``None`` for a box.
    """

    label: str | None
    box: list[float]
    mask: Any = None


@dataclass(frozen=True)
class Returned:
    """One image.

    Attributes:
        names: what the picture may be called, the likeliest first.
        size: height and width in px, ``None`` where the tool does not state it.
        shapes: all that a person left in it.
        done: every object has its mask; ``None`` where the tool does not say.
        regions: what is marked as a region to ignore.
    """

    names: tuple[str, ...]
    size: tuple[int, int] | None
    shapes: list[Shape] = field(default_factory=list)
    done: bool | None = None
    regions: list[Shape] = field(default_factory=list)


class ImageNames:
    """Finds the image of a label set that another tool means.

    Args:
        images: of the label set.
    """

    def __init__(self, images: list[dict[str, Any]]) -> None:
        self._whole = {same_name(image["file_name"]): image for image in images}
        self._last: dict[str, list[dict[str, Any]]] = {}
        for name, image in self._whole.items():
            self._last.setdefault(PurePosixPath(name).name, []).append(image)

    def find(self, names: tuple[str, ...]) -> dict[str, Any] | None:
        """Return the image of one of the names, ``None`` where there is none or more than one.

        Tried are whole names, ever shorter ends of them, and the last parts alone.
        """
        for name in map(same_name, names):
            parts = PurePosixPath(name).parts
            for start in range(len(parts)):
                if image := self._whole.get("/".join(parts[start:])):
                    return image
        for name in map(same_name, names):
            found = self._last.get(PurePosixPath(name).name, [])
            if len(found) == 1:
                return found[0]
        return None
