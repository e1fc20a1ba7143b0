"""Files as public bug reports describe them, through the commands: perfect masks score 100 however they are written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from unseg_d2.apps.visualize import visualize
from unseg_d2.cli.generate_masks import main as generate_masks
from unseg_d2.cli.score_masks import main as score
from unseg_d2.config import load_cfg
from unseg_d2.data.catalog import load_dataset
from unseg_d2.data.sample import Augmentation, load_sample
from unseg_d2.data.training_records import usable_records
from unseg_d2.errors import UnsegError
from unseg_d2.rle import encode_mask

HEIGHT, WIDTH = 60, 80
Data = dict[str, Any]


def discs(number: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """A picture with two discs on a gradient, and their masks."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    image = np.stack([columns * 2, rows * 2, 90 + 0 * rows], -1).astype(np.uint8)
    masks = [(rows - 30 - number) ** 2 + (columns - x) ** 2 < (10 + number) ** 2 for x in (22, 58)]
    for mask, colour in zip(masks, ((250, 60, 40), (40, 220, 230))):
        image[mask] = colour
    return image, masks


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three pictures; ``truth.json`` and perfect ``results.json`` are written by `write`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for number in range(3):
        Image.fromarray(discs(number)[0]).save(tmp_path / "images" / f"p{number}.png")
    return tmp_path


def truth() -> Data:
    images, annotations = [], []
    for number in range(3):
        images.append({"id": number + 1, "file_name": f"p{number}.png", "height": HEIGHT, "width": WIDTH})
        for mask in discs(number)[1]:
            rows, columns = np.nonzero(mask)
            box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            annotations.append({"id": len(annotations) + 1, "image_id": number + 1, "category_id": 1, "iscrowd": 0})
            annotations[-1] |= {
                "bbox": [int(v) for v in box],
                "area": int(mask.sum()),
                "segmentation": encode_mask(mask),
            }
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}


def write(data: Data, change: Callable[[Data, list[Data]], Any] | None = None) -> None:
    """Write the truth and results that are equal to it, both as they are after a change."""
    results = [
        {key: a[key] for key in ("image_id", "category_id", "bbox", "segmentation")} | {"score": 0.9}
        for a in data["annotations"]
    ]
    if change:
        change(data, results)
    Path("truth.json").write_text(json.dumps(data))
    Path("results.json").write_text(json.dumps(results))


def each(key: str, value: Callable[[int], Any]) -> Callable[[Data, list[Data]], None]:
    """Change a key of every annotation; the results stay as they are."""

    def change(data: Data, _results: list[Data]) -> None:
        for number, annotation in enumerate(data["annotations"]):
            annotation[key] = value(number)

    return change


def ids(shift: int) -> Callable[[Data, list[Data]], None]:
    """Move the ids of images, annotations and categories, and those that results state."""

    def change(data: Data, results: list[Data]) -> None:
        for item in (*data["images"], *data["annotations"], *data["categories"]):
            item["id"] += shift
        for item in (*data["annotations"], *results):
            item["image_id"] += shift
            item["category_id"] += shift

    return change


def runs(mask: Data) -> list[int]:
    """Run lengths column by column, beginning with what is not the mask, counted in plain loops."""
    counts, last = [0], 0
    for pixel in decode(mask).T.ravel().astype(int).tolist():
        if pixel != last:
            counts.append(0)
            last = pixel
        counts[-1] += 1
    return counts


def decode(mask: Data) -> np.ndarray:
    from pycocotools import mask as mask_utils

    return mask_utils.decode(mask)


def uncompressed(data: Data, results: list[Data]) -> None:
    for item in (*data["annotations"], *results):
        item["segmentation"] = {"size": [HEIGHT, WIDTH], "counts": runs(item["segmentation"])}


def text_ids(data: Data, results: list[Data]) -> None:
    for item in (*data["annotations"], *results):
        item["image_id"] = str(item["image_id"])


def windows_names(data: Data, _results: list[Data]) -> None:
    for image in data["images"]:
        image["file_name"] = f"C:\\photos\\{image['file_name']}"


@pytest.mark.parametrize(
    "change",
    [
        None,
        ids(-1),
        ids(-500),
        ids(10**15),
        ids(10**30),
        uncompressed,
        text_ids,
        windows_names,
        each("id", lambda number: 7),
        each("iscrowd", lambda number: None),
        each("category_id", lambda number: None),
        each("bbox", lambda number: [] if number % 2 else [1, 1, 0, 0]),
        each("confidence", lambda number: 0.5),
        each("area", lambda number: None),
        lambda data, results: [data[key].reverse() for key in ("images", "annotations")],
        lambda data, results: [image.update(height=None, width=None) for image in data["images"]],
        lambda data, results: data["images"].extend([dict(image, id=image["id"] + 50) for image in data["images"]]),
        lambda data, results: data["categories"].insert(0, {"id": 0, "name": "heading", "supercategory": "none"}),
        lambda data, results: [result.pop("bbox") for result in results],
        lambda data, results: data.update(licenses=None, info=None, videos=None),
    ],
)
def test_perfect_masks_score_100_however_they_are_written(
    project: Path, capsys: pytest.CaptureFixture[str], change: Any
) -> None:
    write(truth(), change)
    score(["--labels", "results.json", "--gt", "truth.json"])
    printed = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1] for line in printed.splitlines() if line.startswith(("box", "mask "))}
    assert rows == {"box": "100.00", "mask": "100.00"}
    assert "objects  6 on 3 images, and 0 crowd regions" in printed


def training_masks(source: str = "truth.json::images") -> list[np.ndarray]:
    cfg = load_cfg("configs/quickstart.yaml", ["INPUT.MIN_SIZE_TRAIN", "(0,)", "INPUT.RANDOM_FLIP", "none"])
    records = usable_records(load_dataset(source, cfg), cfg)
    augmentation, rng = Augmentation.from_cfg(cfg), np.random.default_rng(0)
    return [m for r in records for m in load_sample(r, rng=rng, augmentation=augmentation).masks.numpy()]


@pytest.mark.parametrize(
    "change", [None, ids(-1), uncompressed, text_ids, windows_names, each("bbox", lambda _: [3, 3, 0, 0])]
)
def test_they_are_trained_on_too(project: Path, change: Any) -> None:
    write(truth(), change)
    assert np.array_equal(training_masks(), [mask for number in range(3) for mask in discs(number)[1]])


def test_polygons_of_pairs_are_drawn_like_flat_ones(project: Path) -> None:
    found = []
    for is_flat in (True, False):
        data = truth()
        for annotation in data["annotations"]:
            (outline,), _ = cv2.findContours(
                decode(annotation["segmentation"]), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
            )
            outline = outline.reshape(-1, 2).astype(float)
            annotation["segmentation"] = [outline.ravel().tolist() if is_flat else outline.tolist()]
        write(data)
        found.append(np.array(training_masks()))
    assert np.array_equal(*found) and (found[0].sum(axis=(1, 2)) > 200).all()


@pytest.mark.parametrize("value", [None, float("nan"), 1e9, -1e9, float("inf"), "twelve"])
def test_a_coordinate_that_is_none_is_one_sentence(project: Path, value: Any) -> None:
    data = truth()
    data["annotations"][3]["segmentation"] = [[10.0, 10.0, value, 10.0, 30.0, 30.0]]
    write(data)
    for use in (lambda: score(["--labels", "results.json", "--gt", "truth.json"]), training_masks):
        with pytest.raises(
            UnsegError, match=r'truth.json: the "segmentation" of annotation 4 \(image 2\) holds'
        ) as error:
            use()
        assert "\n" not in str(error.value)


def test_annotations_of_another_copy_are_called_so(project: Path) -> None:
    data = truth()
    for image in data["images"]:
        image |= {"height": 2 * HEIGHT, "width": 2 * WIDTH}
    for annotation in data["annotations"]:
        annotation["segmentation"] = encode_mask(np.kron(decode(annotation["segmentation"]), np.ones((2, 2))) > 0)
    write(data)
    with pytest.raises(UnsegError, match=r"has 60x80 pixels .* annotations are for 120x160; is it the image that was"):
        training_masks()
    with pytest.raises(UnsegError, match="the image has 80x60 pixels, its annotations say 160x120"):
        visualize("truth.json", "page.html", images="images")


def test_an_export_with_its_annotations_among_the_pictures(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As Roboflow writes it: hashes in the names, a heading as category 0, and the file beside the pictures."""
    data = truth()
    data["categories"] = [{"id": 0, "name": "things", "supercategory": "none"}, {"id": 1, "name": "disc"}]
    for image in data["images"]:
        name = f"{image['file_name'][:-4]}_png.rf.0123456789abcdef.png"
        Path("images", image["file_name"]).rename(Path("images", name))
        image |= {"file_name": name, "license": 1, "date_captured": "2024-01-01", "extra": {"name": image["file_name"]}}
    write(data)
    labels = Path("truth.json").rename("images/_annotations.coco.json")
    score(["--labels", "results.json", "--gt", str(labels)])
    assert len(training_masks(str(labels))) == 6
    shown = visualize(labels, Path("page.html"))
    assert (shown.images, shown.problems) == (3, [])
    options = ["--images", "images", "--output", "out", "--num-workers", "0", "FEATURES.IMAGE_SIZE", "96"]
    generate_masks(["--config-file", "configs/quickstart.yaml", *options])
    made = json.loads(Path("out/labels.json").read_text())
    assert len(made["images"]) == 3 and Path("out/failures.jsonl").read_text() == ""
    assert "1 other file is no picture (1 .json)" in capsys.readouterr().out
