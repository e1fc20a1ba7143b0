"""Tracks for a label set of videos: one file per finished video, so that an interrupted run resumes.

Layout of the folder:

    manifest.json       everything that the tracks depend on
    videos/000001.json  the annotations of the first video, and what its frames held when they were read
    labels.json         the label set: a COCO file with videos, video_id, frame_id, track_id
    keys.json           the frames with key masks, and of these frames the key masks; TRACKS.OTHERS says what besides
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode
from pycocotools import mask as mask_utils

from unseg_d2.config import edited
from unseg_d2.content import Comparison, Content, content_of
from unseg_d2.data.annotations.index import AnnotationIndex
from unseg_d2.data.coco import find_image_root, resolve_image
from unseg_d2.data.frames import Video, videos_of
from unseg_d2.data.spec import relative_root, split_spec
from unseg_d2.description import versions
from unseg_d2.errors import UnsegError
from unseg_d2.features.follow_device import followed
from unseg_d2.features.registry import learnt_from
from unseg_d2.files import check_apart, check_can_read, write_json
from unseg_d2.levels import reconnected
from unseg_d2.locks import locked
from unseg_d2.manifest import open_or_refuse
from unseg_d2.progress import progress_bar
from unseg_d2.pseudo.label_set import labels_file, open_label_set
from unseg_d2.registry import code_of_parts, unused_settings
from unseg_d2.rle import to_rles
from unseg_d2.settings import all_settings, defaults_below, look_up
from unseg_d2.storage.addresses import to_path
from unseg_d2.supervision import from_info, joined, to_info
from unseg_d2.tracks.features import MaskFeatures
from unseg_d2.tracks.output import TrackCounts, write_tracks
from unseg_d2.tracks.settings import TrackSettings
from unseg_d2.tracks.video import track_video, without_track

MAY_CHANGE = ("image_root", "features.name", "supervision", "settings.*.DEVICE", "settings.FEATURES.WEIGHTS")
"""Keys of the manifest that may differ when a run is resumed: places; features are known by their checksum."""
WARNED = ("versions.", "settings.FEATURES.BATCH_SIZE")
OTHER_PARTS = ("MASKS.", "DEPTH.", "REFINE.", "LOSSES.", "TEST.")
"""Beginnings of keys whose parts have no effect on tracks."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Run:
    """What all videos of a run have in common."""

    index: AnnotationIndex
    root: Path | None
    features: MaskFeatures | None
    settings: TrackSettings
    folder: Path

    def paths(self, names: Sequence[str]) -> list[Path]:
        """Return where the frames of these names are; none where they are not read."""
        if self.root is None or self.features is None:
            return []
        return [resolve_image(self.root, name) for name in names]


def track_label_set(
    cfg: CfgNode, labels: str | Path, output: str | Path, *, image_root: str | Path | None = None
) -> tuple[Path, TrackCounts]:
    """Give the masks of a label set of videos their tracks, or resume doing so.

    Args:
        cfg: ``TRACKS`` says how masks are joined, ``FEATURES`` what describes them.
        labels: label set of videos, see `data.frames.videos_of`: a COCO or YouTube-VIS file, ``FILE::FOLDER`` with the
            folder of the frames, or a folder.
        output: folder of the new label set.
        image_root: folder of the frames; by default the one that the label set names.

    Returns:
        ``output/labels.json``, and what is in it.

    Raises:
        UnsegError: no label set, images that are no frames of videos, frames that cannot be read, another run in the
            folder, or a full disk.
    """
    named, folder = split_spec(labels)
    output, path = Path(output), labels_file(named)
    check_can_read(Path(named))
    check_apart(output, path.parent)
    settings = TrackSettings.from_config(cfg)
    index = open_label_set(named)
    videos = videos_of(index.images(), index.videos, path)
    root = _root(index, path, image_root or folder or None, needed=settings.appearance > 0)
    for sentence in idle_settings(cfg, settings):
        logger.info("%s", sentence)
    if settings.appearance > 0:
        cfg = edited(cfg, followed(cfg))
    features = MaskFeatures.from_config(cfg) if settings.appearance > 0 else None
    run = _Run(index, root, features, settings, output / "videos")
    output.mkdir(parents=True, exist_ok=True)
    with locked(output / ".tracks.lock", until=output / "labels.json", busy=f"is writing {output}"):
        manifest = open_or_refuse(
            output / "manifest.json",
            _manifest(cfg, run, Path(named), output),
            holds=f"{output} holds tracks that were made",
            remedy="choose another --output",
            may_change=MAY_CHANGE,
            warned=WARNED,
            gained=defaults_below("settings"),
        )
        _say_what_is_missing(videos)
        for number, video in enumerate(progress_bar(videos, desc="tracks", unit=" videos"), start=1):
            _make(run, video, number)
        return write_tracks(output, manifest, index, videos, run.folder, settings.others)


def idle_settings(cfg: CfgNode, settings: TrackSettings) -> Iterator[str]:
    """Yield a sentence for each setting that somebody has changed and nothing reads; one for all of the features."""
    defaults = dict(all_settings())
    for name, why in settings.unread().items():
        if (value := getattr(settings, name)) != defaults[f"TRACKS.{name.upper()}"].default:
            yield f"TRACKS.{name.upper()} is {value!r}, which has no effect with {why}."
    if settings.appearance > 0:
        yield from unused_settings(cfg, ("FEATURES.NAME",))
    elif changed := [
        key for key in defaults if key.startswith("FEATURES.") and look_up(cfg, key) != defaults[key].default
    ]:
        yield f"{', '.join(changed)} {'has' if len(changed) == 1 else 'have'} no effect with TRACKS.APPEARANCE 0."


def _root(index: AnnotationIndex, path: Path, stated: str | Path | None, *, needed: bool) -> Path | None:
    """Return the folder of the frames; where they are not read, ``None`` where it is not known."""
    if stated is not None:
        return to_path(stated)
    try:
        return find_image_root(index, path)
    except UnsegError:
        if needed:
            raise
        return None


def _manifest(cfg: CfgNode, run: _Run, labels: Path, output: Path) -> dict[str, Any]:
    """Return everything that the tracks depend on; label sets are known by content."""
    described: dict[str, Any] = {"features": None, "settings": {"TRACKS": dict(cfg.TRACKS)}}
    learnt = [from_info(run.index.info)]
    if run.features is not None:
        backend = run.features.backend
        learnt.append(learnt_from(backend))
        described["features"] = {"name": backend.name, "checksum": backend.checksum}
        described["settings"]["FEATURES"] = dict(cfg.FEATURES)
        described["settings"]["INPUT"] = run.features.reading.changes()
        described |= code_of_parts(cfg, without=OTHER_PARTS)
    return {
        "description": "tracks by unseg_d2",
        **({"image_root": relative_root(run.root, output)} if run.root else {}),
        "labels_sha256": _sha256_of_labels(labels),
        "supervision": to_info(joined(learnt)),
        "versions": versions(("numpy", "scipy", "opencv-python-headless", "pycocotools", "torch")),
        **described,
    }


def _sha256_of_labels(labels: Path) -> str | None:
    """Return the sha256 of a COCO file; of a folder with shards only, of the shards in their order."""
    path = labels_file(labels)
    paths = [path] if path.is_file() else sorted(labels.glob("shards/*.jsonl"))
    seen = [content_of(each) for each in paths]
    if len(seen) == 1 and seen[0] is not None:
        return seen[0].sha256
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def _say_what_is_missing(videos: Sequence[Video]) -> None:
    gaps = [video for video in videos if video.num_missing]
    if gaps:
        logger.warning(
            "The label set lacks %d frames of %d videos, such as %s: objects are away there, and nothing is filled.",
            sum(video.num_missing for video in gaps),
            len(gaps),
            gaps[0].name,
        )


def _make(run: _Run, video: Video, number: int) -> None:
    """Track a video, unless it is done and its frames are what they were."""
    path = run.folder / f"{number:06d}.json"
    images = [run.index.image(position) for position in video.positions]
    frames = run.paths([image["file_name"] for image in images])
    if _is_current(path, frames):
        return
    contents = [content_of(frame) for frame in frames]
    seen, found, crowds, unusable = [], [], [], 0
    for position, image in zip(video.positions, images):
        items = run.index.annotations(position, image)
        usable = reconnected(items, [item for item in items if _is_usable(item, video.size)])
        seen.append(items)
        found.append(usable)
        crowds.append([without_track(item) for item in items if item["iscrowd"]])
        unusable += len(items) - len(usable) - len(crowds[-1])
    described = None
    if run.features is not None:
        described = run.features(frames, [[item["segmentation"] for item in items] for items in found], video.size)
    tracked = track_video(found, video.numbers, video.size, run.settings, described)
    counts = TrackCounts(
        videos=1,
        frames=len(images),
        masks=sum(map(len, tracked.frames)),
        tracks=tracked.num_tracks,
        filled=tracked.num_filled,
        keys=tracked.num_keys,
        left_out=tracked.left_out,
        unusable=unusable,
    )
    annotations = [
        reconnected(before, [*of_frame, *crowd]) for before, of_frame, crowd in zip(seen, tracked.frames, crowds)
    ]
    write_json(path, {"counts": asdict(counts), "made_from": contents, "annotations": annotations})


def _is_usable(item: dict[str, Any], size: tuple[int, int]) -> bool:
    """Whether an annotation is an object with a mask that was found; boxes and filled masks are none."""
    if item["iscrowd"] or item.get("filled") or not item.get("segmentation"):
        return False
    return bool(mask_utils.area(to_rles([item["segmentation"]], *size)[0]))


def _is_current(path: Path, frames: Sequence[Path]) -> bool:
    """Whether a video is done, and made from its frames as they are."""
    if not path.is_file():
        return False
    try:
        seen = json.loads(path.read_bytes())["made_from"]
        recorded = [None if each is None else Content(*each) for each in seen]
    except (ValueError, KeyError, TypeError):
        return False
    if len(recorded) != len(frames):
        return False
    comparison = Comparison(path, path.stat().st_mtime)
    if any(comparison.has_changed(frame, content) for frame, content in zip(frames, recorded)):
        logger.warning("Frames of %s have changed since they were read; the video is tracked anew.", path.stem)
        return False
    return True
