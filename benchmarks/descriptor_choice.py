"""Quality of MaskCut's masks for variants of the weight-free descriptors: the table of ``docs/descriptors.md``.

Run with ``python benchmarks/descriptor_choice.py --data FOLDER``. Every variant goes through the default
pipeline (480 px, patch 8, MaskCut with three masks, guided filter); only the descriptor differs. Metrics are
class-agnostic, on masks, in percent: mean best IoU of a ground-truth object, recall at IoU .5, and AP50.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from unseg_d2.config import load_cfg
from unseg_d2.data.coco import encode_mask, read_coco, read_json
from unseg_d2.data.images import read_image
from unseg_d2.evaluation.best_iou import best_ious
from unseg_d2.evaluation.class_agnostic import evaluate
from unseg_d2.features.descriptors import Descriptors, DescriptorSettings
from unseg_d2.pseudo.geometry import network_input
from unseg_d2.pseudo.pipeline import build_pipeline

PLAIN = {"reference": "image", "bandwidth": 0.0}  # whitened over the whole image, compared by plain cosine
VARIANTS: dict[str, dict[str, float | str]] = {
    "chosen": {},
    "colour + texture + orientation, plain cosine": {**PLAIN, "texture": 1.0, "orientation": 1.0},
    "colour, plain cosine": PLAIN,
    "whitened by the whole image, bandwidth .5": {"reference": "image", "bandwidth": 0.5},
    "whitened by the whole image, bandwidth .8": {"reference": "image", "bandwidth": 0.8},
    "bandwidth 1": {"bandwidth": 1.0},
    "bandwidth 2": {"bandwidth": 2.0},
    "bandwidth 3": {"bandwidth": 3.0},
    "ridge .003": {"ridge": 0.003},
    "ridge .03": {"ridge": 0.03},
    "smoothed, sigma .7 patches": {"smoothing": 0.7},
    "with texture, weight .5": {"texture": 0.5},
    "with orientation, weight .5": {"orientation": 0.5},
    "palette of 32": {"palette": 32},
    "palette of 128": {"palette": 128},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds synth3d_dev and coco_dev")
    parser.add_argument("--sets", nargs="+", default=["synth3d_dev", "coco_dev"])
    parser.add_argument("--every", type=int, default=1, help="take every n-th image only")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), help="names of the table, or key=value,...")
    args = parser.parse_args()
    print("| descriptor | images | best IoU | recall .5 | AP50 | masks / image | ms / descriptor |")
    print("|---|---|---|---|---|---|---|")
    for name in args.variants:
        options = VARIANTS[name] if name in VARIANTS else parse(name)
        for folder in args.sets:
            measure(name, DescriptorSettings(**options), args.data / folder, args.every)


def parse(text: str) -> dict[str, float | str]:
    """Return ``"bandwidth=2,palette=32"`` as keyword arguments of the right types."""
    pairs = [part.split("=") for part in text.split(",")]
    return {key: type(getattr(DescriptorSettings(), key))(value) for key, value in pairs}


def measure(name: str, settings: DescriptorSettings, folder: Path, every: int) -> None:
    """Print the rows of one variant on one set: all images and, if marked, those of one colour and the others."""
    truth = read_coco(folder / "instances.json")
    images = sorted(truth.images, key=lambda image: image["file_name"])[::every]
    features = Descriptors(8, settings)
    cfg = load_cfg(None, ["FEATURES.NAME", "descriptors", "REFINE.NAME", "guided"])
    pipeline = replace(build_pipeline(cfg), features=features)
    about = {image["file_name"]: image for image in read_json(folder / "instances.json")["images"]}
    results, seconds = [], 0.0
    for image in images:
        pixels = read_image(folder / "images" / image["file_name"])
        for mask in pipeline([pixels])[0]:
            results.append({"image_id": image["id"], "segmentation": encode_mask(mask.mask), "score": mask.score})
        resized = network_input(pixels, 8, cfg.FEATURES.RESIZE, cfg.FEATURES.IMAGE_SIZE).image
        started = time.process_time()
        features([resized])
        seconds += time.process_time() - started
    groups: dict[str, Callable[[dict], bool]] = {folder.name: lambda image: True}
    if any("one_colour" in image for image in about.values()):
        groups["- one colour"] = lambda image: about[image["file_name"]]["one_colour"]
        groups["- many colours"] = lambda image: not about[image["file_name"]]["one_colour"]
    for group, belongs in groups.items():
        part = [image for image in images if belongs(image)]
        if not part:
            continue
        best, recall, ap50, count = metrics(part, truth.annotations, results)
        cost = f"{1000 * seconds / len(images):.0f}"
        print(f"| {name} | {group} | {best:.1f} | {recall:.1f} | {ap50:.1f} | {count:.1f} | {cost} |", flush=True)


def metrics(images: list[dict], annotations: list[dict], results: list[dict]) -> tuple[float, float, float, float]:
    """Return mean best IoU, recall at .5 and AP50 in percent, and masks per image, of some of the images."""
    ids = {image["id"] for image in images}
    annotations = [annotation for annotation in annotations if annotation["image_id"] in ids]
    results = [result for result in results if result["image_id"] in ids]
    scores = evaluate({"images": images, "annotations": annotations}, results, ("segm",))["segm"]
    best = best_ious({"images": images, "annotations": annotations}, results)
    return 100 * float(np.mean(best)), scores["Recall50"], scores["AP50"], len(results) / len(images)


if __name__ == "__main__":
    main()
