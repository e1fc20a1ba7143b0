"""The settings of tracks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from unseg_d2.settings import Settings, section, setting

OtherMasks = Literal["left_out", "crowd"]


@section("TRACKS")
@dataclass(frozen=True)
class TrackSettings(Settings):
    """Which masks of a video's frames are the same object (track-masks)."""

    appearance: float = setting(
        0.5,
        "weight of the likeness of features in the similarity of a mask and a track, the rest is that of the overlap; "
        "0 leaves features out, and no image is read",
        low=0,
        high=1,
    )
    min_similarity: float = setting(
        0.3, "similarity from which a mask can continue a track, else it begins one", above=0, high=1
    )
    reach: float = setting(
        2.0,
        "largest distance of the centre of a mask from where the track was or should be, in diagonals of its box",
        above=0,
    )
    max_gap: int = setting(12, "frames that an object may be away before its track ends", low=0, unit="frames")
    memory: float = setting(
        0.5, "share of what is known of the features and the speed of a track that stays with each mask", low=0, below=1
    )
    max_filled: int = setting(
        5, "longest gap in a track that is filled with masks in between; 0 fills none", low=0, unit="frames"
    )
    min_visible: float = setting(
        0.5,
        "share of a filled mask that no other mask covers, below which the object is taken for hidden",
        low=0,
        high=1,
    )
    min_length: int = setting(1, "masks of a track below which it is left out, filled ones not counted", low=1)
    keys: int = setting(1, "key masks of a track, the most reliable ones; 0 chooses none", low=0)
    key_distance: int = setting(8, "distance of two key masks of a track at least", low=1, unit="frames")
    others: OtherMasks = setting(
        "left_out",
        "what keys.json has of the masks beside the key masks in their frames: left_out | crowd (regions that count "
        "neither as objects nor, in RoI heads with MODEL.ROI_HEADS.DROPLOSS_CROWD_IOU, as background)",
        choices=get_args(OtherMasks),
    )

    def unread(self) -> dict[str, str]:
        """Return the fields that have no effect with the others, and the key and value of those that are to blame."""
        idle: dict[str, str] = {}
        if not self.max_filled:
            idle["min_visible"] = "TRACKS.MAX_FILLED 0"
        if self.keys <= 1:
            idle["key_distance"] = f"TRACKS.KEYS {self.keys}"
        return idle

    def check(self) -> None:
        """Raise ValueError where a gap would be filled that no track can have, or a setting has no effect."""
        if self.max_filled > self.max_gap:
            raise ValueError(f"max_filled is {self.max_filled}, but no track has a gap of more than {self.max_gap}")
        if self.others != "left_out" and not self.keys:
            raise ValueError("others has no effect with keys 0, which writes no keys.json")
