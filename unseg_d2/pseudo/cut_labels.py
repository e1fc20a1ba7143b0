"""LocalCut over a label set: masks that exist, of any generator or detector, cut along the steps in depth.

It uses the same workers, shards and resuming as making masks: the label set takes the place of features and generator.

Shape legend
    H, W   height and width of the image in pixels
    h, w   rows and columns of the grid that masks are cut on
    n      masks of one image
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from fvcore.common.config import CfgNode
from scipy import ndimage

from unseg_d2.data.annotations.counts import Counts
from unseg_d2.data.coco import find_image_root, locate_images
from unseg_d2.data.images import ImageFile, ImageProblem
from unseg_d2.data.spec import join_spec
from unseg_d2.depth import GridDepth, build_depth
from unseg_d2.errors import UnsegError
from unseg_d2.jobs.places import LOCAL
from unseg_d2.levels import reconnected
from unseg_d2.masks.cuts3d.localcut import LocalCutSettings, localcut
from unseg_d2.pseudo.corrections import is_corrected
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.pseudo.label_set import read_label_set
from unseg_d2.pseudo.pseudo_masks import PseudoMasks
from unseg_d2.rle import decode_masks
from unseg_d2.storage.addresses import to_path
from unseg_d2.structures import DepthMap, Place, PseudoMask
from unseg_d2.supervision import from_info

GRID = 60  # cells per side: that of CutS3D, whose threshold is in units of the image's side


def cut_label_set(
    cfg: CfgNode,
    labels: str | Path,
    output: str | Path,
    *,
    image_root: str | Path | None = None,
    num_workers: int | None = None,
    run_on: str = LOCAL,
) -> Path:
    """Cut the masks of a label set in 3D, or resume doing so.

    Args:
        cfg: ``DEPTH`` says where depth comes from, ``MASKS.CUTS3D.LOCALCUT`` how masks are cut.
        labels: label set (COCO file or folder).
        output: folder of the new label set, whose masks also have a spatial confidence.
        image_root: folder of the images; by default the one that the label set names.
        num_workers: see `generate_label_set`.
        run_on: see `generate_label_set`.

    Returns:
        ``output/labels.json``.

    Raises:
        UnsegError: no label set, no depth source, or whatever `generate_label_set` raises.
    """
    path = Path(labels) / "labels.json" if Path(labels).is_dir() else Path(labels)
    dataset = read_label_set(path)
    root = to_path(image_root) if image_root else find_image_root(dataset, path)
    build = partial(build_cut_pipeline, labels=path, root=root)
    return generate_label_set(
        cfg,
        join_spec(path, root),
        output,
        num_workers=num_workers,
        run_on=run_on,
        build=build,
        parts=("DEPTH.SOURCE",),
    )


@dataclass(frozen=True)
class LabelFile:
    """What the ``info`` of the new label set names in place of a feature backend."""

    name: str
    checksum: str
    supervision: tuple[str, ...]


@dataclass(frozen=True)
class CutPipeline:
    """Cuts the masks that a label set has for an image.

    Attributes:
        features: the label set.
        masks: per file name, the annotations of the label set.
        depth: of each image on the grid.
        settings: of LocalCut.
    """

    features: LabelFile
    masks: dict[str, list[dict[str, Any]]]
    depth: GridDepth
    settings: LocalCutSettings

    def __call__(self, images: Sequence[np.ndarray], files: Sequence[ImageFile]) -> list[PseudoMasks]:
        """Return the masks of each image after the cut, in the order of the label set.

        Raises:
            ImageProblem: an image has no usable depth, or a mask of another size.
        """
        depth = self.depth(images, files, (GRID, GRID))
        return [
            self._cut((image.shape[0], image.shape[1]), file, distances)
            for image, file, distances in zip(images, files, depth, strict=True)
        ]

    def _cut(self, size: tuple[int, int], file: ImageFile, depth: DepthMap) -> PseudoMasks:
        found = self.masks.get(file.file_name, [])
        try:
            masks = decode_masks([annotation["segmentation"] for annotation in found], *size)
        except UnsegError as error:
            raise ImageProblem(f"a mask does not fit the image: {error}") from None
        if not len(masks):
            return PseudoMasks()
        cut, confidence = cut_pixels(masks, depth, self.settings)
        return PseudoMasks(
            PseudoMask(mask, float(known.get("score", 1.0)), cells, _place(known))
            for mask, cells, known in zip(cut, confidence, found, strict=True)
        )


def _place(annotation: dict[str, Any]) -> Place | None:
    """Return the level of detail of a mask, where all of it is known."""
    if not {"level", "granularity", "node"} <= annotation.keys():
        return None
    return Place(annotation["level"], annotation["granularity"], annotation["node"], annotation.get("parent"))


def cut_pixels(masks: np.ndarray, depth: DepthMap, settings: LocalCutSettings) -> tuple[np.ndarray, np.ndarray]:
    """Cut pixel masks on a grid; pixels follow the cell of their mask that is nearest to them.

    A mask that covers half of no cell is too small to be cut and stays as it is, with confidence 1.

    Args:
        masks: ``(n, H, W)`` bool.
        depth: on the grid ``(h, w)``.
        settings: of LocalCut.

    Returns:
        Masks ``(n, H, W)`` bool, each part of the one that was given, and their confidence ``(n, h, w)`` float32.
    """
    h, w = depth.depth.shape
    cells = np.stack([cv2.resize(mask.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA) for mask in masks])
    coarse = cells >= 0.5
    cut = localcut(coarse, depth.depth.numpy(), depth.kind, settings=settings)
    rows, columns = (np.arange(size) * cells // size for size, cells in zip(masks.shape[1:], (h, w)))
    result = masks.copy()
    confidence = cut.confidence.copy()
    for index, (mask, kept) in enumerate(zip(coarse, cut.masks)):
        if not mask.any():
            confidence[index] = cells[index] > 0
            continue
        nearest = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
        result[index] &= kept[tuple(nearest)][rows[:, None], columns]
    return result, confidence


def build_cut_pipeline(cfg: CfgNode, labels: Path, root: str | Path | None = None) -> CutPipeline:
    """Return the pipeline that cuts the masks of a label set; what is no mask of an object is left out and counted.

    Args:
        cfg: see `cut_label_set`.
        labels: COCO file.
        root: folder of the images, whose names on the disk count; ``None`` takes those of the file.

    Raises:
        UnsegError: the label set is damaged, holds masks that a person has drawn, or ``DEPTH.SOURCE`` is not set.
    """
    source = build_depth(cfg)
    if source is None:
        raise UnsegError("Cutting in 3D needs depth: set DEPTH.SOURCE to files, synthetic, hub or marigold.")
    masks, made_of = masks_to_cut(labels, root)
    cache = Path(cfg.DEPTH.CACHE) if cfg.DEPTH.CACHE else None
    return CutPipeline(made_of, masks, GridDepth(source, cache), LocalCutSettings.from_config(cfg))


def masks_to_cut(labels: Path, root: str | Path | None = None) -> tuple[dict[str, list[dict[str, Any]]], LabelFile]:
    """Return the masks of a label set by file name, as annotations, and what names it; boxes and crowds are left out.

    Args:
        labels: COCO file.
        root: folder of the images, whose names on the disk count; ``None`` takes those of the file.

    Raises:
        UnsegError: the label set is damaged, or holds masks that a person has drawn.
    """
    dataset, counts = read_label_set(labels), Counts()
    learnt = from_info(dataset.info)
    drawn = sum(map(is_corrected, dataset.annotations))
    if drawn:
        raise UnsegError(
            f"{drawn} masks of {labels} are a person's, who has drawn or approved them; cut first, then correct."
        )
    if root is not None:
        dataset, _ = locate_images(dataset, root, labels)
    names = {image["id"]: image["file_name"] for image in dataset.images}
    masks: dict[str, list[dict[str, Any]]] = {}
    everything: dict[str, list[dict[str, Any]]] = {}
    for annotation in dataset.annotations:
        everything.setdefault(names[annotation["image_id"]], []).append(annotation)
        if annotation.get("iscrowd"):
            counts.add("crowd regions are no objects and were left out")
            continue
        if "segmentation" not in annotation:
            counts.add("boxes have no mask to cut and were left out")
            continue
        counts.add("masks have a track, which is not kept", "track_id" in annotation)
        counts.add("masks have a class, which is not kept", len(dataset.categories) > 1)
        masks.setdefault(names[annotation["image_id"]], []).append(annotation)
    counts.say(labels)
    checksum = hashlib.sha256(labels.read_bytes()).hexdigest()
    masks = {name: reconnected(everything[name], found) for name, found in masks.items()}
    return masks, LabelFile(f"labels/{labels}", checksum, learnt)
