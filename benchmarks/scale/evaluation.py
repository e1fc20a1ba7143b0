"""Memory and processor time of scoring many images, with ground truth and results that are made up as they are read.

    python benchmarks/scale/evaluation.py [--images 10000] [--detections 100] [--in-memory]

Each measurement runs in a process of its own. ``--in-memory`` first collects everything, as where a list is given.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from peak_memory import in_own_process, resident  # noqa: E402

from unseg_d2.config import get_cfg  # noqa: E402
from unseg_d2.evaluation.registry import EVALUATORS  # noqa: E402
from unseg_d2.rle import encode_mask  # noqa: E402

HEIGHT, WIDTH = 480, 640
OBJECTS = 7  # per image
SHAPES, SHIFTS = 60, 9
EVALUATED = ("class_agnostic", "best_iou")  # as `evaluate detection` does
CHUNK = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[10_000], help="images of the set")
    parser.add_argument("--detections", type=int, default=100, help="results of each image")
    parser.add_argument("--in-memory", action="store_true", help="collect everything before it is scored")
    args = parser.parse_args()
    print(f"{'images':>8}{'results':>9}{'GB':>7}{'bytes per result':>18}{'processor s':>13}  mask AP")
    for images in args.images:
        row = in_own_process(evaluation_case, images, args.detections, args.in_memory)
        count, grown = images * args.detections, row["peak_bytes"] - row["start_bytes"]
        print(
            f"{images:>8}{count:>9}{row['peak_bytes'] / 1e9:7.2f}{grown / count:18.0f}{row['processor_seconds']:13.1f}"
            f"  {row['mask_ap']:.9f}",
            flush=True,
        )


def evaluation_case(num_images: int, detections: int, in_memory: bool = False) -> dict[str, float]:
    """Score boxes and masks of made-up results; to be called in a process of its own.

    Args:
        num_images: images of the set.
        detections: results of each.
        in_memory: collect everything before it is scored.

    Returns:
        Peak of the resident memory in bytes, that before the first image was made, processor seconds, and the mask AP.
    """
    evaluators = {name: EVALUATORS.build(get_cfg(), name) for name in EVALUATED}
    shapes = pool()
    start, begun = time.process_time(), resident()
    chunks = fabricated(num_images, detections, shapes)
    if in_memory:
        from unseg_d2.evaluation.scores import score

        truth: dict[str, Any] = {"images": [], "annotations": []}
        results: list[dict[str, Any]] = []
        for content, found in chunks:
            truth = {name: truth[name] + content[name] for name in truth}
            results += found
        scores = score(truth, results, evaluators)
    else:
        from unseg_d2.evaluation.scores import score_stream

        scores = score_stream(chunks, evaluators, masks_missing="")
    return {
        "peak_bytes": resident("VmHWM"),
        "start_bytes": begun,
        "processor_seconds": time.process_time() - start,
        "mask_ap": scores.metrics["segm"]["AP"],
    }


def fabricated(
    num_images: int, detections: int, shapes: list[list[dict[str, Any]]]
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yield images with objects and results, half of which are shifted copies of an object."""
    rng = np.random.default_rng(0)
    for first in range(0, num_images, CHUNK):
        ids = range(first, min(first + CHUNK, num_images))
        annotations, results = [], []
        for key in ids:
            objects = rng.choice(len(shapes), OBJECTS, replace=False)
            annotations += [{"image_id": key, "iscrowd": 0, **copied(shapes[shape][0])} for shape in objects]
            found = np.where(
                rng.random(detections) < 0.5, rng.choice(objects, detections), rng.choice(len(shapes), detections)
            )
            shifts, sure = rng.integers(SHIFTS, size=detections), rng.random(detections)
            results += [
                {"image_id": key, "category_id": 1, "score": float(score), **copied(shapes[shape][shift])}
                for shape, shift, score in zip(found, shifts, sure)
            ]
        yield (
            {"images": [{"id": key, "height": HEIGHT, "width": WIDTH} for key in ids], "annotations": annotations},
            (results),
        )


def copied(item: dict[str, Any]) -> dict[str, Any]:
    """Return a box and a mask that share no memory with others, as those that a file is read into."""
    mask = item["segmentation"]
    return {
        "bbox": [*item["bbox"]],
        "area": item["area"],
        "segmentation": {"size": [*mask["size"]], "counts": mask["counts"].encode().decode()},
    }


def pool() -> list[list[dict[str, Any]]]:
    """Return ellipses, each with shifted copies: box, area and mask of 100 to 1,000 bytes."""
    rng = np.random.default_rng(1)
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    shapes = []
    for _ in range(SHAPES):
        size = np.exp(rng.uniform(np.log(8), np.log(160)))
        shape = np.array([rng.uniform(0, HEIGHT), rng.uniform(0, WIDTH), size, size * rng.uniform(0.5, 2)])
        copies = []
        for shift in range(SHIFTS):
            y, x, height, width = shape * rng.normal(1, 0.02 * shift, 4)
            y, x = np.clip(y, 0, HEIGHT - 1), np.clip(x, 0, WIDTH - 1)
            mask = ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 <= 1
            mask[int(y), int(x)] = True
            ys, xs = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
            box = [float(value) for value in (xs[0], ys[0], xs[-1] - xs[0] + 1, ys[-1] - ys[0] + 1)]
            copies.append({"bbox": box, "area": float(mask.sum()), "segmentation": encode_mask(mask)})
        shapes.append(copies)
    return shapes


if __name__ == "__main__":
    main()
