"""Damaged pictures, depth and videos: read, or one reason; in a folder of images, a recorded failure."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from campaign import TRIED
from hypothesis import given
from hypothesis import strategies as st
from mutations import BYTES, HEADERS, Changes, fewer, mutated, sentence, trials, with_header
from PIL import Image
from pseudo_fakes import fake_pipeline

from unseg_d2.config import load_cfg
from unseg_d2.data.images import ImageFile, ImageProblem, read_image
from unseg_d2.data.pictures.stored import read_stored
from unseg_d2.data.video import Film
from unseg_d2.depth import FilesDepth
from unseg_d2.depth.files import FilesDepthSettings
from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.pseudo.label_set import read_label_set

pytestmark = pytest.mark.slow
HEIGHT, WIDTH = 24, 32


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def _pictures() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8))
    deep = Image.fromarray(rng.integers(0, 4095, (HEIGHT, WIDTH), np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    found = {
        "rgb.png": encoded(colour, "PNG"),
        "palette.png": encoded(colour.convert("P"), "PNG", transparency=3),
        "deep.png": encoded(deep, "PNG"),
        "deep_colour.png": cv2.imencode(".png", rng.integers(0, 9999, (HEIGHT, WIDTH, 3), np.uint16))[1].tobytes(),
        "turned.jpg": encoded(colour, "JPEG", exif=exif),
        "progressive.jpg": encoded(colour, "JPEG", progressive=True),
        "rgb.tif": encoded(colour, "TIFF"),
        "deep.tif": encoded(deep, "TIFF", compression="tiff_deflate"),
        "float.tif": encoded(Image.fromarray(np.float32(deep)), "TIFF"),
        "rgb.bmp": encoded(colour, "BMP"),
        "rgb.webp": encoded(colour, "WEBP"),
        "lossless.webp": encoded(colour, "WEBP", lossless=True),
        "two.gif": encoded(colour, "GIF", save_all=True, append_images=[colour.rotate(180)]),
    }
    return found


PICTURES = _pictures()
MUTATED = st.tuples(BYTES, HEADERS | st.none())


def damaged(content: bytes, changes: tuple[Changes, list[tuple[int, int]] | None]) -> bytes:
    content = mutated(content, changes[0])
    return content if changes[1] is None else with_header(content, changes[1])


@trials
@given(st.sampled_from(list(PICTURES)), MUTATED)
def test_pictures(
    tmp_path_factory: pytest.TempPathFactory, name: str, changes: tuple[Changes, list[tuple[int, int]] | None]
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(damaged(PICTURES[name], changes))

    def read() -> None:
        pixels = read_image(path)
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and min(pixels.shape) > 0

    sentence(read, "pictures")
    sentence(lambda: read_stored(path))


@fewer
@given(st.lists(st.tuples(st.sampled_from(list(PICTURES)), MUTATED), min_size=1, max_size=6), st.integers(1, 3))
def test_folders_of_pictures(
    tmp_path_factory: pytest.TempPathFactory,
    found: list[tuple[str, tuple[Changes, list[tuple[int, int]] | None]]],
    batch: int,
) -> None:
    """Each picture is in the label set or in the list of failures, and the sound one is in the label set."""
    folder = tmp_path_factory.mktemp("folder")
    (folder / "images").mkdir()
    (folder / "images" / "sound.png").write_bytes(PICTURES["rgb.png"])
    for number, (name, changes) in enumerate(found):
        (folder / "images" / f"{number}{name}").write_bytes(damaged(PICTURES[name], changes))
    cfg = load_cfg(None, ["FEATURES.DEVICE", "cpu", "FEATURES.IMAGE_SIZE", "64", "FEATURES.BATCH_SIZE", str(batch)])
    generate_label_set(cfg, folder / "images", folder / "out", num_workers=0, build=fake_pipeline)
    failed = [json.loads(line) for line in (folder / "out" / "failures.jsonl").read_text().splitlines()]
    used = [image["file_name"] for image in read_label_set(folder / "out").images]
    names = sorted([*used, *(line["file_name"] for line in failed)])
    assert names == sorted(path.name for path in (folder / "images").iterdir()) and "sound.png" in used
    assert all(line["reason"].strip() and "\n" not in line["reason"] for line in failed)
    TRIED["mutated: pictures in folders of images"] += len(found)


def _depth(folder: Path, what: str) -> None:
    """Put something into a folder of depth where the file of an image is looked for."""
    path, depth = folder / "0.png", encoded(Image.new("I;16", (WIDTH, HEIGHT), 900), "PNG")
    if what == "two files":
        path.write_bytes(depth)
        np.save(folder / "0.npy", np.ones((HEIGHT, WIDTH)))
    elif what == "another size":
        np.save(folder / "0.npy", np.ones((1, 1, HEIGHT)))
    elif what in ("loop", "broken link"):
        path.symlink_to(path if what == "loop" else folder / "nothing")
    elif what == "folder":
        path.mkdir()
    elif what == "FIFO":
        os.mkfifo(path)
    elif what == "no numbers":
        np.save(folder / "0.npy", np.array(["far"]))
    elif what == "not finite":
        np.save(folder / "0.npy", np.full((HEIGHT, WIDTH), np.nan))
    elif what == "another case":
        (folder / "0.PNG").write_bytes(depth)


DEPTHS = [
    "two files",
    "another size",
    "loop",
    "broken link",
    "folder",
    "FIFO",
    "no numbers",
    "not finite",
    "another case",
]


@pytest.mark.parametrize("what", [*DEPTHS, "nothing"])
def test_depth_folders(what: str, tmp_path: Path) -> None:
    _depth(tmp_path, what)
    source = FilesDepth("relative", FilesDepthSettings(root=str(tmp_path)))
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    sentence(lambda: source([image], [ImageFile(tmp_path.parent / "0.jpg", "0.jpg")]), "depth folders")


def film(folder: Path, code: str, suffix: str) -> bytes:
    path = folder / f"film{suffix}"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 5.0, (WIDTH, HEIGHT))
    for number in range(3):
        writer.write(np.full((HEIGHT, WIDTH, 3), 60 * number, np.uint8))
    writer.release()
    return path.read_bytes() if path.is_file() else b""


@trials
@given(st.sampled_from([("mp4v", ".mp4"), ("MJPG", ".avi")]), MUTATED)
def test_videos(
    tmp_path_factory: pytest.TempPathFactory,
    form: tuple[str, str],
    changes: tuple[Changes, list[tuple[int, int]] | None],
) -> None:
    folder = tmp_path_factory.mktemp("film")
    content = film(folder, *form)
    if not content:
        pytest.skip(f"OpenCV has no encoder for {form[0]} here")
    video = folder / f"damaged{form[1]}"
    video.write_bytes(damaged(content, changes))

    def frames() -> None:
        try:
            film = Film(video)
        except ImageProblem as problem:
            raise UnsegError(str(problem)) from None
        with film:
            times = [frame.time for frame in film if frame.pixels.shape == (*film.size, 3)]
        assert 0 < film.rate < 1000 and times and times == sorted(set(times))

    sentence(frames, "videos")
