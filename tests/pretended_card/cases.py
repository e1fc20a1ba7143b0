"""What is counted on the pretended card: every generator and refiner, at batch 1 and 8."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from card import pretended_card
from record import Record

from unseg_d2.config import get_cfg
from unseg_d2.masks import build_generator
from unseg_d2.refine import CardRefiner, build_refiner
from unseg_d2.structures import DepthMap, PatchFeatures, Proposals

GENERATORS = (
    "maskcut",
    "cuts3d",
    "tokencut",
    "promerge",
    "primaps",
    "votecut",
    "lost",
    "uniap",
    "greedymerge",
    "mergetree",
    "activation",
)
REFINERS = ("guided", "crf", "crf_labels")
OBJECTS = 6


@dataclass(frozen=True)
class Counted:
    """Launches and waits of one call, per image, and what it returned on the card and on the CPU."""

    launches: float
    waits: float
    record: Record
    on_card: Any
    on_cpu: Any


def count(name: str, batch: int, side: int, channels: int) -> Counted:
    """Run a generator or a refiner on a batch of images, on the pretended card and on the CPU.

    Args:
        name: of ``GENERATORS`` or ``REFINERS``.
        batch: images.
        side: of the grid in patches; refiners get images of four pixels per patch.
        channels: of the tokens.
    """
    call = _generator(name, batch, side, channels) if name in GENERATORS else _refiner(name, batch, 4 * side)
    expected = call("cpu")
    with pretended_card() as record:
        if name in REFINERS:
            call("cuda")  # which makes what all images of a size share
        found = call("cuda", record)
    return Counted(record.num_launches / batch, record.num_waits / batch, record, found, expected)


Call = Callable[..., Any]


def _generator(name: str, batch: int, side: int, channels: int) -> Call:
    cfg = get_cfg()
    cfg.MASKS.GENERATOR = name
    generator = build_generator(cfg)
    tokens = made_tokens(batch, channels, side)
    slope = torch.linspace(9, 3, side)[:, None].repeat(1, side) - (torch.arange(side) > side // 2) * 1.5
    depth = DepthMap(slope, "metric")  # read from files, so on the host

    def call(device: str, record: Record | None = None) -> list[Proposals]:
        images = [PatchFeatures(image, 8, None, depth) for image in tokens.to(device)]
        if name == "votecut":
            images = [replace(image, members=(image, replace(image))) for image in images]
        _forget(record)
        return generator(images)

    return call


def _refiner(name: str, batch: int, side: int) -> Call:
    """One image as it is given to any refiner; several together."""
    images, masks = made_pictures(batch, side)
    counts = [masks.shape[1]] * batch

    def call(device: str, record: Record | None = None) -> list[np.ndarray]:
        refiner = build_refiner(name, device=device)
        if batch == 1 or not isinstance(refiner, CardRefiner):
            _forget(record)
            return [refiner(*pair) for pair in zip(images, masks)]
        pictures, given = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), torch.from_numpy(masks).flatten(0, 1)
        given = given.to(device)
        _forget(record)
        with torch.inference_mode():
            return list(refiner.refine(pictures, given, counts).cpu().numpy().reshape(masks.shape))

    return call


def _forget(record: Record | None) -> None:
    """Begin to count: the inputs are on the card."""
    if record is not None:
        record.clear()


def made_tokens(batch: int, channels: int, side: int) -> torch.Tensor:
    """Return ``(batch, channels, side, side)`` float32: six discs, each with a direction of its own, and noise."""
    rows, columns = np.mgrid[:side, :side]
    images = []
    for seed in range(batch):
        rng = np.random.default_rng(seed)
        directions = rng.standard_normal((OBJECTS + 1, channels))
        label = np.zeros((side, side), int)
        for index in range(OBJECTS):
            y, x, radius = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(side / 10, side / 4)
            label[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = index + 1
        images.append(directions[label].transpose(2, 0, 1) + 0.6 * rng.standard_normal((channels, side, side)))
    return torch.from_numpy(np.stack(images).astype(np.float32))


def made_pictures(batch: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(batch, side, side, 3)`` uint8 pictures of three discs, and ``(batch, 3, side, side)`` smaller masks."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side] / side
    images = rng.integers(90, 110, (batch, side, side, 3), dtype=np.uint8)
    discs = ((0.3, 0.3, 0.2), (0.7, 0.6, 0.25), (0.5, 0.85, 0.1))
    for number, (y, x, radius) in enumerate(discs):
        images[:, (rows - y) ** 2 + (columns - x) ** 2 < radius**2, number] += 100
    masks = np.stack([(rows - y) ** 2 + (columns - x) ** 2 < (0.9 * radius) ** 2 for y, x, radius in discs])
    return images, np.repeat(masks[None], batch, 0)
