"""A detector in ONNX Runtime: the interface of `Detector`, without torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unseg_d2.data.image_input import ImageLike, as_list, as_rgb
from unseg_d2.data.resize import resize_image, resized_shape
from unseg_d2.deploy.about import About
from unseg_d2.deploy.paste import paste_masks
from unseg_d2.detectors.prediction import Prediction, check_threshold
from unseg_d2.errors import UnsegError, missing_extra


class OnnxDetector:
    """A detector that ``unseg-d2 export --format onnx`` wrote, in ONNX Runtime; neither it nor its import needs torch.

    Attributes:
        path: the file.
        session: ``onnxruntime.InferenceSession``.
        about: what the file says about the detector: task, classes, sizes, recipe.
    """

    def __init__(self, path: str | os.PathLike[str], *, providers: Sequence[str] | None = None) -> None:
        """Open a file.

        Args:
            path: the file.
            providers: of ONNX Runtime, best first, such as ``["CUDAExecutionProvider"]``; by default its own choice of
                those that are installed.

        Raises:
            UnsegError: ONNX Runtime is not installed, the file is missing or not such a detector, or there is no such
                provider.
        """
        try:
            import onnxruntime
        except ImportError:
            raise missing_extra("onnxruntime", "onnx") from None
        self.path = os.fspath(path)
        if not Path(self.path).is_file():
            raise UnsegError(f"There is no file {self.path}.")
        available = onnxruntime.get_available_providers()
        strange = next((name for name in providers or () if name not in available), None)
        if strange:
            raise UnsegError(f"ONNX Runtime has no {strange} here; it has {', '.join(available)}.")
        try:
            self.session = onnxruntime.InferenceSession(self.path, providers=list(providers or available))
        except Exception as error:  # its classes are not exported, and each version has others
            raise UnsegError(f"{self.path} cannot be opened by ONNX Runtime ({type(error).__name__}).") from error
        self.about = About.from_text(self.session.get_modelmeta().custom_metadata_map, self.path)

    def __call__(self, images: ImageLike | Iterable[ImageLike], *, score_threshold: float = 0.0) -> list[Prediction]:
        """Detect the objects in images, one after the other.

        Args:
            images: paths, Pillow images or ``(H, W, 3)`` uint8 arrays in RGB, or a single one of these.
            score_threshold: lowest score in [0, 1]; that of the recipe with which the file was written applies too.

        Returns:
            One :class:`Prediction` per image, in their order; ``image_id`` counts from 0.

        Raises:
            UnsegError: an image cannot be used.
        """
        return list(self.stream(images, score_threshold=score_threshold))

    def stream(self, images: ImageLike | Iterable[ImageLike], *, score_threshold: float = 0.0) -> Iterator[Prediction]:
        """Yield what a call returns, one by one.

        Args:
            images: see :meth:`__call__`.
            score_threshold: see :meth:`__call__`.

        Raises:
            UnsegError: an image cannot be used.
        """
        check_threshold(score_threshold, "score_threshold")
        for number, image in enumerate(as_list(images)):
            name = os.fspath(image) if isinstance(image, (str, os.PathLike)) else ""
            yield self._detect(as_rgb(image, self.about.reading), {"file_name": name, "image_id": number}).above(
                score_threshold
            )

    def _detect(self, pixels: np.ndarray, record: dict[str, Any]) -> Prediction:
        height, width = pixels.shape[:2]
        resized = resize_image(pixels, *resized_shape(height, width, self.about.min_size, self.about.max_size))
        inputs = {"image": np.ascontiguousarray(resized), "size": np.array([height, width], np.int64)}
        found = dict(zip((output.name for output in self.session.get_outputs()), self.session.run(None, inputs)))
        rles = paste_masks(found["masks"], found["boxes"], height, width) if "masks" in found else []
        return Prediction(
            {**record, "height": height, "width": width},
            (height, width),
            found["boxes"],
            found["scores"],
            rles,
            found["classes"],
            self.about.reading,
        )
