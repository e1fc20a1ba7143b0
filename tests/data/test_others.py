from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from unseg_d2.data import scan as module
from unseg_d2.data.images import scan_folder
from unseg_d2.data.others import NAMED_WITH_REASON, Others, ending


def test_a_file_beside_each_picture_is_counted_and_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SA-1B's layout."""
    for number in range(30):
        Image.new("RGB", (4, 4)).save(tmp_path / f"sa_{number:03d}.jpg")
        (tmp_path / f"sa_{number:03d}.json").write_text("{}")
    (tmp_path / "scan.0017").write_bytes(b"8BPS\0\1")
    opened: list[str] = []
    opens = module._opens
    monkeypatch.setattr(module, "_opens", lambda path: opened.append(path.name) or opens(path))
    folder = scan_folder(tmp_path)
    assert opened == ["scan.0017"] and len(folder.images) == 30
    assert folder.others.to_json() == [
        {"suffix": ".json", "reason": "", "count": 30, "first": ["sa_000.json", "sa_001.json", "sa_002.json"]},
        {
            "suffix": "",
            "reason": "PSD (Photoshop) is not read; convert it to PNG or TIFF",
            "count": 1,
            "first": ["scan.0017"],
        },
    ]


def test_the_first_names_do_not_depend_on_the_order_of_the_disk() -> None:
    names = [f"{number:04d}.eps" for number in range(NAMED_WITH_REASON + 5)]
    forwards, backwards = Others(), Others()
    for name in names:
        forwards.add(name, ending(name), "EPS is not read")
    for name in reversed(names):
        backwards.add(name, ending(name), "EPS is not read")
    assert forwards.to_json() == backwards.to_json() and forwards.num_problems == len(names)
    problems = list(forwards.problems())
    assert problems[0] == ("0000.eps", "EPS is not read") and problems[-1] == ("*.eps", "EPS is not read (5 more)")
    assert len(problems) == NAMED_WITH_REASON + 1


def test_kinds_survive_writing_and_lists_of_earlier_versions_are_read() -> None:
    others = Others()
    for name in ("a.json", "b.json", "c", "d.eps"):
        others.add(name, ending(name), "EPS" if name == "d.eps" else "")
    assert Others.from_json(json.loads(json.dumps(others.to_json()))).to_json() == others.to_json()
    earlier = Others.from_json(["a.json", "b.json", "c"])
    assert (len(earlier), earlier.line()) == (3, "3 other files are no pictures (2 .json, 1 without ending).")


@pytest.mark.parametrize("stored", [5, {"a": 1}, [5], [{"suffix": 1}], [{"suffix": ".a", "count": "x"}]])
def test_damaged_kinds_are_refused(stored: object) -> None:
    with pytest.raises(TypeError):
        Others.from_json(stored)


def test_hundreds_of_endings_are_joined() -> None:
    others = Others()
    for number in range(300):
        others.add(f"a.x{number}y", f".x{number}y")
    kinds = others.to_json()
    assert len(kinds) == 41 and kinds[-1]["suffix"] == "*" and sum(kind["count"] for kind in kinds) == 300
