"""Prototypes of groups on disk, and which of them is nearest to a mask.

Shape legend
    m   masks
    C   channels of the features
    D   dimensions that are kept of them
    K   groups
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_write

ABOUT = "about"
NONE = -1
"""Number of the group of a mask that is in none."""
SAME = 1e-4
"""Distance up to which masks count as equal: features are float32, and differ a little from run to run."""


@dataclass(frozen=True)
class Assigned:
    """The groups of masks.

    Attributes:
        groups: ``(m,)`` int64 from 0 on; :data:`NONE` for a mask that has no features, or lies too far from all.
        confidence: ``(m,)`` float32 in [0, 1], 0 without a group.
    """

    groups: np.ndarray
    confidence: np.ndarray


@dataclass(frozen=True)
class Prototypes:
    """What is needed to find the group of a mask.

    Attributes:
        mean: ``(C,)`` float64, which is taken from the features first.
        components: ``(D, C)`` float64, orthonormal rows: the principal components.
        centres: ``(K, D)`` float64, of each group.
        spread: ``(K,)`` float64, the distance from its centre within which 95 % of a group's own masks lie.
    """

    mean: np.ndarray
    components: np.ndarray
    centres: np.ndarray
    spread: np.ndarray

    def __len__(self) -> int:
        return len(self.centres)

    @property
    def fingerprint(self) -> str:
        """Short checksum of the numbers: other groups have another one."""
        arrays = (self.mean, self.components, self.centres, self.spread)
        return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[:16]

    def project(self, features: np.ndarray) -> np.ndarray:
        """Return features ``(m, C)`` in the kept dimensions, ``(m, D)`` float64."""
        projected: np.ndarray = (features.astype(np.float64) - self.mean) @ self.components.T
        return projected

    def assign(self, features: np.ndarray, reach: float | None = None) -> Assigned:
        """Return the nearest group of each mask, and how certain that is.

        The confidence is the simplified silhouette (Hruschka, de Castro and Campello 2004): one minus the distance to
        the own prototype over the distance to the second one, and 1 where there is only one group.

        Args:
            features: ``(m, C)``; rows with NaN have no group.
            reach: how far a mask may be from its prototype, in multiples of the group's spread; ``None`` is any.
        """
        groups, confidence = np.full(len(features), NONE), np.zeros(len(features), np.float32)
        known = np.flatnonzero(np.isfinite(features).all(1)) if features.shape[1] else np.zeros(0, np.int64)
        if len(known):
            distances = _distances(self.project(features[known]), self.centres)
            nearest = distances.argmin(1)
            own = distances[np.arange(len(known)), nearest]
            second = np.partition(distances, 1, axis=1)[:, 1] if len(self) > 1 else np.full(len(known), np.inf)
            with np.errstate(invalid="ignore", divide="ignore"):
                margin = np.where(second > 0, 1 - own / second, 0)
            within = np.ones(len(known), bool) if reach is None else own <= reach * self.spread[nearest] + SAME
            groups[known] = np.where(within, nearest, NONE)
            confidence[known] = np.where(within, np.clip(margin, 0, 1), 0)
        return Assigned(groups, confidence)

    def write(self, path: Path, about: dict[str, Any]) -> None:
        """Write them with what they were made from, plain values."""
        names = ("mean", "components", "centres", "spread")
        arrays = {name: np.ascontiguousarray(getattr(self, name), np.float64) for name in names}
        with atomic_write(path) as file:
            file.write(save(arrays, metadata={ABOUT: json.dumps(about, sort_keys=True)}))

    @classmethod
    def read(cls, path: Path) -> tuple[Prototypes, dict[str, Any]]:
        """Read prototypes and what they were made from.

        Raises:
            UnsegError: there are none, or the file is damaged.
        """
        if not path.is_file():
            raise UnsegError(f"There is no file {path}; group-masks writes it into its --output.")
        try:
            with safe_open(path, framework="np") as file:
                about = json.loads(file.metadata()[ABOUT])
                found = cls(*(file.get_tensor(name) for name in ("mean", "components", "centres", "spread")))
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise UnsegError(f"{path} is damaged ({error}); make the groups again in another --output.") from None
        count, dimensions = found.centres.shape if found.centres.ndim == 2 else (0, 0)
        fits = found.components.shape == (dimensions, len(found.mean)) and found.spread.shape == (count,)
        if not count or not fits or not isinstance(about, dict):
            raise UnsegError(f"{path} holds no prototypes of groups; name the --output of a group-masks.")
        return found, about


def _distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance of each of ``(m, D)`` to each of ``(K, D)``, ``(m, K)``."""
    squared = (points**2).sum(1)[:, None] - 2 * points @ centres.T + (centres**2).sum(1)
    return np.sqrt(np.maximum(squared, 0))
