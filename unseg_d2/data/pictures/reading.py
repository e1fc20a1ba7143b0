"""How pictures are read, and what was done to one to make 8-bit RGB of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from unseg_d2.errors import UnsegError
from unseg_d2.settings import Settings, setting

Exif = Literal["apply", "ignore"]

MIN_SIDE = 2
"""Images with a shorter side have no content to segment."""


class ImageProblem(UnsegError):
    """The reason why one file cannot be used as an image."""


@dataclass(frozen=True)
class Reading(Settings):
    """How the stored values of a picture become 8-bit RGB; the first keys of ``INPUT``."""

    window: Sequence[float] = setting(
        (),
        "values [low, high] that become black and white in pictures of more than 8 bit, the same for all; empty "
        "stretches each from the least to the greatest value that it uses",
    )
    bands: Sequence[int] = setting(
        (),
        "numbers, from 1, of the three bands that are red, green and blue, or of the one that is grey; empty takes the "
        "first three",
        low=1,
    )
    exif: Exif = setting(
        "apply",
        "apply: turn photos as their EXIF orientation says | ignore: leave them as they are stored",
        choices=get_args(Exif),
    )
    max_pixels: int = setting(
        2**27,
        "pictures with more pixels are refused by their header, before they take memory (decompression bombs)",
        low=1,
        unit="px",
    )

    def check(self) -> None:
        """Raise ValueError where the window or the bands are no such."""
        if len(self.window) not in (0, 2) or (self.window and not self.window[0] < self.window[1]):
            raise ValueError("window needs two values, the lower one first, or none")
        if len(self.bands) not in (0, 1, 3):
            raise ValueError("bands needs three numbers, one, or none")

    def changes(self) -> dict[str, Any]:
        """Return the keys of ``INPUT`` whose values are not the defaults, for a manifest."""
        usual = asdict(DEFAULT_READING)
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {key.upper(): value for key, value in values.items() if value and value != usual[key]}

    @classmethod
    def of_changes(cls, changes: dict[str, Any]) -> Reading:
        """Return what `changes` came from.

        Raises:
            UnsegError: a value is no such.
        """
        return cls.from_config(
            {"INPUT": {key.upper(): value for key, value in asdict(cls()).items()} | changes}, "INPUT"
        )


DEFAULT_READING = Reading()
MAX_PIXELS = DEFAULT_READING.max_pixels
"""Largest picture that is decoded by default: 134 megapixels, about 1 GB while it is decoded."""


@dataclass(frozen=True)
class Picture:
    """A picture as it is used.

    Attributes:
        pixels: ``(H, W, 3)`` uint8 RGB.
        treatment: what was done to it, for JSON; empty for an upright picture of 8 bit. ``type`` is that of the stored
            numbers, ``from`` the values that became 0 and 255, ``window`` whether ``INPUT.WINDOW`` gave them.
            ``turned`` is true where the orientation was applied, ``unturned`` where it was ignored,
            ``upright`` where it could not be: HEIC files turn themselves. ``bands`` is the number of bands of which a
            part was taken, ``pages`` that of a stack of which the first was.
    """

    pixels: np.ndarray
    treatment: dict[str, Any]
