"""The effect of spatial confidence and DropLoss in training, on masks with known errors: ``docs/ablation.md``.

    python benchmarks/ablation.py [--seeds 3] [--output output/ablation] [KEY VALUE ...]

Pseudo-masks are corrupted true masks of synthetic scenes: some are missing, others are dilated, eroded or shifted.
Their spatial confidence is that of a perfect estimator: 1 where the mask is right, .5 where it is wrong (the lowest
value that CutS3D gives). Each variant trains the quickstart's small network from random weights with the same seeds,
which determine noise, order and initialisation, and is evaluated on true masks of other scenes. Finished runs are kept
in --output, so that the same command resumes after an interruption.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from unseg_d2.config import load_cfg
from unseg_d2.data.coco import decode_mask, encode_mask, read_coco
from unseg_d2.data.synthetic import ensure_synthetic
from unseg_d2.detectors.protocol import select_engine
from unseg_d2.files import write_json
from unseg_d2.rle import encode_confidence
from unseg_d2.training.evaluate import evaluate_detector
from unseg_d2.training.train import train

RECIPE = Path(__file__).resolve().parents[1] / "configs" / "quickstart.yaml"
SELECTION = ["DATALOADER.COPY_PASTE_SELECTION", "confident"]
ALPHA = ["DATALOADER.COPY_PASTE_BLEND", "confidence"]
LOSS = ["MODEL.ROI_MASK_HEAD.CONFIDENCE", "spatial"]
VARIANTS = {
    "none": [],
    "copy-paste selection": SELECTION,
    "+ alpha-blending": SELECTION + ALPHA,
    "+ confidence loss": SELECTION + ALPHA + LOSS,
    "confidence loss alone": LOSS,
}
METRICS = ["AP", "AP50", "AP75", "AR100"]
MISSING, WRONG, REACH = (
    0.3,
    0.7,
    6,
)  # share of masks left out; share of the others that are corrupted; by up to this many pixels
LEAST = 0.5  # confidence where a mask is wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("output/ablation"))
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    parser.add_argument("--droploss", nargs="+", choices=["on", "off"], default=["on", "off"])
    parser.add_argument("options", nargs="*", help="KEY VALUE pairs for all runs, e.g. SOLVER.MAX_ITER 400")
    args = parser.parse_args()
    logging.disable(logging.INFO)
    print("| DropLoss | variant | " + " | ".join(f"mask {metric}" for metric in METRICS) + " | box AP50 |")
    print("|---|---|" + "---:|" * (len(METRICS) + 1))
    for droploss in args.droploss:
        for name in args.variants:
            runs = [run(name, droploss, seed, args) for seed in range(args.seeds)]
            columns = [[metrics["segm"][metric] for metrics in runs] for metric in METRICS]
            columns.append([metrics["bbox"]["AP50"] for metrics in runs])
            print(f"| {droploss} | {name} | " + " | ".join(map(spread, columns)) + " |", flush=True)


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.1f} ± {deviation:.1f}"


def run(name: str, droploss: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Return the metrics of one training; a finished run is read from disk."""
    folder = args.output / f"{name.replace(' ', '_')}-droploss_{droploss}-{seed}"
    if (folder / "figures.json").is_file():
        return json.loads((folder / "figures.json").read_text())
    base = ["OUTPUT_DIR", str(folder), "SEED", str(seed), "MODEL.ROI_HEADS.USE_DROPLOSS", str(droploss == "on")]
    options = [*base, "ENGINE", "builtin", *VARIANTS[name], *args.options]
    cfg = load_cfg(RECIPE, options)
    images, annotations = ensure_synthetic(cfg, "train")
    labels = args.output / f"labels-{seed}.json"
    write_json(labels, noisy(read_coco(annotations), np.random.default_rng(seed)))
    cfg = load_cfg(RECIPE, [*options, "DATASETS.TRAIN", repr((f"{labels}::{images}",))])
    engine = select_engine(cfg.ENGINE)
    weights = train(engine, cfg, resume=True)
    scores = evaluate_detector(engine, cfg, weights=str(weights), dataset="synthetic_val", output=folder / "val")
    write_json(folder / "figures.json", scores.metrics)
    return scores.metrics


def noisy(truth: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Return the ground truth with the errors of pseudo-masks, and the confidence of an oracle."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth.images}
    kept = []
    for annotation in truth.annotations:
        if rng.random() < MISSING:
            continue
        right = decode_mask(annotation["segmentation"], *sizes[annotation["image_id"]])
        mask = worse(right, rng) if rng.random() < WRONG else right
        if not mask.any():
            continue
        x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
        confidence = np.where(mask, np.where(right, 1.0, LEAST), 0.0)
        entry = {"id": len(kept) + 1, "image_id": annotation["image_id"], "category_id": 1, "iscrowd": 0, "score": 1.0}
        entry |= {"bbox": [x, y, width, height], "area": int(mask.sum()), "segmentation": encode_mask(mask)}
        kept.append(entry | {"confidence": encode_confidence(cv2.resize(confidence, (60, 60), interpolation=3))})
    return {"images": truth.images, "annotations": kept, "categories": [{"id": 1, "name": "fg"}]}


def worse(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dilate, erode or shift a mask ``(H, W)`` bool."""
    reach = int(rng.integers(2, REACH + 1))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    kind = rng.integers(3)
    if kind < 2:
        change = cv2.dilate if kind == 0 else cv2.erode
        return change(mask.view(np.uint8), disc) > 0
    angle = rng.uniform(0, 2 * np.pi)
    move = np.float32([[1, 0, reach * np.cos(angle)], [0, 1, reach * np.sin(angle)]])
    return cv2.warpAffine(mask.view(np.uint8), move, mask.shape[::-1], flags=cv2.INTER_NEAREST) > 0


if __name__ == "__main__":
    main()
