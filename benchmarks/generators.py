"""Every mask generator on sets of images: number and quality of masks, and time. Prints ``docs/generators.md``'s table.

    python benchmarks/generators.py --data FOLDER [--sets coco_dev ...] [--generators maskcut ...] [--every 4]

A set is a folder with ``images/``, with ``instances.json`` or ``masks/NAME.png`` (one object each) if there is ground
truth, and with ``depth/NAME.png`` (16 bit, mm) if there is depth; without --data, the project's own synthetic scenes
are used. All masks go through the pipeline of ``tools/generate_masks.py`` with the same features and refiner. Finished
rows are kept in --output, so that the same command resumes after an interruption. Everything runs with one thread;
seconds are processor time per image. Metrics are class-agnostic, on masks, in percent.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode
from PIL import Image

from unseg_d2.config import load_cfg
from unseg_d2.data.catalog import SYNTHETIC
from unseg_d2.data.coco import encode_mask, read_coco
from unseg_d2.data.synthetic import ensure_synthetic
from unseg_d2.evaluation.best_iou import best_ious
from unseg_d2.evaluation.class_agnostic import evaluate
from unseg_d2.files import write_json
from unseg_d2.masks import MASK_GENERATORS
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.pseudo.label_set import read_label_set
from unseg_d2.pseudo.pipeline import MaskPipeline, build_pipeline

Truth = dict[str, list[dict[str, Any]]]

ENSEMBLE = [{"DESCRIPTORS": {"PATCH_SIZE": size}} for size in (8, 12, 16)]
OPTIONS = {
    "votecut": ["FEATURES.MEMBERS", repr(ENSEMBLE)],
    "primaps": ["REFINE.NAME", "crf_labels", "REFINE.UPSAMPLE", "bilinear", "REFINE.MIN_IOU", "0.0"],
    "lost": ["MASKS.LOST.CENTER", "True"],  # the similarity of descriptors is hardly ever negative
}
"""What a generator needs besides its name."""

NEEDS_DEPTH = {"cuts3d"}
SKY_IS_ZERO = {"synth3d_dev", "synthetic_train", "synthetic_val"}
COLUMNS = ["masks / image", "AP", "AP50", "AR100", "recall .5", "best IoU", "features s", "cut s", "refine s"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds the sets; without it, synthetic scenes")
    parser.add_argument("--sets", nargs="+", help="folders in --data, all by default; or names of synthetic sets")
    parser.add_argument("--generators", nargs="+", default=MASK_GENERATORS.names())
    parser.add_argument("--every", type=int, default=1, help="take every n-th image only")
    parser.add_argument("--output", type=Path, default=Path("output/bench-generators"))
    parser.add_argument("options", nargs="*", help="KEY VALUE pairs for all generators, e.g. REFINE.NAME guided")
    args = parser.parse_args()
    print("| generator | set | images | " + " | ".join(COLUMNS) + " |")
    print("|---|---|" + "---:|" * (len(COLUMNS) + 1))
    for name in args.sets or default_sets(args.data):
        for generator in args.generators:
            row = measure(generator, name, args)
            values = [row["images"], *row["figures"]]
            print(f"| {generator} | {name} | " + " | ".join(map(shown, values)) + " |", flush=True)


def default_sets(data: Path | None) -> list[str]:
    if data is None:
        return ["synthetic_val"]
    return sorted(path.name for path in data.iterdir() if (path / "images").is_dir())


def measure(generator: str, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Return the row of a generator on a set; a finished one is read from disk."""
    folder = args.output / f"{name}-{generator}"
    if (folder / "row.json").is_file():
        return json.loads((folder / "row.json").read_text())
    options = ["FEATURES.NAME", "descriptors", *args.options, *OPTIONS.get(generator, []), "MASKS.GENERATOR", generator]
    cfg = load_cfg(None, options)
    images, depth, truth, has_masks = load(name, args.data, cfg)
    truth["images"] = sorted(truth["images"], key=lambda image: image["file_name"])[:: args.every]
    if generator in NEEDS_DEPTH:
        if not depth.is_dir():
            return {"images": len(truth["images"]), "figures": [None] * len(COLUMNS)}
        zero = "far" if name in SKY_IS_ZERO else "hole"
        depth_options = ["SOURCE", "files", "KIND", "metric", "FILES.SCALE", "0.001", "FILES.ZERO", zero]
        pairs = zip(depth_options[::2], depth_options[1::2])
        cfg = load_cfg(None, options + [text for key, value in pairs for text in (f"DEPTH.{key}", value)])
    shutil.rmtree(folder, ignore_errors=True)  # the timings of an interrupted run are incomplete
    write_json(folder / "inputs.json", truth | {"annotations": []})
    timers: dict[str, Timed] = {}
    source = f"{folder / 'inputs.json'}::{images}"
    generate_label_set(cfg, source, folder / "labels", num_workers=0, build=lambda cfg: timed_pipeline(cfg, timers))
    row = {
        "images": len(truth["images"]),
        "figures": figures(truth, read_label_set(folder / "labels"), has_masks, timers),
    }
    write_json(folder / "row.json", row)
    return row


def load(name: str, data: Path | None, cfg: CfgNode) -> tuple[Path, Path, Truth, bool]:
    """Return the folders of images and of depth, the ground truth, and whether there are masks in it."""
    if name in SYNTHETIC:
        images, annotations = ensure_synthetic(cfg, SYNTHETIC[name])
        folder = images.parent
    else:
        folder = data / name
        images, annotations = folder / "images", folder / "instances.json"
    if annotations.is_file():
        content = read_coco(annotations)
        truth = {"images": content.images, "annotations": content.annotations}
        return images, folder / "depth", truth, True
    paths = sorted(path for path in images.iterdir() if not path.name.startswith("."))
    truth = {"images": [], "annotations": []}
    for index, path in enumerate(paths, start=1):
        with Image.open(path) as image:
            entry = {"id": index, "file_name": path.name, "width": image.width, "height": image.height}
        truth["images"].append(entry)
        mask = folder / "masks" / f"{path.stem}.png"
        if mask.is_file():
            rle = encode_mask(np.asarray(Image.open(mask).convert("L")) > 127)
            truth["annotations"].append({"image_id": index, "segmentation": rle, "iscrowd": 0})
    return images, folder / "depth", truth, bool(truth["annotations"])


class Timed:
    """A part of the pipeline, with the processor time spent in it."""

    def __init__(self, part: Callable[..., Any]) -> None:
        self._part = part
        self.seconds = 0.0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the part."""
        started = time.process_time()
        try:
            return self._part(*args, **kwargs)
        finally:
            self.seconds += time.process_time() - started

    def __getattr__(self, name: str) -> Any:
        if name == "members":  # an ensemble: the time of all members counts here
            return [(_Shared(self, backend), size) for backend, size in self._part.members]
        return getattr(self._part, name)


class _Shared(Timed):
    """A member of an ensemble, whose time counts towards the ensemble."""

    def __init__(self, whole: Timed, part: Callable[..., Any]) -> None:
        super().__init__(part)
        self._whole = whole

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the member."""
        before = self.seconds
        result = super().__call__(*args, **kwargs)
        self._whole.seconds += self.seconds - before
        return result


def timed_pipeline(cfg: CfgNode, timers: dict[str, Timed]) -> MaskPipeline:
    """Build the pipeline and time its parts."""
    pipeline = build_pipeline(cfg)
    refiner = Timed(pipeline.post_process.refiner)
    timers |= {"features": Timed(pipeline.features), "generator": Timed(pipeline.generator), "refiner": refiner}
    post_process = replace(pipeline.post_process, refiner=refiner)
    return replace(pipeline, features=timers["features"], generator=timers["generator"], post_process=post_process)


def figures(truth: Truth, labels: Any, has_masks: bool, timers: dict[str, Timed]) -> list[float | None]:
    """Return the values of the columns."""
    ids = {image["id"] for image in truth["images"]}
    content = truth | {"annotations": [item for item in truth["annotations"] if item["image_id"] in ids]}
    quality: list[float | None] = [None] * 5
    if has_masks:
        scores = evaluate(content, labels.annotations, ("segm",))["segm"]
        best = 100 * float(best_ious(content, labels.annotations).mean())
        quality = [*(scores[key] for key in ("AP", "AP50", "AR100", "Recall50")), best]
    seconds = [timers[name].seconds / len(ids) for name in ("features", "generator", "refiner")]
    return [len(labels.annotations) / len(ids), *quality, *seconds]


def shown(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.2f}"


if __name__ == "__main__":
    main()
