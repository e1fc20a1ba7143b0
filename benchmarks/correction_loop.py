"""What corrections are worth: a self-training round with and without them, see ``docs/exchange.md``.

    python benchmarks/correction_loop.py --data PATH/coco_dev [--output output/correction_loop] [KEY VALUE ...]

PATH/coco_dev holds 100 COCO images in ``images`` and their ``instances.json``. The masks of a label set are exported to
Label Studio and to CVAT; in place of a person, a script replaces those of 15 images each by the ground truth, marks the
images as done, and writes what the tools would export. Both are imported, and the round is made again; with --droploss
once more, since being done changes the loss with DropLoss only. All are scored on the 70 images that nobody corrected.
Finished trainings are kept in --output, so that the same command resumes after an interruption.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from unseg_d2.config import load_cfg
from unseg_d2.data.coco import CocoDataset, decode_mask, read_coco
from unseg_d2.data.label_studio import to_task
from unseg_d2.detectors.learnt import of_weights
from unseg_d2.detectors.protocol import select_engine
from unseg_d2.exchange.export import export_labels
from unseg_d2.exchange.import_ import import_corrections
from unseg_d2.exchange.source import by_image
from unseg_d2.exchange.writers.cvat import encode_runs
from unseg_d2.files import write_json
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.training.evaluate import evaluate_detector
from unseg_d2.training.next_labels import merge_round, predict_round
from unseg_d2.training.train import train

RECIPES = Path(__file__).resolve().parents[1] / "configs"
CORRECTED = 30
CLASS = "fg"  # the one of a label set
METRICS = ["AP50", "AP", "AR100"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("output/correction_loop"))
    parser.add_argument(
        "--iterations", type=int, default=240, help="of the first training; rounds have a quarter of them"
    )
    parser.add_argument("--droploss", action="store_true", help="also a round with corrections and DropLoss")
    parser.add_argument("options", nargs="*", help="KEY VALUE pairs for all trainings, e.g. SOLVER.MAX_ITER 400")
    args = parser.parse_args()
    logging.disable(logging.INFO)
    start = time.monotonic()
    out: Path = args.output
    masks = recipe("quickstart.yaml", out / "masks", args)
    labels = generate_label_set(masks, str(args.data / "images"), out / "masks", num_workers=0)
    truth = read_coco(args.data / "instances.json")
    names = sorted(image["file_name"] for image in truth.images)
    chosen = set(names[:: len(names) // CORRECTED][:CORRECTED])
    val = others(truth, chosen, out / "others.json", args.data / "images")
    corrected = correct(labels, truth, sorted(chosen), out)
    first = trained("first training", labels, val, args, "quickstart.yaml")
    before = merged(first, labels, out / "round", args)
    trained("a round, no corrections", before, val, args, "quickstart_self_train.yaml", first)
    after = merged(first, corrected, out / "round_corrected", args)
    trained(f"a round, {CORRECTED} images corrected", after, val, args, "quickstart_self_train.yaml", first)
    if args.droploss:
        dropping = ("MODEL.ROI_HEADS.USE_DROPLOSS", "True")
        trained("the same with DropLoss", after, val, args, "quickstart_self_train.yaml", first, dropping)
    print(f"{time.monotonic() - start:.0f} s")


def recipe(name: str, folder: Path, args: argparse.Namespace, *options: str) -> Any:
    base = ["OUTPUT_DIR", str(folder), "SEED", "1", "ENGINE", "builtin"]
    return load_cfg(RECIPES / name, [*base, *args.options, *options])


def others(truth: CocoDataset, chosen: set[str], path: Path, images: Path) -> str:
    """Write the ground truth of the images that are not corrected; return how a data set is named."""
    kept = [image for image in truth.images if image["file_name"] not in chosen]
    ids = {image["id"] for image in kept}
    annotations = [item for item in truth.annotations if item["image_id"] in ids]
    write_json(path, {"images": kept, "annotations": annotations, "categories": truth.categories})
    return f"{path}::{images}"


def correct(labels: Path, truth: CocoDataset, chosen: list[str], out: Path) -> Path:
    """Correct half of the chosen images in Label Studio, the other half in CVAT, by script."""
    wanted = {image["file_name"]: (image, [a for a in items if not a["iscrowd"]]) for image, items in by_image(truth)}
    half = len(chosen) // 2
    path = export_labels(labels, out / "label_studio", format="label-studio").path
    tasks = json.loads(path.read_text())
    for task in tasks:
        name = task["data"]["file_name"]
        task["annotations"] = []
        if name in chosen[:half]:
            image, items = wanted[name]
            names = {item["category_id"]: CLASS for item in items}
            (prediction,) = to_task(image | {"done": True}, items, model="person", names=names)["predictions"]
            task["annotations"] = [{"result": prediction["result"], "was_cancelled": False}]
    write_json(out / "project.json", tasks)
    tree = ElementTree.parse(export_labels(labels, out / "cvat", format="cvat").path)
    for element in tree.getroot().iter("image"):
        if element.get("name") in chosen[half:]:
            image, items = wanted[element.get("name", "")]
            draw(element, image, items)
    tree.write(out / "cvat.xml", encoding="utf-8")
    for source, file, target in (
        (labels, "project.json", "half.json"),
        (out / "half.json", "cvat.xml", "corrected.json"),
    ):
        print("\n".join(import_corrections(out / file, labels=source, output=out / target).lines()))
    return out / "corrected.json"


def draw(element: ElementTree.Element, image: dict[str, Any], items: list[dict[str, Any]]) -> None:
    """Replace what CVAT holds of an image by masks, and tag it."""
    for shape in list(element):
        element.remove(shape)
    height, width = image["height"], image["width"]
    for item in items:
        runs = ", ".join(map(str, encode_runs(decode_mask(item["segmentation"], height, width))))
        about = {"label": CLASS, "rle": runs, "left": "0", "top": "0", "width": str(width), "height": str(height)}
        ElementTree.SubElement(element, "mask", about)
    ElementTree.SubElement(element, "tag", {"label": "done"})


def merged(weights: Path, labels: Path, folder: Path, args: argparse.Namespace) -> Path:
    """Return the label set of the next round."""
    cfg = recipe("quickstart.yaml", folder, args)
    found = predict_round(select_engine(cfg.ENGINE), cfg, str(weights), str(labels), args.output / "predictions")
    return merge_round(cfg, str(labels), found, folder / "labels.json", 1, of_weights(weights))


def trained(
    name: str,
    labels: Path,
    val: str,
    args: argparse.Namespace,
    file: str,
    weights: Path | None = None,
    options: tuple[str, ...] = (),
) -> Path:
    """Train, print a row of the table, and return the weights."""
    folder = args.output / name.replace(" ", "_").replace(",", "")
    start = ["MODEL.WEIGHTS", str(weights)] if weights else []
    length = args.iterations // (4 if weights else 1)
    start += ["SOLVER.WARMUP_ITERS", str(length // 4)] if weights else []
    start += ["SOLVER.MAX_ITER", str(length), "SOLVER.STEPS", f"({length * 4 // 5},)"]
    cfg = recipe(file, folder, args, *start, *options, "DATASETS.TRAIN", repr((str(labels),)))
    engine = select_engine(cfg.ENGINE)
    final = train(engine, cfg, resume=True)
    scores = evaluate_detector(engine, cfg, weights=str(final), dataset=val, output=folder / "val").metrics
    columns = [f"{scores[kind][metric]:.2f}" for kind in ("bbox", "segm") for metric in METRICS]
    print(f"| {name} | {len(read_coco(labels).annotations):,} | " + " | ".join(columns) + " |", flush=True)
    return final


if __name__ == "__main__":
    main()
