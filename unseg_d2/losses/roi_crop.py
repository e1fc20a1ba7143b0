"""Maps of instances cropped to regions of interest, a few instances at a time: mask targets, weights of the mask loss.

Cropping reads maps as float32, four times the size of masks as bool. All of an image at once would be 400 MB for 100
instances of 800 x 1216 px; the memory that is needed here does not grow with their number.

Shape legend
    G      instances of one image
    H, W   height and width of the image in pixels
    F      RoIs
    M      cells per side of a crop
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.ops import roi_align

INSTANCES_AT_A_TIME = 8  # 31 MB at 800 x 1216


@torch.no_grad()
def crop_to_rois(
    write_maps: Callable[[slice, Tensor], object], shape: torch.Size, boxes: Tensor, instances: Tensor, size: int
) -> Tensor:
    """Crop and resize to each RoI the map of the instance that it is matched to, with Detectron2's RoIAlign.

    Args:
        write_maps: writes the maps of a range of n instances into a tensor ``(n, H, W)`` float32.
        shape: G, H, W.
        boxes: ``(F, 4)`` RoIs; xyxy in pixels.
        instances: ``(F,)`` int64 in [0, G), the instance of each RoI.
        size: M.

    Returns:
        ``(F, M, M)`` float32: means over the cells, without gradient.
    """
    result = torch.empty(len(boxes), size, size, device=boxes.device)
    buffer = torch.empty(min(shape[0], INSTANCES_AT_A_TIME), *shape[1:], device=boxes.device)
    everything = torch.arange(len(boxes), device=boxes.device)
    for start in range(0, shape[0], INSTANCES_AT_A_TIME):
        part = slice(start, min(start + INSTANCES_AT_A_TIME, shape[0]))
        chosen = everything
        if shape[0] > INSTANCES_AT_A_TIME:  # otherwise a card need not be waited for
            chosen = ((instances >= start) & (instances < part.stop)).nonzero()[:, 0]
        if len(chosen):
            maps = buffer[: part.stop - start]
            write_maps(part, maps)
            rois = torch.cat([(instances[chosen] - start)[:, None].to(boxes.dtype), boxes[chosen]], dim=1).float()
            crops = roi_align(maps[:, None], rois, (size, size), 1.0, sampling_ratio=0, aligned=True)
            result[chosen] = crops[:, 0]
    return result


def mask_targets(masks: Tensor, boxes: Tensor, instances: Tensor, size: int) -> Tensor:
    """Crop ground-truth masks to RoIs and resample them (He et al., Mask R-CNN, section 3).

    Each RoI points at its mask, so the masks are not copied once per RoI.

    Args:
        masks: ``(G, H, W)`` bool of one image.
        boxes: ``(F, 4)`` RoIs of this image, xyxy in pixels.
        instances: ``(F,)`` int64, which mask each RoI is cropped from.
        size: M.

    Returns:
        ``(F, M, M)`` bool: where at least half of the cell is covered.
    """
    return crop_to_rois(lambda part, maps: maps.copy_(masks[part]), masks.shape, boxes, instances, size) >= 0.5
