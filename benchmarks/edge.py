"""How far masks go without a download: responses and regions, against cuts and prompts on its features.

    python benchmarks/edge.py --data FOLDER [--sets ecssd_dev] [--choose] [--every 4]

The halves of the images are those of ``offline_features.py``, as is everything that is not stated here: settings are
chosen on one half (``--choose`` prints every candidate on it), and the other is reported. Columns are objects found at
IoU .5, mean best IoU of an object, CorLoc (of the best-scored mask), AR100 and AP50, in percent; what follows ± is half
of the 95 % interval of a bootstrap over images. Below a set, its last row is compared with the others by image: the
difference of found objects, of best IoU and of CorLoc, and the ratio of AR100, with 95 % intervals.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from generators import load
from offline_features import REFINERS, content_of, measure, options_of, samples

from unseg_d2.evaluation.best_iou import best_ious
from unseg_d2.evaluation.class_agnostic import evaluate
from unseg_d2.evaluation.corloc import CorLoc, CorLocSettings

Rows = dict[str, tuple[str, list[str]]]


def merged(count: int, colour: float, contour: float, overlap: float) -> list[str]:
    """Return options of a tree of superpixels."""
    values = {"SUPERPIXELS": count, "COLOUR": colour, "CONTOUR": contour, "MAX_OVERLAP": overlap}
    return [word for name, value in values.items() for word in (f"MASKS.MERGETREE.{name}", str(value))]


REPORTED: dict[str, Rows] = {
    "ecssd_dev": {
        "TokenCut, offline": ("offline/tokencut.yaml", []),
        "Activation, offline": ("offline/activation.yaml", []),
    },
    "coco_dev": {
        "MaskCut, descriptors": ("", ["FEATURES.NAME", "descriptors"]),
        "ProMerge, offline": ("offline/promerge.yaml", []),
        "MergeTree, patches": ("offline/promerge.yaml", ["MASKS.GENERATOR", "mergetree"]),
        "MergeTree, offline": ("offline/mergetree.yaml", []),
    },
}
"""Rows of the reported half: the name of the row to its recipe and options."""

CANDIDATES: dict[str, Rows] = {
    "ecssd_dev": {
        f"Activation, {side} px, {refiner}": ("offline/activation.yaml", ["FEATURES.IMAGE_SIZE", str(side), *options])
        for side in (576, 672)
        for refiner, options in REFINERS.items()
        if refiner != "guided"
    },
    "coco_dev": {
        "MergeTree, patches": ("offline/promerge.yaml", ["MASKS.GENERATOR", "mergetree"]),
        **{
            f"MergeTree, {count} superpixels, colour {colour}, contour {contour}, overlap {overlap}": (
                "offline/mergetree.yaml",
                merged(count, colour, contour, overlap),
            )
            for count, colour, contour, overlap in (
                *((count, 0.05, 1.0, 0.7) for count in (600, 1000, 1600, 2500)),
                *((1000, colour, 1.0, 0.7) for colour in (0.0, 0.1, 0.3, 1.0)),
                *((1000, 0.05, contour, 0.7) for contour in (0.0, 0.5, 1.5)),
                *((1000, 0.05, 1.0, overlap) for overlap in (0.5, 0.8, 0.9)),
            )
        },
    },
}
"""Rows of the half that settings are chosen on."""


def main() -> None:
    args = options_of(__doc__ or "", REPORTED, "bench-edge").parse_args()
    for name in args.sets:
        rows = (CANDIDATES if args.choose else REPORTED)[name]
        folder, _, truth, _ = load(name, args.data, None)
        listed = sorted(truth["images"], key=lambda image: image["file_name"])
        images = listed[0 if args.choose else 1 :: 2][:: args.every]
        results, seconds = measure(rows, images, folder, args.output, None)
        contents = [content_of(image, truth) for image in images]
        print("| masks | set | images | masks / image | found at .5 | best IoU | CorLoc | AR100 | AP50 | s / image |")
        print("|---|---|" + "---:|" * 8)
        tables = {}
        for row, found in results.items():
            tables[row] = per_image(contents, found)
            values = cells(contents, found, tables[row], seconds[row])
            print(f"| {row} | {name} | {len(images)} | " + " | ".join(values) + " |", flush=True)
        *others, last = tables
        for row in others:
            print(f"\n'{last}' against '{row}': {comparison(tables[last], tables[row])}")
        print()


def per_image(contents: list[dict[str, Any]], results: list[dict[str, Any]]) -> np.ndarray:
    """Return sums of each image, ``(images, 6)``: objects, found, IoU, images with objects, located, AR100."""
    rows = []
    for content in contents:
        mine = [item for item in results if item["image_id"] == content["images"][0]["id"]]
        best = best_ious(content, mine)
        recall = evaluate(content, mine, ("segm",))["segm"]["AR100"] / 100 if len(best) and mine else 0.0
        located = CorLoc(CorLocSettings()).accumulator("bbox")
        located.update(content, mine)
        corloc = located.compute()["CorLoc"] / 100 if len(best) else 0.0
        rows.append([len(best), (best >= 0.5).sum(), best.sum(), bool(len(best)), corloc, recall * len(best)])
    return np.array(rows, dtype=float)


def shares(table: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns in percent, of sums over images ``(..., 6)``."""
    objects, found, iou, images, corloc, recall = np.moveaxis(table, -1, 0)
    whole = {"found": found / objects, "iou": iou / objects, "corloc": corloc / images, "recall": recall / objects}
    return {name: 100 * value for name, value in whole.items()}


def cells(
    contents: list[dict[str, Any]], results: list[dict[str, Any]], table: np.ndarray, seconds: float
) -> list[str]:
    """Return the numbers of a row."""
    drawn = shares(table[samples(len(table))].sum(1))
    values = {}
    for name, value in shares(table.sum(0)).items():
        low, high = np.percentile(drawn[name], (2.5, 97.5))
        values[name] = f"{value:.1f} ± {(high - low) / 2:.1f}"
    whole = {key: [item for content in contents for item in content[key]] for key in ("images", "annotations")}
    precision = evaluate(whole, results, ("segm",))["segm"]["AP50"]
    count = len(contents)
    return [f"{len(results) / count:.1f}", *values.values(), f"{precision:.1f}", f"{seconds / count:.2f}"]


def comparison(table: np.ndarray, first: np.ndarray) -> str:
    """Return how a row differs from another one, with 95 % intervals over the same images."""
    places = samples(len(table))
    drawn, against = shares(table[places].sum(1)), shares(first[places].sum(1))
    whole, other = shares(table.sum(0)), shares(first.sum(0))
    words = []
    for name, title in (("found", "found"), ("iou", "best IoU"), ("corloc", "CorLoc")):
        low, high = np.percentile(drawn[name] - against[name], (2.5, 97.5))
        words.append(f"{title} {whole[name] - other[name]:+.1f} ({low:+.1f} to {high:+.1f})")
    with np.errstate(divide="ignore", invalid="ignore"):  # inf where nothing of the other was found
        ratio = np.float64(whole["recall"]) / other["recall"]
        low, high = np.nanpercentile(drawn["recall"] / against["recall"], (2.5, 97.5), method="nearest")
    return ", ".join([*words, f"AR100 x {ratio:.1f} ({low:.1f} to {high:.1f})"])


if __name__ == "__main__":
    main()
