"""Copy-paste augmentation: objects of one sample are scaled and pasted into another (CutLER, section 3.5).

Two modes. ``parity`` does what CutLER's published code does, to the bit and in the order of its draws: of n objects at
most n - 1 are pasted, masks grow by up to a pixel because every touched pixel counts, pixels are cut off to integers,
and into an image without objects boxes arrive with the horizontal and vertical shift exchanged. ``default`` does what
is meant: 1 to n objects, masks cut at one half, pixels rounded, boxes always taken from the masks, and pastes that
became too small to be seen are dropped.

Spatial confidence (CutS3D, section 3.4) can decide which objects are pasted, the surest ones, and how: blended with
what is there by their confidence at each pixel.

Shape legend
    H, W   height and width of the target image in pixels
    h, w   height and width of the scaled source image in pixels
    k      number of pasted objects
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unseg_d2.data.sample import Sample

Mode = Literal["default", "parity"]
Selection = Literal["random", "confident"]
Blend = Literal["hard", "confidence"]
_MAX_HIDDEN = 0.5  # a paste that hides this share of an object of the target, or more, is left out


class Draws(Protocol):
    """The random numbers of one paste, in the order of the methods."""

    def chance(self) -> float:
        """A number in [0, 1) that is compared with the rate."""

    def number(self, low: int, high: int) -> int:
        """How many objects, in [low, high]."""

    def choose(self, n: int, k: int) -> np.ndarray:
        """Which k of n objects, without repetition."""

    def ratio(self, low: float, high: float) -> float:
        """Scale of the source relative to the target image, in [low, high]."""

    def offset(self, high: int) -> int:
        """Where to paste along one axis, in [0, high]; first x, then y."""


class GeneratorDraws:
    """Draws of a NumPy generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def chance(self) -> float:  # noqa: D102
        return self.rng.random()

    def number(self, low: int, high: int) -> int:  # noqa: D102
        return int(self.rng.integers(low, high + 1))

    def choose(self, n: int, k: int) -> np.ndarray:  # noqa: D102
        return self.rng.choice(n, k, replace=False)

    def ratio(self, low: float, high: float) -> float:  # noqa: D102
        return self.rng.uniform(low, high)

    def offset(self, high: int) -> int:  # noqa: D102
        return int(self.rng.integers(high + 1))


@dataclass(frozen=True)
class _Paste:
    """Scaled objects of a source, and where the corner of the scaled image lies in the target, px."""

    image: np.ndarray  # (3, h, w) uint8
    masks: np.ndarray  # (k, h, w) bool
    confidence: np.ndarray | None  # (k, h, w) uint8
    scores: Tensor  # (k,)
    x: int
    y: int

    def select(self, kept: np.ndarray) -> _Paste:
        """Only the objects where ``kept`` is true."""
        confidence = None if self.confidence is None else self.confidence[kept]
        return replace(self, masks=self.masks[kept], confidence=confidence, scores=self.scores[torch.from_numpy(kept)])


def copy_paste(
    source: Sample,
    target: Sample,
    *,
    rng: np.random.Generator | Draws,
    min_ratio: float = 0.5,
    max_ratio: float = 1.0,
    random_num: bool = True,
    rate: float = 1.0,
    mode: Mode = "default",
    selection: Selection = "random",
    blend: Blend = "hard",
) -> Sample:
    """Paste objects of one sample into another; neither is changed.

    The whole source is stretched to ``ratio`` times the size of the target and laid somewhere inside it; of it, the
    pixels of the chosen objects are kept. An object that would hide half of one of the target's is left out.

    Args:
        source: where the objects come from.
        target: where they go.
        rng: what is drawn from.
        min_ratio: smallest size of the stretched source relative to the target, in (0, 1].
        max_ratio: largest.
        random_num: paste a random number of the objects instead of all.
        rate: probability that anything is pasted, in [0, 1].
        mode: ``default`` or ``parity``, see the module.
        selection: ``random``, or ``confident``: the objects of highest mean confidence, ties at random.
        blend: ``hard``, or ``confidence``: pixels of a pasted object are alpha-blended, alpha being its confidence
            (equation 5), where pasted objects overlap the larger one. Masks do not depend on it.

    Returns:
        A new sample, first the objects of the target of which something is still seen, then the pasted ones; or the
        target itself when nothing is pasted.

    Raises:
        ValueError: ratios outside (0, 1] or an unknown mode, selection or blend.
    """
    if not 0 < min_ratio <= max_ratio <= 1:
        raise ValueError(f"need 0 < min_ratio <= max_ratio <= 1, got {min_ratio} and {max_ratio}")
    for value, allowed in ((mode, Mode), (selection, Selection), (blend, Blend)):
        if value not in get_args(allowed):
            raise ValueError(f"expected one of {', '.join(get_args(allowed))}, got '{value}'")
    draws = GeneratorDraws(rng) if isinstance(rng, np.random.Generator) else rng
    if draws.chance() > rate or len(source) == 0:
        return target
    chosen = _choose(source, draws, random_num, mode, selection)
    ratio = draws.ratio(min_ratio, max_ratio)
    size = max(int(ratio * target.size[0]), 1), max(int(ratio * target.size[1]), 1)
    x, y = draws.offset(target.size[1] - size[1]), draws.offset(target.size[0] - size[0])
    paste = _scale(source, chosen, size, (x, y), mode)
    kept = _hidden_share(paste, target.masks.numpy()) < _MAX_HIDDEN
    if mode == "default":
        kept &= paste.masks.any(axis=(1, 2))
    if not kept.any():
        return target
    merged = _merge(target, paste.select(kept), blend)
    if mode == "parity" and len(target) == 0:
        factor = torch.tensor([target.size[1] / source.size[1], target.size[0] / source.size[0]] * 2) * ratio
        return replace(merged, boxes=source.boxes[chosen] * factor + torch.tensor([y, x, y, x]))
    return merged


def boxes_from_masks(masks: Tensor) -> Tensor:
    """Tight boxes ``(N, 4)`` float32 x1, y1, x2, y2 in px of masks ``(N, H, W)`` bool; zeros for empty ones."""
    boxes = np.zeros((len(masks), 4), dtype=np.float32)
    for box, mask in zip(boxes, masks.numpy()):
        x, y, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
        box[:] = x, y, x + width, y + height
    return torch.from_numpy(boxes)


def mean_confidence(sample: Sample) -> np.ndarray:
    """Mean spatial confidence of each instance over its mask, ``(N,)`` float64 in [0, 1]; 1 for one without a map."""
    if sample.confidence is None:
        return np.ones(len(sample))
    pairs = zip(sample.confidence.numpy(), sample.masks.numpy())
    return np.array([cv2.mean(map_, mask.view(np.uint8))[0] / 255 if mask.any() else 0.0 for map_, mask in pairs])


def _choose(source: Sample, draws: Draws, random_num: bool, mode: Mode, selection: Selection) -> Tensor:
    """Indices ``(k,)`` of the objects to paste."""
    n = len(source)
    most = n if mode == "default" else max(n - 1, 1)
    count = draws.number(1, most) if random_num else n
    return torch.from_numpy(draws.choose(n, count) if selection == "random" else _surest(source, count, draws))


def _surest(source: Sample, count: int, draws: Draws) -> np.ndarray:
    """Indices of the ``count`` instances of highest mean confidence, in random order where it is equal."""
    shuffled = draws.choose(len(source), len(source))
    return shuffled[np.argsort(-mean_confidence(source)[shuffled], kind="stable")[:count]]


def _scale(source: Sample, chosen: Tensor, size: tuple[int, int], corner: tuple[int, int], mode: Mode) -> _Paste:
    """Stretch image and chosen masks of the source to ``size``."""
    masks = source.masks[chosen]
    if mode == "parity":
        pixels = F.interpolate(source.image[None].float(), size, mode="bilinear")[0].byte().numpy()
        scaled = F.interpolate(masks[None].float(), size, mode="bilinear")[0].bool().numpy()
    else:
        # Bilinear on 0 and 1 in integers: rounding cuts the masks at one half.
        pixels = _resize(source.image.numpy(), size)
        scaled = _resize(masks.numpy().view(np.uint8), size).view(bool)
    confidence = None if source.confidence is None else _resize(source.confidence[chosen].numpy(), size)
    return _Paste(pixels, scaled, confidence, source.scores[chosen], *corner)


def _resize(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize uint8 planes ``(n, h, w)`` bilinearly; one by one is faster than as channels."""
    result = np.empty((len(planes), *size), dtype=np.uint8)
    for plane, scaled in zip(planes, result):
        cv2.resize(plane, size[::-1], dst=scaled, interpolation=cv2.INTER_LINEAR)
    return result


def _hidden_share(paste: _Paste, masks: np.ndarray) -> np.ndarray:
    """For each of the k pasted masks the largest share of a target mask that it hides, ``(k,)``."""
    share = np.zeros(len(paste.masks))
    areas = [np.count_nonzero(mask) for mask in masks]
    for i, pasted in enumerate(paste.masks):
        x, y, width, height = cv2.boundingRect(pasted.view(np.uint8))
        pasted = pasted[y : y + height, x : x + width]
        top, left = paste.y + y, paste.x + x
        windows = masks[:, top : top + height, left : left + width]
        hidden = [np.count_nonzero(pasted & window) / area for window, area in zip(windows, areas) if area]
        share[i] = max(hidden, default=0.0)
    return share


def _merge(target: Sample, paste: _Paste, blend: Blend) -> Sample:
    """Lay the pasted objects over the target; boxes are taken from the masks."""
    height, width = paste.masks.shape[1:]
    window = (..., slice(paste.y, paste.y + height), slice(paste.x, paste.x + width))
    union = paste.masks.any(axis=0)
    old = target.masks.numpy()
    seen = [i for i, mask in enumerate(old) if np.count_nonzero(mask) > np.count_nonzero(mask[window] & union)]
    n, k = len(seen), len(paste.masks)
    masks = np.zeros((n + k, *target.size), dtype=bool)
    for mask, i in zip(masks, seen):
        mask[:] = old[i]
    masks[:n][window] &= ~union
    masks[n:][window] = paste.masks
    image = target.image.clone()
    pixels = image.numpy()[window]
    if blend == "confidence" and paste.confidence is not None:
        _blend(pixels, paste)
    else:
        np.copyto(pixels, paste.image, where=union)
    merged = torch.from_numpy(masks)
    return replace(
        target,
        image=image,
        masks=merged,
        boxes=boxes_from_masks(merged),
        scores=torch.cat([target.scores[seen], paste.scores]),
        confidence=_merge_confidence(target, seen, paste, window),
    )


def _blend(pixels: np.ndarray, paste: _Paste) -> None:
    """Blend the pasted objects into ``pixels (3, h, w)`` uint8, in place (CutS3D, equation 5)."""
    alpha = np.where(paste.masks, paste.confidence, 0).max(axis=0).astype(np.int32)
    mixed = alpha * paste.image + (255 - alpha) * pixels
    pixels[:] = (mixed + 127) // 255


def _merge_confidence(target: Sample, seen: list[int], paste: _Paste, window: tuple) -> Tensor | None:
    """Spatial confidence of the merged instances; who has none is sure everywhere."""
    if target.confidence is None and paste.confidence is None:
        return None
    n, k = len(seen), len(paste.masks)
    result = np.full((n + k, *target.size), 255, dtype=np.uint8)
    if target.confidence is not None:
        result[:n] = target.confidence[seen].numpy()
    if paste.confidence is not None:
        result[n:][window] = paste.confidence
    return torch.from_numpy(result)
