"""Synthetic clips as a data set on disk: frames in a folder per clip, exact masks and tracks, made on first use.

Clip i is drawn from the seed ``SYNTHETIC.SEED + i`` alone. Layout of a set:

    <SYNTHETIC.ROOT>/film-<number of clips>-<fingerprint of the settings>/
        images/0001/00001.png   RGB
        instances.json          COCO, masks as RLE, with the keys of videos: videos, video_id, frame_id, track_id

A solid is annotated in every frame in which a pixel of it is seen, with the same ``track_id`` whenever it comes back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode

from unseg_d2.data.synthetic.dataset import CATEGORIES, annotation, ensure_set, write_png
from unseg_d2.data.synthetic.film import random_clip
from unseg_d2.data.synthetic.scenes import Scene
from unseg_d2.data.synthetic.settings import FilmSettings, SyntheticSettings
from unseg_d2.files import write_json
from unseg_d2.progress import progress_bar

_REVISION = 1  # raised whenever the same settings give other clips
_STREAM = 2  # of random numbers; those of the splits of scenes are 0 and 1


def ensure_film(cfg: CfgNode) -> tuple[Path, Path]:
    """Return a set of clips, generating it on first use; see `dataset.ensure_synthetic`.

    Args:
        cfg: configuration; its ``SYNTHETIC`` block says what to generate and where.

    Returns:
        The folder of the images and the path of the COCO json.

    Raises:
        UnsegError: a setting is out of range, or the folder cannot be written.
    """
    settings = _settings(cfg)
    return ensure_set(Path(cfg.SYNTHETIC.ROOT), f"film-{settings['num_clips']}", settings, _generate)


def synthetic_clip(cfg: CfgNode, index: int) -> list[Scene]:
    """Render clip ``index`` (from 0); the same as the one on disk."""
    return _clip(_settings(cfg), index)


def _settings(cfg: CfgNode) -> dict[str, Any]:
    """Everything that the clips depend on."""
    scenes, film = SyntheticSettings.from_config(cfg), FilmSettings.from_config(cfg)
    height, width = scenes.size
    return {
        "revision": _REVISION,
        "num_clips": film.num_clips,
        "num_frames": film.num_frames,
        "max_objects": film.max_objects,
        "size": [height, width],
        "one_colour": float(scenes.one_colour),
        "pitch": [float(angle) for angle in scenes.pitch],
        "floor_contrast": float(scenes.floor_contrast),
        "surfaces": scenes.surfaces,
        "seed": scenes.seed,
    }


def _clip(settings: dict[str, Any], index: int) -> list[Scene]:
    return random_clip(
        np.random.default_rng([(settings["seed"] + index) % 2**63, _STREAM]),
        size=tuple(settings["size"]),
        num_frames=settings["num_frames"],
        max_objects=settings["max_objects"],
        one_colour_share=settings["one_colour"],
        pitch=tuple(settings["pitch"]),
        floor_contrast=settings["floor_contrast"],
        by_class=settings["surfaces"] == "by_class",
    )


def _generate(folder: Path, settings: dict[str, Any]) -> None:
    """Render all clips into a new folder."""
    height, width = settings["size"]
    videos: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in progress_bar(range(settings["num_clips"]), desc="rendering synthetic_film", unit="clip", leave=False):
        name, frames = f"{index + 1:04d}", _clip(settings, index)
        (folder / "images" / name).mkdir(parents=True)
        about = {"id": index + 1, "file_name": name, "height": height, "width": width}
        videos.append({**about, "length": len(frames)})
        for number, scene in enumerate(frames):
            file_name = f"{name}/{number + 1:05d}.png"
            write_png(folder / "images" / file_name, scene.image[..., ::-1])
            image = {"id": len(images) + 1, "file_name": file_name, "height": height, "width": width}
            images.append({**image, "video_id": index + 1, "frame_id": number, "K": scene.camera.intrinsics})
            annotations += _annotations(scene, images[-1], first_id=len(annotations) + 1)
    info = {
        "description": "synthetic_film: clips of shaded solids that move on a floor",
        "image_root": "images",
        "settings": settings,
    }
    lists = {"videos": videos, "images": images, "annotations": annotations, "categories": CATEGORIES}
    write_json(folder / "instances.json", {"info": info, "licenses": [], **lists})


def _annotations(scene: Scene, image: dict[str, Any], first_id: int) -> list[dict[str, Any]]:
    """One COCO annotation per solid that is seen."""
    where = {"image_id": image["id"], "video_id": image["video_id"]}
    seen = np.unique(scene.instances)
    return [
        {"id": first_id + k, **where, "track_id": number, **annotation(scene, number - 1)}
        for k, number in enumerate(seen[seen > 0].tolist())
    ]
