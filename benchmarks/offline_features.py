"""Masks on the features of the package index, against descriptors: the tables of ``docs/offline.md``.

    python benchmarks/offline_features.py --data ../shared/data [--choose] [--every 4]

The images of a set, sorted by name, are dealt out in turn: settings are chosen on the first, third, fifth ...
(``--choose`` prints every candidate on them), and the second, fourth ... are reported. Everything goes through
the pipeline of ``unseg-d2 generate-masks``; an image's features are computed once for all rows that share them. Metrics
are class-agnostic, on masks, in percent: objects found at IoU .5, mean best IoU of an object, AR100, AP50. Seconds are
processor time per image, one thread. Results of an image are kept in --output, so that the same command resumes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from generators import load
from PIL import Image

from unseg_d2.config import load_cfg
from unseg_d2.data.coco import encode_mask
from unseg_d2.evaluation.best_iou import best_ious
from unseg_d2.evaluation.class_agnostic import evaluate
from unseg_d2.pseudo.pipeline import MaskPipeline, best, build_pipeline

DESCRIPTORS = ["FEATURES.NAME", "descriptors"]
CNN = ["FEATURES.NAME", "cnn", "FEATURES.WEIGHTS", "zoo:efficientnet_lite0"]


def cnn(side: int, strides: str, patch: int, radius: int, *options: str) -> list[str]:
    """Return options of the offline backbone; the guided filter's radius is in pixels of the resized image."""
    size = ["FEATURES.IMAGE_SIZE", str(side), "FEATURES.CNN.STRIDES", strides, "FEATURES.CNN.PATCH_SIZE", str(patch)]
    return [*CNN, *size, "REFINE.GUIDED.RADIUS", str(radius), *options]


def tokencut(tau: float) -> list[str]:
    """Return options of TokenCut."""
    return ["MASKS.GENERATOR", "tokencut", "MASKS.TOKENCUT.TAU", str(tau)]


def maskcut(tau: float) -> list[str]:
    """Return options of MaskCut."""
    return ["MASKS.GENERATOR", "maskcut", "MASKS.MASKCUT.TAU", str(tau)]


def promerge(tau: float, likeness: float) -> list[str]:
    """Return options of ProMerge."""
    values = ["MASKS.PROMERGE.TAU", str(tau), "MASKS.PROMERGE.MAX_LIKENESS", str(likeness)]
    return ["MASKS.GENERATOR", "promerge", *values]


REPORTED: dict[str, dict[str, tuple[str, list[str]]]] = {
    "ecssd_dev": {
        "TokenCut, descriptors": ("", [*DESCRIPTORS, *tokencut(0.2)]),
        "TokenCut, offline": ("offline/tokencut.yaml", []),
    },
    "coco_dev": {
        "MaskCut, descriptors": ("", [*DESCRIPTORS, *maskcut(0.15)]),
        "ProMerge, descriptors": ("", [*DESCRIPTORS, "MASKS.GENERATOR", "promerge"]),
        "ProMerge, offline": ("offline/promerge.yaml", []),
    },
}
"""Rows of the reported half: the name of the row to its recipe and options."""

INPUTS = {
    "960 px, 16+32": cnn(960, "(16, 32)", 16, 12),
    "720 px, 16+32": cnn(720, "(16, 32)", 12, 9),
    "480 px, 16": cnn(480, "(16,)", 8, 6),
}
CANDIDATES: dict[str, dict[str, tuple[str, list[str]]]] = {
    "ecssd_dev": {
        f"TokenCut, {where}, tau {tau}": ("", [*options, *tokencut(tau)])
        for where, options in INPUTS.items()
        for tau in (0.1, 0.2)
    },
    "coco_dev": {
        f"ProMerge, {where}, tau {tau}, likeness {likeness}": ("", [*options, *promerge(tau, likeness)])
        for where, options in INPUTS.items()
        for tau in (0.4, 0.5, 0.6)
        for likeness in (0.2, 0.3, 0.5)
    },
}
"""Rows of the half that settings are chosen on."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds ecssd_dev and coco_dev")
    parser.add_argument("--sets", nargs="+", default=list(REPORTED))
    parser.add_argument("--choose", action="store_true", help="the candidates, on the half that settings are chosen on")
    parser.add_argument("--every", type=int, default=1, help="take every n-th image of the half only")
    parser.add_argument("--output", type=Path, default=Path("output/bench-offline-features"))
    args = parser.parse_args()
    rows = CANDIDATES if args.choose else REPORTED
    print("| masks | set | images | masks / image | found at .5 | best IoU | AR100 | AP50 | s / image |")
    print("|---|---|" + "---:|" * 7)
    for name in args.sets:
        folder, _, truth, _ = load(name, args.data, None)
        listed = sorted(truth["images"], key=lambda image: image["file_name"])
        images = listed[0 if args.choose else 1 :: 2][:: args.every]
        for row, values in measure(rows[name], images, truth, folder, args.output).items():
            print(f"| {row} | {name} | {len(images)} | " + " | ".join(values) + " |", flush=True)


def measure(
    rows: dict[str, tuple[str, list[str]]], images: list[dict], truth: dict, folder: Path, output: Path
) -> dict[str, list[str]]:
    """Return the cells of each row, from the results of its images."""
    pipelines: dict[str, MaskPipeline] = {}
    keys, groups = {}, {}
    for row, (recipe, options) in rows.items():
        cfg = load_cfg(recipe or None, [*options, "FEATURES.DEVICE", "cpu"])
        pipelines[row] = build_pipeline(cfg)
        groups.setdefault(cfg.FEATURES.dump(), []).append(row)
        keys[row] = hashlib.sha256((pipelines[row].features.checksum + cfg.dump()).encode()).hexdigest()[:16]
    output.mkdir(parents=True, exist_ok=True)
    results: dict[str, list[dict[str, Any]]] = {row: [] for row in rows}
    seconds = dict.fromkeys(rows, 0.0)
    for image in images:
        for group in groups.values():
            files = {row: output / f"{keys[row]}-{Path(image['file_name']).stem}.json" for row in group}
            missing = [row for row in group if not files[row].is_file()]
            if missing:
                cut({row: pipelines[row] for row in missing}, folder / image["file_name"], files)
            for row in group:
                found = json.loads(files[row].read_text())
                results[row] += [item | {"image_id": image["id"]} for item in found["masks"]]
                seconds[row] += found["seconds"]
    ids = {image["id"] for image in images}
    content = {"images": images, "annotations": [a for a in truth["annotations"] if a["image_id"] in ids]}
    return {row: cells(content, results[row], seconds[row]) for row in rows}


def cut(pipelines: dict[str, MaskPipeline], path: Path, files: dict[str, Path]) -> None:
    """Write the masks of pipelines that share their features, for one image."""
    image = np.array(Image.open(path).convert("RGB"))
    started = time.process_time()
    (view,), (features,) = next(iter(pipelines.values())).describe([image])
    shared = time.process_time() - started
    for row, pipeline in pipelines.items():
        started = time.process_time()
        proposals = best(pipeline.generator([features])[0], pipeline.max_proposals)
        masks = pipeline.post_process(image, view, proposals)
        seconds = shared + time.process_time() - started
        items = [{"segmentation": encode_mask(mask.mask), "score": mask.score, "category_id": 1} for mask in masks]
        files[row].write_text(json.dumps({"seconds": seconds, "masks": items}))


def cells(content: dict[str, Any], results: list[dict[str, Any]], seconds: float) -> list[str]:
    """Return the numbers of a row."""
    scores = evaluate(content, results, ("segm",))["segm"]
    count = len(content["images"])
    values = [scores["Recall50"], 100 * float(best_ious(content, results).mean()), scores["AR100"], scores["AP50"]]
    return [f"{len(results) / count:.1f}", *(f"{value:.1f}" for value in values), f"{seconds / count:.2f}"]


if __name__ == "__main__":
    main()
