"""Sources of the soft masks that are scored as saliency: a trained head, a mask generator, or files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from fvcore.common.config import CfgNode

from unseg_d2.data.beside import by_name
from unseg_d2.data.coco import decode_mask
from unseg_d2.errors import UnsegError
from unseg_d2.features import build_features
from unseg_d2.masks import build_generator
from unseg_d2.pixels import resize
from unseg_d2.pseudo.label_set import read_label_set
from unseg_d2.saliency import SaliencyModel
from unseg_d2.saliency.datasets import SalientImage, read_mask
from unseg_d2.saliency.score import Method, Protocol
from unseg_d2.saliency.views import centre_view, predicted_size

Lookup = Callable[[SalientImage], np.ndarray | None]


def model_method(model: SaliencyModel) -> Method:
    """Return the masks of a trained head."""
    return lambda images, files, protocol: model(images)


def generator_method(cfg: CfgNode) -> Method:
    """Return the best mask of ``MASKS.GENERATOR`` on ``FEATURES``, of images of the size that a head looks at."""
    features, generator = build_features(cfg), build_generator(cfg)

    def mask(image: np.ndarray) -> np.ndarray:
        size = predicted_size(image.shape[:2], features.patch_size, cfg.SALIENCY.PREDICT_SIZE)
        (proposals,) = generator(features([resize(image, size)]))
        if not len(proposals):
            return np.zeros(image.shape[:2], np.float32)
        cells = proposals.masks[int(proposals.scores.argmax())].cpu().numpy()
        rows, columns = (np.arange(pixels) * count // pixels for pixels, count in zip(image.shape[:2], cells.shape))
        return cells[rows[:, None], columns].astype(np.float32)

    return lambda images, files, protocol: [mask(image) for image in images]


def stored_method(path: Path) -> Method:
    """Return the masks of a folder of ``NAME.png``, or each image's best mask of a label set; empty where it has none.

    Raises:
        UnsegError: there is no such file or folder, or a mask has another size than its image.
    """
    is_label_set = path.is_file() or (path.is_dir() and any(path.glob("*.json")))
    if not is_label_set and not path.is_dir():
        raise UnsegError(f"There are no masks: {path} is neither a label set nor a folder of masks.")
    lookup = _best_of_label_set(path) if is_label_set else _in_folder(path)

    def masks(images: Sequence[np.ndarray], files: Sequence[SalientImage], protocol: Protocol) -> list[np.ndarray]:
        found = []
        for image, file in zip(images, files):
            mask = lookup(file)
            if mask is None:
                mask = np.zeros(image.shape[:2], np.float32)
            else:
                mask = _cut(mask, image.shape[:2], file, protocol, path)
            found.append(mask)
        return found

    return masks


def _cut(mask: np.ndarray, size: tuple[int, int], file: SalientImage, protocol: Protocol, path: Path) -> np.ndarray:
    """Treat a mask as its image was treated."""
    expected = size if not protocol.size or file.mask is None else read_mask(file.mask).shape
    if mask.shape != expected:
        raise UnsegError(
            f"The mask of {file.name} in {path} has {mask.shape[1]}x{mask.shape[0]} px, but the image has "
            f"{expected[1]}x{expected[0]}."
        )
    return centre_view(mask, protocol.size, protocol.shorter_side) if protocol.size else mask


def _in_folder(folder: Path) -> Lookup:
    taken: dict[Path, Path] = {}

    def lookup(image: SalientImage) -> np.ndarray:
        path = folder / f"{image.name}.png"
        if (other := taken.setdefault(path, image.path)) != image.path:
            both = f"{other} and {image.path}"
            raise UnsegError(f"{path} would be the mask of both {both}; rename one of them, or score them apart.")
        if not path.is_file():
            raise UnsegError(f"There is no mask {path}.")
        return read_mask(path)

    return lookup


def _best_of_label_set(path: Path) -> Lookup:
    labels = read_label_set(path)
    names = {str(Path(image["file_name"]).with_suffix("")): image for image in labels.images}
    files = (Path(image["file_name"]) for image in labels.images)
    by_name(((str(file.with_suffix("")), file) for file in files), f"{path} has two masks for that name")
    best: dict[int, dict] = {}
    for annotation in labels.annotations:
        held = best.get(annotation["image_id"])
        if held is None or annotation.get("score", 1) > held.get("score", 1):
            best[annotation["image_id"]] = annotation

    def lookup(image: SalientImage) -> np.ndarray | None:
        if image.name not in names:
            raise UnsegError(f"{path} does not know the image {image.name}.")
        entry = names[image.name]
        if entry["id"] not in best:
            return None
        segmentation = best[entry["id"]]["segmentation"]
        return decode_mask(segmentation, entry["height"], entry["width"]).astype(np.float32)

    return lookup
