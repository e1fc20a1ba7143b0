"""How well groups of masks are the classes of objects, on scenes with known classes, against groups drawn by chance.

    python benchmarks/groups.py --seeds 0 1 2 --output output/groups

Each seed has its own scenes. The masks are those of the ground truth, so that only the grouping is measured; their
classes are used for scoring alone. All methods group the same features of the same masks. Chance is the same groups
with their masks shuffled. In scenes of `by_class` surfaces each shape has colours of its own, in those of `any` it has
not. The same command resumes where it stopped.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import normalized_mutual_info_score

from unseg_d2.config import load_cfg
from unseg_d2.data.coco import CocoDataset, read_coco
from unseg_d2.data.synthetic import ensure_synthetic
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.matched_classes import MatchedClasses, MatchedClassesSettings
from unseg_d2.evaluation.scores import score
from unseg_d2.evaluation.table import lay_out
from unseg_d2.files import write_json
from unseg_d2.groups.group_masks import group_label_set

SCENES = ["SYNTHETIC.SIZE", "(160, 208)", "SYNTHETIC.PITCH", "(10.0, 28.0)"]
FEATURES = {
    "descriptors": ["FEATURES.NAME", "descriptors", "FEATURES.IMAGE_SIZE", "240"],
    "palette": ["FEATURES.NAME", "palette", "FEATURES.IMAGE_SIZE", "240"],
    "efficientnet_lite0": ["FEATURES.NAME", "cnn", "FEATURES.WEIGHTS", "zoo:efficientnet_lite0"],
}
METHODS = {
    "k-means": [],
    "k-means, 4 groups": ["GROUPS.NUMBER", "4"],
    "HDBSCAN": ["GROUPS.METHOD", "hdbscan", "GROUPS.MIN_SIZE", "5"],
}
METRICS = ("groups", "purity", "NMI", "AP50")


def main() -> None:
    """Group the masks of every seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--features", nargs="+", choices=FEATURES, default=["descriptors", "palette"])
    parser.add_argument("--surfaces", nargs="+", choices=["any", "by_class"], default=["any", "by_class"])
    parser.add_argument("--scenes", type=int, default=96)
    parser.add_argument("--output", type=Path, default=Path("output/groups"))
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE ...")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(1)
    rows = [["features", "surfaces", "method", *METRICS]]
    stored = {}
    for name in args.features:
        for surfaces in args.surfaces:
            for method in METHODS:
                found = [one_seed(name, surfaces, method, seed, args) for seed in args.seeds]
                stored[f"{name} {surfaces} {method}"] = found
                rows.append([name, surfaces, method, *_cells(found)])
    write_json(args.output / "figures.json", {"seeds": args.seeds, "figures": stored}, indent=1)
    print(lay_out([("", rows)], markdown=True))


def one_seed(name: str, surfaces: str, method: str, seed: int, args: argparse.Namespace) -> dict[str, list[float]]:
    """Return the metrics of the groups of one seed, and of groups by chance; none where there are no groups."""
    scenes = [*SCENES, "SYNTHETIC.SEED", str(100000 * seed), "SYNTHETIC.SURFACES", surfaces]
    scenes += ["SYNTHETIC.ROOT", str(args.output / "scenes"), "SYNTHETIC.NUM_TRAIN", str(args.scenes)]
    cfg = load_cfg(None, [*scenes, *FEATURES[name], "GROUPS.RANDOM_SEED", str(seed), *METHODS[method], *args.opts])
    _, path = ensure_synthetic(cfg, "train")
    try:
        grouped = group_label_set(cfg, path, args.output / f"{name}-{surfaces}-{seed}")
    except UnsegError as error:
        if method != "HDBSCAN":  # which may find none
            raise
        logging.warning("%s, %s, %s, seed %d: %s", name, surfaces, method, seed, error)
        return {}
    truth = read_coco(path)
    groups = np.array([item["category_id"] for item in read_coco(grouped.labels).annotations])
    shuffled = np.random.default_rng(seed).permutation(groups)
    return {"groups": metrics(truth, groups), "chance": metrics(truth, shuffled)}


def metrics(truth: CocoDataset, groups: np.ndarray) -> list[float]:
    """Return number of groups, purity, NMI and AP50 of masks with classes, in percent, of the truth's own masks."""
    classes = [item["category_id"] for item in truth.annotations]
    kept = ("image_id", "bbox", "segmentation")
    results = [
        {key: item[key] for key in kept} | {"category_id": group}
        for item, group in zip(truth.annotations, groups.tolist())
    ]
    content = {"images": truth.images, "annotations": truth.annotations, "categories": truth.categories}
    found = score(content, results, {"matched": MatchedClasses(MatchedClassesSettings(matching="majority"))})
    masks = found.metrics["segm"]
    mutual = 100 * normalized_mutual_info_score(classes, groups)
    return [float(len(np.unique(groups))), masks["Purity"], float(mutual), masks["MatchedAP50"]]


def _cells(found: list[dict[str, list[float]]]) -> list[str]:
    """Return mean and standard deviation over seeds of each metric, and in brackets the mean of groups by chance."""
    there = [one for one in found if one]
    if len(there) < len(found):
        return [f"no groups in {len(found) - len(there)} of {len(found)} seeds", *["-"] * (len(METRICS) - 1)]
    cells = []
    for place, metric in enumerate(METRICS):
        own, chance = ([one[kind][place] for one in there] for kind in ("groups", "chance"))
        deviation = np.std(own, ddof=1) if len(own) > 1 else 0
        by_chance = "" if metric == "groups" else f" ({np.mean(chance):.1f})"
        cells.append(f"{np.mean(own):.1f} ± {deviation:.1f}{by_chance}")
    return cells


if __name__ == "__main__":
    main()
