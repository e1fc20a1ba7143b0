from __future__ import annotations

import io
import json
from contextlib import nullcontext
from pathlib import Path

import pytest
from packing import encoded, write_parquet

from unseg_d2.storage import parquet
from unseg_d2.storage.parquet import list_parquet, read_row
from unseg_d2.storage.problems import BadArchive, NoImageColumn

pyarrow = pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
tables = pytest.importorskip("pyarrow.parquet", reason="the extra 'parquet' is not installed")


def write(path: Path, columns: dict, declared: list[str] = []) -> io.BytesIO:  # noqa: B006
    features = {"info": {"features": {name: {"_type": "Image"} for name in declared}}}
    table = pyarrow.table(columns).replace_schema_metadata({"huggingface": json.dumps(features)} if declared else None)
    tables.write_table(table, path)
    return io.BytesIO(path.read_bytes())


def test_rows_are_named_in_their_order_and_read_in_any(tmp_path: Path) -> None:
    images = [encoded(k) for k in range(7)]
    path = write_parquet(tmp_path / "a.parquet", images, row_group_size=3)
    found = list_parquet(io.BytesIO(path.read_bytes()), "a.parquet")
    assert list(found) == [f"{row:06d}.png" for row in range(7)] and found.places.tolist() == list(range(7))
    for row in (6, 0, 3, 2, 5, 1, 4):
        assert read_row(nullcontext(io.BytesIO(path.read_bytes())), str(path), row, "1") == images[row]
    with pytest.raises(BadArchive, match="no row 7 any more"):
        read_row(nullcontext(io.BytesIO(path.read_bytes())), str(path), 7, "1")


def test_a_group_of_rows_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "a.parquet", [encoded(k) for k in range(6)], row_group_size=3)
    opened = []
    monkeypatch.setattr(parquet, "_opened", lambda file, where: opened.append(1) or tables.ParquetFile(file))
    for row in (0, 1, 2, 0, 4, 3, 1):
        read_row(nullcontext(io.BytesIO(path.read_bytes())), str(path), row, "1")
    assert len(opened) == 2
    read_row(nullcontext(io.BytesIO(path.read_bytes())), str(path), 1, "replaced")
    assert len(opened) == 3


def test_the_ending_without_names_is_that_of_the_first_image(tmp_path: Path) -> None:
    for kind, ending in (("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp")):
        path = write_parquet(tmp_path / f"{ending}.parquet", [None, encoded(1, kind)], names=False)
        found = list_parquet(io.BytesIO(path.read_bytes()), "a.parquet")
        assert list(found) == [f"000000.{ending}", f"000001.{ending}"]
        assert (
            read_row(nullcontext(io.BytesIO(path.read_bytes())), str(path), 0, "1") == b""
        )  # recorded as a failure of zero bytes


@pytest.mark.parametrize(
    ("columns", "declared", "expected"),
    [
        (["mask", "photo"], ["photo"], 2),  # what datasets declares counts
        (["mask", "image"], ["mask", "image"], 2),  # of several, the one called image
        (["mask", "image"], [], 2),
        (["mask"], [], 1),
    ],
)
def test_the_column_that_is_meant(tmp_path: Path, columns: list[str], declared: list[str], expected: int) -> None:
    kind = pyarrow.struct([("bytes", pyarrow.binary())])
    values = {name: pyarrow.array([{"bytes": bytes([k])}], kind) for k, name in enumerate(columns, 1)}
    content = write(tmp_path / "a.parquet", values, declared)
    assert read_row(nullcontext(content), str(tmp_path), 0, (tuple(columns), tuple(declared))) == bytes([expected])


def test_plain_bytes_of_a_known_name_are_images(tmp_path: Path) -> None:
    content = write(tmp_path / "a.parquet", {"key": ["a"], "jpg": [encoded(3, "JPEG")]})
    assert list(list_parquet(content, "a.parquet")) == ["000000.jpg"]


def test_what_has_no_images_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoImageColumn, match=r"a\.parquet has no column of images.* its columns are label, text\."):
        list_parquet(write(tmp_path / "a.parquet", {"label": [1], "text": ["b"]}), "a.parquet")
    whole = write_parquet(tmp_path / "b.parquet", [encoded(1)]).read_bytes()
    for content in (whole[:-20], b"", b"no table"):
        with pytest.raises(BadArchive, match=r"b\.parquet is no parquet file, or is cut short .*: copy it again"):
            list_parquet(io.BytesIO(content), "b.parquet")
