"""The settings of groups of masks; the features that are compared are those of ``FEATURES``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from unseg_d2.settings import Settings, section, setting

Method = Literal["kmeans", "hdbscan"]


@section("GROUPS")
@dataclass(frozen=True)
class GroupSettings(Settings):
    """Groups of masks that look alike."""

    method: Method = setting(
        "kmeans",
        "kmeans (a number of groups) | hdbscan (as many as the density of the masks makes)",
        choices=get_args(Method),
    )
    number: int = setting(0, "number of groups of kmeans; 0 chooses one of CANDIDATES", symbol="K", low=0)
    candidates: Sequence[int] = setting(
        (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 40, 50, 64, 80, 100),
        "numbers that are tried where NUMBER is 0; the one with the largest silhouette coefficient is taken",
        low=2,
    )
    sample: int = setting(2000, "most masks that the numbers are compared on, drawn at random", low=4)
    most: int = setting(100_000, "most masks that PCA and groups are fitted to, drawn at random", low=4)
    dimensions: int = setting(64, "principal components of the features that are kept; 0 keeps all channels", low=0)
    starts: int = setting(4, "random starts of kmeans; the best counts", low=1)
    min_size: int = setting(10, "fewest masks of a group of hdbscan", low=2)
    reach: float = setting(
        1.5,
        "how far from its prototype a mask may be, in multiples of what 95 % of the group's own masks are; farther "
        "ones are in no group; kmeans itself leaves none out",
        above=0,
    )
    random_seed: int = setting(0, "seed of what is drawn and of where kmeans starts", low=0)

    def check(self) -> None:
        """Raise ValueError where there is nothing to choose a number from."""
        if not self.number and not self.candidates:
            raise ValueError("candidates must hold a number, or number be above 0")

    def unread(self, *, carried: bool) -> list[str]:
        """Return the fields that have no effect with the others.

        Args:
            carried: whether groups are taken from another grouping.
        """
        if carried:
            return [name for name in vars(self) if name != "reach"]
        if self.method == "hdbscan":
            return ["number", "candidates", "sample", "starts"]
        return ["min_size", "reach", *(["candidates", "sample"] if self.number else [])]
