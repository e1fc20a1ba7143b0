"""What a depth source is, and how one is made from a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, get_args, runtime_checkable

import numpy as np
from fvcore.common.config import CfgNode
from fvcore.common.registry import Registry

from unseg_d2.data.images import ImageFile
from unseg_d2.errors import UnsegError, nearest
from unseg_d2.structures import DepthKind, DepthMap

DEPTH_SOURCES = Registry("DEPTH_SOURCES")
"""Classes with ``from_config(cfg) -> DepthSource``; ``DEPTH.SOURCE`` is the name without ``Depth``, in any case."""

KINDS: tuple[str, ...] = get_args(DepthKind)


@runtime_checkable
class DepthSource(Protocol):
    """Tells how far away everything in an image is.

    Attributes:
        name: what goes into the ``info`` of a label set, e.g. ``"hub/Intel/zoedepth-nyu-kitti"``.
        kind: what the numbers mean.
        predicts: whether depth is computed from the pixels, so that keeping it pays off.
    """

    name: str
    kind: DepthKind
    predicts: bool

    def __call__(self, images: Sequence[np.ndarray], files: Sequence[ImageFile]) -> list[DepthMap]:
        """Return the depth of a batch of images.

        Args:
            images: ``(H, W, 3)`` uint8 RGB each, at their own size.
            files: where they come from.

        Returns:
            One map per image, of any size with the image's aspect ratio. In ``metric`` maps, 0 is "no reading".

        Raises:
            ImageProblem: the depth of an image is missing or damaged; the message names the image's file.
        """
        ...


def build_depth(cfg: CfgNode) -> DepthSource | None:
    """Return the depth source that ``cfg.DEPTH`` describes, ``None`` for ``none``.

    Raises:
        UnsegError: if the name or the kind is unknown, or the source cannot be made (e.g. a package is missing).
    """
    wanted = cfg.DEPTH.SOURCE
    if wanted.lower() == "none":
        return None
    sources = {name.lower().removesuffix("depth"): source for name, source in DEPTH_SOURCES}
    if wanted.lower() not in sources:
        known = ["none", *sorted(sources)]
        raise UnsegError(f"DEPTH.SOURCE is '{wanted}', but must be one of {', '.join(known)}.{nearest(wanted, known)}")
    if cfg.DEPTH.KIND and cfg.DEPTH.KIND not in KINDS:
        raise UnsegError(
            f"DEPTH.KIND is '{cfg.DEPTH.KIND}', but must be one of {', '.join(KINDS)}.{nearest(cfg.DEPTH.KIND, KINDS)}"
        )
    return sources[wanted.lower()].from_config(cfg)
