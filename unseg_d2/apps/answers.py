"""What the page of `unseg-d2 app` answers: values of its components in, values of its components out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from unseg_d2.apps.finder import Finder
from unseg_d2.apps.found import Found
from unseg_d2.apps.photo_groups import MOST
from unseg_d2.errors import UnsegError

GENERATOR, DETECTOR = "a mask generator (no training)", "the detector"
ALL = 1.05
"""Position of the slider of detail, behind the coarsest mask, at which all masks are shown."""
COARSEST = 1.0
"""Where the slider begins: all masks at once hide the photo."""
Answer = TypeVar("Answer", bound=Callable[..., list[Any]])


def _with_its_error(answer: Answer) -> Answer:
    """Show an `UnsegError` of an answer on the page."""

    @wraps(answer)
    def answered(self: Answers, *values: Any) -> list[Any]:
        try:
            return answer(self, *values)
        except UnsegError as error:
            raise self.gradio.Error(str(error)) from None

    return answered  # type: ignore[return-value]


class Answers:
    """Answers to the buttons, the slider and the names of the page.

    Args:
        gradio: the library.
        finder: finds objects and groups.
        keys: of the settings on the page, in their order.
        folder: for files to download.
    """

    def __init__(self, gradio: Any, finder: Finder, keys: Sequence[str], folder: Path) -> None:
        self.gradio, self.finder, self.keys, self.folder = gradio, finder, keys, folder

    @_with_its_error
    def find(self, paths: Sequence[str] | None, how: str, name: str, least: float, *values: Any) -> list[Any]:
        """Find objects: photos and settings in, all that the page shows out."""
        if not paths:
            raise UnsegError("Choose photos first.")
        if how == DETECTOR:
            found, found_with = self.finder.with_detector(paths, least), self._weights()
        else:
            settings = dict(zip(self.keys, values, strict=True))
            found, found_with = self.finder.with_generator(paths, name, settings, least), name
        found = replace(found, found_with=found_with)
        update = self.gradio.update
        depths = update(value=found.depths, visible=bool(found.depths))
        detail = COARSEST if found.has_levels else ALL
        slider = update(value=detail, visible=found.has_levels)
        return [*self._changed(found, detail), depths, slider, *self._boxes(found)]

    @_with_its_error
    def show(self, found: Found | None, detail: float) -> list[Any]:
        """Show the masks of a granularity."""
        return self._drawn(found, detail) if found is not None else self._as_it_is(2)

    @_with_its_error
    def group(self, found: Found | None, detail: float, number: float) -> list[Any]:
        """Group what was found."""
        if found is None:
            raise UnsegError("Find objects first.")
        found = self.finder.group(found, int(number))
        return [*self._changed(found, detail), *self._boxes(found)]

    @_with_its_error
    def name(self, found: Found | None, detail: float, *names: str) -> list[Any]:
        """Give groups the names that were typed."""
        if found is None or found.groups is None:
            return self._as_it_is(4)
        groups = found.groups.named([name or "" for name in names])
        if groups.names == found.groups.names:
            return self._as_it_is(4)
        return self._changed(replace(found, groups=groups), detail)

    def _changed(self, found: Found, detail: float) -> list[Any]:
        path = Path(tempfile.mkdtemp(dir=self.folder)) / "objects.json"
        return [found, *self._drawn(found, detail), str(found.write(path))]

    def _drawn(self, found: Found, detail: float) -> list[Any]:
        granularity = None if detail > 1 else detail
        return [found.pictures(granularity), found.table(granularity)]

    def _boxes(self, found: Found) -> list[Any]:
        """Return the place of the groups, and that of each group's name."""
        update, groups = self.gradio.update, found.groups
        sizes = [] if groups is None else groups.sizes()
        boxes = [update(visible=False, value="") for _ in range(MOST)]
        for number, size in enumerate(sizes[:MOST]):
            label = f"group {number + 1}: {size} mask{'s' * (size != 1)}"
            boxes[number] = update(visible=True, value="", label=label)
        return [update(visible=bool(found.annotations)), *boxes]

    def _as_it_is(self, number: int) -> list[Any]:
        return [self.gradio.update() for _ in range(number)]

    def _weights(self) -> str:
        """Return the name of the detector, without the folder that it lies in."""
        weights = self.finder.detector.weights if self.finder.detector else DETECTOR
        return weights if weights.startswith("zoo:") else Path(weights).name
