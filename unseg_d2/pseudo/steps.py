"""The steps of making lines of a label set: read an image, find proposals in a batch, finish the masks of an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from unseg_d2.data.at_work import at_work
from unseg_d2.data.images import ImageFile, ImageProblem, Reading
from unseg_d2.data.pictures.decode import read_picture
from unseg_d2.pseudo.looks import Look, Looking
from unseg_d2.pseudo.pseudo_masks import PseudoMasks, to_annotation
from unseg_d2.pseudo.renew import Sources
from unseg_d2.pseudo.stage_times import Clock
from unseg_d2.storage.access import StoredFile

Line = dict[str, Any]
Read = tuple[Line, Look | None]
"""The line of an image as far as it is known, and the image; ``None`` where it cannot be used."""


class Staged(Protocol):
    """A pipeline in three steps; :class:`~unseg_d2.pseudo.pipeline.MaskPipeline` is one."""

    @property
    def refines_on_card(self) -> bool:
        """Whether the second step includes the refinement, so that the third is quick."""
        ...

    @property
    def looking(self) -> Looking:
        """The first, of an image and its file; picklable."""
        ...

    @property
    def finishing(self) -> Callable[[Look, Any], PseudoMasks]:
        """The third, of an image and what was found in it; picklable where it is to be done elsewhere."""
        ...

    def propose(self, looks: Sequence[Look], clock: Clock) -> list[Any]:
        """The second, of a batch; what it returns for each image is picklable."""
        ...


@dataclass(frozen=True)
class Whole:
    """Gives the three steps to a pipeline that does everything at once."""

    pipeline: Callable[[list[np.ndarray], list[ImageFile]], Sequence[PseudoMasks]]
    refines_on_card: bool = False

    @property
    def looking(self) -> Looking:
        """The pipeline needs the pixels alone."""
        return Looking((), "pad", keeps_image=True)

    def propose(self, looks: Sequence[Look], clock: Clock) -> list[PseudoMasks]:
        """Return the masks of each image."""
        with clock.measure("cut"):
            images = [look.image for look in looks if look.image is not None]
            return list(self.pipeline(images, [look.file for look in looks]))

    @property
    def finishing(self) -> Callable[[Look, PseudoMasks], PseudoMasks]:
        """Nothing is left to do."""
        return _as_found


def _as_found(look: Look, found: PseudoMasks) -> PseudoMasks:
    return found


@dataclass(frozen=True)
class Reader:
    """Reads an image and looks at it."""

    sources: Sources
    reading: Reading
    looking: Looking

    def __call__(self, image: tuple[Any, str]) -> Read:
        """Return the beginning of the line of an image, ``(id, file_name)``, and the image.

        Raises:
            UnsegError: the memory is full, or the program fails.
        """
        key, name = image
        file = StoredFile(self.sources.path(name))
        line: Line = {"id": key, "file_name": name, **self.sources.recorded(name, file)}
        try:
            picture = read_picture(file, self.reading)
            if picture.treatment:
                line["treatment"] = picture.treatment
            with at_work(name):
                return line, self.looking(picture.pixels, ImageFile(self.sources.root / name, name))
        except ImageProblem as problem:
            return line | {"failure": str(problem)}, None


@dataclass(frozen=True)
class Finisher:
    """Makes the line of an image of what was found in it."""

    finishing: Callable[[Look, Any], PseudoMasks]

    def __call__(self, read: Read, found: Any) -> Line:
        """Return the whole line.

        Raises:
            UnsegError: the memory is full, or the program fails.
        """
        line, look = read
        assert look is not None
        try:
            with at_work(line["file_name"]):
                masks = self.finishing(look, found)
        except ImageProblem as problem:
            return line | {"failure": str(problem)}
        height, width = look.size
        line |= {"height": height, "width": width, "annotations": [to_annotation(mask) for mask in masks]}
        if masks.left_out:
            line["proposals_left_out"] = masks.left_out
        if masks.rejected and not masks:
            line["rejected"] = dict(masks.rejected)
        return line
