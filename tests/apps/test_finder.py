"""What the page finds is what the public interface finds; its settings are those of the configuration."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from unseg_d2.apps.app import require_gradio, slider_range
from unseg_d2.apps.finder import Finder, depth_picture
from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.masks.registry import MASK_GENERATORS
from unseg_d2.pseudo.mask_generator import MaskGenerator
from unseg_d2.settings import all_settings
from unseg_d2.structures import DepthMap

QUICK = Path(__file__).resolve().parents[2] / "configs" / "quickstart.yaml"


@pytest.fixture
def finder() -> Finder:
    return Finder(load_cfg(QUICK, ["REFINE.NAME", "none", "FEATURES.IMAGE_SIZE", "160"]))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    picture = np.full((80, 120, 3), 220, np.uint8)
    picture[20:60, 20:70] = (200, 40, 40)
    Image.fromarray(picture).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def values(finder: Finder, name: str, **other: Any) -> dict[str, Any]:
    return {control.key: control.value for control in finder.controls(name)} | other


def test_it_finds_what_the_generator_finds(finder: Finder, photo: Path, tmp_path: Path) -> None:
    found = finder.with_generator([photo], "maskcut", values(finder, "maskcut"), 0.0)
    expected = MaskGenerator.from_recipe(finder.recipe)(photo)
    assert len(found.annotations) == len(expected) > 0 and found.depths == []
    assert [item["segmentation"] for item in found.annotations] == [m["segmentation"] for m in expected.to_coco()]
    assert np.array_equal(found.pictures()[0][0], expected.draw(photo))
    assert found.table()["headers"] == ["photo", "object", "score", "% of the photo"]
    assert [row[:2] for row in found.table()["data"]] == [["a.png", number + 1] for number in range(len(expected))]
    path = found.write(tmp_path / "objects.json")
    assert [item["id"] for item in json.loads(path.read_text())["annotations"]] == [n + 1 for n in range(len(expected))]


def test_values_of_the_page_reach_the_generator(finder: Finder, photo: Path) -> None:
    """A page has one kind of number: three cuts may come as 1.0."""
    one = values(finder, "maskcut") | {"MASKS.MASKCUT.NUM_MASKS": 1.0}
    assert len(finder.with_generator([photo], "maskcut", one, 0.0).annotations) <= 1
    assert finder.with_generator([photo], "maskcut", values(finder, "maskcut"), 1.01).annotations == []
    with pytest.raises(UnsegError, match=r"MASKS.MASKCUT.TAU"):
        finder.with_generator([photo], "maskcut", one | {"MASKS.MASKCUT.TAU": 7.0}, 0.0)


@pytest.mark.parametrize("name", ["maskcut", "promerge", "tokencut", "lost", "uniap", "greedymerge"])
def test_every_generator_takes_the_values_that_its_page_begins_with(name: str, finder: Finder, photo: Path) -> None:
    assert len(finder.with_generator([photo], name, values(finder, name), 0.0).pictures()) == 1


def test_a_page_begins_with_the_thresholds_that_fit_the_features(finder: Finder) -> None:
    """The recipe names MaskCut; descriptors bring other values than the defaults to the other generators."""
    assert values(finder, "uniap")["MASKS.UNIAP.MEASURE"] == "quantile"
    assert values(finder, "lost")["MASKS.LOST.CENTER"] is True
    assert finder.recipe.MASKS.UNIAP.MEASURE == "similarity"


def test_lists_of_numbers_are_text_with_commas(finder: Finder, photo: Path) -> None:
    one = values(finder, "uniap")
    assert one["MASKS.UNIAP.TAUS"][0] == 0.4
    text = ",".join(map(str, one["MASKS.UNIAP.TAUS"])).replace(",0.3", ", .3")
    as_text = finder.with_generator([photo], "uniap", one | {"MASKS.UNIAP.TAUS": text}, 0.0)
    assert as_text.annotations == finder.with_generator([photo], "uniap", one, 0.0).annotations
    assert {"level", "granularity", "node"} <= as_text.annotations[0].keys() and as_text.has_levels
    for wrong, message in (("a, b", "needs numbers with commas"), (None, "is empty"), ("0.4, 0.8", "must fall")):
        with pytest.raises(UnsegError, match=message):
            finder.with_generator([photo], "uniap", one | {"MASKS.UNIAP.TAUS": wrong}, 0.0)


def test_masks_that_a_score_hides_leave_no_gap_among_parents(finder: Finder, photo: Path) -> None:
    whole = finder.with_generator([photo], "uniap", values(finder, "uniap", **{"MASKS.UNIAP.MASKS": "both"}), 0.0)
    least = sorted(mask["score"] for mask in whole.annotations)[len(whole.annotations) // 2]
    some = finder.with_generator([photo], "uniap", values(finder, "uniap", **{"MASKS.UNIAP.MASKS": "both"}), least)
    nodes = {mask["node"] for mask in some.annotations}
    assert 0 < len(nodes) < len(whole.annotations)
    assert {mask["parent"] for mask in some.annotations if "parent" in mask} <= nodes


def test_one_that_needs_depth_says_so(finder: Finder, photo: Path) -> None:
    with pytest.raises(UnsegError, match="needs depth"):
        finder.with_generator([photo], "cuts3d", values(finder, "cuts3d"), 0.0)


def test_without_a_detector(finder: Finder, photo: Path) -> None:
    with pytest.raises(UnsegError, match="start the page with --weights"):
        finder.with_detector([photo], 0.5)


def test_sliders_stay_within_the_range_of_the_setting(finder: Finder) -> None:
    known = dict(all_settings())
    for name in MASK_GENERATORS.names():
        for control in finder.controls(name):
            assert known[control.key] == control.setting
            if type(control.setting.default) in (int, float) and slider_range(control.setting)[2]:
                low, high, _ = slider_range(control.setting)
                kind = type(control.setting.default)
                assert control.setting.accepts(kind(low)) and control.setting.accepts(kind(high)), control.key


def test_depth_is_shown_where_there_is_a_source(finder: Finder, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ramp(images: Any, files: Any) -> list[DepthMap]:
        assert [file.path for file in files] == [photo]
        return [DepthMap(torch.arange(120.0).expand(80, 120), "metric")]

    monkeypatch.setattr("unseg_d2.pseudo.pipeline.build_depth", lambda cfg: ramp)
    ((picture, name),) = finder.with_generator([photo], "maskcut", values(finder, "maskcut"), 0.0).depths
    assert name == "a.png" and picture.shape == (80, 120, 3)
    assert picture[:, -1].sum() > picture[:, 0].sum()


def test_far_is_bright() -> None:
    metres = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    far = depth_picture(DepthMap(metres, "metric")).sum(axis=2)
    near = depth_picture(DepthMap(1 / metres, "inverse")).sum(axis=2)
    assert (np.diff(far.ravel().astype(int)) > 0).all() and (np.diff(near.ravel().astype(int)) > 0).all()


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UnsegError, match=r"'gradio' is not installed; install it with: pip install 'unseg-d2\[app\]'"):
        require_gradio()
