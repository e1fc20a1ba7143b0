"""Synthetic scenes as a data set on disk: pictures, exact instance masks, classes and depth, made on first use.

Scene i of a split is drawn from the seed ``SYNTHETIC.SEED + i`` and the split alone, so a larger set begins with the
scenes of a smaller one. Layout of a set:

    <SYNTHETIC.ROOT>/<split>-<number of scenes>-<fingerprint of the settings>/
        images/000001.png   RGB
        depth/000001.png    16 bit, z-depth in mm, 0 = nothing nearer than 65.5 m
        semantic/000001.png 8 bit, index of the class in scenes.CLASSES
        instances.json      COCO, masks as RLE; images also hold K = [fx, fy, cx, cy] and one_colour
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from fvcore.common.config import CfgNode

from unseg_d2.data.coco import encode_mask
from unseg_d2.data.synthetic.raycast import SHAPES
from unseg_d2.data.synthetic.scenes import Scene, random_scene
from unseg_d2.data.synthetic.settings import SyntheticSettings
from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_folder, write_json
from unseg_d2.locks import locked
from unseg_d2.progress import progress_bar

Split = Literal["train", "val"]
SPLITS: tuple[Split, ...] = ("train", "val")
CATEGORIES = [{"id": i, "name": shape, "supercategory": "solid"} for i, shape in enumerate(SHAPES, start=1)]
_REVISION = 1  # raised whenever the same settings give other scenes
_MAX_DEPTH = np.iinfo(np.uint16).max


def ensure_synthetic(cfg: CfgNode, split: Split) -> tuple[Path, Path]:
    """Return a set of scenes, generating it on first use.

    A set is generated in a temporary folder and renamed into place, so one that exists is complete; of several
    processes that ask at once, one generates it and the others wait.

    Args:
        cfg: configuration; its ``SYNTHETIC`` block says what to generate and where.
        split: ``train`` or ``val``.

    Returns:
        The folder of the images and the path of the COCO json.

    Raises:
        UnsegError: a setting is out of range, or the folder cannot be written.
    """
    settings = _settings(cfg, split)
    return ensure_set(Path(cfg.SYNTHETIC.ROOT), f"{split}-{settings['num_scenes']}", settings, _generate)


def ensure_set(root: Path, name: str, settings: dict[str, Any], generate: Callable[..., None]) -> tuple[Path, Path]:
    """Return the folder of the images and the COCO json of a generated set; see `ensure_synthetic`.

    Args:
        root: folder of all sets.
        name: what the folder's name begins with.
        settings: everything that the set depends on.
        generate: writes ``images`` and ``instances.json`` into an empty folder.

    Raises:
        UnsegError: the folder cannot be written.
    """
    fingerprint = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    folder = root / f"{name}-{fingerprint}"
    lock, labels = folder.with_name(f".{folder.name}.lock"), folder / "instances.json"
    if not labels.is_file():
        with locked(lock, until=labels, busy=f"is rendering {folder}"):
            if not labels.is_file():
                _make(folder, partial(generate, settings=settings))
    return folder / "images", labels


def synthetic_scene(cfg: CfgNode, split: Split, index: int) -> Scene:
    """Render scene ``index`` (from 0) of a split; the same as the one on disk."""
    return _scene(_settings(cfg, split), index)


def _settings(cfg: CfgNode, split: Split) -> dict[str, Any]:
    """Everything that the scenes of a split depend on."""
    settings = SyntheticSettings.from_config(cfg)
    if split not in SPLITS:
        raise UnsegError(f"There is no synthetic split '{split}'; there are {' and '.join(SPLITS)}.")
    height, width = settings.size
    number = settings.num_train if split == "train" else settings.num_val
    # Only where it is not the default, so that sets made before this key existed are still found.
    surfaces = {} if settings.surfaces == "any" else {"surfaces": settings.surfaces}
    return {
        **surfaces,
        "revision": _REVISION,
        "split": split,
        "num_scenes": number,
        "size": [height, width],
        "max_objects": settings.max_objects,
        "one_colour": float(settings.one_colour),
        "pitch": [float(angle) for angle in settings.pitch],
        "floor_contrast": float(settings.floor_contrast),
        "seed": settings.seed,
    }


def _scene(settings: dict[str, Any], index: int) -> Scene:
    seed = (settings["seed"] + index) % 2**63
    return random_scene(
        np.random.default_rng([seed, SPLITS.index(settings["split"])]),
        size=tuple(settings["size"]),
        max_objects=settings["max_objects"],
        one_colour_share=settings["one_colour"],
        pitch=tuple(settings["pitch"]),
        floor_contrast=settings["floor_contrast"],
        by_class=settings.get("surfaces") == "by_class",
    )


def _make(folder: Path, generate: Callable[[Path], None]) -> None:
    """Generate a set and rename it into place."""
    try:
        with atomic_folder(folder, replace=False) as temporary:
            generate(temporary)
    except OSError as error:
        raise UnsegError(
            f"The synthetic scenes cannot be written to {folder}: {error.strerror}; choose another SYNTHETIC.ROOT."
        ) from error
    if not (folder / "instances.json").is_file():
        raise UnsegError(f"{folder} is there, but has no instances.json; remove it, or choose another SYNTHETIC.ROOT.")


def _generate(folder: Path, settings: dict[str, Any]) -> None:
    """Render all scenes into a new folder."""
    for kind in ("images", "depth", "semantic"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    number = settings["num_scenes"]
    for index in progress_bar(
        range(number), desc=f"rendering synthetic_{settings['split']}", unit="scene", leave=False
    ):
        scene = _scene(settings, index)
        name = f"{index + 1:06d}.png"
        write_png(folder / "images" / name, scene.image[..., ::-1])
        write_png(folder / "depth" / name, _depth_mm(scene.depth))
        write_png(folder / "semantic" / name, scene.classes)
        images.append(_image_entry(scene, index + 1, name))
        annotations += _annotations(scene, index + 1, first_id=len(annotations) + 1)
    info = {
        "description": f"synthetic_{settings['split']}: shaded solids on a floor; depth = z in mm, 0 = nothing",
        "image_root": "images",
        "settings": settings,
    }
    write_json(
        folder / "instances.json",
        {"info": info, "licenses": [], "images": images, "annotations": annotations, "categories": CATEGORIES},
    )


def _image_entry(scene: Scene, image_id: int, name: str) -> dict[str, Any]:
    height, width = scene.instances.shape
    return {
        "id": image_id,
        "file_name": name,
        "width": width,
        "height": height,
        "K": scene.camera.intrinsics,
        "one_colour": scene.one_colour,
    }


def _annotations(scene: Scene, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """One COCO annotation per solid; all of them are visible."""
    return [
        {"id": first_id + index, "image_id": image_id, **annotation(scene, index)} for index in range(len(scene.shapes))
    ]


def annotation(scene: Scene, index: int) -> dict[str, Any]:
    """Return the COCO annotation of solid ``index``, of which something is seen, without ids."""
    mask = scene.instances == index + 1
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return {
        "category_id": SHAPES.index(scene.shapes[index]) + 1,
        "segmentation": encode_mask(mask),
        "area": int(mask.sum()),
        "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
        "iscrowd": 0,
    }


def _depth_mm(depth: np.ndarray) -> np.ndarray:
    """Depth in m as uint16 mm; 0 where it exceeds the range of the type."""
    millimetres = np.where(np.isfinite(depth), depth, 0) * 1000
    return np.where(millimetres <= _MAX_DEPTH, np.rint(millimetres), 0).astype(np.uint16)


def write_png(path: Path, image: np.ndarray) -> None:
    """Write an image in OpenCV's channel order; unlike ``cv2.imwrite`` this raises when the disk is full."""
    path.write_bytes(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes())
