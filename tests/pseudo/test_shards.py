from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.shard_writer import ShardWriter
from unseg_d2.pseudo.shards import ShardFolder

MANIFEST = {"num_images": 7, "shard_size": 3, "settings": {"MASKS": {"TAU": 0.15, "N": 3}}}


def line(index: int) -> dict[str, object]:
    return {"id": index, "file_name": f"{index}.png", "height": 4, "width": 5, "annotations": []}


@pytest.fixture()
def shards(tmp_path: Path) -> ShardFolder:
    folder = ShardFolder(tmp_path / "labels")
    folder.open(MANIFEST)
    return folder


def write(shards: ShardFolder, shard: int, *, upto: int | None = None) -> None:
    with ShardWriter(shards, shard) as writer:
        writer.resume(1)
        for index in shards.positions(shard)[writer.done : upto]:
            writer.append([line(index)])
        if upto is None:
            writer.finish()


def test_shards_cover_the_images_in_order(shards: ShardFolder) -> None:
    assert [list(shards.positions(shard)) for shard in range(shards.num_shards)] == [[0, 1, 2], [3, 4, 5], [6]]
    for shard in (2, 0, 1):
        write(shards, shard)
    assert [item["id"] for item in shards.lines()] == list(range(7)) and not shards.unfinished()


def test_begun_shards_are_resumed(shards: ShardFolder) -> None:
    write(shards, 0, upto=2)
    assert shards.unfinished() == [0, 1, 2] and list(shards.lines()) == []
    (part,) = shards.parts(0)
    with part.open("ab") as file:
        file.write(b'{"id":2,"file_na')  # the process was killed here
    with ShardWriter(shards, 0) as writer:
        writer.resume(1)
        assert writer.done == 2
    write(shards, 0)
    assert [item["id"] for item in shards.lines()] == [0, 1, 2] and not shards.parts(0)


def test_the_part_of_an_earlier_version_is_resumed(shards: ShardFolder) -> None:
    (shards.folder / "shards").mkdir()
    part = shards.path(0).with_name("000000.jsonl.part")
    part.write_text(json.dumps(line(0)) + "\n" + json.dumps(line(1)) + "\n")
    with ShardWriter(shards, 0) as writer:
        writer.resume(1)
        assert writer.done == 2
        writer.append([line(2)])
        writer.finish()
    assert [item["id"] for item in shards.lines()] == [0, 1, 2] and not part.exists()


@pytest.mark.parametrize(("batch", "kept"), [(1, 2), (2, 2), (3, 0)])
def test_batches_that_were_cut_short_are_made_again(shards: ShardFolder, batch: int, kept: int) -> None:
    write(shards, 0, upto=2)
    with ShardWriter(shards, 0) as writer:
        writer.resume(batch)
        assert writer.done == kept


def test_the_same_settings_resume_and_others_do_not(shards: ShardFolder) -> None:
    ShardFolder(shards.folder).open(MANIFEST)
    other = json.loads(json.dumps(MANIFEST))
    other["settings"]["MASKS"]["TAU"] = 0.2
    with pytest.raises(UnsegError, match=r"other settings: settings.MASKS.TAU was 0.15, now 0.2\. Choose another"):
        ShardFolder(shards.folder).open(other)


def test_folders_of_other_origin(tmp_path: Path) -> None:
    with pytest.raises(UnsegError, match="holds no label set"):
        ShardFolder(tmp_path).load()
    (tmp_path / "labels.json").write_text("{}")
    with pytest.raises(UnsegError, match="not made here"):
        ShardFolder(tmp_path).open(MANIFEST)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UnsegError, match="is damaged"):
        ShardFolder(tmp_path).open(MANIFEST)


def test_two_attempts_at_a_shard_do_not_meet(shards: ShardFolder) -> None:
    """The process of one was taken for dead: it goes on, and both write the same."""
    with ShardWriter(shards, 0) as slow:
        slow.append([line(0)])
        write(shards, 0)
        before = shards.path(0).read_bytes()
        slow.append([line(1), line(2)])
        slow.finish()
    assert shards.path(0).read_bytes() == before and not shards.parts(0)


def test_an_attempt_without_lines_leaves_nothing(shards: ShardFolder) -> None:
    with pytest.raises(KeyError), ShardWriter(shards, 0) as writer:
        writer.resume(1)
        raise KeyError
    assert not shards.parts(0)


def test_a_shard_finished_by_another_process_is_left_alone(shards: ShardFolder) -> None:
    write(shards, 0)
    before = shards.path(0).read_bytes()
    with ShardWriter(shards, 0) as writer:
        writer.resume(1)
        assert writer.done == writer.length == 3
        writer.finish()
    assert shards.path(0).read_bytes() == before


def test_full_disk_is_one_sentence_and_loses_nothing(shards: ShardFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write(shards, 0, upto=2)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(UnsegError, match="The disk is full"):
            write(shards, 0)
    assert not shards.is_finished(0)
    write(shards, 0)
    assert [item["id"] for item in shards.lines()] == [0, 1, 2]


def test_a_link_in_place_of_an_unfinished_shard_is_not_followed(tmp_path: Path) -> None:
    shards = ShardFolder(tmp_path / "out")
    shards.open({"num_images": 2, "shard_size": 2})
    (tmp_path / "out" / "shards").mkdir()
    (tmp_path / "diary").write_text("dear diary")
    shards.path(0).with_name("000000.jsonl.part").symlink_to(tmp_path / "diary")
    refused = pytest.raises(UnsegError, match="is a symbolic link, which is not followed")
    with refused, ShardWriter(shards, 0) as writer:
        writer.resume(1)
    assert (tmp_path / "diary").read_text() == "dear diary"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: b"", "it has 0 lines for 3 images"),
        (lambda text: text[: len(text) // 2], "line 2 is not JSON"),
        (lambda text: text.splitlines(keepends=True)[0], "it has 1 lines for 3 images"),
        (lambda text: text * 2, "image 0 occurs twice"),
        (lambda text: text.replace(b'"id":1', b'"id":2'), "image 2 occurs twice"),
        (lambda text: text.replace(b'"id":1,', b""), 'line 2 lacks the key "id"'),
        (lambda text: text.replace(b'"annotations":[]', b'"annotations":[5]', 1), "line 1 "),
        (lambda text: text.replace(b'"height":4', b'"height":"tall"', 1), 'the "height" of line 1 is "tall"'),
        (lambda text: text.replace(b'"height":4,', b"", 1), "line 1 has neither a failure nor a height"),
        (lambda text: b"[" * 50_000 + b"\n", "line 1 is not JSON"),
        (lambda text: b"7\n", "line 1"),
    ],
)
def test_a_finished_shard_that_was_damaged_is_named(shards: ShardFolder, change: Any, message: str) -> None:
    for shard in range(shards.num_shards):
        write(shards, shard)
    shards.path(0).write_bytes(change(shards.path(0).read_bytes()))
    with pytest.raises(
        UnsegError, match=rf"000000\.jsonl is damaged: .*{message}.*Delete this file and run the command"
    ):
        list(shards.lines())


def test_a_copied_shard_is_found(shards: ShardFolder) -> None:
    for shard in range(shards.num_shards):
        write(shards, shard)
    shards.path(1).write_bytes(shards.path(0).read_bytes())
    with pytest.raises(UnsegError, match=r"000001\.jsonl is damaged: image 0 is in 000000\.jsonl too"):
        list(shards.lines())
