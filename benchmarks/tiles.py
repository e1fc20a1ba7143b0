"""Small objects in large images: the whole image, a larger input of the network, and tiles.

    python benchmarks/tiles.py --weights FILE [--images 16] [--tile 160]

Each image is 480x640 px and put together from 16 synthetic scenes of 120x160 px with up to seven objects each; most of
these are small in COCO's sense, below 32x32 px. The detector is that of ``configs/quickstart.yaml``, whose network sees
images with a shorter side of 128 px: the whole image at that size, the whole image at the size at which the tiles are
seen, and tiles of --tile px.

Metrics are class-agnostic, on masks, in percent, with up to 500 results per image; beside them the difference to the
first row, with 95 % intervals by a paired bootstrap over images, and the processor time of one thread.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from unseg_d2.config import load_cfg
from unseg_d2.data.synthetic.dataset import synthetic_scene
from unseg_d2.detectors.detector import Detector
from unseg_d2.detectors.prediction import Prediction
from unseg_d2.detectors.tiles import Tiling
from unseg_d2.rle import encode_mask

SCENE, GRID = (120, 160), 4
METRICS = ("AP small", "AP medium", "AP", "AR small")
MOST = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="detector of configs/quickstart.yaml")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--tile", type=int, default=160, help="side of a tile, px of the image")
    parser.add_argument("--overlap", type=float, default=0.2)
    parser.add_argument("--resamples", type=int, default=1000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    images, truth = scenes(args.images)
    small = sum(annotation["area"] < 32**2 for annotation in truth["annotations"])
    print(f"{args.images} images, {len(truth['annotations'])} objects, {small} of them small", flush=True)
    print("| | " + " | ".join(METRICS) + " | processor s / image |\n|---|" + "---:|" * (len(METRICS) + 1), flush=True)
    first = None
    for name, predict in arms(args).items():
        started = time.process_time()
        results = [result for prediction in predict(images) for result in prediction.to_coco()]
        seconds = (time.process_time() - started) / len(images)
        evaluator = evaluate(truth, results)
        first = first or evaluator
        cells = [cell(*values) for values in zip(metrics(evaluator), *interval(first, evaluator, args.resamples))]
        print(f"| {name} | " + " | ".join(cells) + f" | {seconds:.2f} |", flush=True)


def scenes(count: int) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Return images put together from scenes, and their objects as COCO."""
    cfg = load_cfg("configs/quickstart.yaml", ["SYNTHETIC.SIZE", str(SCENE), "SYNTHETIC.NUM_VAL", str(count * GRID**2)])
    images, annotations = [], []
    for number in range(count):
        image = np.zeros((GRID * SCENE[0], GRID * SCENE[1], 3), np.uint8)
        for place in range(GRID**2):
            scene = synthetic_scene(cfg, "val", number * GRID**2 + place)
            top, left = place // GRID * SCENE[0], place % GRID * SCENE[1]
            image[top : top + SCENE[0], left : left + SCENE[1]] = scene.image
            for instance in range(1, len(scene.shapes) + 1):
                mask = np.zeros(image.shape[:2], bool)
                mask[top : top + SCENE[0], left : left + SCENE[1]] = scene.instances == instance
                about = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 0}
                annotations.append({**about, "area": int(mask.sum()), "segmentation": encode_mask(mask)})
        images.append(image)
    entries = [{"id": n, "height": image.shape[0], "width": image.shape[1]} for n, image in enumerate(images)]
    return images, {"images": entries, "annotations": annotations, "categories": [{"id": 1, "name": "object"}]}


def arms(args: argparse.Namespace) -> dict[str, Callable[[Iterable[np.ndarray]], Iterator[Prediction]]]:
    """Return the ways of predicting."""
    base: tuple[Any, ...] = ("ENGINE", "builtin", "MODEL.DEVICE", "cpu", "TEST.DETECTIONS_PER_IMAGE", MOST)
    base += ("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.05, "INPUT.MIN_SIZE_TEST", 128, "INPUT.MAX_SIZE_TEST", 256)
    height = round(128 * GRID * SCENE[0] / args.tile)
    larger = ("INPUT.MIN_SIZE_TEST", height, "INPUT.MAX_SIZE_TEST", 2 * height, "MODEL.RPN.POST_NMS_TOPK_TEST", 2000)
    plain = Detector.load(args.weights, *base, recipe="configs/quickstart.yaml")
    found = {
        "whole image": plain.stream,
        f"input enlarged to {height} px": Detector.load(
            args.weights, *base, *larger, recipe="configs/quickstart.yaml"
        ).stream,
        f"tiles of {args.tile} px": Detector.load(
            args.weights, *base, recipe="configs/quickstart.yaml", tiles=Tiling(args.tile, args.overlap)
        ).stream,
    }
    return found


def evaluate(truth: dict[str, Any], results: list[dict[str, Any]]) -> COCOeval:
    """Match results with the truth, by masks."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluator = COCOeval(coco, coco.loadRes([{**result, "category_id": 1} for result in results]), "segm")
        evaluator.params.maxDets = [MOST]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


def metrics(evaluator: COCOeval) -> np.ndarray:
    """Return `METRICS` of what was accumulated last, in percent."""
    precision, recall = (evaluator.eval[name] for name in ("precision", "recall"))
    found = [precision[..., 1, 0], precision[..., 2, 0], precision[..., 0, 0], recall[..., 1, 0]]
    return np.array([100 * values[values > -1].mean() if (values > -1).any() else np.nan for values in found])


def interval(first: COCOeval, other: COCOeval, resamples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the difference of each metric to the first row, and the ends of its interval."""
    rng, count, matches = np.random.default_rng(0), len(first.params.imgIds), [first.evalImgs, other.evalImgs]
    difference = metrics(other) - metrics(first)
    if first is other:
        return difference, difference, difference
    rises = []
    for _ in range(resamples):
        chosen, pair = rng.integers(count, size=count), []
        for evaluator, kept in zip((first, other), matches):
            areas = len(evaluator.params.areaRng)
            evaluator.evalImgs = [kept[area * count + image] for area in range(areas) for image in chosen]
            with contextlib.redirect_stdout(io.StringIO()):
                evaluator.accumulate()
            pair.append(metrics(evaluator))
        rises.append(pair[1] - pair[0])
    for evaluator, kept in zip((first, other), matches):
        evaluator.evalImgs = kept
        with contextlib.redirect_stdout(io.StringIO()):
            evaluator.accumulate()
    low, high = np.nanpercentile(rises, [2.5, 97.5], axis=0)
    return difference, low, high


def cell(value: float, difference: float, low: float, high: float) -> str:
    """Return a metric with its difference to the first row.

    >>> cell(12.34, 0, 0, 0), cell(12.34, 2.0, 1.04, 3.06)
    ('12.3', '12.3 (+2.0 [+1.0, +3.1])')
    """
    return f"{value:.1f}" + ("" if low == high == 0 else f" ({difference:+.1f} [{low:+.1f}, {high:+.1f}])")


if __name__ == "__main__":
    main()
