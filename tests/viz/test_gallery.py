from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unseg_d2.data.coco import check_coco
from unseg_d2.errors import UnsegError
from unseg_d2.rle import encode_mask
from unseg_d2.viz import gallery
from unseg_d2.viz.gallery import write_gallery
from unseg_d2.viz.labels import LabelView
from unseg_d2.viz.page import script_hash

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&.png"


class Page(HTMLParser):
    """The elements of a page as a browser's tokenizer sees them: tags with attributes, and the text of scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data):
        if self.tags and self.cdata_elem == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        else:
            self.text += data

    def json(self, name: str) -> Any:
        return next(json.loads(text) for attributes, text in self.scripts if attributes.get("id") == name)


def make_set(root: Path, names: list[str], *, score: float | None = 0.5) -> LabelView:
    mask = np.zeros((30, 40), bool)
    mask[5:25, 10:30] = True
    for number, name in enumerate(names):
        Image.fromarray(np.full((30, 40, 3), number, np.uint8)).save(root / name)
    content = {
        "images": [{"id": i, "file_name": name, "height": 30, "width": 40} for i, name in enumerate(names)],
        "annotations": [
            {"id": i, "image_id": i, "segmentation": encode_mask(mask), "bbox": [10, 5, 20, 20]}
            | ({} if score is None else {"score": score})
            for i in range(len(names))
        ],
        "info": {"MASKS": {"TAU": 0.15}, "note": EVIL},
    }
    return LabelView("set " + EVIL, check_coco(content))


def test_page_holds_every_image_and_mask(tmp_path):
    names = [f"{k}.png" for k in range(gallery.CHUNK_SIZE + 2)]
    summary = write_gallery(tmp_path / "out.html", make_set(tmp_path, names), tmp_path)
    page = Page(summary.page.read_text())
    index = page.json("index")
    assert [image["name"] for image in index["images"]] == names
    pictures = page.json("chunk-0") + page.json("chunk-1")
    assert len(pictures) == len(names)
    for image, (jpeg, outlines) in zip(index["images"], pictures, strict=True):
        assert image["sets"] == [[[0.5, pytest.approx(1 / 3, abs=1e-4), None]]]
        assert jpeg.startswith("/9j/")
        assert re.fullmatch(r"M\d+ \d+l[- \d]+z", outlines[0])
    assert summary.images == len(names) and not summary.problems
    assert summary.size == summary.page.stat().st_size


def test_chunks_beside_the_page(tmp_path):
    labels = make_set(tmp_path, ["a.png", "b.png"])
    page = tmp_path / "site" / "index.html"
    (tmp_path / "site" / "index_chunks").mkdir(parents=True)
    (tmp_path / "site" / "index_chunks" / "7.js").write_text("of an earlier run")
    summary = write_gallery(page, labels, tmp_path, one_file=False)
    assert sorted(path.name for path in page.parent.iterdir()) == ["index.html", "index_chunks"]
    (chunk,) = (page.parent / "index_chunks").iterdir()
    number, pictures = re.fullmatch(r"receiveChunk\((\d+),(.*)\)", chunk.read_text()).groups()
    assert number == "0" and len(json.loads(pictures)) == 2
    assert Page(page.read_text()).json("index")["chunkFolder"] == "index_chunks"
    assert summary.size == page.stat().st_size + chunk.stat().st_size


def test_nothing_from_outside_becomes_markup(tmp_path):
    """Names, titles and settings end up as text; an injected tag would appear among the parsed tags."""
    name = EVIL.replace("/", "")  # a slash would be a folder
    summary = write_gallery(tmp_path / "out.html", make_set(tmp_path, [name]), tmp_path)
    page = Page(summary.page.read_text())
    assert page.json("index")["images"][0]["name"] == name
    assert page.json("index")["titles"] == ["set " + EVIL]
    assert EVIL in page.text
    assert "img" not in {tag for tag, _ in page.tags}
    assert len(page.scripts) == 6  # one chunk, the index, four scripts of ours
    assert not any(attribute.startswith("on") for _, attributes in page.tags for attribute in attributes)


def test_policy_allows_our_scripts_and_no_network(tmp_path):
    summary = write_gallery(tmp_path / "out.html", make_set(tmp_path, ["a.png"]), tmp_path)
    html = summary.page.read_text()
    page = Page(html)
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "http" not in policy and "script-src 'self' file:" in policy
    for attributes, text in page.scripts:
        assert attributes.get("type") == "application/json" or f"'{script_hash(text)}'" in policy
    assert not any({"src", "href"} & attributes.keys() for _, attributes in page.tags)


def test_second_set_is_matched_by_file_name(tmp_path):
    labels = make_set(tmp_path, ["a.png", "b.png"])
    truth = make_set(tmp_path, ["b.png"], score=None)
    summary = write_gallery(tmp_path / "out.html", labels, tmp_path, compare=truth)
    alone, both = Page(summary.page.read_text()).json("index")["images"]
    assert alone["sets"] == [[[0.5, 0.3333, 0.0]], []]
    assert both["sets"] == [[[0.5, 0.3333, 1.0]], [[None, 0.3333, None]]]


def test_images_that_cannot_be_shown_say_why(tmp_path):
    labels = make_set(tmp_path, ["a.png", "b.png", "c.png", "d.png"])
    (tmp_path / "a.png").unlink()
    Image.new("RGB", (99, 30)).save(tmp_path / "b.png")
    labels.dataset.images[2]["file_name"] = "../c.png"
    summary = write_gallery(tmp_path / "out.html", labels, tmp_path)
    assert [name for name, _ in summary.problems] == ["a.png", "b.png", "../c.png"]
    assert "99x30" in summary.problems[1][1] and "outside" in summary.problems[2][1]
    page = Page(summary.page.read_text())
    problems = [image.get("problem") for image in page.json("index")["images"]]
    assert problems == [*(reason for _, reason in summary.problems), None]


def test_limit_and_progress(tmp_path):
    seen = []
    labels = make_set(tmp_path, [f"{k}.png" for k in range(9)])
    summary = write_gallery(tmp_path / "o.html", labels, tmp_path, limit=3, progress=lambda x: seen.extend(x) or x)
    names = [image["name"] for image in Page(summary.page.read_text()).json("index")["images"]]
    assert names == ["0.png", "3.png", "6.png"] == [image["file_name"] for image in seen]
    assert "3 of 9 images" in summary.page.read_text()


def test_metrics_of_the_rounds_are_drawn_in_the_page(tmp_path):
    metrics = [{"name": "<b>round 0", "segm": {"AP": 12.5}}]
    page = Page(
        write_gallery(tmp_path / "o.html", make_set(tmp_path, ["a.png"]), tmp_path, metrics=metrics).page.read_text()
    )
    assert "svg" in {tag for tag, attributes in page.tags if attributes.get("class") == "rounds"}
    assert "12.5" in page.text and "<b>round 0" in page.text
    assert "b" not in {tag for tag, _ in page.tags}


def test_same_input_same_bytes(tmp_path):
    labels = make_set(tmp_path, ["a.png", "b.png"])
    first = write_gallery(tmp_path / "o.html", labels, tmp_path).page.read_bytes()
    assert write_gallery(tmp_path / "o.html", labels, tmp_path).page.read_bytes() == first


def test_an_empty_set_is_an_error(tmp_path):
    with pytest.raises(UnsegError, match="lists no images"):
        write_gallery(tmp_path / "o.html", make_set(tmp_path, []), tmp_path)


@pytest.mark.parametrize("one_file", [True, False])
def test_no_page_when_no_image_can_be_read(tmp_path, one_file):
    labels = make_set(tmp_path, ["a.png", "b.png"])
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(UnsegError, match=r"None of the 2 images can be shown; the first is a\.png"):
        write_gallery(tmp_path / "site" / "o.html", labels, tmp_path / "elsewhere", one_file=one_file)
    assert not list((tmp_path / "site").iterdir())


def test_originals_are_addressed_relative_to_the_page(tmp_path):
    (tmp_path / "my images").mkdir()
    labels = make_set(tmp_path / "my images", ["a.png"])
    page = write_gallery(tmp_path / "x" / "o.html", labels, tmp_path / "my images").page
    assert Page(page.read_text()).json("index")["originals"] == "../my%20images"
    assert str(tmp_path) not in page.read_text()


@pytest.mark.slow
def test_real_photos_stay_below_the_size_budget(shared_data, tmp_path):
    from unseg_d2.data.coco import read_coco

    truth = read_coco(shared_data / "coco_dev" / "instances.json")
    summary = write_gallery(tmp_path / "o.html", LabelView("truth", truth), shared_data / "coco_dev" / "images")
    assert not summary.problems
    assert summary.size / summary.images < 30_000  # 5000 images in 150 MB


def test_classes_are_told_apart_where_a_set_has_several(tmp_path):
    labels = make_set(tmp_path, ["a.png", "b.png"])
    page = Page(write_gallery(tmp_path / "o.html", labels, tmp_path).page.read_text())
    assert page.json("index")["classes"] == [] and "classes" not in page.json("index")["images"][0]
    labels.dataset.categories[:] = [{"id": 3, "name": "cat"}, {"id": 4, "name": "<b>"}]
    for annotation, category in zip(labels.dataset.annotations, (4, 9)):  # 9 is not listed
        annotation["category_id"] = category
    page = Page(write_gallery(tmp_path / "o.html", labels, tmp_path).page.read_text())
    assert page.json("index")["classes"] == ["cat", "<b>", "9"]
    assert [image["classes"] for image in page.json("index")["images"]] == [[[1]], [[2]]]


def test_classes_of_one_name_are_one_class_in_both_sets(tmp_path):
    labels, truth = make_set(tmp_path, ["a.png"]), make_set(tmp_path, ["a.png"], score=None)
    labels.dataset.categories[:] = [{"id": 1, "name": "cat"}, {"id": 2, "name": "group 2"}]
    truth.dataset.categories[:] = [{"id": 1, "name": "dog"}, {"id": 5, "name": "cat"}]
    truth.dataset.annotations[0]["category_id"] = 5
    page = Page(write_gallery(tmp_path / "o.html", labels, tmp_path, compare=truth).page.read_text())
    assert page.json("index")["classes"] == ["cat", "group 2", "dog"]
    assert page.json("index")["images"][0]["classes"] == [[0], [0]]
