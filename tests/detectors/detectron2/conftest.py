"""A label set with scores and spatial confidence, and a configuration of Detectron2 for it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unseg_d2.rle import encode_confidence


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """Take back the handlers that a trainer gives to the loggers."""
    known = [logging.getLogger(name) for name in ("detectron2", "unseg_d2")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in known]
    yield
    for logger, (handlers, level, propagate) in zip(known, before):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture(scope="session")
def certain_labels(labels: Path) -> Path:
    """The labels with different scores and, except in the last image, confidence that falls to the right."""
    content = json.loads(labels.read_text())
    for number, annotation in enumerate(content["annotations"]):
        annotation["score"] = 0.3 + 0.05 * number
        if annotation["image_id"] < 6:
            grid = np.linspace(1, 0.1 * (number % 5), 12)[None].repeat(9, axis=0)
            annotation["confidence"] = encode_confidence(grid)
    path = labels.with_name("certain.json")
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def register(certain_labels: Path) -> Iterator[Callable[..., str]]:
    """Return ``register(name)``, which registers the label set; names are removed at the end."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    from unseg_d2.detectron2 import register_label_set

    before = set(DatasetCatalog.list())

    def register(name: str = "certain", path: Path = certain_labels, **options: Any) -> str:
        register_label_set(name, path, **options)
        return name

    yield register
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.pop(name, None)
