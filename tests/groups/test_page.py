"""The page of a grouping: which masks it shows, and that nothing in it can run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from group_files import square, write_squares

from unseg_d2.config import load_cfg
from unseg_d2.data.pictures.reading import DEFAULT_READING
from unseg_d2.groups.members import Members
from unseg_d2.groups.page import crop, shown_each, shown_of, write_page
from unseg_d2.groups.source import open_source
from unseg_d2.viz.page import script_hash, source


def members(groups: list[int], confidence: list[float], per_image: list[int]) -> Members:
    images = np.repeat(np.arange(len(per_image)), per_image)
    places = np.concatenate([np.arange(count) for count in per_image])
    known = np.array(groups) >= 0
    return Members(np.array(groups), np.array(confidence, np.float32), known, images, places, per_image, [])


def test_masks_are_shown_from_the_most_to_the_least_certain() -> None:
    found = members([0, 1, 0, 0, 0, 0, -1], [0.1, 0.9, 0.5, 0.3, 0.9, 0.7, 0], [7])
    assert shown_of(found, 0) == [4, 5, 2, 3, 0]
    assert shown_of(found, 0, count=3) == [4, 2, 0]
    assert shown_of(found, 2) == []


def test_a_page_of_many_groups_shows_fewer_masks_of_each() -> None:
    assert [shown_each(number) for number in (0, 1, 500, 600, 5000)] == [12, 12, 12, 10, 3]
    assert all(number * shown_each(number) <= 6000 for number in range(1, 2001))


def test_a_crop_shows_the_mask_and_fades_the_rest() -> None:
    image = np.zeros((48, 96, 3), np.uint8)
    found = crop(image, square(12))
    assert found.shape == (34, 34, 3)  # 24 and a margin of 4.8 on each side, whole pixels
    assert (found[17, 17] == 0).all() and (found[0, 0] == int(0.7 * 255)).all()
    whole, none = np.ones((48, 96), bool), np.zeros((48, 96), bool)
    assert crop(image, whole).shape == (48, 96, 3) and crop(image, none).shape == (1, 1, 3)  # no farther than the image


def test_the_page_has_the_groups_and_their_names(tmp_path: Path) -> None:
    labels = write_squares(tmp_path / "set", [("red", "blue"), ("red", "red")])
    opened = open_source(labels, load_cfg())
    (tmp_path / "set/images/002.png").unlink()
    name = '<b>"cat" & co</b>'
    found = members([0, 1, 0, 0], [0.5, 0.25, 1, 1], [2, 2])
    missing = write_page(tmp_path / "index.html", opened, found, [name, "", ""], "abc", DEFAULT_READING)
    text = (tmp_path / "index.html").read_text()
    assert missing == 2 and text.count("<figure>") == 2 and text.count("data-group=") == 3
    assert "<b>" not in text and "&lt;b&gt;&#34;cat&#34; &amp; co&lt;/b&gt;" in text
    assert "3 masks, mean confidence 0.83" in text and "1 mask, mean" in text and "0 masks, mean confidence -" in text
    about = json.loads(re.search(r'id="about">(.*?)</script>', text)[1])  # type: ignore[index]
    assert about == {"kind": "unseg_d2 names of groups", "version": 1, "groups": "abc"}
    assert f"script-src '{script_hash(source('groups.js'))}'" in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text)  # nothing from elsewhere


@pytest.mark.parametrize("word", ["eval(", "innerHTML", "document.write"])
def test_the_script_writes_text_only(word: str) -> None:
    assert word not in source("groups.js")


def test_a_box_that_lies_elsewhere_than_its_mask_does_not_matter(tmp_path: Path) -> None:
    labels = write_squares(tmp_path / "set", [("red", "blue")])
    content = json.loads(labels.read_text())
    content["annotations"][0]["bbox"] = [500, 500, 24, 24]
    labels.write_text(json.dumps(content))
    found = members([0, 0], [1, 1], [2])
    assert write_page(tmp_path / "i.html", open_source(labels, load_cfg()), found, [""], "a", DEFAULT_READING) == 0
