"""Time of the libraries that match predictions with ground truth, and whether their metrics agree to six digits.

    python benchmarks/evaluation.py [--images 2000] [--repeats 3]

All get the same synthetic ground truth (6.5 objects per image, 2 % crowd regions) and 20 results per image, ellipses in
images of 480x640 pixels, and run through `unseg_d2.evaluation.class_agnostic.evaluate`, including conversions. Exits
with status 1 if metrics differ or a bar is missed.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from unseg_d2.evaluation.backends import BACKENDS  # noqa: E402
from unseg_d2.evaluation.class_agnostic import ClassAgnosticSettings, evaluate  # noqa: E402
from unseg_d2.rle import encode_mask  # noqa: E402

HEIGHT, WIDTH = 480, 640
MIN_SPEEDUP = {"hotcoco": 3.0, "faster_coco_eval": 1.3}
TOLERANCE = 1e-6  # percent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000, help="images of the synthetic set")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the fastest counts")
    args = parser.parse_args()
    truth, results = synthetic(args.images)
    print(
        f"{args.images} images, {len(truth['annotations'])} objects, {len(results)} results; fastest of {args.repeats}"
    )
    installed = [name for name in reversed(BACKENDS) if importlib.util.find_spec(name)]
    passed, slowest = True, {}
    print(f"{'':18}{'kind':>6}{'seconds':>9}{'ratio':>7}{'bar':>6}   largest difference to pycocotools, percent")
    for kind in ("bbox", "segm"):
        expected = None
        for name in installed:
            seconds, metrics = timed(truth, results, kind, name, args.repeats)
            expected = expected or metrics
            slowest.setdefault(kind, seconds)
            ratio, bar = slowest[kind] / seconds, MIN_SPEEDUP.get(name, 1.0) if kind == "segm" else None
            apart = difference(metrics, expected)
            passed &= apart <= TOLERANCE and (bar is None or ratio >= bar)
            print(f"{name:18}{kind:>6}{seconds:9.2f}{ratio:6.1f}x{f'{bar:.1f}x' if bar else '-':>6}   {apart:.1e}")
    print("PASSED" if passed else "FAILED")
    return 0 if passed else 1


def timed(truth: dict, results: list[dict], kind: str, backend: str, repeats: int) -> tuple[float, dict[str, float]]:
    """Return the seconds of the fastest run, and the metrics."""
    seconds = math.inf
    for _ in range(repeats):
        start = time.perf_counter()
        metrics = evaluate(truth, results, (kind,), ClassAgnosticSettings(backend=backend))[kind]
        seconds = min(seconds, time.perf_counter() - start)
    return seconds, metrics


def difference(metrics: dict[str, float], expected: dict[str, float]) -> float:
    """Return the largest difference; infinite if only one side has a metric."""
    apart = 0.0
    for name, value in expected.items():
        if math.isnan(value) != math.isnan(metrics[name]):
            return math.inf
        apart = max(apart, 0.0 if math.isnan(value) else abs(value - metrics[name]))
    return apart


def synthetic(images: int) -> tuple[dict, list[dict]]:
    """Return ellipses as ground truth, and shifted copies of them and others as results."""
    rng = np.random.default_rng(0)
    truth, results = {"images": [], "annotations": []}, []
    for image in range(1, images + 1):
        truth["images"].append({"id": image, "height": HEIGHT, "width": WIDTH})
        shapes = [random_ellipse(rng) for _ in range(rng.integers(1, 13))]
        for shape in shapes:
            crowd = int(rng.random() < 0.02)
            truth["annotations"].append({"image_id": image, "segmentation": ellipse(*shape), "iscrowd": crowd})
        for _ in range(20):
            shape = shapes[rng.integers(len(shapes))] if rng.random() < 0.6 else random_ellipse(rng)
            moved = np.maximum(np.array(shape) * rng.normal(1, 0.08, 4), 1)
            results.append({"image_id": image, "segmentation": ellipse(*moved), "score": float(rng.random())})
    return truth, results


def random_ellipse(rng: np.random.Generator) -> tuple[float, ...]:
    """Return centre and semi-axes, in pixels."""
    size = float(np.exp(rng.uniform(np.log(8), np.log(160))))
    return rng.uniform(0, HEIGHT), rng.uniform(0, WIDTH), size, size * rng.uniform(0.5, 2)


def ellipse(y: float, x: float, height: float, width: float) -> dict:
    """Return the run lengths of an ellipse with at least one pixel in the image."""
    y, x = min(y, HEIGHT - 1), min(x, WIDTH - 1)
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    mask = ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 <= 1
    mask[int(y), int(x)] = True
    return encode_mask(mask)


if __name__ == "__main__":
    sys.exit(main())
