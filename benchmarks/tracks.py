"""Identities in synthetic film: association by overlap and features against overlap alone and against ByteTrack.

    python benchmarks/tracks.py [--seeds 3] [--clips 20] [--generators maskcut cuts3d votecut]
    python benchmarks/tracks.py --picture docs/tracks.jpg

The masks are the exact ones of rendered clips, made as bad as those of single frames are: some are missing, lose a side
or grow, and there are false ones. With --generators they are instead those that generators find on descriptors, CutS3D
with the exact depth, which are tracked by ByteTrack and in our default way. Features of masks are those of the backend
`palette`, which needs no weights. All ways get the same masks; ByteTrack, of the library `trackers` as in
`demo --track`, gets their boxes, and as long a memory.

vAP and vAP50 are those of YouTube-VIS, in percent, IDSW is the number of identity switches per clip. Beside them is the
difference to the first row, with its 95 % interval by a paired bootstrap over the clips of all seeds.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as mask_utils
from scipy import ndimage

from unseg_d2.apps.tracks import Tracks
from unseg_d2.config import load_cfg
from unseg_d2.data.images import ImageFile
from unseg_d2.data.synthetic import Scene, synthetic_clip
from unseg_d2.detectors.prediction import Prediction
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.identities import identity_switches
from unseg_d2.evaluation.matches import ImageMatches, Matches
from unseg_d2.evaluation.track_overlaps import VideoOverlaps
from unseg_d2.evaluation.video import LIMITS, ONE_CLASS, THRESHOLDS, VideoSettings, video_matches
from unseg_d2.features import single_backend
from unseg_d2.pseudo.geometry import network_input
from unseg_d2.pseudo.pipeline import build_pipeline
from unseg_d2.rle import decode_masks, encode_mask
from unseg_d2.tracks.pooled import pooled_features
from unseg_d2.tracks.settings import TrackSettings
from unseg_d2.tracks.video import track_video
from unseg_d2.viz.overlay import draw_instances

RATE = Fraction(TrackSettings().max_gap)  # frames per second, at which ByteTrack's second is as long as our gap
SETTINGS = ["FEATURES.NAME", "palette", "FEATURES.DEVICE", "cpu", "FEATURES.IMAGE_SIZE", "240"]
SETTINGS += ["FEATURES.DESCRIPTORS.PATCH_SIZE", "4", "SYNTHETIC.SIZE", "(120, 160)"]
GENERATORS = {
    "maskcut": ["MASKS.GENERATOR", "maskcut"],
    "cuts3d": ["MASKS.GENERATOR", "cuts3d", "DEPTH.SOURCE", "files", "DEPTH.KIND", "metric"],
    "votecut": ["MASKS.GENERATOR", "votecut"],
}
"""Generators whose masks can be tracked, with their usual settings."""

BYTETRACK, DEFAULT = "ByteTrack, boxes", "overlap and features, gaps filled"
METRICS = ("vAP", "vAP50", "IDSW")
SHOWN, GAP = 8, 4  # frames of the picture, and px between them
Annotation = dict[str, Any]


@dataclass(frozen=True)
class Clip:
    """A clip with the masks that are given.

    Attributes:
        scenes: T of them.
        given: annotations of each frame.
        features: of these.
    """

    scenes: Sequence[Scene]
    given: list[list[Annotation]]
    features: list[np.ndarray]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, px."""
        height, width = self.scenes[0].instances.shape
        return height, width


@dataclass(frozen=True)
class Result:
    """What a way makes of a clip."""

    matches: list[ImageMatches]
    switches: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=20, help="per seed")
    parser.add_argument("--missing", type=float, default=0.15, help="share of the masks that are missing")
    parser.add_argument("--false", type=float, default=0.1, help="false masks per frame")
    parser.add_argument("--generators", nargs="+", default=[], choices=list(GENERATORS), help="whose masks are tracked")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--picture", type=Path, help="write a picture of a clip instead of the table")
    args = parser.parse_args()
    if args.picture:
        write_picture(args.picture, clip_of(0, 0, args))
        return
    ways = available_ways()
    if args.generators:
        ways = {name: way for name, way in ways.items() if name in (BYTETRACK, DEFAULT)}
    makers = [f"{maker}, " for maker in args.generators] or [""]
    results: dict[str, list[Result]] = {maker + name: [] for maker in makers for name in ways}
    for seed in range(args.seeds):
        for number in range(args.clips):
            for maker, generator in zip(makers, args.generators or [""]):
                clip = clip_of(seed, number, args, generator)
                for name, way in ways.items():
                    found = results[maker + name]
                    found.append(compared(clip, way(clip), number=len(found) + 1))
        row = "; ".join(f"{name}: {line(found[-args.clips :])}" for name, found in results.items())
        print(f"seed {seed}: {row}", flush=True)
    print_table(results, args.resamples)


def available_ways() -> dict[str, Callable[[Clip], list[list[Annotation]]]]:
    """Return the ways of association by name; ByteTrack where it is installed."""
    overlap = TrackSettings(appearance=0.0, max_filled=0)
    looser = replace(overlap, min_similarity=0.1)
    both = TrackSettings(max_filled=0)
    ways: dict[str, Callable[[Clip], list[list[Annotation]]]] = {
        "overlap alone": lambda clip: ours(clip, overlap),
        "overlap alone, from an IoU of .1": lambda clip: ours(clip, looser),
        "overlap and features": lambda clip: ours(clip, both),
        DEFAULT: lambda clip: ours(clip, TrackSettings()),
    }
    try:
        Tracks(RATE, 0.5)
    except UnsegError as error:
        print(f"without ByteTrack: {error}")
        return ways
    return {BYTETRACK: bytetrack, **ways}


def ours(clip: Clip, settings: TrackSettings) -> list[list[Annotation]]:
    """Return the masks with the tracks of `track_video`."""
    features = clip.features if settings.appearance else None
    return track_video(clip.given, range(len(clip.given)), clip.size, settings, features).frames


def bytetrack(clip: Clip) -> list[list[Annotation]]:
    """Return the masks with the tracks of ByteTrack."""
    tracks = Tracks(RATE, 0.5)
    found = []
    for number, given in enumerate(clip.given):
        boxes = np.array([item["bbox"] for item in given], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        scores = np.array([item["score"] for item in given], np.float32)
        rles = [item["segmentation"] for item in given]
        prediction = Prediction({"image_id": number}, clip.size, boxes, scores, rles)
        found.append(tracks(prediction, Fraction(number) / RATE).to_coco())
    return found


def clip_of(seed: int, number: int, args: argparse.Namespace, generator: str = "") -> Clip:
    """Render a clip, and spoil its masks or find masks by a generator."""
    cfg = load_cfg(None, [*SETTINGS, "SYNTHETIC.SEED", str(100_000 * (seed + 1))])
    scenes = synthetic_clip(cfg, number)
    rng = np.random.default_rng([seed, number])
    given = generated(scenes, generator) if generator else [spoilt(rng, scene, args) for scene in scenes]
    backend, _ = single_backend(cfg)
    features = []
    for scene, items in zip(scenes, given):
        view = network_input(scene.image, backend.patch_size, cfg.FEATURES.RESIZE, cfg.FEATURES.IMAGE_SIZE)
        masks = decode_masks([item["segmentation"] for item in items], *scene.instances.shape)
        tokens = backend([view.image])[0].tokens.numpy()
        features.append(pooled_features(tokens, masks, view.shown_share))
    return Clip(scenes, given, features)


def spoilt(rng: np.random.Generator, scene: Scene, args: argparse.Namespace) -> list[Annotation]:
    """Return the masks of a frame as a generator of masks for single images might find them, in any order."""
    found = []
    for number in np.unique(scene.instances)[1:]:
        mask = scene.instances == number
        if rng.random() < args.missing:
            continue
        if rng.random() < 0.3:
            change = ndimage.binary_erosion if rng.random() < 0.5 else ndimage.binary_dilation
            mask = change(mask, iterations=int(rng.integers(1, 4)))
        if rng.random() < 0.15:  # a side is lost
            columns = np.flatnonzero(mask.any(axis=0))
            if len(columns):
                mask[:, : columns[0] + len(columns) // 3] = False
        found.append((mask, float(rng.uniform(0.6, 1.0))))
    for _ in range(rng.poisson(args.false)):
        height, width = mask_size = scene.instances.shape
        top, left = int(rng.integers(0, height - 20)), int(rng.integers(0, width - 20))
        mask = np.zeros(mask_size, bool)
        mask[top : top + int(rng.integers(8, 20)), left : left + int(rng.integers(8, 20))] = True
        found.append((mask, float(rng.uniform(0.5, 0.9))))
    order = rng.permutation(len(found))
    return [annotation(*found[place]) for place in order if found[place][0].sum() >= 9]


def generated(scenes: Sequence[Scene], generator: str) -> list[list[Annotation]]:
    """Return the masks that a generator finds in each frame on descriptors; CutS3D gets the exact depth."""
    with tempfile.TemporaryDirectory() as folder:
        options = [*GENERATORS[generator], "FEATURES.NAME", "descriptors", "FEATURES.DEVICE", "cpu"]
        options += ["FEATURES.IMAGE_SIZE", "360"]  # the quickstart's
        if generator == "cuts3d":
            options += ["DEPTH.FILES.ROOT", folder]
            for number, scene in enumerate(scenes):
                far = 2 * scene.depth[np.isfinite(scene.depth)].max()
                np.save(Path(folder) / f"{number}.npy", np.minimum(scene.depth, far))
        pipeline = build_pipeline(load_cfg(None, options))
        files = [ImageFile(Path(f"{number}.png"), f"{number}.png") for number in range(len(scenes))]
        found = [pipeline([scene.image], [file])[0] for scene, file in zip(scenes, files)]
    return [[annotation(one.mask, one.score) for one in masks] for masks in found]


def annotation(mask: np.ndarray, score: float) -> Annotation:
    rle = encode_mask(mask)
    box = [float(side) for side in mask_utils.toBbox(rle)]
    return {"category_id": 1, "segmentation": rle, "bbox": box, "area": int(mask.sum()), "iscrowd": 0, "score": score}


def compared(clip: Clip, found: Sequence[Sequence[Annotation]], number: int) -> Result:
    """Compare tracks with the exact ones."""
    settings, video = VideoSettings(), VideoOverlaps()
    for place, (scene, items) in enumerate(zip(clip.scenes, found)):
        height, width = clip.size
        truth = [
            {"track_id": int(track), "segmentation": encode_mask(scene.instances == track)}
            for track in np.unique(scene.instances)[1:]
        ]
        video.add(place, {"id": place, "height": height, "width": width}, truth, items)
    switches = identity_switches([frame for _, frame in video.frames], settings.min_iou)
    return Result(video_matches(video, number, settings.max_detections), switches)


def metrics(results: Sequence[Result]) -> np.ndarray:
    """Return `METRICS` over clips."""
    matches = Matches(LIMITS, len(THRESHOLDS))
    for number, result in enumerate(results, start=1):
        matches.add([one._replace(image=number) for one in result.matches])
    precision, _ = matches.curves(ONE_CLASS)
    of_all = precision[:, :, 0, 0, -1]
    return np.array([100 * of_all.mean(), 100 * of_all[0].mean(), np.mean([result.switches for result in results])])


def line(results: Sequence[Result]) -> str:
    return " ".join(f"{name} {value:.1f}" for name, value in zip(METRICS, metrics(results)))


def print_table(results: dict[str, list[Result]], resamples: int) -> None:
    """Print a row per way, with differences to the first."""
    names, rng = list(results), np.random.default_rng(0)
    count = len(results[names[0]])
    drawn = [rng.integers(count, size=count) for _ in range(resamples)]
    print(f"\n{count} clips\n\n| | " + " | ".join(METRICS) + " |\n|---|" + "---:|" * len(METRICS))
    whole = {name: metrics(found) for name, found in results.items()}
    first = [metrics([results[names[0]][place] for place in chosen]) for chosen in drawn]
    for name in names:
        cells = [f"{value:.1f}" for value in whole[name]]
        if name != names[0]:
            rises = np.array([metrics([results[name][k] for k in chosen]) for chosen in drawn]) - np.array(first)
            low, high = np.percentile(rises, [2.5, 97.5], axis=0)
            difference = whole[name] - whole[names[0]]
            cells = [f"{c} ({d:+.1f} [{a:+.1f}, {b:+.1f}])" for c, d, a, b in zip(cells, difference, low, high)]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def write_picture(path: Path, clip: Clip) -> None:
    """Draw the masks that are given, each frame for itself, and below them the tracks."""
    tracked = ours(clip, TrackSettings())
    rows = []
    for frames, tracked_ones in ((clip.given, False), (tracked, True)):
        row = []
        for number in np.linspace(0, len(clip.scenes) - 1, SHOWN).round().astype(int):
            masks = decode_masks([item["segmentation"] for item in frames[number]], *clip.size)
            identities = [item["track_id"] for item in frames[number]] if tracked_ones else None
            row.append(draw_instances(clip.scenes[number].image, masks, identities=identities))
            row.append(np.full((clip.size[0], GAP, 3), 255, np.uint8))
        rows.append(np.concatenate(row[:-1], axis=1))
    picture = Image.fromarray(np.concatenate([rows[0], np.full((GAP, rows[0].shape[1], 3), 255, np.uint8), rows[1]]))
    picture.save(path, quality=85, optimize=True)
    print(f"{path}: {picture.width}x{picture.height} px, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
