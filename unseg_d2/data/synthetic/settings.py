"""The settings of synthetic scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unseg_d2.settings import Settings, section, setting

MIN_OBJECTS = 2
SURFACES = ("any", "by_class")


@section("SYNTHETIC")
@dataclass(frozen=True)
class SyntheticSettings(Settings):
    """Generated scenes."""

    root: str = setting("./datasets/synthetic", "folder in which scenes are generated on first use")
    size: Sequence[int] = setting((240, 320), "height and width of a scene", low=64, unit="px")
    num_train: int = setting(200, "number of scenes in synthetic_train", low=1)
    num_val: int = setting(48, "number of scenes in synthetic_val", low=1)
    max_objects: int = setting(
        7, f"largest number of solids in a scene; the smallest is {MIN_OBJECTS}", low=MIN_OBJECTS
    )
    one_colour: float = setting(0.5, "share of scenes whose solids all have the same colour", low=0, high=1)
    pitch: Sequence[float] = setting(
        (14.0, 38.0),
        "range of the angle by which the camera looks down; from 35 on no sky is visible",
        low=0,
        high=90,
        unit="degrees",
    )
    floor_contrast: float = setting(
        0.12, "largest difference between the two colours of the floor's pattern, in [0, 1]", low=0, high=1
    )
    surfaces: str = setting(
        "any",
        "any | by_class: each shape, the floor and the sky have colours and patterns of their own",
        choices=SURFACES,
    )
    seed: int = setting(0, "seed of the first scene", low=0)

    def check(self) -> None:
        """Raise ValueError unless size and pitch are pairs, the pitch's smaller angle first."""
        if len(self.size) != 2:
            raise ValueError(f"size must be a height and a width, got {self.size}")
        if len(self.pitch) != 2 or not 0 < self.pitch[0] <= self.pitch[1] < 90:
            raise ValueError(f"pitch must be two angles between 0 and 90, the smaller one first, got {self.pitch}")


@section("SYNTHETIC.FILM")
@dataclass(frozen=True)
class FilmSettings(Settings):
    """The clips of synthetic_film; what else they look like is said by SYNTHETIC."""

    num_clips: int = setting(4, "number of clips in synthetic_film", low=1)
    num_frames: int = setting(24, "frames of a clip", low=2)
    max_objects: int = setting(
        5, f"largest number of solids in a clip; the smallest is {MIN_OBJECTS}", low=MIN_OBJECTS, high=100
    )
