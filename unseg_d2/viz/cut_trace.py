"""One picture of how an image was cut in 3D: depth, importance, and for each cut eigenvector, masks and confidence.

Shape legend
    S      side of a panel in pixels
    h, w   rows and columns of the patch grid
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from unseg_d2.viz.overlay import draw_instances

TITLE_HEIGHT = 22  # px above each panel
GAP = 6  # px between panels
PAPER, INK = (255, 255, 255), (32, 32, 32)
BELOW, ABOVE = np.array([33, 102, 172]), np.array([178, 24, 43])  # ends of the scale for values around a middle


@dataclass(frozen=True)
class CutPicture:
    """One cut; all maps ``(h, w)``.

    Attributes:
        title: its outcome in a few words.
        eigenvector: float, larger in the foreground.
        semantic: bool, mask of the eigenvector.
        mask: bool, what the cut in 3D keeps.
        confidence: float in [0, 1], spatial confidence within the mask.
    """

    title: str
    eigenvector: np.ndarray
    semantic: np.ndarray
    mask: np.ndarray
    confidence: np.ndarray


def draw_cut_trace(
    image: np.ndarray,
    distance: np.ndarray,
    importance: np.ndarray | None,
    cuts: Sequence[CutPicture],
    accepted: np.ndarray,
    *,
    side: int = 240,
) -> np.ndarray:
    """Draw how an image was cut: a row for the whole image and one for each cut.

    Args:
        image: ``(H, W, 3)`` uint8 RGB; panels are squares, as the image is to the generator.
        distance: ``(h, w)``, far is large.
        importance: ``(h, w)`` spatial importance, or ``None`` where there is none.
        cuts: in order.
        accepted: ``(n, h, w)`` bool, the resulting proposals.
        side: S.

    Returns:
        ``(height, width, 3)`` uint8 RGB.
    """
    square = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    empty = np.full_like(square, PAPER)
    first = [
        ("image", square),
        ("depth (far is bright)", scale_map(distance, side)),
        ("spatial importance", empty if importance is None else scale_map(importance, side)),
        (f"{len(accepted)} proposal{'s' * (len(accepted) != 1)}", draw_instances(square, enlarge(accepted, side))),
    ]
    rows = [first]
    for number, cut in enumerate(cuts, start=1):
        kept = enlarge(cut.confidence, side)
        confidence = np.where(enlarge(cut.mask, side)[..., None], scale_map(cut.confidence, side, (0, 1)), square // 3)
        rows.append(
            [
                (f"{number}: eigenvector", middle_map(cut.eigenvector, side)),
                ("semantic cut", draw_instances(square, enlarge(cut.semantic, side)[None])),
                (f"3D cut, {cut.title}", draw_instances(square, enlarge(cut.mask, side)[None])),
                (f"confidence, least {kept[kept > 0].min() if kept.any() else 0:.2f}", confidence),
            ]
        )
    return np.vstack([np.hstack([_panel(*panel) for panel in row]) for row in rows])


def scale_map(values: np.ndarray, side: int, limits: tuple[float, float] | None = None) -> np.ndarray:
    """Draw ``(h, w)`` values in viridis, dark to bright over their range or the given one, ``(S, S, 3)`` RGB."""
    low, high = limits or (float(values.min()), float(values.max()))
    grey = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * 255
    colours = cv2.applyColorMap(grey.round().astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return enlarge(cv2.cvtColor(colours, cv2.COLOR_BGR2RGB), side)


def middle_map(values: np.ndarray, side: int) -> np.ndarray:
    """Draw ``(h, w)`` values red above and blue below their mean, where NCut splits, ``(S, S, 3)`` RGB."""
    offset = values - values.mean()
    share = (offset / max(np.abs(offset).max(), 1e-300))[..., None]
    ends = np.where(share > 0, ABOVE, BELOW)
    return enlarge(np.rint(255 + np.abs(share) * (ends - 255)).astype(np.uint8), side)


def enlarge(maps: np.ndarray, side: int) -> np.ndarray:
    """Repeat the patches of ``(h, w)``, ``(h, w, 3)`` or, if bool, ``(n, h, w)`` maps to the side of a panel."""
    stacked = maps.ndim == 3 and maps.dtype == np.bool_
    h, w = maps.shape[1:] if stacked else maps.shape[:2]
    rows, columns = np.arange(side) * h // side, np.arange(side) * w // side
    return maps[:, rows[:, None], columns] if stacked else maps[rows[:, None], columns]


def _panel(title: str, picture: np.ndarray) -> np.ndarray:
    """A picture with its title above it and a margin."""
    framed = cv2.copyMakeBorder(picture, TITLE_HEIGHT, GAP, GAP, GAP, cv2.BORDER_CONSTANT, value=PAPER)
    cv2.putText(framed, title, (GAP, TITLE_HEIGHT - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
    return framed
