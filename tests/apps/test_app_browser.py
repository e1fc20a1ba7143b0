"""The page of `unseg-d2 app` in a browser: photos in, masks, scores and COCO out; nothing comes from elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

gradio = pytest.importorskip("gradio", minversion="6", reason="Gradio is not installed")
webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")
StaleElementReferenceException = pytest.importorskip("selenium.common.exceptions").StaleElementReferenceException
CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with its driver"),
]
PICTURES = os.environ.get("UNSEG_D2_SCREENSHOTS", "")  # folder that keeps what the browser showed


def soon(condition: Callable[[], Any], seconds: float = 90) -> Any:
    """Wait for a value; the page may replace an element while it is looked at."""
    end = time.monotonic() + seconds
    while True:
        try:
            if value := condition():
                return value
        except StaleElementReferenceException:
            pass
        assert time.monotonic() < end, condition
        time.sleep(0.2)


def answers(address: str) -> bool:
    try:
        return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=5).status == 200
    except OSError:
        return False


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The command, as a user starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "unseg_d2", "app", "--config-file", "configs/quickstart.yaml", "--port", str(port)]
    with open(tmp_path / "log", "w+b") as log:
        process = subprocess.Popen([*command, "REFINE.NAME", "none"], stdout=log, stderr=log)
        try:
            soon(lambda: process.poll() is not None or answers(f"http://127.0.0.1:{port}"), 180)
            assert process.poll() is None, (tmp_path / "log").read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,1500"):
        options.add_argument(argument)
    options.binary_location = CHROMIUM
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path / "downloads")})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def asked_of_others(browser: Any, address: str) -> set[str]:
    """Return what the page has asked of other machines."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return {url for url in urls if url.startswith(("http", "ws")) and address.split("//")[1] not in url}


def keep(browser: Any, name: str) -> None:
    if PICTURES:
        browser.execute_script("scrollTo(0, 0)")
        browser.save_screenshot(os.path.join(PICTURES, f"{name}.png"))


def test_photos_in_masks_out(browser: Any, address: str, tmp_path: Path) -> None:
    photos = []
    for number, colour in enumerate(((200, 40, 40), (40, 60, 200))):
        picture = np.random.default_rng(number).integers(200, 225, (180, 240, 3), dtype=np.uint8)
        picture[50:130, 40 + 60 * number : 140 + 60 * number] = colour
        photos.append(tmp_path / f"photo{number}.png")
        Image.fromarray(picture).save(photos[-1])
    browser.get(address)
    find = soon(lambda: browser.find_elements("css selector", "#find"))[0]
    words = browser.find_element("css selector", "body").text
    assert "number of cuts per image" in words and "lowest score that is shown" in words
    assert "the detector" not in words  # there is none
    find.click()
    soon(lambda: "Choose photos first" in browser.find_element("css selector", "body").text)
    browser.find_element("css selector", "#photos input[type=file]").send_keys("\n".join(map(str, photos)))
    soon(lambda: "photo1" in browser.find_element("css selector", "#photos").text)
    time.sleep(1)
    find.click()
    soon(lambda: len(browser.find_elements("css selector", "#objects img")) >= 2)
    soon(lambda: "photo1.png" in browser.find_element("css selector", "#scores").text)
    keep(browser, "app")
    coco = download(browser)
    assert [(image["file_name"], image["height"]) for image in coco["images"]] == [
        ("photo0.png", 180),
        ("photo1.png", 180),
    ]
    assert {annotation["image_id"] for annotation in coco["annotations"]} == {1, 2}
    assert coco["info"]["found_with"] == "maskcut"
    best = [next(a["bbox"] for a in coco["annotations"] if a["image_id"] == number) for number in (1, 2)]
    np.testing.assert_allclose(best, [[40, 50, 100, 80], [100, 50, 100, 80]], atol=16)
    assert asked_of_others(browser, address) == set()
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_levels_and_groups(browser: Any, address: str, tmp_path: Path) -> None:
    """A slider of detail where masks lie within each other; groups with names, which the file has."""
    photos = []
    for number in range(2):
        picture = np.random.default_rng(number).integers(200, 225, (180, 240, 3), dtype=np.uint8)
        picture[20:160, 20:110], picture[20:160, 130:220] = (200, 40, 40), (40, 60, 200)
        picture[60:120, 40:90] = (230, 200, 40)  # a part of the first one
        photos.append(tmp_path / f"photo{number}.png")
        Image.fromarray(picture).save(photos[-1])
    browser.get(address)
    find = soon(lambda: browser.find_elements("css selector", "#find"))[0]
    choice = browser.find_element("css selector", "#generator input")
    choice.click()
    soon(lambda: browser.find_elements("css selector", "[role=option][aria-label=uniap]"))[0].click()
    soon(lambda: "threshold of each layer" in browser.find_element("css selector", "body").text)
    browser.find_element("css selector", "#photos input[type=file]").send_keys("\n".join(map(str, photos)))
    soon(lambda: "photo1" in browser.find_element("css selector", "#photos").text)
    time.sleep(1)
    find.click()
    soon(lambda: len(browser.find_elements("css selector", "#objects img")) >= 2)
    slider = soon(lambda: browser.find_elements("css selector", "#detail input[type=range]"))[0]
    keep(browser, "levels-coarse")
    assert " of " in browser.find_element("css selector", "#objects").text  # only the coarsest at first
    browser.execute_script(
        "arguments[0].value = 1.05; arguments[0].dispatchEvent(new Event('input', { bubbles: true }));", slider
    )
    soon(lambda: " of " not in browser.find_element("css selector", "#objects").text)
    keep(browser, "levels-all")
    browser.find_element("css selector", "#group").click()
    first = soon(lambda: browser.find_elements("css selector", "#name-1 input, #name-1 textarea"))[0]
    before = download(browser)
    assert before["categories"][0]["name"] == "group 1" and {"node", "granularity"} <= before["annotations"][0].keys()
    first.send_keys("signs\n")
    soon(lambda: download(browser)["categories"][0]["name"] == "signs")
    assert "class" in browser.find_element("css selector", "#scores").text  # of its rows only those in sight are there
    keep(browser, "groups")
    assert asked_of_others(browser, address) == set()
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def download(browser: Any) -> Any:
    """Return the file of annotations that the page offers."""

    def shown() -> str:
        links = browser.find_elements("css selector", "#coco a[href]")
        return links[0].get_attribute("href") if links else ""

    link = soon(shown)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(link) as answer:
        return json.load(answer)
