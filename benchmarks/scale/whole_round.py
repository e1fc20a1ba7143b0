"""Every step of a self-training round on as many images as ImageNet has: processor time and memory, in one table.

    nice -n 19 python benchmarks/scale/whole_round.py [STEP ...] [--images 6400 128000] [--labels] [--folder FOLDER]

The images are hard links to a few grey pictures of 480x640 pixels in up to 1,000 class folders. Two parts are replaced:
what finds masks, by three rough ellipses of some 770 characters of run lengths, and the network of the detector, by 30
such detections an image. All else is what the commands run: lists, shards, parts, the merge, loaders, scores, the page.

Each step runs in a process of its own, on what the steps before it have left in the folder. Printed are seconds of one
processor and the largest memory of the process, its imports included; and, by the line through the two largest
numbers, what follows for 1,281,167 images. The ground truth has 5,000 images and the page shows 5,000 in any case,
so the smaller number should be above that. With 128,000 images the folder grows to 8 GB. What
was measured is kept in the folder: steps that are named one after another make one table. ``--labels`` writes the label
set at once, for the steps that only read it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "benchmarks" / "scale")]

from peak_memory import resident  # noqa: E402
from rounds import HEIGHT, MASKS, WIDTH, WITH_TRUTH, ListedEngine, write_coco  # noqa: E402
from stand_in import StandIn, Stopped  # noqa: E402

from unseg_d2.apps.visualize import visualize  # noqa: E402
from unseg_d2.config import edited, load_cfg  # noqa: E402
from unseg_d2.data.catalog import load_dataset  # noqa: E402
from unseg_d2.detectors.training_data import loaders_of, training_records  # noqa: E402
from unseg_d2.pseudo.generate import generate_label_set  # noqa: E402
from unseg_d2.pseudo.inputs import list_inputs  # noqa: E402
from unseg_d2.pseudo.label_set import export  # noqa: E402
from unseg_d2.training.next_labels import merge_round, predict_round  # noqa: E402
from unseg_d2.training.score_masks import score_masks  # noqa: E402

IMAGENET, BAR = 1_281_167, 4_000.0
"""Images of ImageNet, and megabytes that no step may take on so many."""
CLASSES, LINKS = 1_000, 50_000
"""Folders, and links to one file (file systems allow some 65,000)."""
SHAPES = 300
"""Different masks, and different detections."""
FIGURES = "figures.json"
"""In the folder of a number of images: what was measured; a step that is in it is not done again."""
RESUMED_AT = 0.9
OF_A_RANK = 2
"""Images of a batch for one of eight ranks."""


@dataclass(frozen=True)
class Place:
    """Where a round of some images is.

    Attributes:
        folder: of everything.
        number: of images.
    """

    folder: Path
    number: int

    @property
    def images(self) -> Path:
        """Class folders of pictures."""
        return self.folder / "images"

    @property
    def masks(self) -> Path:
        """The first label set."""
        return self.folder / "masks"

    @property
    def labels(self) -> Path:
        """Its COCO file."""
        return self.masks / "labels.json"

    @property
    def predictions(self) -> Path:
        """What the detector finds, in parts and joined."""
        return self.folder / "predictions"


def listing(place: Place) -> None:
    """List the images, and hash their names as a run does that is planned."""
    assert len(list_inputs(place.images, load_cfg()).checksum) == 64


def writing(place: Place) -> None:
    """Make masks until the work ends at 90 %."""
    _make(place, int(RESUMED_AT * place.number))


def resuming(place: Place) -> None:
    """Resume at 90 %, up to the first image."""
    _make(place, 0)


def finishing(place: Place) -> None:
    """Resume at 90 %, and make the rest and the COCO file."""
    _make(place, None)


def exporting(place: Place) -> None:
    """Write the shards as a COCO file once more."""
    export(place.masks, place.folder / "exported.json")


def reading(place: Place) -> None:
    """Load the label set and read every record."""
    records = load_dataset(str(place.labels), load_cfg())
    assert sum(len(record["annotations"]) for record in records) == MASKS * place.number


def training(place: Place) -> None:
    """Start a rank of a training: all that comes before its first step, and its first batch."""
    own = {"DATASETS.TRAIN": (str(place.labels),), "OUTPUT_DIR": str(place.folder / "training"), "MODEL.DEVICE": "cpu"}
    instances = {"MODEL.MASK_ON": True, "MODEL.ROI_HEADS.NUM_CLASSES": 1, "DATALOADER.COPY_PASTE_RATE": 1.0}
    loading = {"DATALOADER.COPY_PASTE": True, "SOLVER.IMS_PER_BATCH": OF_A_RANK, "DATALOADER.NUM_WORKERS": 0}
    cfg = edited(load_cfg(), {**own, **instances, **loading})
    assert len(next(iter(loaders_of(training_records(cfg), cfg)(cfg, 0)))) == OF_A_RANK


def predicting(place: Place) -> None:
    """Predict over the label set, in parts that are joined at the end."""
    predict_round(ListedEngine(SHAPES), load_cfg(), "", str(place.labels), place.predictions)


def joining(place: Place) -> None:
    """Resume a prediction of which all parts are there."""
    (place.predictions / "predictions.json").unlink()
    predicting(place)


def merging(place: Place) -> None:
    """Merge the predictions with the label set."""
    found, output = place.predictions / "predictions.json", place.folder / "next" / "labels.json"
    merge_round(load_cfg(), place.labels, found, output, 1, ())


def scoring(place: Place) -> None:
    """Score the label set on the images that have ground truth."""
    score_masks(place.labels, place.folder / "truth.json")


def showing(place: Place) -> None:
    """Write the page of the label set."""
    visualize(place.labels, place.folder / "page", images=place.images)


STEPS: Mapping[Callable[[Place], None], tuple[str, str]] = {
    listing: ("listing the images", ""),
    writing: ("writing labels, until 90 %", "masks"),
    resuming: ("resuming at 90 %, to the first image", ""),
    finishing: ("the last 10 %, and the COCO file", ""),
    exporting: ("exporting again", "exported.json"),
    reading: ("loading, and reading every record", ""),
    training: ("a training rank, to its first batch", "training"),
    predicting: ("predicting, 30 detections an image", "predictions"),
    joining: ("joining predictions, all parts there", ""),
    merging: ("merging", "next"),
    scoring: ("`score-masks`, 5,000 with ground truth", ""),
    showing: ("the page, 5,000 shown", "page"),
}
"""Each step in its order, what it is called in the table, and what of an earlier call is removed before it."""


def _make(place: Place, stop_after: int | None) -> None:
    """Make the label set in this process, up to a number of images."""
    here = ["PSEUDO.READERS", "0", "PSEUDO.FINISHERS", "0", "FEATURES.DEVICE", "cpu"]
    try:
        generate_label_set(
            load_cfg(None, here), place.images, place.masks, num_workers=0, build=partial(StandIn, SHAPES, stop_after)
        )
    except Stopped:
        return
    assert stop_after is None, "the work has not been stopped"


def prepare(place: Place, *, labels: bool = False) -> None:
    """Make the pictures, the ground truth and, if asked for, the label set, unless they are there."""
    done = place.folder / "prepared"
    if done.is_file():
        return
    shutil.rmtree(place.folder, ignore_errors=True)
    names = list(_names(place.number))
    picture, first = Image.fromarray(np.full((HEIGHT, WIDTH, 3), 128, np.uint8)), None
    for number, name in enumerate(names):
        path = place.images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if first is None or number % LINKS == 0 or not _link(first, path):
            picture.save(first := path)
    every = max(place.number // WITH_TRUTH, 1)
    images = [{"id": k + 1, "file_name": name, "height": HEIGHT, "width": WIDTH} for k, name in enumerate(names)]
    write_coco(place.folder / "truth.json", images[::every][:WITH_TRUTH], 7, SHAPES)
    if labels:
        place.masks.mkdir()
        write_coco(place.labels, images, 5, SHAPES, {"image_root": "../images"})
    done.touch()


def _names(number: int) -> Iterator[str]:
    """Yield names as ImageNet has them, each class the same number of images."""
    each = -(-number // CLASSES)
    for k in range(number):
        yield f"n{k // each:08d}/n{k // each:08d}_{k % each}.JPEG"


def _link(first: Path, path: Path) -> bool:
    """Link a file; whether the file system can."""
    try:
        os.link(first, path)
    except OSError:
        return False
    return True


def measure(step: Callable[[Place], None], place: Place) -> dict[str, float]:
    """Do a step in this process; return its processor seconds, and the megabytes of the process at the peak."""
    if leftover := STEPS[step][1]:
        path = place.folder / leftover
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    started = _processor()
    step(place)
    return {"seconds": _processor() - started, "megabytes": resident("VmHWM") / 1e6}


def _processor() -> float:
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def _here(name: str, place: Place, *, labels: bool = False) -> dict[str, float]:
    """Do a step, or ``prepare``, in this process."""
    if name != "prepare":
        return measure(next(step for step in STEPS if step.__name__ == name), place)
    prepare(place, labels=labels)
    return {}


def alone(name: str, place: Place, *, labels: bool = False) -> dict[str, float]:
    """Do a step, or ``prepare``, in a process of its own; see `measure`."""
    words = [sys.executable, __file__, name, "--alone", "--images", str(place.number), "--folder", str(place.folder)]
    words += ["--labels"] if labels else []
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=one_thread)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def continued(numbers: Sequence[int], values: Sequence[float], to: int = IMAGENET) -> float:
    """Return the value of the line through the last two points at another number of images.

    >>> continued([10, 20], [5.0, 7.0], 100)
    23.0
    """
    each = (values[-1] - values[-2]) / (numbers[-1] - numbers[-2])
    return values[-1] + each * (to - numbers[-1])


def table(found: Mapping[int, Mapping[str, Mapping[str, float]]]) -> tuple[list[str], float]:
    """Lay out measurements, and return the rows and the largest memory in MB, continued where there are two.

    Args:
        found: what was measured of steps, by name, with each number of images, ascending.
    """
    columns = [f"{number:,}" for number in found] + ([f"{IMAGENET:,}, continued"] if len(found) > 1 else [])
    rows = ["| images | " + " | | ".join(columns) + " | |", "|---|" + "---:|---:|" * len(columns)]
    most = 0.0
    for step, (words, _) in STEPS.items():
        measured = [steps.get(step.__name__) for steps in found.values()]
        values = [(one["seconds"], one["megabytes"]) if one else None for one in measured]
        if (last := values[-2:])[-1] and len(found) > 1 and last[0]:
            ends = list(found)[-2:]
            values.append(tuple(continued(ends, [point[k] for point in last if point]) for k in (0, 1)))
        values += [None] * (len(columns) - len(values))
        most = max([most, *(value[1] for value in values if value)])
        if any(values):
            cells = [f"{value[0]:,.1f} s | {value[1]:,.0f} MB" if value else "| " for value in values]
            rows.append(f"| {words} | " + " | ".join(cells) + " |")
    return rows, most


def main(arguments: Sequence[str] | None = None) -> int:
    steps = {step.__name__: step for step in STEPS}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("steps", nargs="*", default=list(steps), metavar="STEP", help=f"some of {', '.join(steps)}")
    parser.add_argument("--images", type=int, nargs="+", default=[6_400, 128_000], help="numbers of images, ascending")
    parser.add_argument("--folder", type=Path, default=Path("output/bench-whole-round"), help="working folder")
    parser.add_argument("--labels", action="store_true", help="write the label set at once, in place of making it")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.alone:
        print(json.dumps(_here(args.steps[0], Place(args.folder, args.images[0]), labels=args.labels)))
        return 0
    found: dict[int, dict[str, dict[str, float]]] = {}
    for number in args.images:
        place = Place(args.folder / str(number), number)
        kept = place.folder / FIGURES
        alone("prepare", place, labels=args.labels)
        found[number] = json.loads(kept.read_text()) if kept.is_file() else {}
        for name in [name for name in args.steps if name not in found[number]]:
            found[number][name] = alone(name, place)
            kept.write_text(json.dumps(found[number]))
            print(f"{number:9,}  {name:10} {found[number][name]}", file=sys.stderr, flush=True)
    rows, most = table(found)
    print("\n".join(rows))
    print(f"\nThe largest memory is {most:,.0f} MB; the bar is {BAR:,.0f} MB.")
    return int(most > BAR)


if __name__ == "__main__":
    sys.exit(main())
