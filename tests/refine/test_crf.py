"""The dense CRF against outputs of the published code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseg_d2.refine import build_refiner

pytest.importorskip("pydensecrf.densecrf", reason="needs pydensecrf2")


@pytest.mark.parametrize("image_index", [0, 3, 6])
def test_golden(shared_data: Path, image_index: int):
    folder = shared_data / "golden"
    if not (folder / "maskcut.npz").is_file():
        pytest.skip(f"no golden data in {folder}")
    golden = np.load(folder / "maskcut.npz")
    name = json.loads((folder / "manifest.json").read_text())["images"][image_index]["file_name"]
    with Image.open(shared_data / "coco_dev" / "images" / name) as photo:
        image = np.asarray(photo.convert("RGB").resize((480, 480), Image.Resampling.LANCZOS))
    before, after = (
        np.unpackbits(golden[f"raw_{key}"][image_index], axis=-1).reshape(-1, 480, 480).astype(bool)
        for key in ("out480", "crf480_filled")
    )
    refined = build_refiner("crf")(image, before)
    for ours, theirs in zip(refined, after):
        union = (ours | theirs).sum()
        assert union == 0 or (ours & theirs).sum() / union >= 0.99
