"""Splitting a label set along edges: from files, depth and the image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseg_d2.cli.split_masks import main
from unseg_d2.config import edited, load_cfg
from unseg_d2.data.coco import read_coco
from unseg_d2.data.images import ImageFile, ImageProblem
from unseg_d2.errors import UnsegError
from unseg_d2.masks.splitting import ObjectFields, SplitSettings, fields_of_masks
from unseg_d2.pseudo.edge_maps import EdgeFiles, resized_edges
from unseg_d2.pseudo.field_maps import FieldFiles
from unseg_d2.pseudo.split_labels import build_split_pipeline, idle_settings
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


def test_edges_that_divide_nothing_are_said(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Weak ones, and those that leave nothing between them."""
    Path("edges").mkdir()
    np.save("edges/1.npy", seam() / np.float32(600))
    np.save("edges/2.npy", np.ones((HEIGHT, WIDTH), np.float32))
    for (mask,) in split(labels, "--edges", "edges"):
        assert np.array_equal(mask, bar())
    said = capsys.readouterr().out
    assert "2 masks before, 2 after." in said and "edges of at least MASKS.SPLIT.STRENGTH (now 0.5) separate" in said


def test_an_image_without_edges_is_a_failure_of_its_own(labels: Path) -> None:
    Path("edges").mkdir()
    Image.fromarray(seam()).save("edges/1.png")
    (masks,) = split(labels, "--edges", "edges")
    assert_halves(masks)
    failures = Path("split/failures.jsonl").read_text()
    assert failures.count("\n") == 1 and "it has no edge map: there is no" in failures and "2.png" in failures


@pytest.mark.parametrize("what", ["edges", "fields"])
def test_an_image_with_two_maps_is_a_failure_that_names_both(labels: Path, what: str) -> None:
    Path(what).mkdir()
    planes = np.concatenate([halves().centre, halves().boundary[None]])
    for name in ("1", "2"):
        np.save(f"{what}/{name}.npy", seam() / np.float32(255) if what == "edges" else planes)
    np.savez(f"{what}/2.npz", depth=seam())
    options = [] if what == "edges" else ["MASKS.SPLIT.METHOD", "centre_field"]
    (masks,) = split(labels, f"--{what}", what, *options)
    assert len(masks) == 2
    failure = json.loads(Path("split/failures.jsonl").read_text())
    assert f"more than one {'edge' if what == 'edges' else 'field'} map, " in failure["reason"]
    assert "2.npy" in failure["reason"] and "2.npz" in failure["reason"]


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
        (["MASKS.SPLIT.METHOD", "centre_field"], "name a folder of field maps with --fields"),
        (["--fields", "nowhere", "MASKS.SPLIT.METHOD", "centre_field"], r"There is no folder .*nowhere"),
        (["--fields", "images"], r"--fields has no effect with MASKS\.SPLIT\.METHOD bgp"),
        (["--edges", "images", "MASKS.SPLIT.METHOD", "centre_field"], "--edges has no effect with"),
    ],
)
def test_what_is_missing_is_named(labels: Path, words: list[str], message: str) -> None:
    with pytest.raises(UnsegError, match=message):
        split(labels, *words)


def test_settings_that_this_source_does_not_read_are_named(labels: Path, caplog: pytest.LogCaptureFixture) -> None:
    changed = ["MASKS.SPLIT.EDGES", "canny", "MASKS.SPLIT.STEP", "0.2", "DEPTH.SOURCE", "synthetic"]
    with caplog.at_level("INFO"):
        build_split_pipeline(load_cfg(None, [*changed, "MASKS.SPLIT.CANNY_LOW", "50"]), labels)
    assert "MASKS.SPLIT.STEP is 0.2, which has no effect with MASKS.SPLIT.EDGES canny" in caplog.text
    assert "DEPTH.SOURCE is 'synthetic', which has no effect" in caplog.text and "CANNY_LOW" not in caplog.text


def test_settings_that_this_method_does_not_read_are_named() -> None:
    changed = ["MASKS.SPLIT.BETA", "3", "MASKS.SPLIT.EDGES", "canny", "MASKS.SPLIT.MIN_AREA", "0.1"]
    cfg = load_cfg(None, [*changed, "MASKS.SPLIT.FIELD.PEAK", "0.1", "DEPTH.SOURCE", "synthetic"])
    idle = {key: why for key, _, why in idle_settings(cfg, SplitSettings.from_config(cfg))}
    assert idle == {"MASKS.SPLIT.FIELD.PEAK": "MASKS.SPLIT.METHOD bgp", "DEPTH.SOURCE": "MASKS.SPLIT.EDGES canny"}
    cfg = edited(cfg, {"MASKS.SPLIT.METHOD": "centre_field"})
    idle = {key: why for key, _, why in idle_settings(cfg, SplitSettings.from_config(cfg))}
    assert set(idle) == {"MASKS.SPLIT.BETA", "MASKS.SPLIT.EDGES", "DEPTH.SOURCE"}
    assert set(idle.values()) == {"MASKS.SPLIT.METHOD centre_field"}


def test_thresholds_of_canny_that_are_swapped_are_refused() -> None:
    with pytest.raises(UnsegError, match="canny_low is 300, which is above canny_high, 200"):
        SplitSettings.from_config(load_cfg(None, ["MASKS.SPLIT.CANNY_LOW", "300"]))


def test_videos_that_the_new_label_set_does_not_show_are_said(labels: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = json.loads(labels.read_text())
    for image in content["images"]:
        image |= {"video_id": image["id"], "frame_id": 0}  # in one folder, they become two frames of one
    labels.write_text(json.dumps(content))
    with caplog.at_level("WARNING"):
        split(labels, "MASKS.SPLIT.EDGES", "canny")
    assert "will not show 2 videos of " in caplog.text and "labels.json (video_id, frame_id)" in caplog.text


def test_what_is_no_mask_of_an_object_and_what_parts_lose_is_said(
    labels: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = json.loads(labels.read_text())
    first, second = content["annotations"]
    first |= {"track_id": 7}
    crowd = second | {"id": 3, "iscrowd": 1}
    content |= {"annotations": [first, second, crowd], "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]}
    labels.write_text(json.dumps(content))
    with caplog.at_level("INFO"):
        pipeline = build_split_pipeline(load_cfg(None, ["MASKS.SPLIT.EDGES", "canny"]), labels)
    assert [len(found) for found in pipeline.masks.values()] == [1, 1]
    for said in ("1 crowd regions are no objects and were left out", "1 masks have a track", "2 masks have a class"):
        assert said in caplog.text


def halves() -> ObjectFields:
    """The fields of the two objects that `bar` covers."""
    return fields_of_masks(np.stack([bar() & (PLACES < 50), bar() & (PLACES >= 50)]))


@pytest.mark.parametrize("form", ["npz", "npy", "double"])
def test_fields_from_files(labels: Path, form: str) -> None:
    Path("fields").mkdir()
    fields = halves()
    planes = np.concatenate([fields.centre, fields.boundary[None]])
    for name in ("1", "2"):
        if form == "npz":
            np.savez(f"fields/{name}.npz", centre=fields.centre, boundary=fields.boundary)
        else:
            np.save(f"fields/{name}.npy", planes if form == "npy" else planes.repeat(2, 1).repeat(2, 2))
    for masks in split(labels, "--fields", "fields", "MASKS.SPLIT.METHOD", "centre_field"):
        assert_halves(masks)
    assert read_coco(Path("split/labels.json")).info["depth"]["name"] == "field files"


def test_an_image_without_fields_is_a_failure_and_changed_fields_are_used(labels: Path) -> None:
    Path("fields").mkdir()
    fields, one = halves(), fields_of_masks(bar()[None])
    options = ["--fields", "fields", "MASKS.SPLIT.METHOD", "centre_field"]
    np.savez("fields/1.npz", centre=one.centre, boundary=one.boundary)
    assert [len(masks) for masks in split(labels, *options)] == [1]
    assert "it has no field map: there is no" in Path("split/failures.jsonl").read_text()
    np.savez("fields/1.npz", centre=fields.centre, boundary=fields.boundary)
    assert [len(masks) for masks in split(labels, *options)] == [2]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"centre": np.zeros((2, HEIGHT, WIDTH))}, "it has no boundary, but centre"),
        ({"centre": np.zeros((2, 3, 3)), "boundary": np.zeros((HEIGHT, WIDTH))}, "expected a centre field"),
        ({"centre": np.zeros((2, HEIGHT, HEIGHT)), "boundary": np.zeros((HEIGHT, HEIGHT))}, "another aspect ratio"),
        ({"centre": np.zeros((2, 0, 0)), "boundary": np.zeros((0, 0))}, "expected numbers"),
        ({"centre": np.zeros((2, 3, 3)), "boundary": np.full((3, 3), "x")}, "expected numbers"),
        (np.zeros((2, HEIGHT, WIDTH)), r"expected the planes .* found \(2, 60, 90\)"),
        (None, "cannot be read"),
    ],
)
def test_fields_that_cannot_be_used_are_named(tmp_path: Path, arrays: object, message: str) -> None:
    if isinstance(arrays, dict):
        np.savez(tmp_path / "1.npz", **arrays)
    elif isinstance(arrays, np.ndarray):
        np.save(tmp_path / "1.npy", arrays)
    else:
        (tmp_path / "1.npz").write_bytes(b"no archive")
    with pytest.raises(ImageProblem, match=message):
        FieldFiles(tmp_path).fields(np.zeros((HEIGHT, WIDTH, 3), np.uint8), ImageFile(tmp_path / "1.jpg", "1.jpg"))


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_lines_of_a_pixel_in_a_larger_edge_map_are_not_lost(factor: int, shift: int) -> None:
    edges = np.zeros((factor * HEIGHT, factor * WIDTH), np.float32)
    edges[:, factor * 50 + shift] = 1
    found = resized_edges(edges, (HEIGHT, WIDTH))
    assert found.shape == (HEIGHT, WIDTH) and (found[:, 48:53].max(1) == 1).all()
    assert not found[:, :47].any() and not found[:, 54:].any()


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


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_pictures_that_have_1_for_an_edge_are_named(tmp_path: Path, kind: type) -> None:
    """They are black, and nothing would be divided."""
    image, file = np.zeros((HEIGHT, WIDTH, 3), np.uint8), ImageFile(tmp_path / "1.jpg", "1.jpg")
    Image.fromarray((seam() > 0).astype(kind)).save(tmp_path / "1.png")
    with pytest.raises(ImageProblem, match=f"no grey level above 1 of {np.iinfo(kind).max}; white is"):
        EdgeFiles(tmp_path)([image], [file])
    Image.fromarray(seam() * 0).save(tmp_path / "1.png")  # an image without edges
    assert not EdgeFiles(tmp_path)([image], [file])[0].depth.any()
    Image.fromarray(seam() > 0).save(tmp_path / "1.png")  # of one bit
    assert EdgeFiles(tmp_path)([image], [file])[0].depth.max() == 1


def test_levels_of_16_bits_and_folders_of_images(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    Image.fromarray((seam() / 255 * 65535).astype(np.uint16)).save(tmp_path / "day/1.png")
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    (found,) = EdgeFiles(tmp_path)([image], [ImageFile(Path("photos/day/1.jpg"), "day/1.jpg")])
    assert np.array_equal(found.depth.numpy(), seam() / 255)
