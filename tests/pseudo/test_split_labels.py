"""Splitting a label set along edges: from files, depth and the image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseg_d2.cli.split_masks import main
from unseg_d2.config import load_cfg
from unseg_d2.data.coco import read_coco
from unseg_d2.data.images import ImageFile, ImageProblem
from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.edge_maps import EdgeFiles, build_edge_maps
from unseg_d2.rle import decode_mask, encode_mask

HEIGHT, WIDTH = 60, 90
PLACES = np.arange(WIDTH)


def bar() -> np.ndarray:
    """A mask of two objects that meet at column 50."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[20:40, 10:80] = True
    return mask


def seam() -> np.ndarray:
    """Edge strengths in whole grey levels, one on both sides of column 50."""
    edges = np.zeros((HEIGHT, WIDTH), np.uint8)
    edges[:, 49:51] = 255
    return edges


@pytest.fixture
def labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A label set of two images, each with a mask of two objects; the current folder is its own."""
    (tmp_path / "images").mkdir()
    content: dict = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "fg"}]}
    pixels = np.where(PLACES < 50, 60, 200).astype(np.uint8)[None, :, None].repeat(HEIGHT, 0).repeat(3, 2)
    for index in (1, 2):
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index}.png")
        content["images"].append({"id": index, "file_name": f"{index}.png", "height": HEIGHT, "width": WIDTH})
        mask = {"id": index, "image_id": index, "category_id": 1, "iscrowd": 0, "area": 1400, "score": 0.7}
        content["annotations"].append(mask | {"bbox": [10, 20, 70, 20], "segmentation": encode_mask(bar())})
    (tmp_path / "labels.json").write_text(json.dumps(content))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "labels.json"


def split(labels: Path, *more: str) -> list[list[np.ndarray]]:
    """Run the command; return the masks of each image, by the id of the image."""
    main(["--labels", str(labels), "--output", "split", "--num-workers", "0", *more])
    found = read_coco(Path("split/labels.json"))
    assert all(annotation["score"] == 0.7 for annotation in found.annotations)
    return [
        [decode_mask(a["segmentation"], HEIGHT, WIDTH) for a in found.annotations if a["image_id"] == image["id"]]
        for image in found.images
    ]


def assert_halves(masks: list[np.ndarray], slack: int = 0) -> None:
    first, second = masks
    assert np.array_equal(first | second, bar()) and not (first & second).any()
    for mask, expected in ((first, bar() & (PLACES < 50)), (second, bar() & (PLACES >= 50))):
        assert (mask ^ expected).any(0).sum() <= slack


@pytest.mark.parametrize("form", ["npy", "png", "half"])
def test_edges_from_files(labels: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("edges").mkdir()
    for name in ("1", "2"):
        if form == "npy":
            np.save(f"edges/{name}.npy", seam() / np.float32(255))
        else:
            Image.fromarray(seam() if form == "png" else seam()[::2, ::2]).save(f"edges/{name}.png")
    for masks in split(labels, "--edges", "edges"):
        assert_halves(masks, slack=2 if form == "half" else 0)
    assert "2 masks before, 4 after." in capsys.readouterr().out
    assert read_coco(Path("split/labels.json")).info["depth"]["name"] == "edge files"


def test_an_image_without_edges_is_a_failure_of_its_own(labels: Path) -> None:
    Path("edges").mkdir()
    Image.fromarray(seam()).save("edges/1.png")
    (masks,) = split(labels, "--edges", "edges")
    assert_halves(masks)
    failures = Path("split/failures.jsonl").read_text()
    assert failures.count("\n") == 1 and "it has no edge map: there is no" in failures and "2.png" in failures


def test_a_changed_edge_map_is_used_by_the_same_command(labels: Path) -> None:
    Path("edges").mkdir()
    for name in ("1", "2"):
        Image.fromarray(seam() if name == "1" else seam() * 0).save(f"edges/{name}.png")
    assert [len(masks) for masks in split(labels, "--edges", "edges")] == [2, 1]
    Image.fromarray(seam()).save("edges/2.png")
    assert [len(masks) for masks in split(labels, "--edges", "edges")] == [2, 2]


def test_edges_from_depth(labels: Path) -> None:
    Path("depth").mkdir()
    for name in ("1", "2"):
        np.save(f"depth/{name}.npy", np.where(PLACES < 50, 1.0, 3.0)[None].repeat(HEIGHT, 0))
    options = ["MASKS.SPLIT.EDGES", "depth", "DEPTH.SOURCE", "files", "DEPTH.KIND", "metric"]
    for masks in split(labels, *options):
        assert_halves(masks)


def test_edges_from_the_image(labels: Path) -> None:
    for masks in split(labels, "MASKS.SPLIT.EDGES", "canny"):
        assert_halves(masks, slack=2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], r"name a folder of edge maps with --edges, or set MASKS\.SPLIT\.EDGES"),
        (["--edges", "nowhere"], r"There is no folder .*nowhere"),
        (["--edges", "images", "MASKS.SPLIT.EDGES", "canny"], r"--edges has no effect with MASKS\.SPLIT\.EDGES canny"),
        (["MASKS.SPLIT.EDGES", "depth"], r"set DEPTH\.SOURCE"),
    ],
)
def test_what_is_missing_is_named(labels: Path, words: list[str], message: str) -> None:
    with pytest.raises(UnsegError, match=message):
        split(labels, *words)


def test_settings_that_this_source_does_not_read_are_named(caplog: pytest.LogCaptureFixture) -> None:
    changed = ["MASKS.SPLIT.EDGES", "canny", "MASKS.SPLIT.STEP", "0.2", "DEPTH.SOURCE", "synthetic"]
    with caplog.at_level("INFO"):
        build_edge_maps(load_cfg(None, [*changed, "MASKS.SPLIT.CANNY_LOW", "50"]), None)
    assert "MASKS.SPLIT.STEP is 0.2, which has no effect with MASKS.SPLIT.EDGES canny" in caplog.text
    assert "DEPTH.SOURCE is 'synthetic', which has no effect" in caplog.text and "CANNY_LOW" not in caplog.text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((HEIGHT, WIDTH), 2.0), r"values outside of \[0, 1\]"),
        (np.full((HEIGHT, WIDTH), np.nan), r"values outside of \[0, 1\]"),
        (np.zeros((HEIGHT, HEIGHT)), "60x60 pixels, another aspect ratio than the image's 90x60"),
        (np.zeros((HEIGHT, WIDTH, 3)), "cannot be read: expected numbers"),
    ],
)
def test_edge_maps_that_cannot_be_used_are_named(tmp_path: Path, values: np.ndarray, message: str) -> None:
    np.save(tmp_path / "1.npy", values)
    with pytest.raises(ImageProblem, match=message):
        EdgeFiles(tmp_path)([np.zeros((HEIGHT, WIDTH, 3), np.uint8)], [ImageFile(tmp_path / "1.jpg", "1.jpg")])


def test_levels_of_16_bits_and_folders_of_images(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    Image.fromarray((seam() / 255 * 65535).astype(np.uint16)).save(tmp_path / "day/1.png")
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    (found,) = EdgeFiles(tmp_path)([image], [ImageFile(Path("photos/day/1.jpg"), "day/1.jpg")])
    assert np.array_equal(found.depth.numpy(), seam() / 255)
