"""The demo from end to end, with a tiny detector of random weights on disk."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from unseg_d2.apps.salient_objects import objects
from unseg_d2.cli.demo import main
from unseg_d2.config import load_cfg
from unseg_d2.data.coco import find_image_root, read_coco
from unseg_d2.data.label_studio import to_task
from unseg_d2.data.sample import Sample, batches_of_one_size
from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.checkpoints import save_checkpoint
from unseg_d2.errors import UnsegError
from unseg_d2.zoo.registry import find


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, size in {"1.png": (64, 96), "2.jpg": (64, 96), "deep/3.png": (96, 64)}.items():
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    (folder / "notes.txt").write_text("hello")
    return folder


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_every_format(tiny, photos, tmp_path, capsys):
    output = tmp_path / "out"
    arguments = ["--input", str(photos), "--output", str(output), "--format", "overlays,coco,labelstudio"]
    main([*arguments, *tiny, "--score-threshold", "0.01"])
    overlays = {f"overlays/{name}" for name in ("1.png.jpg", "2.jpg", "deep/3.png.jpg")}
    others = {"predictions.json", "label_studio.json", "label_studio.xml", "failures.jsonl"}
    assert files(output) == overlays | others
    labels = read_coco(output / "predictions.json")
    assert [image["file_name"] for image in labels.images] == ["1.png", "2.jpg", "deep/3.png"]
    assert find_image_root(labels, output / "predictions.json").resolve() == photos
    assert len(labels.annotations) > 3 and all(0.01 < a["score"] <= 1 and a["area"] >= 0 for a in labels.annotations)
    assert f"{len(labels.annotations)} instances on 3 images" in capsys.readouterr().out
    tasks = json.loads((output / "label_studio.json").read_text())
    assert sum(len(task["predictions"][0]["result"]) for task in tasks) == len(labels.annotations)
    assert tasks[2]["data"]["image"] == "/data/local-files/?d=deep/3.png"
    failures = [json.loads(line) for line in (output / "failures.jsonl").read_text().splitlines()]
    assert {Path(failure["file_name"]).name for failure in failures} == {"broken.jpg"}
    assert Image.open(output / "overlays" / "deep" / "3.png.jpg").size == (64, 96)


def test_threshold_and_later_commands(tiny, photos, tmp_path, capsys):
    """A high threshold leaves nothing; other commands can read the label set."""
    from unseg_d2.cli.visualize import main as visualize

    arguments = ["--input", str(photos / "1.png"), "--format", "coco", *tiny]
    main([*arguments, "--output", str(tmp_path / "none"), "--score-threshold", "1"])
    assert read_coco(tmp_path / "none" / "predictions.json").annotations == []
    main([*arguments, "--output", str(tmp_path / "some"), "--score-threshold", "0.01"])
    visualize(["--labels", str(tmp_path / "some" / "predictions.json"), "--output", str(tmp_path / "page.html")])
    assert (tmp_path / "page.html").is_file()
    assert not (tmp_path / "some" / "failures.jsonl").exists()


def run(tiny: list[str], photos: Path, output: Path, *more: str) -> list[dict]:
    main(
        ["--input", str(photos), "--output", str(output), "--format", "coco", "--score-threshold", "0.01", *tiny, *more]
    )
    return json.loads((output / "predictions.json").read_text())["annotations"]


def test_batches_give_what_single_images_give(tiny, photos, tmp_path):
    single, batched = (run(["--batch-size", size, *tiny], photos, tmp_path / size) for size in ("1", "2"))
    assert len(single) == len(batched)
    for one, other in zip(single, batched):
        assert one["image_id"] == other["image_id"]
        np.testing.assert_allclose(one["bbox"], other["bbox"], atol=1e-2)
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)


def test_batches_of_one_size():
    samples = [
        Sample(torch.zeros(3, *size), torch.zeros(0, 4), torch.zeros(0, *size), torch.zeros(0), None, "", i, *size)
        for i, size in enumerate([(4, 6), (4, 6), (4, 6), (6, 4), (4, 6)])
    ]
    batches = [[sample.image_id for sample in batch] for batch in batches_of_one_size(samples, 2)]
    assert batches == [[0, 1], [2], [3], [4]]
    with pytest.raises(UnsegError, match="IMS_PER_BATCH is 0"):
        next(batches_of_one_size(samples, 0))


@pytest.mark.detectron2
def test_both_engines_find_the_same(tiny, photos, tmp_path):
    pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
    builtin = run([*tiny, "ENGINE", "builtin"], photos, tmp_path / "builtin")
    other = run(["--batch-size", "2", *tiny, "ENGINE", "detectron2"], photos, tmp_path / "detectron2")
    assert len(builtin) == len(other) > 0
    for one, two in zip(builtin, other):
        np.testing.assert_allclose(one["bbox"], two["bbox"], atol=0.05)
        assert one["score"] == pytest.approx(two["score"], abs=1e-3)


def test_boxes_only(tiny, photos, tmp_path):
    arguments = [
        "--input",
        str(photos / "1.png"),
        "--output",
        str(tmp_path / "out"),
        "--format",
        "overlays,labelstudio",
    ]
    model = build_model(load_cfg(tmp_path / "tiny.yaml", ["MODEL.MASK_ON", "False"]))
    save_checkpoint(tmp_path / "run" / "model_final.pth", model)
    main([*arguments, "--score-threshold", "0.01", *tiny, "MODEL.MASK_ON", "False"])
    (task,) = json.loads((tmp_path / "out" / "label_studio.json").read_text())
    assert {result["type"] for result in task["predictions"][0]["result"]} == {"rectanglelabels"}


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Four frames of noise."""
    pytest.importorskip("av", reason="PyAV is not installed")
    writer = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (96, 64))
    if not writer.isOpened():
        pytest.skip("OpenCV has no video encoder here")
    for seed in range(4):
        writer.write(np.random.default_rng(seed).integers(0, 255, (64, 96, 3), dtype=np.uint8))
    writer.release()
    return tmp_path / "film.avi"


def test_video(tiny, film, tmp_path):
    """Frames go through the detector and into a video; none is left on the disk."""
    output = tmp_path / "out"
    arguments = ["--input", str(film), "--output", str(output), "--format", "overlays,coco"]
    main([*arguments, "--score-threshold", "0.01", "--frame-step", "2", "--batch-size", "4", *tiny])
    assert files(output) == {"videos/film.avi.mp4", "predictions.json"}
    labels = json.loads((output / "predictions.json").read_text())
    assert labels["videos"] == [
        {"id": 1, "file_name": "film.avi", "height": 64, "width": 96, "length": 2, "fps": 10.0, "frame_step": 2}
    ]
    keys = ("file_name", "video_id", "frame_id", "time")
    found = [tuple(image[key] for key in keys) for image in labels["images"]]
    assert found == [("000001.jpg", 1, 0, 0.0), ("000003.jpg", 1, 2, 0.2)]
    assert labels["annotations"] and all(annotation["video_id"] == 1 for annotation in labels["annotations"])
    assert {image["file_name"] for image in read_coco(output / "predictions.json").images} == {x[0] for x in found}
    capture = cv2.VideoCapture(str(output / "videos" / "film.avi.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 2 and capture.get(cv2.CAP_PROP_FPS) == pytest.approx(5.0)
    assert capture.read()[1].shape == (64, 96, 3)


def test_kept_frames_are_pictures_for_other_commands(tiny, film, tmp_path):
    from unseg_d2.cli.visualize import main as visualize

    output = tmp_path / "out"
    arguments = ["--input", str(film), "--output", str(output), "--format", "coco,labelstudio", "--keep-frames"]
    main([*arguments, "--score-threshold", "0.01", *tiny])
    frames = {f"frames/film.avi/{number:06d}.jpg" for number in (1, 2, 3, 4)}
    assert files(output) == frames | {"predictions.json", "label_studio.json", "label_studio.xml"}
    for seed, name in enumerate(sorted(frames)):
        noise = np.random.default_rng(seed).integers(0, 255, (64, 96, 3), dtype=np.uint8)[..., ::-1]
        stored = np.asarray(Image.open(output / name)).astype(int)
        assert np.corrcoef(stored.ravel(), noise.ravel())[0, 1] > 0.5  # noise through two lossy formats
    visualize(["--labels", str(output / "predictions.json"), "--output", str(tmp_path / "page.html")])


def test_tracked_video(tiny, film, tmp_path, capsys):
    pytest.importorskip("trackers", reason="trackers is not installed")
    output = tmp_path / "out"
    main(["--input", str(film), "--output", str(output), "--format", "overlays,coco", "--track", *tiny])
    labels = json.loads((output / "predictions.json").read_text())
    assert labels["info"]["score_threshold"] == 0.35
    assert labels["info"]["tracking"] == {"method": "ByteTrack", "lowest_score": 0.1}
    for number in (1, 2, 3, 4):
        found = [item["track_id"] for item in labels["annotations"] if item["image_id"] == number]
        assert len(set(found)) == len(found) and all(track > 0 for track in found)
    assert "above score 0.35, or weaker where they continue an object" in capsys.readouterr().out


def test_a_broken_video_among_photos_is_a_failure(tiny, photos, tmp_path, capsys):
    pytest.importorskip("av", reason="PyAV is not installed")
    (photos / "film.mp4").write_bytes(b"no film")
    main(["--input", str(photos), "--output", str(tmp_path / "out"), *tiny])
    lines = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    assert {line["file_name"] for line in lines} == {"broken.jpg", "film.mp4"}
    assert "2 inputs cannot be used" in capsys.readouterr().out


def test_an_interrupted_video_is_begun_anew(tiny, film, tmp_path, caplog):
    """What a killed run leaves of a video never has its name, is removed, and the log says so."""
    left = tmp_path / "out" / "videos" / f".film.avi.mp4.tmp-{'0' * 32}"
    left.mkdir(parents=True)
    (left / "video.mp4").write_bytes(b"a part")
    with caplog.at_level("INFO"):
        main(["--input", str(film), "--output", str(tmp_path / "out"), *tiny])
    assert "An earlier run did not finish" in caplog.text and "begun anew" in caplog.text
    assert files(tmp_path / "out") == {"videos/film.avi.mp4"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--track"], "--track is about videos, and there is none"),
        (["--keep-frames"], "--keep-frames is about videos"),
        (["--frame-step", "2"], "--frame-step is about videos"),
    ],
)
def test_options_of_videos_need_one(arguments, message, tiny, photos, tmp_path):
    with pytest.raises(UnsegError, match=message):
        main(["--input", str(photos), "--output", str(tmp_path / "out"), *arguments, *tiny])


def test_label_studio_needs_the_frames(tiny, film, tmp_path):
    with pytest.raises(UnsegError, match="add --keep-frames"):
        main(["--input", str(film), "--output", str(tmp_path / "out"), "--format", "labelstudio", *tiny])


def test_videos_need_the_library(tiny, film, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UnsegError, match="'av' is not installed"):
        main(["--input", str(film), "--output", str(tmp_path / "out"), *tiny])
    assert not (tmp_path / "out").exists()


def test_photos_and_videos_together_with_relative_names(tiny, photos, film, tmp_path, monkeypatch):
    """The first command of the README; two videos have one name, and names of videos may be no text or very long."""
    monkeypatch.chdir(tmp_path)
    others = ["other/film.avi", os.fsdecode(b"other/caf\xe9.avi"), f"other/{'n' * 251}.avi"]
    os.mkdir("other")
    for name in others:
        os.link(film, name)
    main(["--input", "photos/", "film.avi", *others, "--output", "out/", "--format", "overlays,coco", *tiny])
    pictures = {f"overlays/photos/{name}" for name in ("1.png.jpg", "2.jpg", "deep/3.png.jpg")}
    assert {name for name in files(Path("out")) if name.startswith("overlays")} == pictures
    written = list(Path("out/videos").iterdir())
    assert len(written) == 4 and Path("out/videos/film_2.avi.mp4") in written
    for path in written:
        os.link(path, "copy.mp4")
        assert cv2.VideoCapture("copy.mp4").get(cv2.CAP_PROP_FRAME_COUNT) == 4
        os.unlink("copy.mp4")
    labels = json.loads(Path("out/predictions.json").read_text())
    assert [image["id"] for image in labels["images"]] == list(range(1, 20))
    assert labels["images"][3]["file_name"] == "out/frames/film.avi/000001.jpg"
    assert [image.get("video_id") for image in labels["images"]] == [None] * 3 + [
        k for k in (1, 2, 3, 4) for _ in "four"
    ]


def test_an_output_folder_that_is_no_text(tiny, film, tmp_path):
    output = tmp_path / os.fsdecode(b"caf\xe9")
    main(["--input", str(film), "--output", str(output), "--frame-step", "4", *tiny])
    assert files(output) == {"videos/film.avi.mp4"}


@pytest.mark.parametrize("name", ["overlays", "videos"])
def test_inputs_are_never_replaced(tiny, tmp_path, name):
    photo = tmp_path / name / "a.jpg"
    photo.parent.mkdir()
    Image.new("RGB", (64, 64), "red").save(photo)
    before = photo.read_bytes()
    with pytest.raises(UnsegError, match=f"results go to .*{name}, but the input .*a.jpg lies there"):
        main(["--input", str(photo), "--output", str(tmp_path), *tiny])
    assert photo.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Random weights find nothing: name a trained detector with --weights"),
        (["--weights", "nowhere.pth"], "There is no checkpoint nowhere.pth"),
        (["--weights", "zoo:cutler"], "The model zoo has no 'cutler'"),
        (["--weights", "zoo:dino_resnet50"], "zoo:dino_resnet50 is not a detector"),
        (["--weights", "zoo:cuts3d"], "cuts3d is published without an address of the file: fetch it with a browser"),
        (["--format", "overlay"], "--format overlay is unknown.*Did you mean 'overlays'"),
        (["--score-threshold", "35"], "--score-threshold is 35"),
        (["--batch-size", "0"], "--batch-size is 0"),
        (["--image-prefix", "s3://a/"], "--image-prefix has no effect without --format labelstudio"),
    ],
)
def test_refusals(arguments, message, photos, tmp_path):
    with pytest.raises(UnsegError, match=message) as error:
        main(["--input", str(photos), "--output", str(tmp_path / "out"), *arguments])
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_a_saliency_head(photos, tmp_path, monkeypatch, capsys):
    """Objects are the parts of its mask; the head is positive where the one descriptor it looks at is."""
    monkeypatch.setenv("UNSEG_D2_ZOO", str(tmp_path))
    monkeypatch.setattr("unseg_d2.zoo.store._checksum_of", lambda path, *_: find(path.stem).sha256)  # a stand-in
    weight = torch.zeros(1, 64, 1, 1)
    weight[0, 0] = 40.0
    torch.save({"decoder": {"weight": weight, "bias": torch.zeros(1)}}, tmp_path / "found.pt")
    arguments = ["--input", str(photos), "--output", str(tmp_path / "out"), "--weights", "zoo:found"]
    arguments += ["--format", "overlays,coco", "FEATURES.NAME", "descriptors"]
    main([*arguments, "--score-threshold", "0.6"])
    found = read_coco(tmp_path / "out" / "predictions.json")
    assert len(found.images) == 3 and f"{len(found.annotations)} instances on 3 images" in capsys.readouterr().out
    assert found.annotations and all(annotation["score"] >= 0.6 for annotation in found.annotations)
    assert len(files(tmp_path / "out" / "overlays")) == 3
    with pytest.raises(UnsegError, match="--batch-size has no effect on a saliency head"):
        main([*arguments, "--batch-size", "2"])


def test_parts_of_a_mask_by_hand():
    mask = np.zeros((4, 6), np.float32)
    mask[0, 0], mask[1:3, 2:5], mask[3, 5] = 0.9, 0.7, 0.2
    mask[1, 2] = 1.0  # the mean of the six is .75
    found = objects(mask, {"image_id": 3})
    assert found.scores == pytest.approx([0.9, 0.75]) and found.record["image_id"] == 3
    assert found.boxes.tolist() == [[0, 0, 1, 1], [2, 1, 5, 3]] and found.masks.sum((1, 2)).tolist() == [1, 6]
    assert len(objects(np.zeros((4, 6), np.float32), {})) == 0


def test_parts_within_and_beside_each_other():
    """The box of a ring holds another part, which is none of the ring's pixels."""
    mask = np.zeros((40, 60), np.float32)
    mask[5:25, 10:30] = 0.8
    mask[8:22, 13:27] = 0
    mask[12:18, 16:24] = 0.6
    mask[0:40, 58:60] = 0.7
    found = objects(mask, {})
    parts = [mask == np.float32(value) for value in (0.8, 0.7, 0.6)]
    assert np.array_equal(found.masks, parts)


def test_weights_of_a_backbone_are_refused(tiny, photos, tmp_path):
    content = torch.load(tmp_path / "run" / "model_final.pth")
    content["model"] = {name: tensor for name, tensor in content["model"].items() if "bottom_up" in name}
    torch.save(content, tmp_path / "run" / "model_final.pth")
    with pytest.raises(UnsegError, match="is a ResNet-18 alone, without a detector"):
        main(["--input", str(photos), "--output", str(tmp_path / "out"), *tiny])


def test_nothing_usable(tiny, photos, tmp_path):
    with pytest.raises(UnsegError, match=r"None of the inputs can be used; the first is .*broken.jpg"):
        main(["--input", str(photos / "broken.jpg"), "--output", str(tmp_path / "out"), *tiny])
    assert "broken.jpg" in (tmp_path / "out" / "failures.jsonl").read_text()


def test_names_that_are_no_text_or_very_long(tiny, tmp_path, capsys):
    folder = tmp_path / "names"
    folder.mkdir()
    names = [os.fsdecode(b"caf\xe9.png"), "n" * 251 + ".png", "n" * 240 + ".png"]
    for name in names:
        Image.new("RGB", (64, 64), "red").save(folder / name, format="PNG")
    (folder / os.fsdecode(b"br\xf6ken.png")).write_bytes(b"no picture")
    output = tmp_path / "out"
    formats = ["--format", "overlays,coco,labelstudio", "--score-threshold", "0.01"]
    main(["--input", str(folder), "--output", str(output), *formats, *tiny])
    assert "3 images" in capsys.readouterr().out
    assert len(list((output / "overlays").iterdir())) == 3
    labels = json.loads((output / "predictions.json").read_text())
    assert sorted(image["file_name"] for image in labels["images"]) == sorted(names)
    (cafe,) = [task for task in json.loads((output / "label_studio.json").read_text()) if "caf" in str(task["data"])]
    assert cafe["data"]["image"].endswith("caf%E9.png")
    written = "".join(path.read_text() for path in output.glob("*.json*"))
    assert str(tmp_path) not in written, "where the project lies is not told"


def test_hostile_names_are_text_in_label_studio():
    image = {"id": 1, "file_name": '"><script>alert(1)</script>#?.png', "height": 4, "width": 4}
    address = to_task(image, [], model="m")["data"]["image"]
    assert address == "/data/local-files/?d=%22%3E%3Cscript%3Ealert%281%29%3C/script%3E%23%3F.png"
