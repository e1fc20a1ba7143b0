"""What an exported file says about its detector: text by name, so that every tool can show it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from unseg_d2.data.pictures.reading import Reading
from unseg_d2.errors import UnsegError


@dataclass(frozen=True)
class About:
    """What a detector is and how its images are prepared.

    Attributes:
        task: ``instance segmentation``, or ``object detection`` without masks.
        classes: name of each class, by its number.
        min_size: shortest edge of the image that the network sees, px; 0 keeps the size.
        max_size: upper limit of the longest edge, px.
        reading: how files become RGB.
        precision: of the weights, ``float32`` or ``float16``.
        supervision: what the weights have learnt from, ``not stated`` where they do not say.
        recipe: the configuration, YAML, without folders, files and devices.
        version: of unseg_d2.
    """

    task: str
    classes: tuple[str, ...]
    min_size: int
    max_size: int
    reading: Reading
    precision: str
    supervision: str
    recipe: str
    version: str

    def to_text(self) -> dict[str, str]:
        """Return text by name; what is not text is JSON."""
        values: dict[str, Any] = {**vars(self), "reading": asdict(self.reading)}
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}

    @classmethod
    def from_text(cls, text: Mapping[str, str], file: str) -> About:
        """Read what :meth:`to_text` returned.

        Args:
            text: text by name.
            file: for the message.

        Raises:
            UnsegError: it is not the text of such a detector.
        """
        try:
            reading: dict[str, Any] = {
                key: tuple(v) if isinstance(v, list) else v for key, v in json.loads(text["reading"]).items()
            }
            values: dict[str, Any] = {name: text[name] for name in ("task", "precision", "supervision", "recipe")}
            values |= {name: int(text[name]) for name in ("min_size", "max_size")}
            values["classes"] = tuple(str(name) for name in json.loads(text["classes"]))
            return cls(reading=Reading(**reading), version=text["version"], **values)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UnsegError(
                f"{file} was not written by `unseg-d2 export --format onnx`: it does not say how images are prepared."
            ) from None
