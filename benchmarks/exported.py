"""How far an exported detector in ONNX Runtime is from the detector in PyTorch.

    python benchmarks/exported.py --weights FILE [--half] [--images 24]

On synthetic scenes that no training has seen. Every detection above --score-threshold is paired with the exported one
of highest mask IoU; without a partner of IoU 0.5 it is lost.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from unseg_d2.data.synthetic.dataset import synthetic_scene
from unseg_d2.deploy.export import export_detector
from unseg_d2.deploy.onnx_detector import OnnxDetector
from unseg_d2.detectors.detector import Detector


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--half", action="store_true")
    parser.add_argument("--score-threshold", type=float, default=0.35)
    args = parser.parse_args()
    torch.set_num_threads(1)
    detector = Detector.load(args.weights, "ENGINE", "builtin", "MODEL.DEVICE", "cpu")
    images = [synthetic_scene(detector.cfg, "val", number).image for number in range(args.images)]
    with tempfile.TemporaryDirectory() as folder:
        path = export_detector(args.weights, Path(folder) / "model.onnx", half=args.half).path
        print(f"{path.stat().st_size / 1e6:.1f} MB", flush=True)
        exported = OnnxDetector(path)
        pairs, lost, overlaps = [], 0, []
        for ours, theirs in zip(detector.stream(images, score_threshold=args.score_threshold), exported.stream(images)):
            for box, score, mask in zip(ours.boxes, ours.scores, ours.masks):
                ious = [(mask & other).sum() / max((mask | other).sum(), 1) for other in theirs.masks]
                best = int(np.argmax(ious)) if ious else -1
                if best < 0 or ious[best] < 0.5:
                    lost += 1
                    continue
                pairs.append((np.abs(box - theirs.boxes[best]).max(), abs(score - theirs.scores[best])))
                overlaps.append(ious[best])
    boxes, scores = np.array(pairs).T
    print(f"{len(pairs)} detections, {lost} lost")
    for name, values in (("boxes, px", boxes), ("scores", scores), ("1 - mask IoU", 1 - np.array(overlaps))):
        print(f"{name}: median {np.median(values):.2g}, largest {values.max():.2g}")


if __name__ == "__main__":
    main()
