"""What a file says about its detector comes back as it was."""

from __future__ import annotations

import pytest

from unseg_d2.data.pictures.reading import Reading
from unseg_d2.deploy.about import About
from unseg_d2.errors import UnsegError


def test_text_and_back() -> None:
    reading = Reading(window=(0.0, 4095.0), exif="ignore")
    about = About("object detection", ("cat", "Größe"), 800, 1333, reading, "float16", "none", "SEED: 1\n", "0.1.0")
    text = about.to_text()
    assert all(isinstance(value, str) for value in text.values()) and text["classes"] == '["cat", "Gr\\u00f6\\u00dfe"]'
    assert About.from_text(text, "m.onnx") == about


@pytest.mark.parametrize("text", [{}, {"min_size": "x"}, {"classes": "{"}])
def test_another_file(text: dict[str, str]) -> None:
    with pytest.raises(UnsegError, match=r"m\.onnx was not written by"):
        About.from_text(text, "m.onnx")
