"""From a depth map to an orthographic point cloud in units of the image's side.

Shape legend
    h, w   rows and columns of the depth map
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from unseg_d2.errors import Unusable
from unseg_d2.structures import DepthKind

DepthAxis = Literal["disparity", "depth", "metres"]

NEAREST = 0.1  # added to relative depth in [0, 1] before its reciprocal is taken, so that the nearest point is finite


def relief(depth: np.ndarray, kind: DepthKind, *, axis: DepthAxis, percentile: float) -> np.ndarray:
    """Turn depth of any kind into a distance that grows away from the camera.

    Args:
        depth: ``(h, w)`` finite.
        kind: ``metric`` (metres), ``relative`` (far is large) or ``inverse`` (near is large).
        axis: what the result is linear in. ``depth``: the depth (for ``inverse`` depth, its negative);
            ``disparity``: the negative reciprocal of the depth (for ``inverse`` depth, its negative), which leaves less
            of the range to what is far away; ``metres``: the depth itself, not normalised.
        percentile: share, in percent, that is clipped at either end before the range is scaled to [0, 1].

    Returns:
        ``(h, w)`` float64, in [0, 1] unless ``axis`` is ``metres``; all 0 if the depth is the same everywhere.

    Raises:
        ValueError: if the depth is not ``(h, w)`` or not finite, metric depth is not positive, or the arguments do
            not fit together.
    """
    depth = np.asarray(depth, dtype=np.float64)
    if depth.ndim != 2 or not depth.size:
        raise ValueError(f"expected depth of shape (h, w), got {depth.shape}")
    if not np.isfinite(depth).all():
        raise Unusable("the depth contains NaN or infinite values; check the depth source")
    if kind not in get_args(DepthKind):
        raise ValueError(f"the kind of depth must be one of {', '.join(get_args(DepthKind))}, got '{kind}'")
    if axis not in get_args(DepthAxis):
        raise ValueError(f"the depth axis must be one of {', '.join(get_args(DepthAxis))}, got '{axis}'")
    if kind == "metric" and depth.min() <= 0:
        raise Unusable("metric depth must be positive; fill what the sensor did not see, or declare another kind")
    if axis == "metres":
        if kind != "metric":
            raise ValueError(f"a depth axis in metres needs metric depth, got '{kind}'")
        return depth
    if kind == "inverse":
        return _unit_range(-depth, percentile)
    if axis == "depth":
        return _unit_range(depth, percentile)
    positive = depth if kind == "metric" else _unit_range(depth, percentile) + NEAREST
    return _unit_range(-1 / positive, percentile)


def point_cloud(distance: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Unproject orthographically: x and y do not depend on the distance (CutS3D, section 3.2).

    Args:
        distance: ``(h, w)`` distances from the camera, as `relief` returns them.
        scale: factor of the distance.

    Returns:
        ``(h, w, 3)`` float64 points; x and y are the centres of the patches in units of the longer side of the image.
    """
    h, w = distance.shape
    y, x = np.mgrid[:h, :w]
    return np.stack([(x + 0.5) / max(h, w), (y + 0.5) / max(h, w), scale * distance], axis=-1)


def _unit_range(values: np.ndarray, percentile: float) -> np.ndarray:
    low, high = np.percentile(values, [percentile, 100 - percentile])
    if high <= low:  # nearly all values are equal: use the full range
        low, high = values.min(), values.max()
    return np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros_like(values)
