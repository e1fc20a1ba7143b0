"""Memory for mask targets and spatial confidence of 512 RoIs, beyond that of the masks and confidence themselves.

    python benchmarks/roi_memory.py [--engines builtin detectron2] [--instances 10 100] [--device cpu]

The masks (bool) and confidence maps (uint8) of an image of 800 x 1216 px are in memory; then 512 RoIs are matched to
them, and mask targets and weights of the mask loss (28 x 28) are computed. Each measurement runs in a process of its
own. For comparison, the memory of Detectron2's own BitMasks for the targets alone is printed too. Exits with status 1
if an engine needs more than the bar.
"""

from __future__ import annotations

import argparse
import sys

import torch
from peak_memory import PeakMemory, in_own_process
from torch import Tensor

from unseg_d2.data.sample import Sample
from unseg_d2.detectors.protocol import detectron2_availability

HEIGHT, WIDTH, REGIONS, SIZE = 800, 1216, 512, 28
BAR = 100.0  # MB


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", choices=["builtin", "detectron2"], default=["builtin", "detectron2"])
    parser.add_argument("--instances", type=int, nargs="+", default=[10, 100], help="masks of the image")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    args = parser.parse_args()
    usable, reason = detectron2_availability()
    ways = [engine for engine in args.engines if engine == "builtin" or usable]
    if len(ways) < len(args.engines):
        print(f"without Detectron2: {reason}")
    print(f"MB over masks and confidence, {REGIONS} RoIs x {HEIGHT} x {WIDTH} px on {args.device} (at most {BAR:.0f})")
    print(f"{'':28}" + "".join(f"{count:>6} masks" for count in args.instances))
    passed = True
    for way in [*ways, *(["BitMasks"] if "detectron2" in ways else [])]:
        for confidence in ["none"] if way == "BitMasks" else ["none", "spatial", "scalar"]:
            needed = [in_own_process(measure, way, confidence, count, args.device) for count in args.instances]
            passed &= way == "BitMasks" or max(needed) <= BAR
            name = "targets" if confidence == "none" else f"targets, {confidence}"
            print(f"{way:10} {name:17}" + "".join(f"{value:12.0f}" for value in needed), flush=True)
    print("PASSED" if passed else "FAILED")
    return 0 if passed else 1


def measure(way: str, confidence: str, instances: int, device: str) -> float:
    """Return the growth of the peak in MB."""
    torch.set_num_threads(1)
    supervise(way, confidence, make_sample(2, 64, 96, device), 8)  # warm-up: loads libraries
    sample = make_sample(instances, HEIGHT, WIDTH, device)
    with PeakMemory(device) as memory:
        supervise(way, confidence, sample, REGIONS)
    return memory.megabytes


def supervise(way: str, confidence: str, sample: Sample, regions: int) -> tuple[Tensor, Tensor | None]:
    """Match regions with nearby instances and return targets and weights of the mask loss."""
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(len(sample), (regions,), generator=generator).to(sample.boxes.device)
    shift = 8 * torch.randn(regions, 2, generator=generator).to(sample.boxes.device)
    boxes = sample.boxes[index] + torch.cat([shift, shift], dim=1)
    if way == "builtin":
        from unseg_d2.losses import mask_cell_weights
        from unseg_d2.losses.roi_crop import mask_targets

        targets = mask_targets(sample.masks, boxes, index, SIZE)
        if confidence == "none":
            return targets, None
        return targets, mask_cell_weights(sample.confidence, sample.masks, boxes, index, SIZE, confidence)
    from detectron2.structures import BitMasks

    from unseg_d2.detectors.detectron2.lazy_masks import LazyMasks
    from unseg_d2.detectors.detectron2.uncertain import LazyConfidence

    masks = (BitMasks if way == "BitMasks" else LazyMasks)(sample.masks)[index]
    targets = masks.crop_and_resize(boxes, SIZE)
    if confidence == "none":
        return targets, None
    return targets, LazyConfidence(sample.confidence, sample.masks)[index].weights(boxes, SIZE, confidence)


def make_sample(instances: int, height: int, width: int, device: str) -> Sample:
    """Return rectangles on a black image, half as confident on the left as on the right."""
    generator = torch.Generator().manual_seed(instances)
    corners = torch.rand(instances, 2, generator=generator) * torch.tensor([width / 2, height / 2])
    sides = torch.tensor([width / 4, height / 4]) * (0.2 + torch.rand(instances, 2, generator=generator))
    boxes = torch.cat([corners, corners + sides], dim=1).round().to(device)
    masks = torch.zeros(instances, height, width, dtype=torch.bool, device=device)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist()):
        mask[y0:y1, x0:x1] = True
    confidence = torch.full((instances, height, width), 255, dtype=torch.uint8, device=device)
    confidence[..., : width // 2] = 128
    scores = torch.ones(instances, device=device)
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    return Sample(image, boxes, masks, scores, confidence, "", 0, height, width)


if __name__ == "__main__":
    sys.exit(main())
