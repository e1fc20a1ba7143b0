"""What the page shows of what was found: one granularity, groups with names, and the file of annotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from group_files import SMALL, square, write_squares

from unseg_d2.apps.answers import ALL, COARSEST, GENERATOR, Answers
from unseg_d2.apps.finder import Finder
from unseg_d2.apps.found import IN_NO_GROUP, Found
from unseg_d2.apps.photo_groups import MOST, PhotoGroups
from unseg_d2.config import load_cfg
from unseg_d2.data.coco import read_coco
from unseg_d2.errors import UnsegError
from unseg_d2.rle import encode_mask
from unseg_d2.viz.palette import instance_colour

COLOURS = [("red", "green"), ("red", "green"), ("red", "red")]


@pytest.fixture
def found(tmp_path: Path) -> Found:
    """Three photos of two squares each, whose masks were found."""
    labels = read_coco(write_squares(tmp_path / "set", COLOURS))
    result = Found(found_with="maskcut")
    for image in labels.images:
        own = [item for item in labels.annotations if item["image_id"] == image["id"]]
        kept = ("bbox", "area", "segmentation", "score")
        result.add(tmp_path / "set/images" / image["file_name"], (48, 96), [{k: item[k] for k in kept} for item in own])
    return result


def levels(found: Found) -> Found:
    """The two masks of each photo lie in a third one."""
    for masks in found.masks:
        whole = square(12) | square(60)
        places = [{"node": 0, "level": 0, "granularity": 0.1, "parent": 2}, {"node": 1, "level": 0, "granularity": 0.1}]
        masks[:] = [mask | place for mask, place in zip(masks, places)]
        masks.append(masks[0] | {"segmentation": encode_mask(whole), "area": int(whole.sum()), "node": 2, "level": 1})
        masks[2] |= {"granularity": 1.0, "bbox": [12, 12, 72, 24]}
        del masks[2]["parent"]
    return found


def test_a_granularity_shows_what_the_gallery_shows(found: Found) -> None:
    assert not found.has_levels and levels(found).has_levels
    assert [row[1] for row in found.table()["data"]] == [1, 2, 3] * 3
    assert [row[1] for row in found.table(0.5)["data"]] == [1, 2] * 3
    assert [row[1] for row in found.table(1.0)["data"]] == [2, 3] * 3  # the second one lies in none
    names = [name for _, name in found.pictures(0.5)]
    assert names == [f"00{number}.png: 2 of 3 objects" for number in (1, 2, 3)]
    assert [name for _, name in found.pictures()] == [f"00{number}.png: 3 objects" for number in (1, 2, 3)]


def test_groups_have_colours_names_and_classes_in_the_file(found: Found, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra `groups` is not installed")
    finder = Finder(load_cfg(None, SMALL))
    grouped = finder.group(found, 2)
    assert grouped.groups is not None and grouped.groups.of_image == [[0, 1], [0, 1], [0, 0]]
    assert grouped.groups.sizes() == [4, 2]
    picture = grouped.pictures()[1][0]
    for left, group in ((12, 0), (60, 1)):
        own = np.abs(picture[12:36, left : left + 24].astype(int) - instance_colour(group)).sum(2)
        assert (own < 12).any()  # its outline
    named = found_with_names(grouped, "warm", "")
    assert [row[4] for row in named.table()["data"]] == ["warm", "group 2", "warm", "group 2", "warm", "warm"]
    content = json.loads(named.write(tmp_path / "o.json").read_text())
    assert content["categories"] == [{"id": 1, "name": "warm"}, {"id": 2, "name": "group 2"}]
    assert [item["category_id"] for item in content["annotations"]] == [1, 2, 1, 2, 1, 1]
    assert all(0 < item["group_confidence"] <= 1 for item in content["annotations"])
    assert content["info"]["groups"]["features"].startswith("palette")
    assert finder.group(found, 0).groups is not None  # the number is chosen
    with pytest.raises(UnsegError, match=r"There are 6 masks with features, too few for 7 groups"):
        finder.group(found, 7)


def found_with_names(found: Found, *names: str) -> Found:
    assert found.groups is not None
    found.groups = found.groups.named(names)
    return found


def test_masks_in_no_group_are_grey_and_others(found: Found, tmp_path: Path) -> None:
    found.groups = PhotoGroups([[0, -1], [0, 0], [0, 0]], [[1.0, 0.0]] * 3, ["Käfer"], {})
    assert (found.pictures()[0][0] == IN_NO_GROUP).all(2).any()
    assert [row[4] for row in found.table()["data"]][:2] == ["Käfer", "other"]
    content = json.loads(found.write(tmp_path / "o.json").read_text())
    assert [category["name"] for category in content["categories"]] == ["Käfer", "other"]


def test_words_are_written_on_few_masks_only(found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    few = found.pictures()[0][0]
    monkeypatch.setattr("unseg_d2.apps.found.MOST_WORDS", 1)
    many = found.pictures()[0][0]
    assert (few != many).any() and (few == many).all(2).mean() > 0.8  # but for the words, the pictures are the same


class Page:
    """In place of Gradio: what would be changed."""

    Error = RuntimeError

    @staticmethod
    def update(**values: Any) -> dict[str, Any]:
        return values


def test_the_page_answers(found: Found, tmp_path: Path) -> None:
    """The order of what is returned: found, pictures, table, file; depths, slider; place of the groups, names."""
    pytest.importorskip("sklearn", reason="the extra `groups` is not installed")
    nested = levels(found)
    finder = Finder(load_cfg(None, [*SMALL, "MASKS.GENERATOR", "uniap", "REFINE.NAME", "none"]))
    controls = finder.controls("uniap")
    answers = Answers(Page, finder, [control.key for control in controls], tmp_path)
    with pytest.raises(RuntimeError, match="Choose photos first"):
        answers.find(None, GENERATOR, "uniap", 0.0)
    with pytest.raises(RuntimeError, match="Find objects first"):
        answers.group(None, ALL, 2)
    photos = sorted(map(str, (tmp_path / "set/images").iterdir()))
    found, pictures, table, path, depths, detail, place, *boxes = answers.find(
        photos, GENERATOR, "uniap", 0.0, *(control.value for control in controls)
    )
    assert len(pictures) == 3 and depths == {"value": [], "visible": False} and len(boxes) == MOST
    assert detail == {"value": COARSEST, "visible": True} and place == {"visible": True} and not boxes[0]["visible"]
    assert 0 < len(table["data"]) <= len(found.annotations) == len(answers.show(found, ALL)[1]["data"])
    assert [len(answers.show(nested, detail)[1]["data"]) for detail in (0.5, 1.0, ALL)] == [6, 6, 9]
    grouped, *_, place, first, second, third = answers.group(found, ALL, 2.0)[: 4 + 1 + 3]
    assert first["visible"] and second["label"].startswith("group 2: ") and not third["visible"]
    assert answers.name(grouped, ALL, *[""] * MOST) == [{}] * 4  # nothing was typed
    named, *_, path = answers.name(grouped, ALL, " things ", *[""] * (MOST - 1))
    assert named.groups.names == ["things", ""]
    assert [one["name"] for one in json.loads(Path(path).read_text())["categories"]] == ["things", "group 2"]
    assert answers.name(None, ALL) == answers.show(None, ALL) * 2 == [{}] * 4
