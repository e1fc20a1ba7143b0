"""The page of a label set of 500 images in a browser: how long until it can be used, and whether it scrolls.

    python benchmarks/gallery.py --images 500

Needs Chromium with its driver (Debian: chromium, chromium-driver) and Selenium. The page is opened from disk, without a
server. Images are synthetic: smooth noise with ellipses, 640 x 480.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from unseg_d2.apps.visualize import visualize
from unseg_d2.rle import encode_mask

HEIGHT, WIDTH, MASKS = 480, 640, 4
FRAMES = """
const done = arguments[0], lengths = [], height = document.documentElement.scrollHeight;
let last = performance.now(), step = 0;
function frame(now) {
  lengths.push(now - last); last = now;
  window.scrollTo(0, height * ++step / 240);
  if (step < 240) requestAnimationFrame(frame); else done(lengths.slice(5));
}
requestAnimationFrame(frame);
"""
"""Scrolls through the whole page in 240 steps; returns the milliseconds between frames."""


def make_label_set(folder: Path, count: int) -> Path:
    """Write images with ellipses and their masks, and return the label set."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(count):
        noise = rng.integers(60, 200, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8)
        picture = cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        images.append({"id": number + 1, "file_name": f"{number:05d}.jpg", "height": HEIGHT, "width": WIDTH})
        for _ in range(MASKS):
            canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
            centre = (int(rng.integers(60, WIDTH - 60)), int(rng.integers(60, HEIGHT - 60)))
            axes = (int(rng.integers(20, 90)), int(rng.integers(20, 90)))
            cv2.ellipse(canvas, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
            picture[canvas > 0] = rng.integers(0, 256, 3)
            rows, columns = np.nonzero(canvas)
            box = [int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
            about = {"id": len(annotations) + 1, "image_id": number + 1, "category_id": 1, "bbox": box, "iscrowd": 0}
            about |= {"area": len(rows), "score": round(float(rng.uniform(0.05, 1)), 3)}
            annotations.append(about | {"segmentation": encode_mask(canvas > 0)})
        cv2.imwrite(str(folder / f"{number:05d}.jpg"), picture)
    categories = [{"id": 1, "name": "fg"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "labels.json").write_text(json.dumps(content))
    return folder / "labels.json"


def open_browser() -> Any:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not (chromium and driver):
        raise SystemExit("Chromium and its driver are needed: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,950"):
        options.add_argument(argument)
    options.binary_location = chromium
    return webdriver.Chrome(options=options, service=Service(driver))


def load(browser: Any, page: Path) -> float:
    """Return the seconds from asking for the page until pictures with their masks are in it."""
    browser.get("about:blank")
    start = time.perf_counter()
    browser.get(page.as_uri())
    shown = "return document.querySelectorAll('.card image').length"
    while not browser.execute_script(shown):
        time.sleep(0.01)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--screenshots", type=Path, help="folder for pictures of what the browser shows")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        labels = make_label_set(Path(name), args.images)
        page = visualize(labels, Path(name) / "page.html").page
        megabytes = page.stat().st_size / 1e6
        browser = open_browser()
        try:
            seconds = [load(browser, page) for _ in range(args.repeats)]
            if args.screenshots:
                browser.save_screenshot(str(args.screenshots / "gallery_top.png"))
            frames = browser.execute_async_script(FRAMES)
            if args.screenshots:
                browser.save_screenshot(str(args.screenshots / "gallery_end.png"))
        finally:
            browser.quit()
    long = sum(length > 100 for length in frames)
    print(f"page of {args.images} images, {args.images * MASKS} masks, opened from disk: {megabytes:.1f} MB")
    print(f"usable after {statistics.median(seconds):.2f} s (median of {args.repeats}, {max(seconds):.2f} s at most)")
    print(
        f"scrolling through: {statistics.median(frames):.0f} ms between frames (median), {max(frames):.0f} ms at most, "
        f"{long} of {len(frames)} above 100 ms"
    )


if __name__ == "__main__":
    main()
