"""Masks of a label set, of any generator or detector, divided along edges or by object-centric fields.

It uses the same workers, shards and resuming as making masks: the label set takes the place of features and generator,
edges or fields that of depth.

Shape legend
    H, W   height and width of the image in pixels
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
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
from unseg_d2.masks.splitting import FieldSettings, Fragment, SplitSettings, split_by_fields, split_masks
from unseg_d2.pseudo.cut_labels import LabelFile, masks_to_cut
from unseg_d2.pseudo.edge_maps import EdgeMaps, build_edge_maps
from unseg_d2.pseudo.field_maps import FieldFiles, build_field_files
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.pseudo.label_set import read_label_set
from unseg_d2.pseudo.pseudo_masks import PseudoMasks
from unseg_d2.rle import decode_masks
from unseg_d2.settings import Settings, own_settings
from unseg_d2.storage.addresses import to_path
from unseg_d2.structures import PseudoMask

READ_BY = {"step": "depth", "canny_low": "canny", "canny_high": "canny"}
"""Setting of ``MASKS.SPLIT`` to the source of edges that reads it, where only one does."""
OF_BGP = ("edges", "strength", "beta", *READ_BY)
"""Settings of ``MASKS.SPLIT`` that only the method bgp reads."""

logger = logging.getLogger(__name__)


def split_label_set(
    cfg: CfgNode,
    labels: str | Path,
    output: str | Path,
    *,
    edges: str | Path | None = None,
    fields: str | Path | None = None,
    image_root: str | Path | None = None,
    num_workers: int | None = None,
    run_on: str = LOCAL,
) -> Path:
    """Divide the masks of a label set along edges or by fields, or resume doing so.

    Args:
        cfg: ``MASKS.SPLIT`` says how masks are divided and where edges come from, ``DEPTH`` where depth comes from.
        labels: label set (COCO file or folder).
        output: folder of the new label set; a part has the score of its mask, of several the largest.
        edges: folder of edge maps, see :class:`~unseg_d2.pseudo.edge_maps.EdgeFiles`.
        fields: folder of field maps, see :class:`~unseg_d2.pseudo.field_maps.FieldFiles`.
        image_root: folder of the images; by default the one that the label set names.
        num_workers: see `generate_label_set`.
        run_on: see `generate_label_set`.

    Returns:
        ``output/labels.json``. An image without edges or fields is a failure of its own, listed in ``failures.jsonl``.

    Raises:
        UnsegError: no label set, no source of edges or fields, or whatever `generate_label_set` raises.
    """
    path = Path(labels) / "labels.json" if Path(labels).is_dir() else Path(labels)
    root = to_path(image_root) if image_root else find_image_root(read_label_set(path), path)
    edge_folder, field_folder = (None if folder is None else Path(folder).absolute() for folder in (edges, fields))
    build = partial(build_split_pipeline, labels=path, root=root, edges=edge_folder, fields=field_folder)
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
class SplitPipeline:
    """Divides the masks that a label set has for an image.

    Attributes:
        features: the label set.
        masks: per file name, the annotations of the label set.
        source: of the edges, or of the fields, of each image.
        settings: how masks are divided.
    """

    features: LabelFile
    masks: dict[str, list[dict[str, Any]]]
    source: EdgeMaps | FieldFiles
    settings: SplitSettings

    @property
    def depth(self) -> GridDepth | None:
        """The files or the depth that masks are divided by: what a label set records in the place of depth."""
        return self.source.source if isinstance(self.source, EdgeMaps) else GridDepth(self.source)

    def __call__(self, images: Sequence[np.ndarray], files: Sequence[ImageFile]) -> list[PseudoMasks]:
        """Return the parts of the masks of each image, in the order of the label set.

        Raises:
            ImageProblem: an image has no usable edges or fields, or a mask of another size.
        """
        return [self._split(image, file) for image, file in zip(images, files, strict=True)]

    def _split(self, image: np.ndarray, file: ImageFile) -> PseudoMasks:
        found = self.masks.get(file.file_name, [])
        divide = self._divider(image, file)
        try:
            masks = decode_masks([annotation["segmentation"] for annotation in found], image.shape[0], image.shape[1])
        except UnsegError as error:
            raise ImageProblem(f"a mask does not fit the image: {error}") from None
        if not len(masks):
            return PseudoMasks()
        scores = [float(annotation.get("score", 1.0)) for annotation in found]
        fragments = divide(masks.astype(bool), settings=self.settings)
        return PseudoMasks(PseudoMask(one.mask, max(scores[i] for i in one.parents)) for one in fragments)

    def _divider(self, image: np.ndarray, file: ImageFile) -> partial[list[Fragment]]:
        """Return what divides the masks of an image by its edges or fields."""
        if isinstance(self.source, FieldFiles):
            return partial(split_by_fields, fields=self.source.fields(image, file))
        (edges,) = self.source([image], [file])
        return partial(split_masks, edges=edges)


def build_split_pipeline(
    cfg: CfgNode,
    labels: Path,
    edges: Path | None = None,
    fields: Path | None = None,
    root: str | Path | None = None,
) -> SplitPipeline:
    """Return the pipeline that divides the masks of a label set; what is no mask of an object is left out and counted.

    Args:
        cfg: see `split_label_set`.
        labels: COCO file.
        edges: folder of edge maps.
        fields: folder of field maps.
        root: folder of the images, whose names on the disk count; ``None`` takes those of the file.

    Raises:
        UnsegError: the label set is damaged, holds masks that a person has drawn, there is no source of edges or
            fields, or one is named that has no effect.
    """
    settings = SplitSettings.from_config(cfg)
    for name, folder, method in (("--edges", edges, "bgp"), ("--fields", fields, "centre_field")):
        if folder is not None and settings.method != method:
            raise UnsegError(f"{name} has no effect with MASKS.SPLIT.METHOD {settings.method}; leave one of them out.")
    for key, value, why in idle_settings(cfg, settings):
        logger.info("%s is %r, which has no effect with %s.", key, value, why)
    source = build_field_files(fields) if settings.method == "centre_field" else build_edge_maps(cfg, edges)
    masks, made_of = masks_to_cut(labels, root)
    counts = Counts()
    for key, what in (("level", "level of detail"), ("confidence", "spatial confidence")):
        number = sum(key in annotation for found in masks.values() for annotation in found)
        counts.add(f"masks have a {what}, which their parts lose", number)
    counts.say(labels)
    return SplitPipeline(made_of, masks, source, settings)


def idle_settings(cfg: CfgNode, settings: SplitSettings) -> Iterator[tuple[str, Any, str]]:
    """Yield key, value and reason of the settings that somebody has changed and this way of splitting does not read."""
    method = f"MASKS.SPLIT.METHOD {settings.method}"
    source = f"MASKS.SPLIT.EDGES {settings.edges}"
    fields = settings.method == "centre_field"
    if fields:
        yield from _changed(settings, OF_BGP, "MASKS.SPLIT", method)
    else:
        unread = [name for name, reader in READ_BY.items() if settings.edges != reader]
        yield from _changed(settings, unread, "MASKS.SPLIT", source)
        yield from _changed(settings.field, list(own_settings(FieldSettings)), "MASKS.SPLIT.FIELD", method)
    if (fields or settings.edges != "depth") and cfg.DEPTH.SOURCE.lower() != "none":
        yield "DEPTH.SOURCE", cfg.DEPTH.SOURCE, method if fields else source


def _changed(settings: Settings, names: Sequence[str], section: str, why: str) -> Iterator[tuple[str, Any, str]]:
    known = own_settings(type(settings))
    for name in names:
        if getattr(settings, name) != known[name].default:
            yield f"{section}.{name.upper()}", getattr(settings, name), why
