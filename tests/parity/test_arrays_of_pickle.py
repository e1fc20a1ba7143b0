"""Arrays come out of a pickle as NumPy put them in; code in it is never run, and what is not an array is an error."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.parity.arrays_of_pickle import read_arrays


def stored(folder: Path, content: Any, protocol: int = 4) -> Path:
    path = folder / "arrays.pkl"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_numbers_are_read_as_they_were_written(tmp_path: Path, protocol: int) -> None:
    content = {
        "000005.jpg": np.array([16, 32, 160, 224]),
        "float": np.array([1.5, 2.5], np.float32),
        "big": np.array([1, 2], ">i4"),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "scalars": [np.int64(3), np.float32(0.5), 4],
        "numbers": (1, 2.5),
        "same": np.array([16, 32, 160, 224]),
    }
    content["again"] = content["same"]
    found = read_arrays(stored(tmp_path, content, protocol))
    assert found.keys() == content.keys()
    for name, value in content.items():
        assert np.array_equal(found[name], np.array(value)) and found[name].dtype.kind == np.array(value).dtype.kind


class Evil:
    """Unpickling it runs a command."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_code_in_a_file_is_named_and_not_run(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "run"
    path = stored(tmp_path, {"a.jpg": Evil(os.mkdir, str(mark))}, protocol)
    with pytest.raises(UnsegError, match=r"it names (posix|nt)\.mkdir.*without running anything"):
        read_arrays(path)
    assert not mark.exists()
    pickle.loads(path.read_bytes())
    assert mark.exists(), "the file would have run it"


@pytest.mark.parametrize(
    ("function", "arguments"),
    [(eval, ("1",)), (getattr, (1, "real")), (np.load, ("a.npy",)), (np.array, ([1],)), (Path, ("a",))],
)
def test_no_other_function_is_known_not_even_numpys(tmp_path: Path, function: Any, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(UnsegError, match="it names "):
        read_arrays(stored(tmp_path, {"a.jpg": Evil(function, *arguments)}))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "a list instead of a dictionary"),
        ({1: np.zeros(4)}, "a int as the name of an image"),
        ({"a": "text"}, "a str instead of numbers"),
        ({"a": [True]}, "a list instead of numbers"),
        ({"a": np.array([{}], dtype=object)}, "an array that does not hold numbers|type 'O8'"),
        ({"a": np.array(["x"])}, "an array of type 'U1'"),
        ({"a": np.array([True])}, "an array of type 'b1'"),
        ({"a": np.dtype("i8")}, "a _Type instead of numbers"),
        (b"\x80\x04}", "not a pickled dictionary"),
        (b"", "not a pickled dictionary"),
        (b"[1, 2]", "it is no pickle"),
        (b"\x80\x04Pan id\n.", "objects outside the file|not a pickled"),
        (b"\x80\x05\x96" + struct.pack("<Q", 1 << 62) + b".", "not a pickled dictionary"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(UnsegError, match=message):
        read_arrays(stored(tmp_path, value))


def test_a_shape_that_does_not_fit_its_bytes_allocates_nothing(tmp_path: Path) -> None:
    honest = pickle.dumps({"a": np.zeros(4)}, 4)
    wanted = b"K\x01K\x04\x85"  # the tuple (4,) after the version 1
    assert honest.count(wanted) == 1
    huge = honest.replace(wanted, b"K\x01\x8a\x07" + (1 << 50).to_bytes(7, "little") + b"\x85")
    start = huge.index(b"\x95")  # the frame's length has changed
    huge = huge[: start + 1] + struct.pack("<Q", len(huge) - start - 9) + huge[start + 9 :]
    with pytest.raises(UnsegError, match=r"an array of shape \(1125899906842624,\) with 32 bytes"):
        read_arrays(stored(tmp_path, huge))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UnsegError, match="cannot be read: No such file"):
        read_arrays(tmp_path / "nothing.pkl")
