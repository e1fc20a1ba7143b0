"""Convert mask logits on boxes to run lengths at image size: this package against other libraries.

    python benchmarks/mask_pasting.py [--instances 100 300] [--repeats 5] [--device cpu]

Masks of 28 x 28 logits are pasted into random boxes of an image of 800 x 1216 px. Both engines use `paste_and_encode`;
it is compared with Detectron2's paste_masks_in_image and torchvision's function of that name, each followed by
pycocotools' encode, which Detectron2's evaluator calls. All alternate. Peak memory is measured in a process of its own.
Exits with status 1 if the run lengths differ from Detectron2's or a bar is missed. Torchvision rounds boxes, so its
masks differ; the mean IoU shows by how much.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from peak_memory import PeakMemory, in_own_process
from pycocotools import mask as mask_utils
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image as paste_of_torchvision

from unseg_d2.detectors.postprocess import paste_and_encode
from unseg_d2.detectors.protocol import detectron2_availability

HEIGHT, WIDTH, SIZE = 800, 1216, 28
MIN_SPEEDUP = 2.0  # against the faster of the libraries
MAX_MEGABYTES = 50.0
Masks = list[dict[str, Any]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, nargs="+", default=[100, 300])
    parser.add_argument("--repeats", type=int, default=5, help="runs of which the median counts")
    parser.add_argument("--device", default="cpu", help="cpu or cuda; the bars are for a CPU")
    args = parser.parse_args()
    torch.set_num_threads(1)
    usable, reason = detectron2_availability()
    ways = ["ours", *(["detectron2"] if usable else []), "torchvision"]
    if not usable:
        print(f"without Detectron2: {reason}")
    print(f"{SIZE} x {SIZE} logits to run lengths, {HEIGHT} x {WIDTH} px, {args.device}; median of {args.repeats}")
    print(f"{'':12}{'masks':>6}{'seconds':>9}{'ratio':>7}{'peak MB':>9}   masks equal to ours / mean IoU with them")
    passed = True
    for count in args.instances:
        seconds, masks = timed(ways, count, args.repeats, args.device)
        for way in ways:
            peak = in_own_process(peak_megabytes, way, count, args.device)
            equal = sum(one == other for one, other in zip(masks[way], masks["ours"]))
            agreement = f"{equal}/{count}, {mean_iou(masks[way], masks['ours']):.3f}"
            ratio = seconds[way] / seconds["ours"]
            print(f"{way:12}{count:6}{seconds[way]:9.3f}{ratio:6.1f}x{peak:9.0f}   {agreement}", flush=True)
            passed &= way != "detectron2" or equal == count
            if args.device == "cpu":
                passed &= peak <= MAX_MEGABYTES if way == "ours" else ratio >= MIN_SPEEDUP
    print(f"at least {MIN_SPEEDUP:g}x as fast, at most {MAX_MEGABYTES:.0f} MB, masks of Detectron2: ", end="")
    print("PASSED" if passed else "FAILED")
    return 0 if passed else 1


def timed(ways: list[str], count: int, repeats: int, device: str) -> tuple[dict[str, float], dict[str, Masks]]:
    """Return the median seconds of each implementation, and its masks."""
    logits, boxes = detections(count, device)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    masks = {way: encode(way, logits[:2], boxes[:2]) for way in ways}  # warm-up: loads libraries
    for _ in range(repeats):
        for way in ways:
            synchronise(device)
            start = time.perf_counter()
            masks[way] = encode(way, logits, boxes)
            seconds[way].append(time.perf_counter() - start)
    return {way: statistics.median(values) for way, values in seconds.items()}, masks


def peak_megabytes(way: str, count: int, device: str) -> float:
    """Return the growth of the peak memory of this process."""
    torch.set_num_threads(1)
    logits, boxes = detections(count, device)
    encode(way, logits[:2], boxes[:2])
    with PeakMemory(device) as memory:
        encode(way, logits, boxes)
    return memory.megabytes


def encode(way: str, logits: Tensor, boxes: Tensor) -> Masks:
    """Return the run lengths of masks ``(n, 28, 28)`` of logits on boxes ``(n, 4)``."""
    probabilities = logits.sigmoid()
    if way == "ours":
        return paste_and_encode(probabilities, boxes, HEIGHT, WIDTH)
    if way == "detectron2":
        from detectron2.layers import paste_masks_in_image

        pasted = paste_masks_in_image(probabilities, boxes, (HEIGHT, WIDTH), threshold=0.5)
    else:
        pasted = paste_of_torchvision(probabilities[:, None], boxes, (HEIGHT, WIDTH))[:, 0] >= 0.5
    rles = [mask_utils.encode(np.array(mask[:, :, None], order="F", dtype="uint8"))[0] for mask in pasted.cpu().numpy()]
    return [{"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")} for rle in rles]


def detections(count: int, device: str) -> tuple[Tensor, Tensor]:
    """Return smooth random logits ``(n, 28, 28)``, and boxes ``(n, 4)`` with sides of 24 to 400 px within the image."""
    generator = torch.Generator().manual_seed(count)
    coarse = torch.randn(count, 1, 7, 7, generator=generator)
    logits = 4 * F.interpolate(coarse, (SIZE, SIZE), mode="bicubic", align_corners=False)[:, 0]
    sides = 24 * (400 / 24) ** torch.rand(count, 2, generator=generator)
    corners = torch.rand(count, 2, generator=generator) * (torch.tensor([WIDTH, HEIGHT]) - sides)
    return logits.to(device), torch.cat([corners, corners + sides], dim=1).to(device)


def mean_iou(first: Masks, second: Masks) -> float:
    """Return the mean IoU of the masks of two lists, paired in order; two empty masks have IoU 1."""
    intersections = [mask_utils.area(mask_utils.merge(list(pair), intersect=True)) for pair in zip(first, second)]
    unions = [mask_utils.area(mask_utils.merge(list(pair))) for pair in zip(first, second)]
    return float(np.mean([inner / outer if outer else 1.0 for inner, outer in zip(intersections, unions)]))


def synchronise(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main())
