"""Saliency: the guided filter, the memory of the coarse graph loss, and a training step of Sempart.

    python benchmarks/saliency.py [--threads 1] [--device cuda] [--steps 2]

Exits with status 1 if a bar is missed. The training step has the paper's size: 384 channels, 320 px, batches of 8.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

MAX_FILTER_MS, MIN_MEMORY_RATIO, TOLERANCE = 10.0, 20.0, 1e-4
SIDE, BATCH, CHANNELS, PATCH = 320, 8, 384, 8
ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    args = parse_args()
    if args.threads:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[name] = str(args.threads)
    sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
    if args.peak_of:
        return measure_peak(args.peak_of)
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    passed = guided_filter_time()
    passed &= graph_memory()
    training_step(args.device, args.steps)
    print("PASSED" if passed else "FAILED")
    return 0 if passed else 1


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="threads; 0 lets the libraries choose")
    parser.add_argument("--device", default="cpu", help="device of the training step: cpu or cuda")
    parser.add_argument("--steps", type=int, default=2, help="training steps to time, after a warm-up step")
    parser.add_argument("--peak-of", choices=("ours", "convolution", "nothing"), help=argparse.SUPPRESS)
    return parser.parse_args()


def guided_filter_time() -> bool:
    """Time the filter of one mask of 480 x 480, and compare it with float64."""
    import cv2
    import numpy as np

    from unseg_d2.refine import guided_filter

    rng = np.random.default_rng(0)
    guide = cv2.GaussianBlur(rng.random((480, 480), dtype=np.float32), (0, 0), 3)[None]
    mask = (cv2.GaussianBlur(rng.random((480, 480), dtype=np.float32), (0, 0), 20) > 0.5).astype(np.float32)[None]
    settings = {"radius": 9, "eps": 1e-3}
    found = guided_filter(guide, mask, **settings)
    best = 1000 * min(timed(lambda: guided_filter(guide, mask, **settings)) for _ in range(50))
    exact = guided_filter(guide.astype(np.float64), mask.astype(np.float64), **settings)
    error = float(np.abs(found - exact).max())
    print("guided filter of a 480 x 480 mask, grey guide, radius 9:")
    print(f"  {best:6.2f} ms (at most {MAX_FILTER_MS:.0f}); differs from float64 by {error:.1e} (at most {TOLERANCE})")
    return best <= MAX_FILTER_MS and error <= TOLERANCE


def graph_memory() -> bool:
    """Compare how much two ways of comparing neighbours add to the peak memory of a new process."""
    nothing, ours, convolution = (peak_in_new_process(name) for name in ("nothing", "ours", "convolution"))
    ratio = (convolution - nothing) / max(ours - nothing, 0.1)
    print(f"similarity of neighbouring patches, {BATCH} x {CHANNELS} x {SIDE // PATCH} x {SIDE // PATCH}:")
    print(f"  convolution to 8 C channels {convolution - nothing:8.1f} MiB")
    print(f"  shifted dot products        {ours - nothing:8.1f} MiB", end="")
    print(f"   {ratio:6.1f} x less (at least {MIN_MEMORY_RATIO:.0f})")
    return ratio >= MIN_MEMORY_RATIO and same_weights()


def same_weights() -> bool:
    """Return whether both ways agree on all pairs except those whose cosine equals the threshold up to rounding."""
    import torch
    from reference.gtv_convolution import feature_weights_by_convolution

    from unseg_d2.losses import feature_weights

    tokens = torch.randn(2, 24, 12, 15, generator=torch.Generator().manual_seed(0)) + 0.5
    differ = feature_weights(tokens, 0.2, 1e-6) != feature_weights_by_convolution(tokens, 0.2, 1e-6)
    print(f"  pairs that differ: {100 * differ.float().mean():.3f} %")
    return bool(differ.float().mean() < 1e-3)


def training_step(device: str, steps: int) -> None:
    """Time training steps of Sempart, also with the crop of trick 2; the features are frozen, so they are given."""
    import numpy as np
    import torch

    from unseg_d2.config import load_cfg
    from unseg_d2.saliency import Objective, SempartHead, crop_and_enlarge, draw_corners
    from unseg_d2.saliency.settings import HeadSettings

    torch.manual_seed(0)
    cfg = load_cfg()
    head = SempartHead(CHANNELS, PATCH, HeadSettings.from_config(cfg)).to(device).train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-4)
    objective, rng = Objective.from_config(cfg), np.random.default_rng(0)
    settings = objective.multi_scale
    images = torch.randn(BATCH, 3, SIDE, SIDE, device=device)
    tokens, crop_tokens = (torch.randn(BATCH, CHANNELS, *(SIDE // PATCH,) * 2, device=device) for _ in range(2))

    def step(multi_scale: bool, amp: bool) -> None:
        with torch.autocast(torch.device(device).type, enabled=amp, dtype=torch.float16):
            masks = head(tokens, images)
            losses = objective.whole(masks, tokens, images)
            if multi_scale:
                corners = draw_corners(BATCH, (SIDE, SIDE), settings.fraction, rng, mode=settings.crop, step=PATCH)
                crops = crop_and_enlarge(images, corners, settings.fraction)
                losses |= objective.crop(masks, head(crop_tokens, crops), crop_tokens, crops, corners)
        optimizer.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        optimizer.step()
        if device != "cpu":
            torch.cuda.synchronize()

    print(f"training step of the head on {device}, {SIDE} px, batches of {BATCH}, features given:")
    for amp in (False, True) if device != "cpu" else (False,):
        for multi_scale in (False, True):
            step(multi_scale, amp)
            seconds = min(timed(lambda m=multi_scale, a=amp: step(m, a)) for _ in range(steps))
            name = f"{'with' if multi_scale else 'without'} multi-scale consistency{', mixed precision' if amp else ''}"
            print(f"  {name:<52} {seconds:7.3f} s   {BATCH / seconds:8.2f} images/s")


def peak_in_new_process(which: str) -> float:
    """Return the peak resident memory, MiB, of a process that does one of the two, or neither."""
    command = [sys.executable, *sys.argv, "--peak-of", which]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def measure_peak(which: str) -> int:
    import torch
    from maskcut import peak_rss_mib
    from reference.gtv_convolution import feature_weights_by_convolution

    from unseg_d2.losses import feature_weights

    tokens = torch.randn(BATCH, CHANNELS, SIDE // PATCH, SIDE // PATCH, generator=torch.Generator().manual_seed(0))
    feature_weights(tokens[:1, :8], 0.4, 1e-6)  # load libraries
    feature_weights_by_convolution(tokens[:1, :8, :4, :4], 0.4, 1e-6)
    if which == "ours":
        feature_weights(tokens, 0.4, 1e-6)
    elif which == "convolution":
        feature_weights_by_convolution(tokens, 0.4, 1e-6)
    print(peak_rss_mib())
    return 0


def timed(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
