"""From a label set to one with groups: the command, resuming, names, and groups carried over."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from group_files import SMALL, write_squares
from PIL import Image

import unseg_d2
from unseg_d2.cli.group_masks import main
from unseg_d2.config import load_cfg
from unseg_d2.data.catalog import load_dataset
from unseg_d2.data.coco import read_coco
from unseg_d2.errors import UnsegError
from unseg_d2.exchange.import_ import import_corrections
from unseg_d2.groups import pooled
from unseg_d2.groups.group_masks import group_label_set
from unseg_d2.viz.decisions import KIND_OF_NAMES

pytest.importorskip("sklearn", reason="the extra `groups` is not installed")


def group(labels: Path, output: Path, *options: Any, **more: Any) -> Any:
    return group_label_set(load_cfg(None, [*SMALL, "GROUPS.NUMBER", "3", *options]), labels, output, **more)


def names_file(folder: Path, **names: str) -> Path:
    fingerprint = json.loads((folder / "groups.json").read_text())["fingerprint"]
    named = {key.removeprefix("g"): name for key, name in names.items()}
    path = folder.parent / "names.json"
    path.write_text(json.dumps({"kind": KIND_OF_NAMES, "version": 1, "groups": fingerprint, "names": named}))
    return path


def colours_of(labels: Path, grouped: Path) -> dict[str, set[str]]:
    """Category name to the colours of its masks."""
    found = read_coco(grouped)
    names = {one["id"]: one["name"] for one in found.categories}
    colours = json.loads((labels.parent / "colours.json").read_text())
    result: dict[str, set[str]] = {}
    for annotation in found.annotations:
        result.setdefault(names[annotation["category_id"]], set()).add(colours[annotation["id"] - 1])
    return result


def test_the_groups_are_the_colours_and_the_rest_stays(squares: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = squares.parent.parent / "groups"
    main(["--labels", str(squares), "--output", str(output), *SMALL, "GROUPS.NUMBER", "3"])
    printed = capsys.readouterr().out
    assert "24 masks on 12 images: 24 in 3 groups.\n" in printed and str(output / "index.html") in printed
    expected = {"group 1": {"red"}, "group 2": {"green"}, "group 3": {"blue"}}
    assert colours_of(squares, output / "labels.json") == expected
    before, after = read_coco(squares), read_coco(output / "labels.json")
    for old, new in zip(before.annotations, after.annotations, strict=True):
        assert 0 < new.pop("group_confidence") <= 1
        assert new | {"category_id": 1} == old
    assert after.info["groups"]["settings"]["NUMBER"] == 3
    assert (output / "labels.json").parent / after.info["image_root"] == output / "../set/images"


def test_what_is_computed_is_kept(squares: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooled, "PART", 5)
    output = squares.parent.parent / "groups"
    group(squares, output)
    labels, parts = (output / "labels.json").read_bytes(), sorted((output / "features").iterdir())
    assert len(parts) == 3
    stamp = {path: path.stat().st_mtime_ns for path in parts[::2]}
    parts[1].write_bytes(parts[1].read_bytes()[:-4])  # cut short, as by a full disk
    (output / "labels.json").unlink()
    group(squares, output)
    assert (output / "labels.json").read_bytes() == labels
    assert {path: path.stat().st_mtime_ns for path in parts[::2]} == stamp


def test_a_precision_that_follows_the_device_is_known_by_what_it_is(squares: Path) -> None:
    output = squares.parent.parent / "groups"
    group(squares, output, "FEATURES.PRECISION", "auto")
    stated = "".join(path.read_text() for path in output.rglob("*.json"))
    assert '"PRECISION": "float32"' in stated and '"PRECISION": "auto"' not in stated


def test_an_image_that_has_changed_is_read_again(squares: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = squares.parent.parent / "groups"
    group(squares, output)
    picture = squares.parent / "images/001.png"
    pixels = np.array(Image.open(picture))
    pixels[:, :48] = (40, 70, 220)  # what was red is blue
    Image.fromarray(pixels).save(picture)
    os.utime(picture)
    group(squares, output)
    found = read_coco(output / "labels.json")
    assert found.annotations[0]["category_id"] == found.annotations[-1]["category_id"]


def test_names_become_classes_and_stay(squares: Path) -> None:
    output = squares.parent.parent / "groups"
    assert str(output / "labels.json") not in group(squares, output).lines()[-1]  # before there are names
    grouped = group(squares, output, names=names_file(output, g1="warm", g3="cold, blue", g2="cold, blue"))
    assert grouped.lines()[-1] == f"The label set with these names: {output / 'labels.json'}"
    assert colours_of(squares, output / "labels.json") == {"warm": {"red"}, "cold, blue": {"green", "blue"}}
    assert any("Groups 2 and 3 are all called" in line for line in grouped.lines())
    group(squares, output)  # without the file
    assert [one["name"] for one in read_coco(output / "labels.json").categories] == ["warm", "cold, blue"]
    with pytest.raises(UnsegError, match=r"holds groups with names that were made from something else: .*NUMBER"):
        group(squares, output, "GROUPS.NUMBER", "2")
    with pytest.raises(UnsegError, match=r"holds names of groups; add --names .* to the group-masks"):
        import_corrections(output.parent / "names.json", labels=output, output=output.parent / "x.json")


def test_groups_that_a_file_names_are_not_made_anew(squares: Path) -> None:
    """The option that made twenty groups is forgotten where their names are given: the names would be of no groups."""
    output = squares.parent.parent / "groups"
    group(squares, output)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    names = names_file(output, g1="warm")
    with pytest.raises(
        UnsegError, match=r"names\.json names the groups in .*groups, which .*NUMBER was 3, now 2\. Name"
    ):
        group(squares, output, "GROUPS.NUMBER", "2", names=names)
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before
    group(squares, output, names=names)
    assert read_coco(output / "labels.json").categories[0]["name"] == "warm"


def test_a_damaged_record_is_no_reason_to_forget_names(squares: Path) -> None:
    output = squares.parent.parent / "groups"
    group(squares, output)
    group(squares, output, names=names_file(output, g1="warm"))
    record = json.loads((output / "groups.json").read_text())
    (output / "groups.json").write_text(json.dumps(record | {"names": record["names"][:2]}))  # by hand
    with pytest.raises(UnsegError, match=r"groups\.json is damaged .*choose another --output"):
        group(squares, output)
    assert read_coco(output / "labels.json").categories[0]["name"] == "warm"


def test_an_image_that_has_changed_is_named_where_names_would_be_lost(squares: Path) -> None:
    output = squares.parent.parent / "groups"
    group(squares, output)
    group(squares, output, names=names_file(output, g1="warm"))
    Image.new("RGB", (96, 48), "blue").save(squares.parent / "images/001.png")
    with pytest.raises(UnsegError, match=r"were made from something else: images have changed\. Choose another"):
        group(squares, output)


def test_features_that_are_computed_otherwise_are_others(squares: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = squares.parent.parent / "groups"
    group(squares, first)
    monkeypatch.setattr("unseg_d2.groups.group_masks.RULE", 2)
    with pytest.raises(UnsegError, match=r"were made with other features: rule was 1, now 2"):
        group(squares, squares.parent.parent / "second", prototypes=first)


def test_no_masks_and_one_mask(squares: Path) -> None:
    """Groups cannot be found among so few; those of other masks can be carried over."""
    first, content = squares.parent.parent / "groups", json.loads(squares.read_text())
    group(squares, first)
    for number, wanted in ((0, {}), (1, {"group 1": {"red"}})):
        squares.write_text(json.dumps(content | {"annotations": content["annotations"][:number]}))
        with pytest.raises(UnsegError, match=rf"There are {number} masks with features, too few for 3 groups"):
            group(squares, squares.parent.parent / f"found{number}")
        carried = group(squares, squares.parent.parent / f"carried{number}", prototypes=first)
        assert colours_of(squares, carried.labels) == wanted and f"{number} masks on 12" in carried.lines()[0]


def test_other_settings_make_other_groups_of_the_same_features(squares: Path) -> None:
    output = squares.parent.parent / "groups"
    group(squares, output)
    part = output / "features/000000.safetensors"
    stamp = part.stat().st_mtime_ns
    grouped = group(squares, output, "GROUPS.NUMBER", "2")
    assert len(grouped.grouping.names) == 2 and part.stat().st_mtime_ns == stamp
    with pytest.raises(UnsegError, match=r"with other settings: settings\.FEATURES\.IMAGE_SIZE was 64, now 80"):
        group(squares, output, "FEATURES.IMAGE_SIZE", "80")


def test_groups_and_names_are_carried_over_and_strangers_stay_out(squares: Path) -> None:
    first, second = squares.parent.parent / "groups", squares.parent.parent / "second"
    group(squares, first)
    group(squares, first, names=names_file(first, g1="warm"))
    more = write_squares(squares.parent.parent / "more", [("red", "blue"), ("green", "blue")])
    picture = more.parent / "images/002.png"
    pixels = np.array(Image.open(picture))
    pixels[12:36, 60:84] = (250, 240, 30)  # no group is yellow
    Image.fromarray(pixels).save(picture)
    grouped = group(more, second, "GROUPS.NUMBER", "9", prototypes=first)
    names = {one["id"]: one["name"] for one in read_coco(second / "labels.json").categories}
    found = [names[one["category_id"]] for one in read_coco(second / "labels.json").annotations]
    assert found == ["warm", "group 3", "group 2", "other"]
    printed = "\n".join(grouped.lines())
    assert "3 in 3 groups, 1 too far from all of them ('other')" in printed
    assert "GROUPS.NUMBER has no effect with --prototypes." in printed
    with pytest.raises(UnsegError, match=r"were made with other features: .*IMAGE_SIZE was 64, now 80"):
        group(more, squares.parent.parent / "third", "FEATURES.IMAGE_SIZE", "80", prototypes=first)


def test_results_are_grouped_with_the_images_of_a_data_set(squares: Path) -> None:
    kept = ("image_id", "bbox", "segmentation", "score")
    results = [{key: item[key] for key in kept} | {"category_id": 1} for item in read_coco(squares).annotations]
    path = squares.parent / "results.json"
    path.write_text(json.dumps([item | {"image_id": str(item["image_id"])} for item in results]))
    output = squares.parent.parent / "groups"
    with pytest.raises(UnsegError, match=r"name the data set \(--gt\)"):
        group(path, output)
    group(path, output, ground_truth=squares)
    found = read_coco(output / "labels.json")
    assert len(found.annotations) == 24 and {item["area"] for item in found.annotations} == {576}
    assert colours_of(squares, output / "labels.json")["group 1"] == {"red"}
    with pytest.raises(UnsegError, match=r"leave --gt .* out"):
        group(squares, output, ground_truth=squares)


def test_images_that_cannot_be_used_keep_their_masks(squares: Path) -> None:
    (squares.parent / "images/003.png").write_bytes(b"no picture")
    content = json.loads(squares.read_text())
    del content["annotations"][0]["segmentation"]  # a box counts as its area
    squares.write_text(json.dumps(content))
    output = squares.parent.parent / "groups"
    grouped = group(squares, output)
    found = read_coco(output / "labels.json")
    names = {one["id"]: one["name"] for one in found.categories}
    assert [names[item["category_id"]] for item in found.annotations[:6]] == ["group 1"] * 4 + ["other"] * 2
    assert "2 without features ('other')" in grouped.lines()[0]
    (failure,) = (output / "failures.jsonl").read_text().splitlines()
    assert json.loads(failure)["file_name"] == "003.png"


def test_a_folder_of_something_else_is_refused(squares: Path) -> None:
    with pytest.raises(UnsegError, match="holds something that group-masks has not made; choose another --output"):
        group(squares, squares.parent)


def test_the_function_does_what_the_command_does(squares: Path) -> None:
    output = squares.parent.parent / "groups"
    options = {"FEATURES": {"NAME": "palette", "IMAGE_SIZE": 64}, "GROUPS.NUMBER": 3}
    path = unseg_d2.group_masks(None, options, labels=squares, output=output)
    assert path == output / "labels.json" and len(unseg_d2.read_label_set(path).categories) == 3


def test_the_groups_are_the_classes_of_a_detector(squares: Path) -> None:
    output = squares.parent.parent / "groups"
    group(squares, output)
    group(squares, output, names=names_file(output, g1="warm"))
    records = load_dataset(str(output / "labels.json"), load_cfg(), 3)
    assert [category["name"] for category in records.categories] == ["warm", "group 2", "group 3"]
    assert [item["category_id"] for record in records for item in record["annotations"]].count(0) == 12
    with pytest.raises(UnsegError, match=r"has 3 categories, but MODEL\.ROI_HEADS\.NUM_CLASSES is 2; set it to 3"):
        load_dataset(str(output / "labels.json"), load_cfg(), 2)


def test_settings_that_the_method_does_not_read_are_named(squares: Path) -> None:
    notes = group(squares, squares.parent.parent / "a", "GROUPS.MIN_SIZE", "3", "GROUPS.CANDIDATES", "(2,)").notes
    assert "GROUPS.MIN_SIZE, GROUPS.CANDIDATES have no effect with GROUPS.METHOD kmeans and GROUPS.NUMBER 3." in notes
    dense = ["GROUPS.METHOD", "hdbscan", "GROUPS.MIN_SIZE", "3"]
    notes = group(squares, squares.parent.parent / "b", *dense).notes
    assert "GROUPS.NUMBER has no effect with GROUPS.METHOD hdbscan." in notes
    assert not group(squares, squares.parent.parent / "c").notes


def test_the_number_that_was_chosen_is_the_one_that_is_named(squares: Path) -> None:
    """Two numbers of equal coefficients, as far as they are printed; the larger one was chosen."""
    grouped = group(squares, squares.parent.parent / "groups", "GROUPS.NUMBER", "0", "GROUPS.CANDIDATES", "(2, 3)")
    found = dict(grouped.grouping.found)
    assert found["number"] == found["groups"] == 3
    found["silhouette"] = {"2": 0.5, "3": 0.5}
    said = replace(grouped, grouping=replace(grouped.grouping, found=found)).lines()
    assert "3 groups have the largest silhouette coefficient (2: 0.500, 3: 0.500); GROUPS.NUMBER sets another." in said


def test_the_videos_of_frames_stay(squares: Path) -> None:
    content = json.loads(squares.read_text())
    content["videos"] = [{"id": 5, "file_name": "film.mp4", "length": 12}]
    for number, image in enumerate(content["images"]):
        image |= {"video_id": 5, "frame_id": number}
    squares.write_text(json.dumps(content))
    group(squares, squares.parent.parent / "groups")
    written = json.loads((squares.parent.parent / "groups/labels.json").read_text())
    assert written["videos"] == content["videos"] and {image["video_id"] for image in written["images"]} == {5}
