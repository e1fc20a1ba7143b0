"""Time and memory of the steps of a self-training round on fabricated label sets of any number of images.

    python benchmarks/scale/rounds.py [CASE ...] [--images 10000 20000] [--folder /tmp/rounds]

Each image of 480x640 pixels has 3 masks (run lengths of about 770 characters) and 30 detections (about 530); pictures
are empty files, and the detector is a list of finished detections. Each case runs in a process of its own; what it is
given is made before, in another one. Printed are seconds of this machine, processor seconds, and the largest memory
beyond what imports take.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from unseg_d2.config import load_cfg  # noqa: E402
from unseg_d2.data.catalog import load_dataset  # noqa: E402
from unseg_d2.detectors.prediction import Prediction  # noqa: E402
from unseg_d2.pseudo.merge import merge_files  # noqa: E402
from unseg_d2.rle import encode_mask  # noqa: E402
from unseg_d2.training.prediction import predict_to_file  # noqa: E402
from unseg_d2.training.score_masks import score_masks as score_label_set  # noqa: E402

HEIGHT, WIDTH = 480, 640
MASKS, DETECTIONS = 3, 30
WITH_TRUTH = 5_000
"""Images that have ground truth, spread over all."""


class ListedEngine:
    """An engine without a network: what it finds in an image follows from the image's id."""

    name = "listed"

    def __init__(self, shapes: int = DETECTIONS * 40) -> None:
        self.pool = pool(11, shapes)

    def launch(self, main: Callable[..., None], num_processes: int, args: Sequence[Any], machines: Any = None) -> None:
        """Call the function in this process."""
        main(*args)

    def predict(self, cfg: Any, records: Sequence[dict[str, Any]], *, weights: str) -> Iterator[Prediction]:
        """Yield detections of which a third have a score of 0.79 or more."""
        for record in records:
            chosen = random.Random(record["image_id"]).choices(self.pool, k=DETECTIONS)
            boxes = np.array([box for box, _ in chosen], np.float32)
            boxes[:, 2:] += boxes[:, :2]
            scores = np.linspace(0.99, 0.4, DETECTIONS, dtype=np.float32)
            yield Prediction(record, (HEIGHT, WIDTH), boxes, scores, [rle for _, rle in chosen])


def predicting(folder: Path, num_images: int) -> None:
    """Predict over a label set; the network takes no time."""
    _predict(folder, folder / "again")


def joining(folder: Path, num_images: int) -> None:
    """Resume a prediction of which all parts are there: look through them and write one file."""
    (folder / "predictions" / "predictions.json").unlink(missing_ok=True)
    _predict(folder, folder / "predictions")


def merging(folder: Path, num_images: int) -> None:
    """Merge the predictions with the label set."""
    labels, predictions = folder / "labels.json", folder / "predictions" / "predictions.json"
    merge_files(labels, predictions, folder / "next" / "labels.json", score_threshold=0.7, match_iou=0.5)


def scoring_masks(folder: Path, num_images: int) -> None:
    """Score the label set on the images that have ground truth."""
    score_label_set(folder / "labels.json", folder / "truth.json")


def scoring_results(folder: Path, num_images: int) -> None:
    """Score predictions on the images that have ground truth."""
    score_label_set(folder / "truth_predictions.json", folder / "truth.json")


CASES = (predicting, joining, merging, scoring_masks, scoring_results)


def prepare(folder: Path, num_images: int) -> None:
    """Make the label set, its pictures, the predictions and the ground truth, unless they are there."""
    done = folder / "prepared"
    if done.is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    images = [
        {"id": key, "file_name": _name(key), "height": HEIGHT, "width": WIDTH} for key in range(1, num_images + 1)
    ]
    for image in images:
        path = folder / "images" / image["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    write_coco(folder / "labels.json", images, 5)
    write_coco(folder / "truth.json", images[:: max(num_images // WITH_TRUTH, 1)][:WITH_TRUTH], 7)
    truth = json.loads((folder / "truth.json").read_text())["images"]
    with (folder / "truth_predictions.json").open("w") as file:
        before = "[\n"
        for found in ListedEngine().predict(None, [{"image_id": image["id"]} for image in truth], weights=""):
            for result in found.to_coco():
                file.write(before + json.dumps(result))
                before = ",\n"
        file.write("\n]\n")
    _predict(folder, folder / "predictions")
    done.touch()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [case.__name__ for case in CASES]
    parser.add_argument("cases", nargs="*", default=names, metavar="CASE", help=f"some of {', '.join(names)}")
    parser.add_argument("--images", type=int, nargs="*", default=[10_000, 20_000], help="sizes of label sets")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/rounds"), help="where they are made")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        _run_here(args.cases[0], args.folder, args.images[0])
        return 0
    print(f"{'images':>8}  {'case':16}{'seconds':>9}{'processor':>11}{'memory, MB':>12}")
    for number in args.images:
        folder = args.folder / str(number)
        _run_alone("prepare", folder, number)
        for case in args.cases:
            print(f"{number:8}  {case:16}{_run_alone(case, folder, number)}", flush=True)
    return 0


def _run_alone(case: str, folder: Path, number: int) -> str:
    words = [sys.executable, __file__, case, "--alone", "--images", str(number), "--folder", str(folder)]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.strip("\n")


def _run_here(case: str, folder: Path, number: int) -> None:
    run = globals()[case]
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    run(folder, number)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{seconds:9.1f}{processor:11.1f}{(after.ru_maxrss - before.ru_maxrss) / 1024:12.0f}")


def _predict(folder: Path, output: Path) -> None:
    cfg = load_cfg()
    predict_to_file(ListedEngine(), cfg, load_dataset(str(folder / "labels.json"), cfg), weights="", output=output)


def _name(key: int) -> str:
    return f"n{key // 1000:05d}/{key:08d}.jpg"


def write_coco(
    path: Path, images: list[dict[str, Any]], seed: int, num_shapes: int = 300, info: dict[str, Any] | None = None
) -> None:
    """Write a label set, an entry per line."""
    shapes, chance = pool(seed, num_shapes, largest=1.45), random.Random(seed)
    with path.open("w") as file:
        file.write(f'{{"info":{json.dumps(info or {})},\n')
        file.write('"categories":[{"id":1,"name":"fg"}],\n"images":[\n')
        file.write(",\n".join(json.dumps(image) for image in images) + '\n],\n"annotations":[')
        number = 0
        for image in images:
            for box, rle in chance.choices(shapes, k=MASKS):
                number += 1
                about = {"id": number, "image_id": image["id"], "category_id": 1, "iscrowd": 0, "area": box[2] * box[3]}
                file.write(("," if number > 1 else "") + "\n" + json.dumps(about | {"bbox": box, "segmentation": rle}))
        file.write("\n]}\n")


def pool(seed: int, number: int, largest: float = 1.0) -> list[tuple[list[float], dict[str, Any]]]:
    """Return boxes and run lengths of ellipses with rough edges."""
    rng = np.random.default_rng(seed)
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    found = []
    for _ in range(number):
        y, x = rng.uniform(100, HEIGHT - 100), rng.uniform(150, WIDTH - 150)
        height, width = rng.uniform(20, 110) * largest, rng.uniform(80, 170) * largest
        rough = np.repeat(rng.uniform(0.9, 1.1, WIDTH // 2), 2)[None]
        mask = ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 <= rough
        across, down = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        box = [across[0], down[0], across[-1] - across[0] + 1, down[-1] - down[0] + 1]
        found.append(([float(side) for side in box], encode_mask(mask)))
    return found


if __name__ == "__main__":
    sys.exit(main())
