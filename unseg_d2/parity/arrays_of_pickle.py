"""NumPy arrays in a pickle, read without running it.

Unpickling calls whatever functions a file names. Here the only names that mean anything are those by which NumPy
pickles arrays and numbers, and even they lead to the classes below, which keep what they are given: nothing is called,
imported or allocated that the file asks for. Arrays are then built from bytes whose number fits their shape.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from unseg_d2.errors import UnsegError

TYPES = frozenset("iuf")
"""Kinds of numbers that are accepted: not truth values, texts and objects."""
MOST_BYTES = 256 << 20


class _Type:
    """A type of numbers, as NumPy pickles it: a text such as ``i8``, then byte order and more as its state."""

    def __init__(self, text: str, *_: object) -> None:
        self.text, self.order = str(text), "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = "<" if state[1] == "|" else str(state[1])

    def dtype(self) -> np.dtype[Any]:
        """Return NumPy's type.

        Raises:
            ValueError: it is not one of plain numbers.
        """
        if self.text[:1] not in TYPES or not self.text[1:].isdigit() or self.order not in "<>=":
            raise ValueError(f"an array of type '{self.text}'")
        return np.dtype(self.order + self.text)


class _Array:
    """An array, as NumPy pickles it: an empty one, then shape, type, order and bytes as its state."""

    def __init__(self, *_: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        """Return the array.

        Raises:
            ValueError: the state is not that of an array of numbers.
        """
        _, shape, kind, fortran, data = self.state
        if not isinstance(kind, _Type) or not isinstance(data, bytes):
            raise ValueError("an array that does not hold numbers")
        dtype = kind.dtype()
        if math.prod(shape) * dtype.itemsize != len(data):
            raise ValueError(f"an array of shape {tuple(shape)} with {len(data)} bytes")
        return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


class _Scalar(_Array):
    """A number, as NumPy pickles it: its type and bytes."""

    def __init__(self, kind: _Type, data: bytes) -> None:
        self.state = (1, (), kind, False, data)


class _Buffer(_Array):
    """An array, as NumPy pickles it by the newest protocol: bytes, type, shape and order."""

    def __init__(self, data: bytes, kind: _Type, shape: tuple[int, ...], order: str) -> None:
        self.state = (1, shape, kind, order == "F", data)


class _ArrayClass:
    """Stands for ``numpy.ndarray``, which is only ever named."""


def _encoded(text: str, encoding: str) -> bytes:
    """Old protocols keep bytes as a text of Latin-1 and name the function that turns it back."""
    if encoding != "latin1":
        raise ValueError(f"bytes in the encoding {encoding}")
    return text.encode("latin1")


_NAMES: dict[str, Any] = {
    "multiarray._reconstruct": _Array,
    "multiarray.scalar": _Scalar,
    "numeric._frombuffer": _Buffer,
    "_codecs.encode": _encoded,
    "numpy.ndarray": _ArrayClass,
    "numpy.dtype": _Type,
}


class _Reader(pickle._Unpickler):
    """Python's own reader in Python: that in C can be made to ask for any amount of memory by a few bytes."""

    read: Callable[[int], bytes]
    append: Callable[[Any], None]

    def load_bytes(self) -> None:
        """Read the one kind of bytes for which this reader, too, would reserve memory before it looks for them."""
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(self.read(length))

    dispatch: ClassVar[dict[int, Any]] = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: load_bytes}

    def find_class(self, module: str, name: str) -> Any:
        for prefix in ("numpy.core.", "numpy._core."):
            module = module.removeprefix(prefix)
        if f"{module}.{name}" not in _NAMES:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _NAMES[f"{module}.{name}"]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside the file")


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read a pickled dictionary of texts to arrays of numbers, or to lists of numbers.

    Raises:
        UnsegError: the file is missing, damaged or large, or holds anything else; nothing of it has been run.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UnsegError(f"{path} has more than {MOST_BYTES >> 20} MiB, too much for a file of boxes.")
        content = _Reader(io.BytesIO(path.read_bytes())).load()
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__} instead of a dictionary")
        return {_text(name): _numbers(value) for name, value in content.items()}
    except OSError as error:
        raise UnsegError(f"{path} cannot be read: {error.strerror}.") from None
    except UnsegError:
        raise
    except Exception as error:  # a damaged pickle raises almost anything; KeyError is an unknown instruction
        reason = "it is no pickle" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise UnsegError(
            f"{path} is not a pickled dictionary of arrays ({reason}); it was read without running anything in it."
        ) from None


def _text(name: Any) -> str:
    if not isinstance(name, str):
        raise ValueError(f"a {type(name).__name__} as the name of an image")
    return name


def _numbers(value: Any) -> np.ndarray:
    if isinstance(value, _Array):
        return value.array()
    if isinstance(value, (list, tuple)):
        items = [item.array().item() if isinstance(item, _Scalar) else item for item in value]
        if all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in items):
            return np.array(items)
    raise ValueError(f"a {type(value).__name__} instead of numbers")
