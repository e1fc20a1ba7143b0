"""A stream of images has the scores of everything at once, whatever the chunks are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unseg_d2.config import get_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.chunks import Chunk, chunks_of
from unseg_d2.evaluation.registry import EVALUATORS
from unseg_d2.evaluation.scores import Scores, score, score_stream
from unseg_d2.rle import encode_mask

HEIGHT, WIDTH = 120, 160


def item(image_id: int, box: np.ndarray, **more: Any) -> dict[str, Any]:
    x, y, width, height = (int(value) for value in box)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + height, x : x + width] = True
    return {"image_id": image_id, "bbox": [x, y, width, height], "segmentation": encode_mask(mask), **more}


def scenes(seed: int, count: int = 23) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Rectangles and shifted copies of them: crowds, equal scores, three classes, images without objects or results.

    Ids of images are neither dense nor in order, and results come in no order of images. Each image is a video.
    """
    rng = np.random.default_rng(seed)
    ids = [int(number) for number in rng.permutation(10 * count)[:count]]
    truth, results = [], []
    for key in ids:
        for _ in range(rng.integers(0, 5)):
            box = np.r_[rng.integers(0, 60, 2), rng.integers(4, 60, 2)]
            category = int(rng.choice([7, 3, 5]))
            truth.append(item(key, box, iscrowd=int(rng.random() < 0.15), category_id=category))
            for _ in range(rng.integers(0, 4)):
                moved = np.clip(box + rng.integers(-5, 6, 4), [0, 0, 1, 1], None)
                found = int(rng.choice([category, 7], p=[0.8, 0.2]))
                results.append(item(key, moved, score=round(float(rng.random()), 1), category_id=found))
    categories = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}, {"id": 5, "name": "cow"}]
    for number, each in enumerate([*truth, *results]):  # each a track of one frame
        each["track_id"] = number
    images = [{"id": key, "height": HEIGHT, "width": WIDTH, "video_id": key, "frame_id": 0} for key in ids]
    content = {"images": images, "annotations": truth}
    return content | {"categories": categories}, [results[index] for index in rng.permutation(len(results))]


def split(truth: dict[str, Any], results: list[dict[str, Any]], images: int) -> list[Chunk]:
    return list(chunks_of(truth, results, most_images=images))


def same(found: Scores, expected: Scores) -> None:
    assert found.counts == expected.counts and found.notes == expected.notes
    assert found.result_images == expected.result_images and found.protocols == expected.protocols
    assert list(found.metrics) == list(expected.metrics)
    for kind, metrics in expected.metrics.items():
        assert list(found.metrics[kind]) == list(metrics)
        assert found.metrics[kind] == pytest.approx(metrics, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("images", [1, 2, 7])
@pytest.mark.parametrize("name", EVALUATORS.names())
def test_chunks_change_nothing(name: str, images: int) -> None:
    truth, results = scenes(0)
    evaluators = {name: EVALUATORS.build(get_cfg(), name)}
    same(score_stream(split(truth, results, images), evaluators), score(truth, results, evaluators))


@pytest.mark.parametrize("missing", ["objects", "results", "some", "nothing", "everything"])
def test_whether_masks_are_compared_shows_at_the_end(missing: str) -> None:
    truth, results = scenes(1)
    bare = truth["annotations"] if missing == "objects" else results if missing == "results" else []
    for each in bare or [*truth["annotations"][::3], *results[::4]] if missing != "nothing" else []:
        del each["segmentation"]
    if missing == "everything":
        truth["annotations"], results = [], []
    same(score_stream(split(truth, results, 4)), score(truth, results))


def test_what_cannot_be_compared_is_no_matter_where_masks_are_not() -> None:
    """Results with polygons, which count as boxes alone; the first objects have no mask, and the last has one."""
    truth, results = scenes(2)
    for each in truth["annotations"]:
        each.pop("segmentation")
    for each in results:
        each["segmentation"] = [[0, 0, 9, 0, 9, 9]]
    same(score_stream(split(truth, results, 4)), score(truth, results))
    last = truth["annotations"][-1]
    last["segmentation"] = item(0, last["bbox"])["segmentation"]
    for run in (lambda: score_stream(split(truth, results, 4)), lambda: score(truth, results)):
        with pytest.raises(UnsegError, match="results without an RLE mask"):
            run()


def test_an_evaluator_of_masks_is_refused_where_there_are_none() -> None:
    class Masks:
        kinds = ("segm",)

        def __call__(self, *_: Any) -> dict[str, float]:
            return {"M": 1.0}

    truth, results = scenes(3)
    for each in results:
        del each["segmentation"]
    with pytest.raises(UnsegError, match="compares masks, but there are results without masks"):
        score_stream(split(truth, results, 4), {"masks": Masks()})
    assert score_stream(split(*scenes(3), 4), {"masks": Masks()}).metrics == {"segm": {"M": 1.0}}


def test_an_evaluator_of_one_call_gets_everything() -> None:
    calls = []

    def evaluator(truth: Any, results: Any, kind: str) -> dict[str, float]:
        calls.append((kind, truth, results))
        return {"count": float(len(results))}

    truth, results = scenes(4)
    score_stream(split(truth, results, 4), {"it": evaluator})
    assert [kind for kind, *_ in calls] == ["bbox", "segm"]
    for _, known, found in calls:
        assert known == truth and len(found) == len(results) and all(result in results for result in found)


def test_mistakes() -> None:
    truth, results = scenes(5)
    first, second, *_ = split(truth, results, 4)
    with pytest.raises(UnsegError, match=f"lists image {truth['images'][0]['id']} twice"):
        score_stream([first, second, first])
    with pytest.raises(UnsegError, match="which the ground truth does not have"):
        score_stream([first, (second[0], results)])
    with pytest.raises(UnsegError, match="an annotation of image 77777"):
        split({**truth, "annotations": [item(77777, np.ones(4))]}, results, 4)
    with pytest.raises(ValueError, match="masks_missing was 'there are results without masks', but it is ''"):
        score_stream(split(truth, results, 4), masks_missing="there are results without masks")


def test_a_chunk_has_no_more_images_and_results_than_it_may() -> None:
    truth, results = scenes(6)
    chunks = list(chunks_of(truth, results, most_images=5, most_results=12))
    assert [image for known, _ in chunks for image in known["images"]] == truth["images"]
    assert all(len(known["images"]) <= 5 for known, _ in chunks)
    assert all(len(found) <= 12 or len(known["images"]) == 1 for known, found in chunks)
    assert len({len(known["images"]) for known, _ in chunks}) > 1
    assert sum(len(found) for _, found in chunks) == len(results)
