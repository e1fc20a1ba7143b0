"""How many masks an image gets, and what dividing them along edges or by fields brings, on scenes of touching objects.

    python benchmarks/priors_and_splits.py [--scenes touching|solids | --data folder] [--config-file recipe]
        [--limit 48] [--max-masks 8] [KEY=VALUE ...]

``touching`` are flat objects in rows of one colour, ``solids`` the ray-cast scenes of one colour; both have exact masks
and depth. --data is a folder with ``images/`` and ``instances.json``, and has no depth here. Without a recipe, features
are the weight-free descriptors, and masks are refined by the guided filter. The first table compares a fixed number of
cuts with the stop rule of UnionCut. The second compares the masks of the stop rule with what they are after splitting
along edges: those of the ground truth, which no method has, those of depth, and Canny's; and after splitting by fields
(MASKS.SPLIT.METHOD centre_field): those of the ground truth, as they are, blurred, and with vectors that are off; those
of the masks themselves, which know nothing new; and those of the parts along the steps of depth. The last two tables
compare both methods where they know the same.

The count error is the mean difference between the numbers of masks and of objects, without sign. Metrics are
class-agnostic, on masks, in percent; brackets are 95 % intervals of the difference from the first row of the table, by
a paired bootstrap over images. Exits with status 1 unless the true edges and, on scenes, the exact fields raise AR100.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from cuts3d import ImageMatches, ap50_and_ar100, match  # noqa: E402

from unseg_d2.config import load_cfg  # noqa: E402
from unseg_d2.data.coco import decode_mask, encode_mask, read_coco  # noqa: E402
from unseg_d2.data.images import ImageFile, read_image  # noqa: E402
from unseg_d2.data.synthetic import synthetic_scene  # noqa: E402
from unseg_d2.data.synthetic.touching import border_map, touching_scene  # noqa: E402
from unseg_d2.masks.splitting import (  # noqa: E402
    Fragment,
    ObjectFields,
    SplitSettings,
    canny_edges,
    depth_edges,
    fields_of_masks,
    split_by_fields,
    split_masks,
)
from unseg_d2.pseudo.pipeline import build_pipeline  # noqa: E402

Found = list[tuple[np.ndarray, float]]  # masks and scores of an image
Divide = Callable[["Picture", np.ndarray], list[Fragment]]
BLUR = 4.0  # px, sigma of the blurred fields
OFF = 30.0  # degrees, standard deviation of the angle by which vectors are off, each for itself


@dataclass(frozen=True)
class Picture:
    """An image ``(H, W, 3)`` uint8, its instances ``(n, H, W)`` bool, depth ``(H, W)`` in m where it is known."""

    image: np.ndarray
    instances: np.ndarray
    depth: np.ndarray | None


def main() -> int:
    args = parse_args()
    torch.set_num_threads(1)
    pictures = scenes(args)
    truth = annotations(pictures)
    print(f"{len(pictures)} images, {args.data or args.scenes}, {len(truth['annotations'])} objects")
    number = ["MASKS.MASKCUT.NUM_MASKS", str(args.max_masks)]
    rows = {
        "MaskCut, 3 cuts": ["MASKS.MASKCUT.NUM_MASKS", "3"],
        f"MaskCut, {args.max_masks} cuts": number,
        f"MaskCut, prior, up to {args.max_masks} cuts": [*number, "MASKS.STOP", "prior"],
    }
    found = {name: masks_of(pictures, args, options) for name, options in rows.items()}
    table(found, truth, args.resamples)
    guided = found[list(rows)[-1]]
    parts = {"prior, not split": guided}
    if all(picture.depth is not None for picture in pictures):
        cuts3d = ["MASKS.CUTS3D.NUM_MASKS", str(args.max_masks), "MASKS.STOP", "prior"]
        parts["CutS3D, prior, not split"] = masks_of(pictures, args, cuts3d, generator="cuts3d")
    for name, divide in ways(with_depth=len(parts) > 1).items():
        parts[name] = [divided(masks, one, divide) for masks, one in zip(guided, pictures)]
    lower = table(parts, truth, args.resamples)
    for pair in (("along true edges", "by exact fields"), ("along steps of depth", "by fields of parts along them")):
        if pair[1] in parts:
            table({name: parts[name] for name in pair}, truth, args.resamples)
    asked = ("along true edges",) if args.data else ("along true edges", "by exact fields")
    passed = min(lower[name][1] for name in asked) > 0  # of AR100
    print("PASSED" if passed else "FAILED")
    return 0 if passed else 1


def ways(*, with_depth: bool) -> dict[str, Divide]:
    """Return the ways of dividing masks by name."""
    settings = SplitSettings()
    rng = np.random.default_rng(0)

    def along(edges: Callable[[Picture], np.ndarray]) -> Divide:
        return lambda picture, masks: split_masks(masks, edges(picture))

    def by(fields: Callable[[Picture, np.ndarray], ObjectFields]) -> Divide:
        return lambda picture, masks: split_by_fields(masks, fields(picture, masks))

    def steps(picture: Picture) -> np.ndarray:
        return depth_edges(finite(picture.depth), "metric", settings.step)

    def parts(picture: Picture, masks: np.ndarray) -> ObjectFields:
        return fields_of_masks(np.stack([one.mask for one in split_masks(masks, steps(picture))]))

    found = {
        "along true edges": along(lambda one: np.max([border_map(mask.astype(int)) for mask in one.instances], axis=0)),
        "along steps of depth": along(steps),
        "along Canny": along(lambda one: canny_edges(one.image, settings.canny_low, settings.canny_high)),
        "along Canny, 20 and 40": along(lambda one: canny_edges(one.image, 20, 40)),
        "by exact fields": by(lambda one, _: fields_of_masks(one.instances)),
        f"by exact fields, blurred by {BLUR:g} px": by(lambda one, _: blurred(fields_of_masks(one.instances))),
        f"by exact fields, vectors off by {OFF:g}°": by(lambda one, _: turned(fields_of_masks(one.instances), rng)),
        "by fields of the masks": by(lambda _, masks: fields_of_masks(masks)),
        "by fields of parts along them": by(parts),
    }
    of_depth = {"along steps of depth", "by fields of parts along them"}
    return {name: way for name, way in found.items() if with_depth or name not in of_depth}


def blurred(fields: ObjectFields) -> ObjectFields:
    """Return fields without sharp borders, as networks predict them."""
    centre = np.stack([cv2.GaussianBlur(plane, (0, 0), BLUR) for plane in fields.centre])
    return ObjectFields(centre, cv2.GaussianBlur(fields.boundary, (0, 0), BLUR))


def turned(fields: ObjectFields, rng: np.random.Generator) -> ObjectFields:
    """Return fields whose vectors are turned by a random angle each."""
    angles = np.deg2rad(OFF) * rng.standard_normal(fields.boundary.shape)
    down, right = fields.centre
    turned = np.cos(angles) * down - np.sin(angles) * right, np.sin(angles) * down + np.cos(angles) * right
    return ObjectFields(np.stack(turned).astype(np.float32), fields.boundary)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", choices=("touching", "solids"), default="touching")
    parser.add_argument("--data", type=Path, help="folder with images and instances.json, in place of scenes")
    parser.add_argument("--config-file", help="recipe of the features")
    parser.add_argument("--limit", type=int, default=48, help="number of images")
    parser.add_argument("--max-masks", type=int, default=8, help="largest number of cuts per image")
    parser.add_argument("--shading", type=float, default=0.3, help="of touching objects, see touching_scene")
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap")
    parser.add_argument("opts", nargs="*", metavar="KEY=VALUE", help="settings of every row")
    args = parser.parse_args()
    args.opts = [word for pair in args.opts for word in pair.split("=", 1)]
    return args


def scenes(args: argparse.Namespace) -> list[Picture]:
    """Render the scenes, or read the images."""
    if args.data:
        return photos(args.data, args.limit)
    if args.scenes == "solids":
        cfg = load_cfg(None, ["SYNTHETIC.ONE_COLOUR", "1.0"])
        rendered: list[Any] = [synthetic_scene(cfg, "val", index) for index in range(args.limit)]
    else:
        rendered = [
            touching_scene(np.random.default_rng(seed), size=(240, 320), most_rows=3, shading=args.shading)
            for seed in range(args.limit)
        ]
    return [
        Picture(one.image, np.stack([one.instances == k for k in np.unique(one.instances) if k]), one.depth)
        for one in rendered
    ]


def photos(folder: Path, limit: int) -> list[Picture]:
    """Return the images of a data set that have objects."""
    content = read_coco(folder / "instances.json")
    found = []
    for image in content.images:
        size = (image["height"], image["width"])
        masks = [
            decode_mask(annotation["segmentation"], *size)
            for annotation in content.annotations
            if annotation["image_id"] == image["id"] and not annotation.get("iscrowd")
        ]
        if masks and len(found) < limit:
            found.append(
                Picture(read_image(folder / "images" / image["file_name"]), np.stack(masks).astype(bool), None)
            )
    return found


def finite(depth: np.ndarray | None) -> np.ndarray:
    """The sky is ten times as far away as the farthest thing."""
    assert depth is not None
    return np.where(np.isfinite(depth), depth, 10 * depth[np.isfinite(depth)].max())


def annotations(pictures: list[Picture]) -> dict[str, list[dict[str, Any]]]:
    """Return the objects as COCO annotations."""
    found = [
        {"image_id": image, "segmentation": encode_mask(mask)}
        for image, picture in enumerate(pictures)
        for mask in picture.instances
    ]
    return {"images": [{"id": image} for image in range(len(pictures))], "annotations": found}


def masks_of(
    pictures: list[Picture], args: argparse.Namespace, options: list[str], generator: str = "maskcut"
) -> list[Found]:
    """Return the masks of a configuration; of CutS3D, with the exact depth."""
    common = ["FEATURES.DEVICE", "cpu", "MASKS.GENERATOR", generator]
    common += [] if args.config_file else ["FEATURES.NAME", "descriptors"]
    files = [ImageFile(Path(f"{number}.png"), f"{number}.png") for number in range(len(pictures))]
    with tempfile.TemporaryDirectory() as folder:
        if generator == "cuts3d":
            common += ["DEPTH.SOURCE", "files", "DEPTH.KIND", "metric", "DEPTH.FILES.ROOT", folder]
            for number, picture in enumerate(pictures):
                np.save(Path(folder) / f"{number}.npy", finite(picture.depth))
        pipeline = build_pipeline(load_cfg(args.config_file, [*common, *options, *args.opts]))
        return [
            [(one.mask, one.score) for one in pipeline([picture.image], [file])[0]]
            for picture, file in zip(pictures, files)
        ]


def divided(found: Found, picture: Picture, divide: Divide) -> Found:
    """Split masks; a part has the score of its mask."""
    if not found:
        return []
    parts = divide(picture, np.stack([mask for mask, _ in found]))
    return [(part.mask, max(found[i][1] for i in part.parents)) for part in parts]


def table(
    rows: dict[str, list[Found]], truth: dict[str, list[dict[str, Any]]], resamples: int
) -> dict[str, np.ndarray]:
    """Print a table; return the lower ends of the intervals in count error, AR100 and AP50."""
    print("\n| | masks / image | count error | AR100 | AP50 | count error | AR100 | AP50 |")
    print("|---|---:|---:|---:|---:|---|---|---|")
    first: list[ImageMatches] | None = None
    lower = {}
    for name, found in rows.items():
        results = [
            {"image_id": image, "segmentation": encode_mask(mask), "score": score}
            for image, masks in enumerate(found)
            for mask, score in masks
        ]
        matches = [match(image["id"], truth, results) for image in truth["images"]]
        first = first or matches
        intervals = bootstrap(first, matches, resamples)
        lower[name] = intervals[:, 0]
        shown = " | ".join(f"{value:.2f}" if k == 0 else f"{value:.1f}" for k, value in enumerate(figures(matches)))
        brackets = " | ".join(f"[{low:+.2f}, {high:+.2f}]" for low, high in intervals)
        print(f"| {name} | {len(results) / len(matches):.2f} | {shown} | {brackets} |", flush=True)
    return lower


def figures(matches: list[ImageMatches]) -> np.ndarray:
    """Return count error, AR100 and AP50 of some images; an image may occur more than once."""
    errors = [abs(len(image.scores) - image.objects) for image in matches]
    ap50, ar100 = ap50_and_ar100(matches)
    return np.array([np.mean(errors), ar100, ap50])


def bootstrap(baseline: list[ImageMatches], other: list[ImageMatches], resamples: int) -> np.ndarray:
    """Return 95 % intervals of the differences in all three, ``(3, 2)``, resampling the same images on both sides."""
    rng = np.random.default_rng(0)
    rises = []
    for _ in range(resamples):
        chosen = rng.integers(len(baseline), size=len(baseline))
        before, after = (figures([side[i] for i in chosen]) for side in (baseline, other))
        rises.append(after - before)
    return np.percentile(rises, [2.5, 97.5], axis=0).T


if __name__ == "__main__":
    sys.exit(main())
