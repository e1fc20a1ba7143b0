"""Which images are frames of which video, in what order, and what is said where this cannot be told."""

from __future__ import annotations

from typing import Any

import pytest

from unseg_d2.data.frames import videos_of
from unseg_d2.errors import UnsegError


def images(*names: str, **more: Any) -> list[dict[str, Any]]:
    return [{"id": k, "file_name": name, "height": 4, "width": 6, **more} for k, name in enumerate(names, start=1)]


def test_a_folder_is_a_video_and_the_last_number_in_a_name_its_order() -> None:
    first, second = videos_of(images("b/10.jpg", "a/f2_9.jpg", "b/9.jpg", "a/f1_11.jpg", "b/11.jpg"))
    assert (first.name, first.positions, first.numbers, first.size) == ("b", (2, 0, 4), (0, 1, 2), (4, 6))
    assert (second.name, second.positions, second.numbers, second.num_missing) == ("a", (1, 3), (0, 1), 0)
    assert not first.is_stated


def test_stated_videos_go_before_folders_and_steps_count_as_one() -> None:
    frames = images("x/a.jpg", "y/b.jpg", "z/c.jpg")
    for frame, number in zip(frames, (15, 0, 5)):
        frame |= {"video_id": 7, "frame_id": number}
    (video,) = videos_of(frames, [{"id": 7, "file_name": "film.mp4", "fps": 25}])
    assert (video.key, video.name, video.positions, video.numbers) == (7, "film.mp4", (1, 2, 0), (0, 1, 3))
    assert video.is_stated and video.num_missing == 1 and video.about["fps"] == 25


@pytest.mark.parametrize("form", [int, float, str])
def test_a_frame_id_counts_in_whatever_form_a_tool_writes_it(form: Any) -> None:
    """Names say the opposite order."""
    frames = [frame | {"frame_id": form(10 - k)} for k, frame in enumerate(images("a/1.jpg", "a/2.jpg", "a/3.jpg"))]
    assert videos_of(frames)[0].positions == (2, 1, 0)


def test_one_frame_is_a_video() -> None:
    (video,) = videos_of(images("5.jpg"))
    assert video.numbers == (0,) and video.num_missing == 0


@pytest.mark.parametrize(
    ("frames", "videos", "message"),
    [
        ([], [], "there are no images"),
        (images("a/1.jpg", "a/b.jpg"), [], '"a/b.jpg" has no number in its name'),
        (images("a/1.jpg", "a/01.jpg"), [], '"a/1.jpg" and "a/01.jpg" are both frame 1'),
        ([*images("a/1.jpg"), *images("a/2.jpg", width=9)], [], '"a/2.jpg" has 4x9 px, but the first frame 4x6'),
        ([*images("a/1.jpg"), *images("a/2.jpg", video_id=1)], [], "1 of 2 images belong to no video"),
        (images("a/1.jpg", video_id=1), [{"id": 2, "file_name": "b"}], 'the video "b" has 0 frames'),
        ([*images("a/7.jpg", frame_id=0), *images("a/8.jpg")], [], "1 of 2 frames have a frame_id"),
        ([{"id": 1, "file_name": "a/1.jpg"}], [], 'the size of "a/1.jpg" is not known'),
    ],
)
def test_what_is_no_video_is_named(frames: list[Any], videos: list[Any], message: str) -> None:
    with pytest.raises(UnsegError, match=f"^labels: .*{message}"):
        videos_of(frames, videos, "labels")
