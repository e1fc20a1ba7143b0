"""Metrics of videos by hand, and against pycocotools: frames that are laid side by side make one image of a video."""

from __future__ import annotations

import contextlib
import io
import math
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.scores import score
from unseg_d2.evaluation.track_overlaps import VideoOverlaps
from unseg_d2.evaluation.video import VideoAP, VideoSettings, matched
from unseg_d2.rle import encode_mask

HEIGHT, WIDTH = 8, 10


def box(top: int, left: int, height: int, width: int) -> dict[str, Any]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + height, left : left + width] = True
    return encode_mask(mask)


def item(image: int, track: Any, segmentation: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"image_id": image, "track_id": track, "category_id": 1, "segmentation": segmentation, **more}


def frames(count: int, video: Any = 1, first: int = 1) -> list[dict[str, Any]]:
    size = {"height": HEIGHT, "width": WIDTH}
    return [{"id": first + k, "video_id": video, "frame_id": k, **size} for k in range(count)]


def metrics(truth: dict[str, Any], results: list[dict[str, Any]], **settings: Any) -> dict[str, float]:
    return score(truth, results, {"video": VideoAP(VideoSettings(**settings))}).metrics["segm"]


def test_overlap_counts_all_frames_of_both() -> None:
    """6 px in common; 4 + 6 px of the object and 6 + 8 px of the result: 6 / (10 + 14 - 6)."""
    video = VideoOverlaps()
    image = {"id": 1, "height": HEIGHT, "width": WIDTH}
    video.add(0, image, [item(1, "g", box(0, 0, 2, 2))], [])
    video.add(1, image, [item(1, "g", box(0, 0, 2, 3))], [item(1, "r", box(0, 0, 2, 3))])
    video.add(2, image, [], [item(1, "r", box(0, 0, 2, 4))])
    np.testing.assert_allclose(video.ious(), [[6 / 18]])
    assert (video.objects["g"].mean_area, video.results["r"].mean_area) == (5, 7)


def test_a_track_that_is_lost_half_way_is_half_an_object() -> None:
    """Twelve equal frames: with one identity the IoU is 1; with a new number after 8 it is 2/3 and 1/3."""
    truth = {"images": frames(12), "annotations": [item(k, 1, box(1, 1, 3, 3)) for k in range(1, 13)]}
    whole = [item(k, 7, box(1, 1, 3, 3)) for k in range(1, 13)]
    assert metrics(truth, whole)["vAP"] == pytest.approx(100) and metrics(truth, whole)["IDSW"] == 0
    broken = [one | {"track_id": 7 if one["image_id"] <= 8 else 8} for one in whole]
    found = metrics(truth, broken)
    assert found["vAP50"] == pytest.approx(100) and found["vAP75"] == 0 and found["IDSW"] == 1
    assert found["vAP"] == pytest.approx(40)  # IoU 2/3 is right at .5, .55, .6 and .65, of ten thresholds
    assert found["vAR100"] == pytest.approx(40)


def test_frames_without_a_stated_number_are_in_the_order_of_their_names() -> None:
    """Names as sorted as text: the object is followed by 7 in frames 1 to 3 and by 8 in frame 10, one switch."""
    names = ["f/1.png", "f/10.png", "f/2.png", "f/3.png"]
    images = [image | {"file_name": name} for image, name in zip(frames(4), names)]
    for image in images:
        del image["frame_id"]
    truth = {"images": images, "annotations": [item(k, 1, box(1, 1, 3, 3)) for k in range(1, 5)]}
    results = [item(k, 8 if k == 2 else 7, box(1, 1, 3, 3)) for k in range(1, 5)]
    assert metrics(truth, results)["IDSW"] == 1
    truth["images"] = [image | {"file_name": "f/no number"} for image in images]
    assert metrics(truth, results)["IDSW"] == 2  # then as they are listed


def test_sizes_are_means_over_the_frames_in_which_an_object_is_seen() -> None:
    """All objects here are small, as YouTube-VIS counts them; no other size exists."""
    truth = {"images": frames(2), "annotations": [item(1, 1, box(0, 0, 4, 4))]}
    found = metrics(truth, [item(1, 1, box(0, 0, 4, 4))])
    assert found["vAPs"] == pytest.approx(100) and math.isnan(found["vAPm"]) and math.isnan(found["vAPl"])


def test_the_best_score_is_right_first_and_a_score_is_the_mean_over_masks() -> None:
    """The false track has the higher mean, so precision is 1/2 wherever something is found."""
    truth = {"images": frames(2), "annotations": [item(k, 1, box(0, 0, 4, 4)) for k in (1, 2)]}
    right = [item(1, 1, box(0, 0, 4, 4), score=0.9), item(2, 1, box(0, 0, 4, 4), score=0.1)]
    false = [item(1, 2, box(5, 5, 2, 2), score=0.6)]
    assert metrics(truth, right + false)["vAP"] == pytest.approx(50)
    assert metrics(truth, right + [false[0] | {"score": 0.4}])["vAP"] == pytest.approx(100)


def random_case(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]], int]:
    """Three videos of four frames: objects drift, results follow them more or less well."""
    rng = np.random.default_rng(seed)
    truth: dict[str, Any] = {"images": [], "annotations": []}
    results: list[dict[str, Any]] = []
    for video in range(3):
        images = frames(4, video, first=1 + 4 * video)
        truth["images"] += images
        for track in range(int(rng.integers(1, 5))):
            top, left = rng.integers(0, 5), rng.integers(0, 6)
            score_of = float(rng.random())
            crowd = int(rng.random() < 0.2)
            for image in images:
                if rng.random() < 0.8:
                    place = (int(top), int(left), int(rng.integers(2, 4)), int(rng.integers(2, 5)))
                    truth["annotations"].append(item(image["id"], track, box(*place), iscrowd=crowd))
                if rng.random() < 0.8:
                    place = (int(top), int(left), int(rng.integers(2, 4)), int(rng.integers(2, 5)))
                    results.append(item(image["id"], track + 10, box(*place), score=score_of))
        for track in range(int(rng.integers(0, 3))):
            results.append(item(images[0]["id"], 50 + track, box(0, 0, 2, 2), score=float(rng.random())))
    return truth, results, 3


@pytest.mark.parametrize("seed", range(6))
def test_metrics_equal_those_of_pycocotools_on_frames_side_by_side(seed: int) -> None:
    truth, results, videos = random_case(seed)
    truth["annotations"] = [one for one in truth["annotations"] if not one["iscrowd"]]
    found = metrics(truth, results)
    precision, recall = side_by_side(truth, results, videos)
    mean = lambda values: 100 * values[values > -1].mean()  # noqa: E731
    assert found["vAP"] == pytest.approx(mean(precision[:, :, 0, 0, 2]))
    assert found["vAP50"] == pytest.approx(mean(precision[0, :, 0, 0, 2]))
    assert found["vAP75"] == pytest.approx(mean(precision[5, :, 0, 0, 2]))
    for index, limit in enumerate((1, 10, 100)):
        assert found[f"vAR{limit}"] == pytest.approx(mean(recall[:, 0, 0, index]))


def side_by_side(truth: dict[str, Any], results: list[dict[str, Any]], videos: int) -> tuple[np.ndarray, np.ndarray]:
    from unseg_d2.rle import decode_mask

    places = {image["id"]: (image["video_id"], image["frame_id"]) for image in truth["images"]}

    def panoramas(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        masks: dict[Any, np.ndarray] = {}
        scores = {}
        for one in items:
            video, frame = places[one["image_id"]]
            mask = masks.setdefault((video, one["track_id"]), np.zeros((HEIGHT, 4 * WIDTH), bool))
            mask[:, frame * WIDTH : (frame + 1) * WIDTH] = decode_mask(one["segmentation"], HEIGHT, WIDTH)
            scores[video, one["track_id"]] = one.get("score", 1.0)
        return [
            {
                "id": k,
                "image_id": video,
                "category_id": 1,
                "iscrowd": 0,
                "area": float(mask.sum()),
                "bbox": [0, 0, 1, 1],
            }
            | {"segmentation": encode_mask(mask), "score": scores[key]}
            for k, (key, mask) in enumerate(masks.items(), start=1)
            for video in [key[0]]
        ]

    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for items in (truth["annotations"], results):
            coco = COCO()
            images = [{"id": k, "height": HEIGHT, "width": 4 * WIDTH} for k in range(videos)]
            coco.dataset = {"images": images, "annotations": panoramas(items), "categories": [{"id": 1, "name": "x"}]}
            coco.createIndex()
            sides.append(coco)
        evaluator = COCOeval(*sides, "segm")
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator.eval["precision"], evaluator.eval["recall"]


def test_results_on_a_crowd_are_neither_right_nor_false() -> None:
    ious = np.array([[0.9, 0.8], [0.0, 0.9], [0.6, 0.7]])
    crowd = np.array([False, True])
    hits, skipped = matched(ious, crowd, crowd, 0.5)
    assert hits.tolist() == [True, True, True]
    assert skipped.tolist() == [False, True, True]  # the third finds its object taken, and the crowd still there


def test_the_order_of_images_is_that_of_the_frames() -> None:
    truth = {"images": frames(3)[::-1], "annotations": [item(k, 1, box(1, 1, 3, 3)) for k in (1, 2, 3)]}
    results = [item(1, 5, box(1, 1, 3, 3)), item(2, 5, box(1, 1, 3, 3)), item(3, 6, box(1, 1, 3, 3))]
    assert metrics(truth, results)["IDSW"] == 1


def test_what_cannot_be_compared_is_said() -> None:
    truth = {"images": frames(1), "annotations": [item(1, 1, box(1, 1, 3, 3))]}
    result = item(1, 5, box(1, 1, 3, 3))
    with pytest.raises(UnsegError, match=r"a mask without a track_id on 1, .* track-masks makes them"):
        metrics(truth, [{key: value for key, value in result.items() if key != "track_id"}])
    with pytest.raises(UnsegError, match="two masks of the track 5"):
        metrics(truth, [result, result])
    photo = {"images": [{"id": 1, "height": HEIGHT, "width": WIDTH}], "annotations": truth["annotations"]}
    with pytest.raises(UnsegError, match="needs ground truth of videos"):
        metrics(photo, [result])
