"""Copy-paste augmentation: objects of one sample are scaled and pasted into another (CutLER, section 3.5).

Two modes. ``parity`` does what CutLER's published code does, to the bit and in the order of its draws: of n objects at
most n - 1 are pasted, masks grow by up to a pixel because every touched pixel counts, pixels are truncated to integers,
and boxes pasted into an image without objects have their horizontal and vertical shift swapped. ``default`` does what
is meant: 1 to n objects, masks cut at one half, pixels rounded, boxes always taken from the masks, and pastes that
became too small to be seen are dropped.

Spatial confidence (CutS3D, section 3.4) can decide which objects are pasted, the most confident ones, and how: blended
with the target by their confidence at each pixel.

Shape legend
    H, W   height and width of the target image in pixels
    h, w   height and width of the scaled source image in pixels
    k      number of pasted objects
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unseg_d2.data.paste_plan import Draws, PastePlan, plan_paste
from unseg_d2.data.sample import Sample
from unseg_d2.data.settings import Blend, DataLoaderSettings, PasteMode

MAX_HIDDEN = 0.5  # a paste that hides this share of an object of the target, or more, is left out


@dataclass(frozen=True)
class _Paste:
    """Scaled objects of a source, and where the corner of the scaled image lies in the target, px."""

    image: np.ndarray  # (3, h, w) uint8
    masks: np.ndarray  # (k, h, w) bool
    confidence: np.ndarray | None  # (k, h, w) uint8
    scores: Tensor  # (k,)
    classes: Tensor  # (k,)
    x: int
    y: int

    def select(self, kept: np.ndarray) -> _Paste:
        """Only the objects where ``kept`` is true."""
        confidence = None if self.confidence is None else self.confidence[kept]
        index = torch.from_numpy(kept)
        scores, classes = self.scores[index], self.classes[index]
        return replace(self, masks=self.masks[kept], confidence=confidence, scores=scores, classes=classes)


def copy_paste(
    source: Sample,
    target: Sample,
    *,
    rng: np.random.Generator | Draws,
    settings: DataLoaderSettings,
) -> Sample:
    """Paste objects of one sample into another; neither is changed.

    The whole source is stretched to ``ratio`` times the size of the target and laid somewhere inside it; of it, the
    pixels of the chosen objects are kept. An object that would hide half of one of the target's is left out.

    Args:
        source: where the objects come from.
        target: where they go.
        rng: source of the random draws.
        settings: probability, number, scale and selection of what is pasted: ``random``, or ``confident``, the objects
            of highest mean confidence, ties at random; the mode, see the module; and the blend, see `carry_out`.

    Returns:
        A new sample, first the objects of the target that are still visible, then the pasted ones; or the target itself
        when nothing is pasted.
    """
    plan = plan_paste(source, target.size, rng=rng, settings=settings)
    if plan is None:
        return target
    return carry_out(plan, source, target, mode=settings.copy_paste_mode, blend=settings.copy_paste_blend)


def carry_out(plan: PastePlan, source: Sample, target: Sample, *, mode: PasteMode, blend: Blend) -> Sample:
    """Paste as planned.

    Args:
        plan: what was drawn for the two samples.
        source: where the objects come from.
        target: where they go.
        mode: ``default`` or ``parity``, see the module.
        blend: ``hard``, or ``confidence``: pixels of a pasted object are alpha-blended, alpha being its confidence
            (equation 5); where pasted objects overlap, the larger confidence. Masks do not depend on it.

    Returns:
        As `copy_paste`.
    """
    paste = _scale(source, plan, mode)
    kept = _hidden_share(paste, target.masks.numpy()) < MAX_HIDDEN
    if mode == "default":
        kept &= paste.masks.any(axis=(1, 2))
    if not kept.any():
        return target
    merged = _merge(target, paste.select(kept), blend)
    if mode == "parity" and len(target) == 0:
        return replace(merged, boxes=published_boxes(plan, source, target.size))
    return merged


def published_boxes(plan: PastePlan, source: Sample, size: tuple[int, int]) -> Tensor:
    """Boxes ``(k, 4)`` that the published code gives objects pasted into an image of ``size`` px without objects."""
    boxes = source.boxes[list(plan.chosen)]
    factor = boxes.new_tensor([size[1] / source.size[1], size[0] / source.size[0]] * 2) * plan.ratio
    return boxes * factor + boxes.new_tensor([plan.y, plan.x, plan.y, plan.x])


def boxes_from_masks(masks: Tensor) -> Tensor:
    """Tight boxes ``(N, 4)`` float32 x1, y1, x2, y2 in px of masks ``(N, H, W)`` bool; zeros for empty ones."""
    boxes = np.zeros((len(masks), 4), dtype=np.float32)
    for box, mask in zip(boxes, masks.numpy()):
        x, y, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
        box[:] = x, y, x + width, y + height
    return torch.from_numpy(boxes)


def _scale(source: Sample, plan: PastePlan, mode: PasteMode) -> _Paste:
    """Stretch image and chosen masks of the source to the size of the plan."""
    chosen, size = list(plan.chosen), plan.size
    masks = source.masks[chosen]
    if mode == "parity":
        pixels = F.interpolate(source.image[None].float(), size, mode="bilinear")[0].byte().numpy()
        scaled = F.interpolate(masks[None].float(), size, mode="bilinear")[0].bool().numpy()
    else:
        pixels = _resize(source.image.numpy(), size)
        # From 0 to 255: OpenCV counts in fixed-point numbers, too coarse for 0 and 1 to be cut at one half.
        scaled = _resize(masks.numpy().view(np.uint8) * np.uint8(255), size) > 127
    confidence = None if source.confidence is None else _resize(source.confidence[chosen].numpy(), size)
    scores, classes = source.scores[chosen], source.class_numbers()[chosen]
    return _Paste(pixels, scaled, confidence, scores, classes, plan.x, plan.y)


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
        _blend(pixels, paste.image, np.where(paste.masks, paste.confidence, 0).max(axis=0))
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
        classes=torch.cat([target.class_numbers()[seen], paste.classes]),
    )


def _blend(pixels: np.ndarray, image: np.ndarray, confidence: np.ndarray) -> None:
    """Blend ``image`` into ``pixels``, both ``(3, h, w)`` uint8, in place (CutS3D, equation 5)."""
    alpha = confidence.astype(np.uint16)
    mixed = alpha * image + (255 - alpha) * pixels  # at most 255 * 255
    pixels[:] = (mixed + 127) // 255


def _merge_confidence(target: Sample, seen: list[int], paste: _Paste, window: tuple) -> Tensor | None:
    """Spatial confidence of the merged instances, 255 everywhere for those without a map."""
    if target.confidence is None and paste.confidence is None:
        return None
    n, k = len(seen), len(paste.masks)
    result = np.full((n + k, *target.size), 255, dtype=np.uint8)
    if target.confidence is not None:
        result[:n] = target.confidence[seen].numpy()
    if paste.confidence is not None:
        result[n:][window] = paste.confidence
    return torch.from_numpy(result)
