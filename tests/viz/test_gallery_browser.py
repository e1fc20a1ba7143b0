"""The page in a browser: decisions by keyboard, kept across a reload, saved, and read by `unseg-d2 import`."""

from __future__ import annotations

import json
import runpy
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unseg_d2.apps.visualize import visualize
from unseg_d2.data.coco import read_coco
from unseg_d2.exchange.import_ import import_corrections
from unseg_d2.rle import encode_mask

webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")
CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with its driver")

EVIL = "<img src=x onerror=document.title='broken'>\"'&.png"
NAMES = ["a.png", EVIL, "c.png"]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,900"):
        options.add_argument(argument)
    options.binary_location = CHROMIUM
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path / "downloads")})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Three images with three masks each, of scores 0.9, 0.5 and 0.1."""
    images, annotations = [], []
    for number, name in enumerate(NAMES):
        Image.fromarray(np.full((30, 40, 3), 60 * number, np.uint8)).save(tmp_path / name)
        images.append({"id": number, "file_name": name, "height": 30, "width": 40})
        for place, score in enumerate((0.5, 0.9, 0.1)):
            mask = np.zeros((30, 40), bool)
            mask[5:25, 12 * place : 12 * place + 10] = True
            about = {"id": len(annotations) + 1, "image_id": number, "score": score, "bbox": [12 * place, 5, 10, 20]}
            annotations.append(about | {"segmentation": encode_mask(mask)})
    (tmp_path / "labels.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return tmp_path / "labels.json"


def soon(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + 20
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return value


def test_decisions_by_keyboard(browser: Any, labels: Path, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    def shown() -> str:
        return browser.execute_script("return document.getElementById('decided').textContent")

    def press(*keys: str) -> None:
        webdriver.ActionChains(browser).send_keys(*keys).perform()

    page = visualize(labels, tmp_path / "page.html").page
    browser.get(page.as_uri())
    soon(lambda: browser.execute_script("return document.querySelectorAll('.card image').length == 3"))
    browser.execute_script("document.querySelector('.card button').focus()")
    press("k", Keys.ARROW_RIGHT, "x", "z", "d")
    assert shown() == "3 kept, 0 dropped, 1 done"
    press(Keys.ARROW_RIGHT, Keys.ENTER)
    soon(lambda: browser.execute_script("return document.querySelectorAll('#lists tr[data-number]').length == 3"))
    press(Keys.ARROW_DOWN, "x", "k", "x", "u")  # 0.9 goes, 0.5 stays, 0.1 goes, and that is taken back
    assert shown() == "4 kept, 1 dropped, 1 done"
    press(Keys.ESCAPE)
    browser.execute_script(
        "const slider = document.getElementById('threshold'); slider.value = 0.3;"
        "slider.dispatchEvent(new Event('input')); document.querySelectorAll('.card button')[1].focus();"
    )
    press("d", "d")  # what is hidden when an image is marked as done goes: nobody has seen it
    assert shown() == "4 kept, 2 dropped, 1 done"
    press("z", "z")
    browser.execute_script("document.getElementById('drop-below').click()")
    assert shown() == "4 kept, 3 dropped, 1 done"  # what is kept stays
    browser.get("about:blank")
    browser.get(page.as_uri())
    soon(lambda: shown() == "4 kept, 3 dropped, 1 done")
    browser.execute_script("document.getElementById('save').click()")
    path = soon(lambda: next((tmp_path / "downloads").glob("decisions.json"), None))
    assert browser.title != "broken" and not browser.get_log("browser")
    report = import_corrections(path, labels=labels, output=tmp_path / "new.json")
    assert (report.removed, report.done, report.left_out) == (3, 1, {})
    after = read_coco(tmp_path / "new.json")
    assert [item["id"] for item in after.annotations] == [1, 2, 3, 4, 5, 7]
    assert [item["id"] for item in after.annotations if item.get("corrected")] == [1, 2, 3, 4, 5, 7]
    assert [image.get("done") for image in after.images] == [None, True, None]


def test_the_slider_of_detail_shows_each_place_once(browser: Any, labels: Path, tmp_path: Path) -> None:
    content = json.loads(labels.read_text())
    for place, (node, coarse, parent) in enumerate(((0, 0.1, 1), (1, 1.0, None), (2, 0.4, 1))):
        about = {"level": node, "node": node, "granularity": coarse} | ({} if parent is None else {"parent": parent})
        content["annotations"][place] |= about  # of the first image only
    labels.write_text(json.dumps(content))
    browser.get(visualize(labels, tmp_path / "page.html").page.as_uri())
    soon(lambda: browser.execute_script("return document.querySelectorAll('.card image').length == 3"))

    def shown(detail: float) -> list[int]:
        browser.execute_script(
            "const slider = document.getElementById('detail'); slider.value = arguments[0];"
            "slider.dispatchEvent(new Event('input'));",
            detail,
        )
        counts = (
            "return [...document.querySelectorAll('.card')]"
            ".map(card => card.querySelectorAll('path.mask:not(.below)').length)"
        )
        end, found = time.monotonic() + 5, None
        while time.monotonic() < end and found != (found := browser.execute_script(counts)):
            time.sleep(0.1)
        return found

    assert browser.execute_script("return [document.body.dataset.masks, masks.value]") == ["outline", "outline"]
    assert shown(0.1)[0] == 2 and shown(1.0)[0] == 1 and shown(1.05)[0] == 3
    assert shown(0.1)[1] == 3  # masks without a granularity are always there
    assert not browser.get_log("browser")


def test_masks_of_one_class(browser: Any, labels: Path, tmp_path: Path) -> None:
    content = json.loads(labels.read_text())
    content["categories"] = [{"id": 1, "name": "group 1"}, {"id": 2, "name": "cats & dogs"}]
    for place, annotation in enumerate(content["annotations"]):
        annotation["category_id"] = 2 if place in (0, 4) else 1  # the last image has no cats
    labels.write_text(json.dumps(content))
    browser.get(visualize(labels, tmp_path / "page.html").page.as_uri())
    soon(lambda: browser.execute_script("return document.querySelectorAll('.card image').length == 3"))
    options = "return [...document.querySelectorAll('#class option')].map(option => option.textContent)"
    assert browser.execute_script(options) == ["all", "group 1", "cats & dogs"]
    browser.execute_script(
        "const choice = document.getElementById('class'); choice.value = '1';choice.dispatchEvent(new Event('change'));"
    )
    counts = (
        "return [...document.querySelectorAll('.card')]"
        ".map(card => card.querySelectorAll('path.mask:not(.below)').length)"
    )
    soon(lambda: browser.execute_script(counts) == [1, 1])
    assert browser.execute_script("return document.getElementById('status').textContent") == "2 images, 2 masks"
    browser.execute_script("document.querySelector('.card button').click()")
    cells = "return [...document.querySelectorAll('#lists td.name')].map(cell => cell.textContent)"
    assert soon(lambda: browser.execute_script(cells)) == ["group 1", "cats & dogs", "group 1"]
    assert not browser.get_log("browser")


@pytest.mark.slow
def test_a_page_of_500_images_is_quick(browser: Any, tmp_path: Path) -> None:
    """Usable in two seconds from disk, and every card has its picture when it is scrolled to."""
    measured = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "gallery.py"))
    page = visualize(measured["make_label_set"](tmp_path, 500), tmp_path / "page.html").page
    assert min(measured["load"](browser, page) for _ in range(3)) < 2
    last = "return [...document.querySelectorAll('.card')].find(card => card.textContent.includes('00499.jpg'))"
    assert browser.execute_script(last) is None  # cards are made when they are scrolled to
    browser.execute_script("window.scrollTo(0, document.documentElement.scrollHeight)")
    soon(lambda: browser.execute_script(f"{last}?.querySelectorAll('image').length") == 1)
    browser.execute_script(f"{last}.querySelector('button').focus()")
    webdriver.ActionChains(browser).send_keys("x").perform()
    assert (
        browser.execute_script("return document.getElementById('decided').textContent") == "0 kept, 4 dropped, 0 done"
    )
    assert not browser.get_log("browser")
