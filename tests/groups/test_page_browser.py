"""The page in a browser: names are typed, kept across a reload, saved, and read by the command."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from group_files import SMALL

from unseg_d2.config import load_cfg
from unseg_d2.data.coco import read_coco
from unseg_d2.groups.group_masks import group_label_set

webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")
pytest.importorskip("sklearn", reason="the extra `groups` is not installed")
CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with its driver")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(argument)
    options.binary_location = CHROMIUM
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path / "downloads")})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def test_names_are_typed_kept_saved_and_read(browser: Any, squares: Path, tmp_path: Path) -> None:
    cfg, output = load_cfg(None, [*SMALL, "GROUPS.NUMBER", "3"]), tmp_path / "groups"
    page = group_label_set(cfg, squares, output).page
    browser.get(page.as_uri())
    inputs = browser.find_elements("css selector", "input[data-group]")
    for field, name in zip(inputs, ("warm", "<b>cold, blue</b>", "warm")):
        field.send_keys(name)
    note = browser.find_element("css selector", '[data-note="3"]')
    assert note.text == "one class with group 1"
    browser.refresh()
    assert browser.find_element("css selector", 'input[data-group="1"]').get_property("value") == "warm"
    browser.find_element("id", "save").click()
    saved, end = tmp_path / "downloads/names.json", time.monotonic() + 20
    while not saved.is_file():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert json.loads(saved.read_text())["names"] == {"1": "warm", "2": "<b>cold, blue</b>", "3": "warm"}
    group_label_set(cfg, squares, output, names=saved)
    assert [one["name"] for one in read_coco(output / "labels.json").categories] == ["warm", "<b>cold, blue</b>"]
