"""Masks on the features of the package index, against descriptors: the tables of ``docs/offline.md``.

    python benchmarks/offline_features.py --data FOLDER [--choose] [--every 4] [--maps FOLDER]

The images of a set, sorted by name, are dealt out in turn: settings are chosen on the first, third, fifth ...
(``--choose`` prints every candidate on them), and the second, fourth ... are reported. Everything goes through
the pipeline of ``unseg-d2 generate-masks``; an image's features are computed once for all rows that share them. Metrics
are class-agnostic, on masks, in percent: objects found at IoU .5, mean best IoU of an object, AR100, AP50. What follows
± is half of the 95 % interval of a bootstrap over images; the last line of a set compares its first row with its last,
image by image. Seconds are processor time per image, one thread (set OMP_NUM_THREADS=1). Results of an image are kept
in --output, so that the same command resumes; --maps also keeps features, in float16, for trying other settings.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from generators import load
from PIL import Image

from unseg_d2.config import load_cfg
from unseg_d2.data.coco import encode_mask
from unseg_d2.evaluation.best_iou import best_ious
from unseg_d2.evaluation.class_agnostic import evaluate
from unseg_d2.pseudo.geometry import NetworkInput, network_input
from unseg_d2.pseudo.pipeline import MaskPipeline, best, build_pipeline
from unseg_d2.structures import PatchFeatures

DESCRIPTORS = ["FEATURES.NAME", "descriptors"]
CNN = ["FEATURES.NAME", "cnn", "FEATURES.WEIGHTS", "zoo:efficientnet_lite0"]


def cnn(side: int, strides: str, patch: int, radius: int, *options: str) -> list[str]:
    """Return options of the offline backbone; the guided filter's radius is in pixels of the resized image."""
    size = ["FEATURES.IMAGE_SIZE", str(side), "FEATURES.CNN.STRIDES", strides, "FEATURES.CNN.PATCH_SIZE", str(patch)]
    return [*CNN, *size, "REFINE.GUIDED.RADIUS", str(radius), *options]


def tokencut(tau: float, side: str = "peak") -> list[str]:
    """Return options of TokenCut."""
    return ["MASKS.GENERATOR", "tokencut", "MASKS.TOKENCUT.TAU", str(tau), "MASKS.TOKENCUT.SIDE", side]


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
COARSE = {
    "30x30, 960 px, 16+32": cnn(960, "(16, 32)", 32, 24),
    "30x30, 960 px, 32": cnn(960, "(32,)", 32, 24),
    "30x30, 480 px, 16": cnn(480, "(16,)", 16, 12),
}
AT_IMAGE = ["REFINE.WHERE", "image", "REFINE.UPSAMPLE", "bilinear", "REFINE.MIN_IOU", "0.0"]
REFINERS = {
    "guided": [],
    "bilateral": ["REFINE.NAME", "bilateral", *AT_IMAGE],
    "none": ["REFINE.NAME", "none"],
}
CANDIDATES: dict[str, dict[str, tuple[str, list[str]]]] = {
    "ecssd_dev": {
        f"TokenCut, {where}, tau {tau}, {side}, {refiner}": ("", [*options, *tokencut(tau, side), *refine])
        for where, options in (INPUTS | COARSE).items()
        for tau in (0.1, 0.2, 0.3)
        for side in ("peak", "border")
        for refiner, refine in REFINERS.items()
    },
    "coco_dev": {
        f"ProMerge, {where}, tau {tau}, likeness {likeness}": ("", [*options, *promerge(tau, likeness)])
        for where, options in INPUTS.items()
        for tau in (0.4, 0.5, 0.6)
        for likeness in (0.2, 0.3, 0.5)
    },
}
"""Rows of the half that settings are chosen on."""


def options_of(description: str, sets: Collection[str], folder: str) -> argparse.ArgumentParser:
    """Return the parser of a benchmark that chooses settings on one half of the images and reports the other."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds ecssd_dev and coco_dev")
    parser.add_argument("--sets", nargs="+", default=list(sets))
    parser.add_argument("--choose", action="store_true", help="the candidates, on the half that settings are chosen on")
    parser.add_argument("--every", type=int, default=1, help="take every n-th image of the half only")
    parser.add_argument("--output", type=Path, default=Path("output") / folder)
    return parser


def main() -> None:
    parser = options_of(__doc__ or "", REPORTED, "bench-offline-features")
    parser.add_argument("--maps", type=Path, help="folder to keep features in; they are rounded to float16")
    args = parser.parse_args()
    rows = CANDIDATES if args.choose else REPORTED
    print("| masks | set | images | masks / image | found at .5 | best IoU | AR100 | AP50 | s / image |")
    print("|---|---|" + "---:|" * 7)
    for name in args.sets:
        folder, _, truth, _ = load(name, args.data, None)
        listed = sorted(truth["images"], key=lambda image: image["file_name"])
        images = listed[0 if args.choose else 1 :: 2][:: args.every]
        results, seconds = measure(rows[name], images, folder, args.output, args.maps)
        contents = [content_of(image, truth) for image in images]
        recalls = {}
        for row, found in results.items():
            recalls[row] = recall(contents, found)
            values = cells(contents, found, recalls[row], seconds[row])
            print(f"| {row} | {name} | {len(images)} | " + " | ".join(values) + " |", flush=True)
        first, *_, last = recalls
        print(f"\nAR100 of '{last}' over that of '{first}': " + ratio(recalls[last], recalls[first]) + "\n")


def measure(
    rows: dict[str, tuple[str, list[str]]], images: list[dict], folder: Path, output: Path, maps: Path | None
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, float]]:
    """Return the results of each row on all images, and its processor time."""
    pipelines: dict[str, MaskPipeline] = {}
    keys: dict[str, str] = {}
    groups: dict[str, list[str]] = {}
    for row, (recipe, options) in rows.items():
        cfg = load_cfg(recipe or None, [*options, "FEATURES.DEVICE", "cpu"])
        pipelines[row] = build_pipeline(cfg)
        groups.setdefault(cfg.FEATURES.dump(), []).append(row)
        keys[row] = hashlib.sha256((pipelines[row].features.checksum + cfg.dump()).encode()).hexdigest()[:16]
    output.mkdir(parents=True, exist_ok=True)
    results: dict[str, list[dict[str, Any]]] = {row: [] for row in rows}
    seconds = dict.fromkeys(rows, 0.0)
    for image in images:
        for group, members in groups.items():
            files = {row: output / f"{keys[row]}-{Path(image['file_name']).stem}.json" for row in members}
            missing = [row for row in members if not files[row].is_file()]
            if missing:
                checksum = hashlib.sha256((pipelines[missing[0]].features.checksum + group).encode()).hexdigest()[:16]
                kept = maps / checksum / f"{Path(image['file_name']).stem}.pt" if maps else None
                cut({row: pipelines[row] for row in missing}, folder / image["file_name"], files, kept)
            for row in members:
                found = json.loads(files[row].read_text())
                results[row] += [item | {"image_id": image["id"]} for item in found["masks"]]
                seconds[row] += found["seconds"]
    return results, seconds


def content_of(image: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    """Return the ground truth of one image."""
    return {"images": [image], "annotations": [a for a in truth["annotations"] if a["image_id"] == image["id"]]}


def cut(pipelines: dict[str, MaskPipeline], path: Path, files: dict[str, Path], kept: Path | None) -> None:
    """Write the masks of pipelines that share their features, for one image."""
    image = np.array(Image.open(path).convert("RGB"))
    view, features, shared = describe(next(iter(pipelines.values())), image, kept)
    for row, pipeline in pipelines.items():
        started = time.process_time()
        proposals = best(pipeline.generator([features])[0], pipeline.max_proposals)
        masks = pipeline.post_process(image, view, proposals)
        seconds = shared + time.process_time() - started
        items = [{"segmentation": encode_mask(mask.mask), "score": mask.score, "category_id": 1} for mask in masks]
        files[row].write_text(json.dumps({"seconds": seconds, "masks": items}))


def describe(pipeline: MaskPipeline, image: np.ndarray, kept: Path | None) -> tuple[NetworkInput, PatchFeatures, float]:
    """Return how the network sees an image, its features, and the processor time that these took."""
    if kept is not None and kept.is_file():
        tokens, seconds = torch.load(kept, weights_only=True)
        patch = pipeline.features.patch_size
        view = network_input(image, patch, pipeline.resize, pipeline.image_size)
        return view, PatchFeatures(tokens.float(), patch), seconds
    started = time.process_time()
    (view,), (features,) = pipeline.describe([image])
    seconds = time.process_time() - started
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        torch.save((features.tokens.half(), seconds), kept)
        features = replace(features, tokens=features.tokens.half().float())
    return view, features, seconds


def recall(contents: list[dict[str, Any]], results: list[dict[str, Any]]) -> np.ndarray:
    """Return the objects of each image, and how many of them count for AR100 and are found, ``(images, 3)``.

    A recall is a share of the objects of all images, and each is matched within its image.
    """
    rows = []
    for content in contents:
        count = sum(not item.get("iscrowd") for item in content["annotations"])
        mine = [item for item in results if item["image_id"] == content["images"][0]["id"]]
        scores = evaluate(content, mine, ("segm",))["segm"] if count and mine else {"AR100": 0.0, "Recall50": 0.0}
        rows.append([count, count * scores["AR100"] / 100, count * scores["Recall50"] / 100])
    return np.array(rows)


def samples(count: int) -> np.ndarray:
    """Return images drawn with replacement, ``(2000, count)``: the same for all rows of a set."""
    return np.random.default_rng(0).integers(0, count, (2000, count))


def with_interval(recalls: np.ndarray, column: int) -> str:
    """Return a recall in percent with half of its interval."""
    drawn = recalls[samples(len(recalls))].sum(1)
    low, high = np.percentile(100 * drawn[:, column] / drawn[:, 0], (2.5, 97.5))
    total = recalls.sum(0)
    return f"{100 * total[column] / total[0]:.1f} ± {(high - low) / 2:.1f}"


def ratio(first: np.ndarray, second: np.ndarray) -> str:
    """Return the ratio of two AR100 with its 95 % interval over the same images."""
    drawn = samples(len(first))
    sums = first[drawn, 1].sum(1), second[drawn, 1].sum(1)
    low, high = np.percentile(sums[0] / np.maximum(sums[1], 1e-9), (2.5, 97.5))
    return f"{first[:, 1].sum() / max(second[:, 1].sum(), 1e-9):.1f} ({low:.1f} to {high:.1f})"


def cells(
    contents: list[dict[str, Any]], results: list[dict[str, Any]], recalls: np.ndarray, seconds: float
) -> list[str]:
    """Return the numbers of a row."""
    whole = {key: [item for content in contents for item in content[key]] for key in ("images", "annotations")}
    scores = evaluate(whole, results, ("segm",))["segm"]
    count = len(contents)
    found, average = with_interval(recalls, 2), with_interval(recalls, 1)
    best_iou = 100 * float(best_ious(whole, results).mean())
    return [
        f"{len(results) / count:.1f}",
        found,
        f"{best_iou:.1f}",
        average,
        f"{scores['AP50']:.1f}",
        f"{seconds / count:.2f}",
    ]


if __name__ == "__main__":
    main()
