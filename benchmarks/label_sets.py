"""Processor time and memory of reading label sets of any number of images, and what it would be for all of ImageNet.

    python benchmarks/label_sets.py [CASE ...] [--images 10000 40000 160000] [--folder /tmp/label_sets]

Each image of 375x500 pixels has 3 masks with run lengths of 774 characters on average; all pictures are links to a few
files. Each case runs in a process of its own. Printed are seconds of one processor, the largest memory and what is
held at the end, both beyond what the same takes for 16 images; then what grows with each image, and the line through
the two largest numbers, continued to 1,281,167 images. To compare with another version of the package, put its folder
into PYTHONPATH. Steps of a self-training round: `benchmarks/scale/rounds.py`.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as mask_utils

sys.path[:0] = [str(Path(__file__).parent)]
sys.path.append(str(Path(__file__).resolve().parents[1]))

from peak_memory import resident  # noqa: E402

HEIGHT, WIDTH, MASKS = 375, 500, 3
RUNS = 334
"""Of a mask; their text has 774 characters on average."""
IMAGENET = 1_281_167
SHARD, LINKS, PER_FOLDER = 1_000, 50_000, 1_300
"""Images of a shard, links to one file (file systems allow some 65,000), and pictures of a folder."""
DRAWN = 2_000


def first_record(folder: Path) -> None:
    """Load a label set and take its first record."""
    from unseg_d2.config import get_cfg
    from unseg_d2.data.catalog import load_dataset

    assert load_dataset(str(folder / "labels.json"), get_cfg())[0]["annotations"]


def training_rank(folder: Path) -> Any:
    """Load a label set, choose what to train on, pack it for loader processes, and draw images and paste sources."""
    from unseg_d2.config import get_cfg
    from unseg_d2.data.catalog import load_dataset
    from unseg_d2.data.paste_source import PasteSources, orientation_groups
    from unseg_d2.data.training_records import usable_records
    from unseg_d2.data.transport import PackedRecords

    cfg = get_cfg()
    records = usable_records(load_dataset(str(folder / "labels.json"), cfg), cfg)
    groups = orientation_groups(records, cfg)
    packed, rng = PackedRecords(records), np.random.default_rng(0)
    del records
    sources = PasteSources(packed, groups)
    for index in rng.integers(0, len(packed), DRAWN).tolist():
        assert sources.draw(packed[index], rng)["annotations"]
    return sources


def all_records(folder: Path) -> None:
    """Load a label set and read every record."""
    from unseg_d2.config import get_cfg
    from unseg_d2.data.catalog import load_dataset

    assert sum(len(record["annotations"]) for record in load_dataset(str(folder / "labels.json"), get_cfg()))


def shards(folder: Path) -> None:
    """Read the first image of the shards of a label set."""
    from unseg_d2.pseudo import label_set

    if hasattr(label_set, "open_label_set"):
        assert label_set.open_label_set(folder / "made").annotations(0)
    else:
        assert label_set.read_label_set(folder / "made").annotations


def inputs(folder: Path) -> Any:
    """List the images of a COCO file to make masks for."""
    from unseg_d2.config import get_cfg
    from unseg_d2.pseudo.inputs import list_inputs

    return list_inputs(folder / "labels.json", get_cfg())


def gallery(folder: Path) -> None:
    """Show 100 images of a label set."""
    from unseg_d2.apps.visualize import visualize

    visualize(folder / "labels.json", folder / "page", images=folder / "images", limit=100)


CASES = (first_record, training_rank, all_records, shards, inputs, gallery)


def prepare(folder: Path, num_images: int, with_shards: bool) -> None:
    """Make the label set, its shards and its pictures, unless they are there."""
    done = folder / "prepared"
    if done.is_file():
        return
    (folder / "images").mkdir(parents=True, exist_ok=True)
    pool, picture = _pool(), Image.fromarray(np.full((HEIGHT, WIDTH, 3), 128, np.uint8))
    for number in range(num_images):
        path = folder / "images" / _name(number)
        if number % PER_FOLDER == 0:
            path.parent.mkdir(exist_ok=True)
        if number % LINKS == 0:
            picture.save(first := path)
        else:
            os.link(first, path)
    with (folder / "labels.json").open("w") as file:
        file.write('{"info":{"image_root":"images"},\n"categories":[{"id":1,"name":"fg"}],\n"images":[\n')
        file.write(",\n".join(json.dumps(_image(number), separators=(",", ":")) for number in range(num_images)))
        masks = [json.dumps(_mask(counts), separators=(",", ":"))[1:] for counts in pool]
        file.write('\n],\n"annotations":[\n')
        for number in range(MASKS * num_images):
            before = ",\n" if number else ""
            file.write(f'{before}{{"id":{number + 1},"image_id":{number // MASKS + 1},{masks[number % len(masks)]}')
        file.write("\n]}\n")
    if with_shards:
        _write_shards(folder / "made", num_images, pool)
    done.touch()


def _write_shards(folder: Path, num_images: int, pool: list[str]) -> None:
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    manifest = {"num_images": num_images, "shard_size": SHARD, "image_root": "../images", "not_images": []}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for start in range(0, num_images, SHARD):
        with (folder / "shards" / f"{start // SHARD:06d}.jsonl").open("w") as file:
            for number in range(start, min(start + SHARD, num_images)):
                masks = [_mask(pool[(MASKS * number + place) % len(pool)]) for place in range(MASKS)]
                line = _image(number) | {"content": [1000, "0" * 64], "annotations": masks}
                file.write(json.dumps(line, separators=(",", ":")) + "\n")


def _name(number: int) -> str:
    return f"n{number // PER_FOLDER:08d}/n{number // PER_FOLDER:08d}_{number}.jpg"


def _image(number: int) -> dict[str, Any]:
    return {"id": number + 1, "file_name": _name(number), "height": HEIGHT, "width": WIDTH}


def _mask(counts: str) -> dict[str, Any]:
    segmentation = {"size": [HEIGHT, WIDTH], "counts": counts}
    about = {"category_id": 1, "iscrowd": 0, "bbox": [1.0, 2.0, 300.0, 200.0], "area": 12345, "score": 0.5}
    return about | {"segmentation": segmentation}


def _pool() -> list[str]:
    """Return run lengths that are noise, so that none is compressed better than others."""
    rng, found = np.random.default_rng(0), []
    for _ in range(64):
        cuts = np.sort(rng.choice(HEIGHT * WIDTH - 1, RUNS, replace=False)) + 1
        runs = np.diff(np.concatenate([[0], cuts, [HEIGHT * WIDTH]])).tolist()
        rle = mask_utils.frPyObjects({"size": [HEIGHT, WIDTH], "counts": runs}, HEIGHT, WIDTH)
        found.append(rle["counts"].decode())
    return found


def measure(case: str, folder: Path) -> dict[str, float]:
    """Run a case in this process: processor seconds, and megabytes at the peak and at the end.

    They are beyond those after the same case on a few images, which has imported everything.
    """
    few = folder.parent / "few"
    globals()[case](few)
    gc.collect()
    before, started = resident(), _processor()
    result = globals()[case](folder)
    seconds = _processor() - started
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    held = resident() - before
    del result
    return {"seconds": seconds, "peak": (resident("VmHWM") - before) / 1e6, "held": held / 1e6}


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _alone(case: str, folder: Path, number: int, with_shards: bool) -> dict[str, float]:
    words = [sys.executable, __file__, case, "--alone", "--images", str(number), "--folder", str(folder)]
    words += [] if with_shards else ["--no-shards"]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(case: str, numbers: list[int], found: list[dict[str, float]]) -> None:
    """Print what was measured and, from two sizes on, what follows for ImageNet."""
    for number, measured in zip(numbers, found):
        line = f"{case:14} {number:9} {measured['seconds']:9.2f} {measured['peak']:9.0f} {measured['held']:9.0f}"
        print(line, flush=True)
    if len(numbers) < 2:
        return
    per_image = {key: (found[-1][key] - found[-2][key]) / (numbers[-1] - numbers[-2]) for key in found[-1]}
    print(f"{'':14} per image {1e6 * per_image['seconds']:7.1f}us {1e6 * per_image['peak']:8.0f}B", end="")
    print(f" {1e6 * per_image['held']:8.0f}B")
    line = {key: found[-1][key] + per_image[key] * (IMAGENET - numbers[-1]) for key in per_image}
    print(f"{'':14} {IMAGENET:9} {line['seconds']:9.0f} {line['peak']:9.0f} {line['held']:9.0f}  (continued)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [case.__name__ for case in CASES]
    parser.add_argument("cases", nargs="*", default=names, metavar="CASE", help=f"some of {', '.join(names)}")
    parser.add_argument("--images", type=int, nargs="*", default=[10_000, 40_000, 160_000], help="sizes of label sets")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/label_sets"), help="where they are made")
    parser.add_argument("--no-shards", action="store_true", help="make no shards: they take as much space again")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone and args.cases[0] == "prepare":
        prepare(args.folder, args.images[0], not args.no_shards)
        print("{}")
        return 0
    if args.alone:
        print(json.dumps(measure(args.cases[0], args.folder)))
        return 0
    _alone("prepare", args.folder / "few", 16, True)
    for number in args.images:
        _alone("prepare", args.folder / str(number), number, not args.no_shards)
    print(f"{'case':14} {'images':>9} {'processor':>9} {'peak, MB':>9} {'held, MB':>9}")
    for case in args.cases:
        found = [_alone(case, args.folder / str(number), number, True) for number in args.images]
        report(case, args.images, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
