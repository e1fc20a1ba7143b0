"""The published files: ProMerge's masks, LOST's boxes, UnionCut's foreground.

Shape legend
    h, w   rows and columns of the patch grid of a published foreground
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unseg_d2.data.pictures.reading import ImageProblem
from unseg_d2.data.pictures.stored import read_grey
from unseg_d2.data.results import read_results
from unseg_d2.errors import UnsegError
from unseg_d2.parity.arrays_of_pickle import read_arrays
from unseg_d2.parity.outputs import Outputs, image_name, masks_by_image
from unseg_d2.rle import compress, run_totals

UNION_SUFFIX = "_union"


def read_promerge(path: Path) -> Outputs:
    """Read ProMerge's masks of COCO images: a JSON list in the layout of COCO results, ``image_id`` as COCO numbers.

    Of the repository facebookresearch/ProMerge, ``promerge/annotations_out/*.json``; not for commercial use.

    Raises:
        UnsegError: the file is missing or of another layout.
    """
    outputs = masks_by_image(read_results(path), path)
    for name, masks in outputs.found.items():
        try:
            rles = [compress(mask, *mask["size"]) for mask in masks]
            fits = (run_totals([rle["counts"] for rle in rles]) == [h * w for h, w in (r["size"] for r in rles)]).all()
        except (KeyError, TypeError, ValueError):
            fits = False
        if not fits:
            raise UnsegError(f"{path} is damaged: a mask of image {name} does not fit its size.")
    return outputs


def read_lost(path: Path) -> Outputs:
    """Read LOST's boxes, one per image: a pickled dictionary of file name to ``x1, y1, x2, y2`` in px.

    Of the repository valeoai/LOST (Apache-2.0), ``data/LOST_predictions/LOST_VOC07.pkl``; read without running it.

    Raises:
        UnsegError: see `unseg_d2.parity.arrays_of_pickle.read_arrays`; or a value is not one box.
    """
    found = {}
    for name, box in read_arrays(path).items():
        if box.shape != (4,) or not np.isfinite(box).all():
            raise UnsegError(f"{path}: {name} has an array of shape {box.shape} instead of the four numbers of a box.")
        found[image_name(name)] = box.astype(float)[None]
    return Outputs("boxes", found)


def read_unioncut(folder: Path) -> dict[str, np.ndarray]:
    """Read UnionCut's foregrounds: pictures ``NAME_union.jpg`` with a pixel per patch, white for foreground.

    Of the repository YFaris/UnionCut, ``UnionCut/demo`` and ``UnionSeg/demo``.

    Returns:
        Name of the image to ``(h, w)`` bool.

    Raises:
        UnsegError: there is no such folder or picture in it.
    """
    paths = sorted(path for path in folder.glob(f"*{UNION_SUFFIX}.*") if path.suffix in (".jpg", ".png"))
    if not paths:
        raise UnsegError(f"{folder} holds no picture NAME{UNION_SUFFIX}.jpg, as UnionCut's folder demo does.")
    found = {}
    for path in paths:
        try:
            values = read_grey(path)
        except ImageProblem as problem:
            raise UnsegError(f"{path} cannot be used: {problem}.") from None
        found[path.stem.removesuffix(UNION_SUFFIX)] = values > 127
    return found
