"""Made inputs: tokens with objects, JPEG files with a COCO file, samples in memory, and random weights."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from on_card.bench import Bench
from unseg_d2.data.sample import Sample
from unseg_d2.features.weights import create_vit
from unseg_d2.rle import encode_mask

OBJECTS_PER_IMAGE = 6
HEIGHT, WIDTH = 375, 500  # of a JPEG file, as most of ImageNet


def tokens(count: int, channels: int, side: int) -> Tensor:
    """Return ``(count, channels, side, side)`` float32: a direction for each of six discs, and noise, part smooth."""
    images = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        directions = rng.standard_normal((OBJECTS_PER_IMAGE + 1, channels)).astype(np.float32)
        label = np.zeros((side, side), int)
        rows, columns = np.mgrid[:side, :side]
        for index in range(OBJECTS_PER_IMAGE):
            y, x, radius = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(side / 10, side / 4)
            label[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = index + 1
        smooth = np.stack([cv2.resize(plane, (side, side)) for plane in rng.standard_normal((channels, 8, 8))])
        noise = 0.4 * smooth + 0.4 * rng.standard_normal((channels, side, side))
        images.append(torch.from_numpy(directions[label].transpose(2, 0, 1) + noise.astype(np.float32)))
    return torch.stack(images)


def photos(bench: Bench, count: int) -> Path:
    """Return a folder of JPEG files of ellipses on a smooth background, with ``labels.json`` that outlines them."""
    folder = bench.scratch / f"jpeg{count}"
    if folder.is_dir():
        return folder
    folder.mkdir()
    images, annotations = [], []
    for index in range(count):
        name = f"{index:05d}.jpg"
        picture, masks = _photo(index)
        Image.fromarray(picture).save(folder / name, quality=90)
        images.append({"id": index + 1, "file_name": name, "height": HEIGHT, "width": WIDTH})
        for mask in masks:
            annotation = {"id": len(annotations) + 1, "image_id": index + 1, "category_id": 1, "iscrowd": 0}
            annotations.append(annotation | _outline(mask))
    categories = [{"id": 1, "name": "object"}]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "labels.json").write_text(json.dumps(coco))
    return folder


def _photo(seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
    picture = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    masks = []
    for _ in range(3):
        y, x, radius = rng.uniform(0, HEIGHT), rng.uniform(0, WIDTH), rng.uniform(30, 90)
        mask = (rows - y) ** 2 + 1.5 * (columns - x) ** 2 < radius**2
        picture[mask] = picture[mask] // 2 + rng.integers(0, 128, 3).astype(np.uint8)
        masks.append(mask)
    noisy = picture + rng.normal(0, 8, picture.shape)
    return noisy.clip(0, 255).astype(np.uint8), [mask for mask in masks if mask.any()]


def _outline(mask: np.ndarray) -> dict[str, object]:
    rows, columns = np.nonzero(mask)
    x, y = int(columns.min()), int(rows.min())
    box = [x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y]
    return {"bbox": box, "area": int(mask.sum()), "segmentation": encode_mask(mask), "score": 0.9}


def sample(seed: int, height: int, width: int) -> Sample:
    """Return an image of noise with six rectangles."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(256, (3, height, width), generator=generator, dtype=torch.uint8)
    corners = (torch.rand(OBJECTS_PER_IMAGE, 2, generator=generator) * torch.tensor([width / 2, height / 2])).floor()
    boxes = torch.cat([corners, corners + torch.tensor([width // 4, height // 4])], dim=1)
    masks = torch.zeros(OBJECTS_PER_IMAGE, height, width, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist()):
        mask[y0:y1, x0:x1] = True
    return Sample(image, boxes, masks, torch.ones(len(boxes)), None, f"{seed}.jpg", seed, height, width)


def weights(bench: Bench, arch: str) -> Path:
    """Return a checkpoint of a vision transformer with random weights."""
    path = bench.scratch / f"{arch}.pth"
    if not path.is_file():
        torch.manual_seed(0)
        torch.save(create_vit(arch).state_dict(), path)
    return path
