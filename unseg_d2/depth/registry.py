"""The protocol of depth sources, and how one is built from a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, get_args, runtime_checkable

import numpy as np
from fvcore.common.config import CfgNode

from unseg_d2.content import folder_content
from unseg_d2.data.images import ImageFile
from unseg_d2.registry import Registry
from unseg_d2.settings import Settings, section, setting
from unseg_d2.structures import DepthKind, DepthMap


@runtime_checkable
class DepthSource(Protocol):
    """Provides the depth of images.

    Attributes:
        name: what goes into the ``info`` of a label set, e.g. ``"hub/Intel/zoedepth-nyu-kitti"``.
        kind: what the numbers mean.
        predicts: whether depth is computed from the pixels, so that caching it pays off.

    A source whose model lies in files may have ``checksum``, which tells it from another model of the same name.

    An attribute ``supervision``, words of `unseg_d2.supervision`, says what it has learnt from; files do not say it.
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


@runtime_checkable
class FileSource(Protocol):
    """A depth source that reads a file per image, so that results can tell whether the file has changed since."""

    def file(self, image: ImageFile) -> Path | None:
        """Return the file with the depth of an image, ``None`` where there is none.

        Raises:
            ImageProblem: nothing tells which of several it is.
        """
        ...


def model_checksum(model: str) -> str:
    """Return the sha256 of a model's files in a local folder; empty for an id on the hub."""
    return folder_content(Path(model)) if Path(model).is_dir() else ""


DEPTH_SOURCES: Registry[DepthSource] = Registry("DEPTH.SOURCE", "DEPTH")
"""Classes with ``from_config(cfg)``, or made from their settings; ``DEPTH.SOURCE`` is the registered name."""

KINDS: tuple[str, ...] = get_args(DepthKind)


@section("DEPTH")
@dataclass(frozen=True)
class DepthSettings(Settings):
    """Where depth comes from, and what its numbers mean."""

    source: str = setting(
        "none", "source of depth: none | files | synthetic | hub (extra 'depth') | marigold (extra 'marigold')"
    )
    kind: str = setting(
        "",
        "metric (metres) | relative (far is large) | inverse (near is large); needed for files",
        choices=("", *KINDS),
    )
    cache: str = setting("", "folder that keeps predicted depth at patch resolution; empty predicts it anew every time")


def build_depth(cfg: CfgNode) -> DepthSource | None:
    """Return the depth source that ``cfg.DEPTH`` describes, ``None`` for ``none``.

    Raises:
        UnsegError: if the name is unknown, or the source cannot be made (e.g. a package is missing).
    """
    source = DepthSettings.from_config(cfg).source
    return None if source.lower() == "none" else DEPTH_SOURCES.build(cfg, source)
