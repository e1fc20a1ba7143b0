"""Our output on the images of a published file, made by the recipe or read from a label set."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode

from unseg_d2.data.beside import by_name
from unseg_d2.data.images import list_images
from unseg_d2.data.pictures.stored import stored_size
from unseg_d2.errors import UnsegError
from unseg_d2.files import write_json
from unseg_d2.parity.outputs import Outputs, image_name, read_labels
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.rle import decode_mask


def find_images(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Return the images of a folder that a published file names, in its order.

    Raises:
        UnsegError: none of them is there, or one is there twice.
    """
    if not folder.is_dir():
        raise UnsegError(f"There is no folder {folder}.")
    wanted = list(names)
    known = set(wanted)
    named = ((image_name(Path(image.path).name), Path(image.path)) for image in list_images(folder))
    there = by_name((each for each in named if each[0] in known), "either could be the published one")
    found = {name: there[name] for name in wanted if name in there}
    if not found:
        raise UnsegError(f"{folder} has none of the {len(wanted)} images of the published file, such as {wanted[0]}.")
    return found


def generate(cfg: CfgNode, folder: Path, names: Iterable[str], output: Path, num_workers: int | None) -> Outputs:
    """Make masks for the images of a published file; the same call resumes.

    Args:
        cfg: features, generator and refinement.
        folder: of the images.
        names: of the images, without suffix.
        output: folder for the list of images and the label set.
        num_workers: processes, see `unseg_d2.pseudo.generate.generate_label_set`.
    """
    images: list[dict[str, Any]] = []
    for number, path in enumerate(find_images(folder, names).values(), start=1):
        height, width = stored_size(path)
        images.append(
            {"id": number, "file_name": path.relative_to(folder).as_posix(), "height": height, "width": width}
        )
    listed = output / "images.json"
    write_json(listed, {"images": images, "annotations": [], "categories": []})
    labels = generate_label_set(cfg, f"{listed}::{folder}", output / "masks", num_workers=num_workers)
    return read_labels(labels)


def foregrounds(outputs: Outputs) -> dict[str, np.ndarray]:
    """Return the union ``(H, W)`` bool of the masks of each image that has some."""
    return {
        name: np.any([decode_mask(mask, *mask["size"]) for mask in masks], axis=0)
        for name, masks in outputs.found.items()
        if masks
    }
