"""A film of shapes whose paths are known; a stand-in detector finds them by their colours, in changing order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unseg_d2.apps.demo import run_demo
from unseg_d2.apps.demo_results import DemoOptions
from unseg_d2.config import load_cfg
from unseg_d2.data.media import Media
from unseg_d2.data.video import Film
from unseg_d2.detectors.prediction import Prediction
from unseg_d2.rle import encode_mask
from unseg_d2.viz.palette import instance_colour

av = pytest.importorskip("av", reason="PyAV is not installed")

HEIGHT, WIDTH, FRAMES = 121, 201, 40
SHAPES = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (40, 60, 220)}


def place(name: str, number: int) -> tuple[int, int]:
    """Centre of a shape, x and y: red and green pass each other, blue comes late and stands still."""
    return {"red": (20 + 4 * number, 35), "green": (180 - 4 * number, 75), "blue": (100, 100)}[name]


def pixels(number: int) -> np.ndarray:
    canvas = np.full((HEIGHT, WIDTH, 3), 235, np.uint8)
    for name, colour in SHAPES.items():
        x, y = place(name, number)
        if name != "blue" or number >= 10:
            canvas[y - 14 : y + 15, x - 14 : x + 15] = colour
    return canvas


def write_film(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=20, options={"qscale": "2"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH - 1, HEIGHT - 1, "yuv420p", 4_000_000
        for number in range(FRAMES):
            even = np.ascontiguousarray(pixels(number)[:-1, :-1])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        container.mux(stream.encode(None))
    return path


class ByColour:
    """Finds the shapes; their order and scores change from frame to frame."""

    weights = "stand-in"

    def __init__(self) -> None:
        self.cfg, self.predictor, self.names = load_cfg(None), self, list[list[str]]()

    def on_images(self, images: Iterable[np.ndarray]) -> Iterator[Prediction]:
        rng = np.random.default_rng(0)
        for image in images:
            found = []
            for name, colour in SHAPES.items():
                mask = np.abs(image.astype(int) - colour).max(axis=2) < 60
                if mask.sum() > 200:
                    found.append((rng.uniform(0.5, 1), name, mask))
            found.sort(reverse=True, key=lambda item: item[0])
            self.names.append([name for _, name, _ in found])
            boxes = [
                [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                for rows, columns in (np.nonzero(mask) for _, _, mask in found)
            ]
            scores = np.array([score for score, _, _ in found], np.float32)
            rles = [encode_mask(mask) for _, _, mask in found]
            yield Prediction({"image_id": 0}, image.shape[:2], np.array(boxes, np.float32), scores, rles)


def run(tmp_path: Path, **options: Any) -> tuple[Any, ByColour, list[np.ndarray]]:
    detector: Any = ByColour()
    film = write_film(tmp_path / "film.mp4")
    demo = run_demo(detector, Media(videos=[film]), output=tmp_path / "out", options=DemoOptions(**options))
    with Film(tmp_path / "out" / "videos" / "film.mp4") as drawn:
        assert drawn.rate == 20 and drawn.size == (HEIGHT - 1, WIDTH - 1)
        return demo, detector, [frame.pixels for frame in drawn]


def test_identities_and_colours_stay_with_the_shapes(tmp_path: Path) -> None:
    pytest.importorskip("trackers", reason="trackers is not installed")
    demo, detector, drawn = run(tmp_path, track=True, score_threshold=0.4)
    tracks: dict[str, set[int]] = {name: set() for name in SHAPES}
    for names, found in zip(detector.names, demo.annotations):
        for name, annotation in zip(names, found):
            tracks[name].add(annotation["track_id"])
    assert sorted(map(len, tracks.values())) == [1, 1, 1] and tracks["blue"] == {3}
    for number, picture in enumerate(drawn):
        for name, (track,) in tracks.items():
            if name != "blue" or number >= 10:
                x, y = place(name, number)
                blend = 0.55 * np.array(SHAPES[name]) + 0.45 * np.array(instance_colour(track))
                assert np.abs(picture[y + 8, x + 8] - blend).max() < 30, (number, name)
    assert demo.videos == [
        {"id": 1, "file_name": "film.mp4", "height": 120, "width": 200, "length": 40, "fps": 20.0, "frame_step": 1}
    ]
    assert [image["frame_id"] for image in demo.images] == list(range(FRAMES))


def test_without_tracking_there_are_no_identities(tmp_path: Path) -> None:
    demo, _, drawn = run(tmp_path)
    assert len(drawn) == FRAMES and not any("track_id" in item for found in demo.annotations for item in found)


def test_only_a_few_frames_are_held(tmp_path: Path) -> None:
    """The detector is asked for its next frame only when the one before was written."""
    film = write_film(tmp_path / "film.mp4")
    seen: list[int] = []

    class Slow(ByColour):
        def on_images(self, images: Iterable[np.ndarray]) -> Iterator[Prediction]:
            for number, prediction in enumerate(super().on_images(images)):
                seen.append(number)
                yield prediction
                assert len(demo_images()) == number + 1

    detector: Any = Slow()
    held: list[Any] = []

    def demo_images() -> list[Any]:
        return held[0].images

    from unseg_d2.apps.demo_results import Demo
    from unseg_d2.apps.films import FilmPlace, Films

    held.append(Demo.of(Media(videos=[film])))
    Films(detector, DemoOptions(formats=("coco",)), 1, held[0])(
        FilmPlace.below(tmp_path / "out", tmp_path / "out" / "frames", film, "film.mp4")
    )
    assert len(seen) == FRAMES and not (tmp_path / "out").exists()
    assert held[0].videos[0]["fps"] == pytest.approx(float(Fraction(20)))
