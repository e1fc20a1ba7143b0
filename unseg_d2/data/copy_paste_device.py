"""Copy-paste on a GPU: carries out in torch what `paste_plan` has drawn, with the results of `copy_paste`.

Bilinear weights are floating-point numbers here and fixed-point ones there, so that a pixel may differ by one and a
mask where it is cut at one half; nothing else does.

Shape legend
    H, W   height and width of the target image in pixels
    h, w   height and width of the scaled source image in pixels
    n, k   number of objects of the target, of pasted objects
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unseg_d2.data.copy_paste import MAX_HIDDEN, published_boxes
from unseg_d2.data.paste_plan import PastePlan
from unseg_d2.data.sample import Sample
from unseg_d2.data.settings import Blend, PasteMode


def carry_out_on(
    device: torch.device,
    plan: PastePlan,
    source: Sample,
    target: Sample,
    *,
    mode: PasteMode,
    blend: Blend,
) -> Sample:
    """Paste as planned, on a device.

    Args:
        device: where the arithmetic is done and the tensors of the result lie.
        plan, source, target, mode, blend: as for `copy_paste.carry_out`.

    Returns:
        A new sample on the device; also where nothing is pasted.
    """
    source, target = to_device(source, device), to_device(target, device)
    chosen = list(plan.chosen)
    masks = _scale_masks(source.masks[chosen], plan.size, mode)
    window = (..., slice(plan.y, plan.y + plan.size[0]), slice(plan.x, plan.x + plan.size[1]))
    kept = _hidden(masks, target.masks, window).logical_not_()
    if mode == "default":
        kept &= masks.flatten(1).any(dim=1)
    kept = kept.nonzero()[:, 0]
    if len(kept) == 0:
        return target
    masks, scores = masks[kept], source.scores[chosen][kept]
    union = masks.any(dim=0)
    seen = (_areas(target.masks) > _areas(target.masks[window] & union)).nonzero()[:, 0]
    merged = torch.cat([target.masks[seen], target.masks.new_zeros(len(masks), *target.size)])
    merged[: len(seen)][window] &= ~union
    merged[len(seen) :][window] = masks
    sc = None if source.confidence is None else _rounded(_resize(source.confidence[chosen][kept], plan.size))
    pasted = replace(
        target,
        image=_lay(target.image, _scale_image(source.image, plan.size, mode), masks, sc, window, blend),
        masks=merged,
        boxes=tight_boxes(merged),
        scores=torch.cat([target.scores[seen], scores]),
        confidence=_merge_confidence(target, seen, sc, len(masks), window),
        classes=torch.cat([target.class_numbers()[seen], source.class_numbers()[chosen][kept]]),
    )
    if mode == "parity" and len(target) == 0:
        return replace(pasted, boxes=published_boxes(plan, source, target.size))
    return pasted


def to_device(sample: Sample, device: torch.device) -> Sample:
    """Return a sample whose tensors lie on a device."""
    tensors = {field.name: getattr(sample, field.name) for field in fields(sample)}
    moved: dict[str, Any] = {
        name: value.to(device, non_blocking=True) for name, value in tensors.items() if torch.is_tensor(value)
    }
    return replace(sample, **moved)


def tight_boxes(masks: Tensor) -> Tensor:
    """Tight boxes ``(N, 4)`` float32 x1, y1, x2, y2 in px of masks ``(N, H, W)`` bool; zeros for empty ones."""
    ends = []
    for occupied in (masks.any(dim=1).byte(), masks.any(dim=2).byte()):  # columns, rows
        last = occupied.shape[1] - occupied.flip(1).argmax(dim=1)
        ends.append((occupied.argmax(dim=1), last * occupied.amax(dim=1)))
    (left, right), (top, bottom) = ends
    return torch.stack([left, top, right, bottom], dim=1).float()


def _resize(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of planes ``(n, h, w)`` to float32."""
    return F.interpolate(planes[None].float(), size, mode="bilinear")[0]


def _scale_image(image: Tensor, size: tuple[int, int], mode: PasteMode) -> Tensor:
    pixels = _resize(image, size)
    return pixels.byte() if mode == "parity" else _rounded(pixels)


def _rounded(planes: Tensor) -> Tensor:
    return (planes + 0.5).byte()  # a half up, as OpenCV does


def _scale_masks(masks: Tensor, size: tuple[int, int], mode: PasteMode) -> Tensor:
    share = _resize(masks, size)
    return share.bool() if mode == "parity" else share >= 0.5


def _areas(masks: Tensor) -> Tensor:
    return masks.flatten(1).sum(dim=1)


def _hidden(masks: Tensor, old: Tensor, window: tuple) -> Tensor:
    """Which of the pasted masks ``(k, h, w)`` hide too much of one of the old ones ``(n, H, W)``, ``(k,)`` bool."""
    areas = _areas(old)
    # Sums of zeros and ones are exact in float32, in TF32 products too.
    hidden = masks.flatten(1).float() @ old[window].flatten(1).float().T
    return ((hidden >= MAX_HIDDEN * areas) & (areas > 0)).any(dim=1)


def _lay(image: Tensor, pixels: Tensor, masks: Tensor, sc: Tensor | None, window: tuple, blend: Blend) -> Tensor:
    """The image with the pasted objects; ``sc`` is their spatial confidence ``(k, h, w)`` uint8."""
    image = image.clone()
    if blend == "confidence" and sc is not None:
        alpha = torch.where(masks, sc, 0).amax(dim=0).int()
        mixed = alpha * pixels + (255 - alpha) * image[window]
        image[window] = ((mixed + 127) // 255).byte()
    else:
        image[window] = torch.where(masks.any(dim=0), pixels, image[window])
    return image


def _merge_confidence(target: Sample, seen: Tensor, sc: Tensor | None, pasted: int, window: tuple) -> Tensor | None:
    """Spatial confidence of the merged instances, 255 everywhere for those without a map."""
    if target.confidence is None and sc is None:
        return None
    shape = (len(seen) + pasted, *target.size)
    result = torch.full(shape, 255, dtype=torch.uint8, device=target.image.device)
    if target.confidence is not None:
        result[: len(seen)] = target.confidence[seen]
    if sc is not None:
        result[len(seen) :][window] = sc
    return result
