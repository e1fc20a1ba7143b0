"""The command over a label set of videos: what it writes, that it resumes, and what it says of bad input."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unseg_d2.cli.track_masks import main
from unseg_d2.config import load_cfg
from unseg_d2.data.coco import read_coco
from unseg_d2.errors import UnsegError
from unseg_d2.rle import encode_mask
from unseg_d2.tracks import label_set
from unseg_d2.tracks.label_set import track_label_set
from unseg_d2.tracks.settings import TrackSettings
from unseg_d2.training.score_masks import score_masks

HEIGHT, WIDTH, LENGTH = 48, 64, 6
FEATURES = ["FEATURES.NAME", "palette", "FEATURES.DEVICE", "cpu", "FEATURES.IMAGE_SIZE", "64"]
FEATURES += ["FEATURES.DESCRIPTORS.PATCH_SIZE", "4"]
COLOURS = ((220, 40, 40), (40, 60, 220))


def picture(*lefts: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Squares of 12 px at some columns, the later ones in front, on grey; and what is seen of each."""
    pixels, owner = np.full((HEIGHT, WIDTH, 3), 120, np.uint8), np.zeros((HEIGHT, WIDTH), int)
    for number, left in enumerate(lefts, start=1):
        pixels[18:30, left : left + 12], owner[18:30, left : left + 12] = COLOURS[number - 1], number
    return pixels, [owner == number for number in range(1, len(lefts) + 1)]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Two videos, one of two squares that meet; the truth has tracks, the label set has none and lacks a mask."""
    truth: dict[str, Any] = {"videos": [], "images": [], "annotations": [], "categories": [{"id": 1, "name": "fg"}]}
    for video, paths in enumerate(([(4 + 8 * t, 48 - 8 * t) for t in range(LENGTH)], [(9,)] * LENGTH), start=1):
        folder = tmp_path / "images" / f"film{video}"
        folder.mkdir(parents=True)
        truth["videos"].append({"id": video, "file_name": folder.name, "length": LENGTH})
        for frame, lefts in enumerate(paths):
            pixels, masks = picture(*lefts)
            Image.fromarray(pixels).save(folder / f"{frame:03d}.png")
            image = {"id": len(truth["images"]) + 1, "file_name": f"{folder.name}/{frame:03d}.png"}
            truth["images"].append({**image, "height": HEIGHT, "width": WIDTH, "video_id": video, "frame_id": frame})
            for track, mask in enumerate(masks, start=1):
                rows, columns = np.nonzero(mask)
                if len(rows):
                    low, high = (rows.min(), columns.min()), (rows.max() + 1, columns.max() + 1)
                    box = [int(low[1]), int(low[0]), int(high[1] - low[1]), int(high[0] - low[0])]
                    about = {"image_id": image["id"], "category_id": 1, "iscrowd": 0, "track_id": track, "bbox": box}
                    found = {"segmentation": encode_mask(mask), "area": int(mask.sum())}
                    truth["annotations"].append({"id": len(truth["annotations"]) + 1, **about, **found})
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    masks = [
        {key: value for key, value in item.items() if key != "track_id"} | {"score": 0.5}
        for item in truth["annotations"]
        if item["image_id"] != LENGTH + 3  # the third frame of the second video
    ]
    images = [{key: image[key] for key in ("id", "file_name", "height", "width")} for image in truth["images"]]
    labels = {"info": {"image_root": "images"}, "images": images, "annotations": masks[::-1]}
    (tmp_path / "labels.json").write_text(json.dumps(labels | {"categories": truth["categories"]}))
    return tmp_path


def track(film: Path, *options: Any, output: str = "tracks") -> Path:
    path, _ = track_label_set(load_cfg(None, [*FEATURES, *map(str, options)]), film / "labels.json", film / output)
    return path


def test_tracks_are_those_of_the_objects(film: Path) -> None:
    path = track(film)
    found = score_masks(path, film / "truth.json", None, "TEST.EVALUATORS", ["video", "class_agnostic"]).metrics["segm"]
    assert found["vAP"] == pytest.approx(100) and found["AP"] == pytest.approx(100) and found["IDSW"] == 0
    dataset = read_coco(path)
    assert [(v["id"], v["file_name"], v["length"]) for v in dataset.videos] == [(1, "film1", 6), (2, "film2", 6)]
    assert [i["frame_id"] for i in dataset.images] == [*range(LENGTH), *range(LENGTH)]
    filled = [item for item in dataset.annotations if item.get("filled")]
    assert [item["image_id"] for item in filled] == [LENGTH + 3] and filled[0]["score"] == 0.5
    keys = read_coco(film / "tracks" / "keys.json")
    assert len(keys.annotations) == 3 and all(item["key"] for item in keys.annotations)
    assert {item["image_id"] for item in keys.annotations} == {image["id"] for image in keys.images}
    assert dataset.info["tracks"] == {"videos": 2, "frames": 12, "masks": len(dataset.annotations), "tracks": 3} | {
        "filled": 1,
        "keys": 3,
    }


def test_settings_that_follow_the_device_are_taken_before_frames_are_read(film: Path) -> None:
    followed = track(film, "FEATURES.BATCH_SIZE", 0, "FEATURES.PRECISION", "auto", output="followed")
    assert read_coco(followed).annotations == read_coco(track(film)).annotations
    stated = json.loads((film / "followed" / "manifest.json").read_text())["settings"]["FEATURES"]
    assert (stated["BATCH_SIZE"], stated["PRECISION"]) == (1, "float32")


def test_crowds_stay_and_have_no_track_of_an_earlier_run(film: Path) -> None:
    content = json.loads((film / "labels.json").read_text())
    crowd = content["annotations"][0] | {"id": 99, "iscrowd": 1, "track_id": 1, "key": True}
    (film / "labels.json").write_text(json.dumps(content | {"annotations": [*content["annotations"], crowd]}))
    path = track(film, "TRACKS.APPEARANCE", 0)
    (found,) = [item for item in read_coco(path).annotations if item["iscrowd"]]
    assert "track_id" not in found and "key" not in found and found["segmentation"] == crowd["segmentation"]
    assert not any(item["iscrowd"] for item in read_coco(film / "tracks" / "keys.json").annotations)


@pytest.mark.parametrize(
    ("options", "named", "why"),
    [
        (["TRACKS.KEY_DISTANCE", "3"], ["TRACKS.KEY_DISTANCE"], "TRACKS.KEYS 1"),
        (["TRACKS.KEY_DISTANCE", "3", "TRACKS.KEYS", "2"], [], ""),
        (["TRACKS.MIN_VISIBLE", "0.9", "TRACKS.MAX_FILLED", "0"], ["TRACKS.MIN_VISIBLE"], "TRACKS.MAX_FILLED 0"),
        (["FEATURES.VIT.ARCH", "dino_vits8"], ["FEATURES.VIT.ARCH"], "FEATURES.NAME does not name vit"),
        (["TRACKS.APPEARANCE", "0"], [key for key in FEATURES[::2] if key != "FEATURES.DEVICE"], "TRACKS.APPEARANCE 0"),
    ],
)
def test_settings_without_effect_are_named(options: list[str], named: list[str], why: str) -> None:
    cfg = load_cfg(None, [*FEATURES, *options])
    said = " ".join(label_set.idle_settings(cfg, TrackSettings.from_config(cfg)))
    assert all(key in said for key in named) and why in said and bool(said) == bool(named)


def test_overlap_alone_reads_no_image_and_leaves_gaps_where_it_is_told_to(film: Path) -> None:
    for image in (film / "images").rglob("*.png"):
        image.unlink()
    path = track(film, "TRACKS.APPEARANCE", 0, "TRACKS.MAX_FILLED", 0, "TRACKS.KEYS", 0)
    dataset = read_coco(path)
    assert not any(item.get("filled") or item.get("key") for item in dataset.annotations)
    assert not (film / "tracks" / "keys.json").exists()
    with pytest.raises(UnsegError, match=r"images of .* were not found"):
        track(film, output="others")


def test_parents_are_the_nearest_ones_that_are_left(film: Path) -> None:
    """A pixel in a row in a square; the row is seen in two frames only, and its key mask is in the second of them."""
    masks = [np.zeros((HEIGHT, WIDTH), bool) for _ in range(3)]
    masks[0][20, 20] = masks[1][20, 18:24] = masks[2][18:24, 18:24] = True
    content = json.loads((film / "labels.json").read_text())
    content["images"] = content["images"][:LENGTH]
    content["annotations"] = [
        {"id": 3 * frame + node, "image_id": frame + 1, "category_id": 1, "segmentation": encode_mask(mask)}
        | {"node": node, "level": node, "granularity": 1.0, "score": 1.0 if frame == (node == 1) else 0.5}
        | ({} if node == 2 else {"parent": node + 1 if frame < 2 else 2})
        for frame in range(LENGTH)
        for node, mask in enumerate(masks)
        if node != 1 or frame < 2
    ]
    (film / "labels.json").write_text(json.dumps(content))

    def places(path: Path) -> list[tuple[int, Any]]:
        """Of the first frame."""
        return [(item["node"], item.get("parent")) for item in read_coco(path).annotations if item["image_id"] == 1]

    options = ["TRACKS.APPEARANCE", 0, "TRACKS.MIN_SIMILARITY", 0.5, "TRACKS.MAX_FILLED", 0]
    assert places(track(film, *options)) == [(0, 1), (1, 2), (2, None)]
    assert places(film / "tracks" / "keys.json") == [(0, 2), (2, None)]
    assert places(track(film, *options, "TRACKS.MIN_LENGTH", 3, output="long")) == [(0, 2), (2, None)]
    content["annotations"][1]["segmentation"] = []  # left out as well
    content["annotations"][1]["bbox"] = [18, 20, 6, 1]
    (film / "labels.json").write_text(json.dumps(content))
    assert places(track(film, *options, output="box")) == [(0, 2), (2, None)]


def spoil_a_score(film: Path, **of_images: Any) -> None:
    """Of the two objects of the first frame, only one can have its key mask there."""
    content = json.loads((film / "labels.json").read_text())
    next(item for item in content["annotations"] if item["image_id"] == 1)["score"] = 0.1
    content["images"] = [image | of_images for image in content["images"]]
    (film / "labels.json").write_text(json.dumps(content))


def test_masks_beside_key_masks_can_be_crowd_regions(film: Path) -> None:
    spoil_a_score(film)
    labels = read_coco(track(film, "TRACKS.OTHERS", "crowd"))
    keys = read_coco(film / "tracks" / "keys.json")
    in_key_frames = [item for item in labels.annotations if item["image_id"] in {image["id"] for image in keys.images}]
    assert len(keys.annotations) == len(in_key_frames) > sum(item.get("key", False) for item in in_key_frames) > 0
    assert all(bool(item["iscrowd"]) != item.get("key", False) for item in keys.annotations)
    assert not any(item["iscrowd"] for item in labels.annotations)
    with pytest.raises(UnsegError, match="others has no effect with keys 0"):
        track(film, "TRACKS.OTHERS", "crowd", "TRACKS.KEYS", 0, output="none")


@pytest.mark.parametrize("others", ["left_out", "crowd"])
def test_frames_that_lack_masks_are_no_longer_done(film: Path, others: str) -> None:
    spoil_a_score(film, done=True)
    labels = read_coco(track(film, "TRACKS.OTHERS", others))
    assert all(image["done"] for image in labels.images)
    keys = read_coco(film / "tracks" / "keys.json")
    objects = Counter(item["image_id"] for item in labels.annotations if not item.get("filled"))
    labelled = Counter(item["image_id"] for item in keys.annotations if item.get("key"))
    expected = {image["id"]: labelled[image["id"]] == objects[image["id"]] for image in keys.images}
    assert {image["id"]: bool(image.get("done")) for image in keys.images} == expected
    assert set(expected.values()) == {True, False}
    long = read_coco(track(film, "TRACKS.MIN_LENGTH", LENGTH, output="long"))  # the third track lacks a mask
    done = [bool(image.get("done")) for image in long.images]
    assert done == [True] * LENGTH + [False, False, True, False, False, False]


def test_a_finished_video_is_not_tracked_again_and_a_changed_frame_is_noticed(
    film: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[int] = []
    original = label_set.track_video

    def spy(frames: Any, *rest: Any) -> Any:
        made.append(len(frames))
        if len(made) == 2:
            raise KeyboardInterrupt
        return original(frames, *rest)

    monkeypatch.setattr(label_set, "track_video", spy)
    with pytest.raises(KeyboardInterrupt):
        track(film)
    assert not (film / "tracks" / "labels.json").exists()
    track(film)
    assert len(made) == 3  # the first video once, the second one twice
    before = (film / "tracks" / "labels.json").read_bytes()
    monkeypatch.setattr(label_set, "track_video", original)
    track(film, output="whole")
    assert (film / "whole" / "labels.json").read_bytes() == before
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), 9, np.uint8)).save(film / "images/film2/004.png")
    monkeypatch.setattr(label_set, "track_video", spy)
    track(film)
    assert len(made) == 4


def test_other_settings_and_other_labels_need_another_folder(film: Path) -> None:
    track(film)
    track(film, "FEATURES.DEVICE", "auto")
    with pytest.raises(UnsegError, match=r"tracks holds tracks .* settings.TRACKS.REACH was 2.0, now 3.0"):
        track(film, "TRACKS.REACH", 3)
    content = json.loads((film / "labels.json").read_text())
    content["annotations"].pop()
    (film / "labels.json").write_text(json.dumps(content))
    with pytest.raises(UnsegError, match="labels_sha256 was"):
        track(film)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["images"][3].update(file_name="film1/last.png"), "has no number in its name"),
        (lambda c: c["images"][3].update(width=WIDTH - 1), "all frames of a video must have one size"),
        (lambda c: c.update(images=[], annotations=[]), "there are no images"),
        (lambda c: c["images"][3].update(file_name="film1/0000.png"), "are both frame 0"),
    ],
)
def test_bad_input_is_one_line(film: Path, change: Any, message: str) -> None:
    content = json.loads((film / "labels.json").read_text())
    change(content)
    if content["annotations"]:
        ids = {4}
        content["annotations"] = [item for item in content["annotations"] if item["image_id"] not in ids]
    (film / "labels.json").write_text(json.dumps(content))
    with pytest.raises(UnsegError, match=message):
        track(film, "TRACKS.APPEARANCE", 0)


def test_frames_that_cannot_be_read_are_named(film: Path) -> None:
    (film / "images/film1/002.png").write_bytes(b"no picture")
    with pytest.raises(UnsegError, match=r"film1/002\.png cannot be used: .*TRACKS\.APPEARANCE 0"):
        track(film)
    Image.fromarray(np.zeros((HEIGHT, 9, 3), np.uint8)).save(film / "images/film1/002.png")
    with pytest.raises(UnsegError, match="has 48x9 px, but its masks 48x64"):
        track(film)
    with pytest.raises(UnsegError, match="is what is read"):
        track_label_set(load_cfg(None, FEATURES), film / "labels.json", film)


def test_missing_frames_and_boxes_are_said(film: Path, capsys: pytest.CaptureFixture[str], caplog: Any) -> None:
    content = json.loads((film / "labels.json").read_text())
    content["images"] = [image for image in content["images"] if image["id"] != 2]
    content["annotations"] = [item for item in content["annotations"] if item["image_id"] != 2]
    content["annotations"][0].pop("segmentation")
    (film / "labels.json").write_text(json.dumps(content))
    with caplog.at_level("WARNING"):
        main(["--labels", str(film / "labels.json"), "--output", str(film / "tracks"), *FEATURES])
    assert "lacks 1 frames of 1 videos, such as film1" in caplog.text
    printed = capsys.readouterr().out
    assert "tracks with" in printed and "1 annotations left out, which have no mask" in printed
