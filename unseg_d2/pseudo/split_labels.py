"""Masks of a label set, of any generator or detector, divided along edges.

It uses the same workers, shards and resuming as making masks: the label set takes the place of features and generator,
edges that of depth.

Shape legend
    H, W   height and width of the image in pixels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode

from unseg_d2.data.annotations.counts import Counts
from unseg_d2.data.coco import find_image_root
from unseg_d2.data.images import ImageFile, ImageProblem
from unseg_d2.data.spec import join_spec
from unseg_d2.depth import GridDepth
from unseg_d2.errors import UnsegError
from unseg_d2.jobs.places import LOCAL
from unseg_d2.masks.splitting import SplitSettings, split_masks
from unseg_d2.pseudo.cut_labels import LabelFile, masks_to_cut
from unseg_d2.pseudo.edge_maps import EdgeMaps, build_edge_maps
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.pseudo.label_set import read_label_set
from unseg_d2.pseudo.pseudo_masks import PseudoMasks
from unseg_d2.rle import decode_masks
from unseg_d2.storage.addresses import to_path
from unseg_d2.structures import PseudoMask


def split_label_set(
    cfg: CfgNode,
    labels: str | Path,
    output: str | Path,
    *,
    edges: str | Path | None = None,
    image_root: str | Path | None = None,
    num_workers: int | None = None,
    run_on: str = LOCAL,
) -> Path:
    """Divide the masks of a label set along edges, or resume doing so.

    Args:
        cfg: ``MASKS.SPLIT`` says where edges come from and how masks are divided, ``DEPTH`` where depth comes from.
        labels: label set (COCO file or folder).
        output: folder of the new label set; a part has the score of its mask, of several the largest.
        edges: folder of edge maps, see :class:`~unseg_d2.pseudo.edge_maps.EdgeFiles`.
        image_root: folder of the images; by default the one that the label set names.
        num_workers: see `generate_label_set`.
        run_on: see `generate_label_set`.

    Returns:
        ``output/labels.json``. An image without edges is a failure of its own, listed in ``failures.jsonl``.

    Raises:
        UnsegError: no label set, no source of edges, or whatever `generate_label_set` raises.
    """
    path = Path(labels) / "labels.json" if Path(labels).is_dir() else Path(labels)
    root = to_path(image_root) if image_root else find_image_root(read_label_set(path), path)
    folder = None if edges is None else Path(edges).absolute()
    build = partial(build_split_pipeline, labels=path, edges=folder, root=root)
    return generate_label_set(cfg, join_spec(path, root), output, num_workers=num_workers, run_on=run_on, build=build)


@dataclass(frozen=True)
class SplitPipeline:
    """Divides the masks that a label set has for an image.

    Attributes:
        features: the label set.
        masks: per file name, the annotations of the label set.
        edges: of each image.
        settings: how masks are divided.
    """

    features: LabelFile
    masks: dict[str, list[dict[str, Any]]]
    edges: EdgeMaps
    settings: SplitSettings

    @property
    def depth(self) -> GridDepth | None:
        """The files or the depth that the edges are made from: what a label set records in the place of depth."""
        return self.edges.source

    def __call__(self, images: Sequence[np.ndarray], files: Sequence[ImageFile]) -> list[PseudoMasks]:
        """Return the parts of the masks of each image, in the order of the label set.

        Raises:
            ImageProblem: an image has no usable edges, or a mask of another size.
        """
        return [self._split(image, file) for image, file in zip(images, files, strict=True)]

    def _split(self, image: np.ndarray, file: ImageFile) -> PseudoMasks:
        found = self.masks.get(file.file_name, [])
        (edges,) = self.edges([image], [file])
        try:
            masks = decode_masks([annotation["segmentation"] for annotation in found], image.shape[0], image.shape[1])
        except UnsegError as error:
            raise ImageProblem(f"a mask does not fit the image: {error}") from None
        if not len(masks):
            return PseudoMasks()
        scores = [float(annotation.get("score", 1.0)) for annotation in found]
        fragments = split_masks(masks.astype(bool), edges, self.settings)
        return PseudoMasks(PseudoMask(one.mask, max(scores[i] for i in one.parents)) for one in fragments)


def build_split_pipeline(
    cfg: CfgNode, labels: Path, edges: Path | None = None, root: str | Path | None = None
) -> SplitPipeline:
    """Return the pipeline that divides the masks of a label set; boxes without a mask are left out and counted.

    Args:
        cfg: see `split_label_set`.
        labels: COCO file.
        edges: folder of edge maps.
        root: folder of the images, whose names on the disk count; ``None`` takes those of the file.

    Raises:
        UnsegError: the label set is damaged, holds masks that a person has drawn, or there is no source of edges.
    """
    maps = build_edge_maps(cfg, edges)
    masks, made_of = masks_to_cut(labels, root)
    counts = Counts()
    counts.add(
        "masks have a level of detail, which their parts lose",
        sum("level" in annotation for found in masks.values() for annotation in found),
    )
    counts.say(labels)
    return SplitPipeline(made_of, masks, maps, maps.settings)
