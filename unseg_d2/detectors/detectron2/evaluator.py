"""Class-agnostic evaluation with Detectron2's tools, with the loader of this project or of a user."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from detectron2.evaluation import DatasetEvaluator
from detectron2.structures import Instances
from detectron2.utils import comm
from fvcore.common.config import CfgNode

from unseg_d2.data.records import Records, as_records
from unseg_d2.detectors.detectron2.records import dataset_records, standard_record
from unseg_d2.detectors.heads import require_keys
from unseg_d2.detectors.prediction import Prediction
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.chunks import Chunk, chunks_of_images
from unseg_d2.evaluation.records import ground_truth
from unseg_d2.evaluation.registry import Evaluator, classes_told_apart, compares_masks, detector_evaluators
from unseg_d2.evaluation.scores import check_annotations, score_stream
from unseg_d2.files import atomic_write, write_json
from unseg_d2.rle import encode_mask


def to_prediction(record: dict[str, Any], instances: Instances) -> Prediction:
    """Return detections in the form that both engines share, without rescaling them.

    Args:
        record: the image, as Detectron2's standard dataset dict.
        instances: the output of ``GeneralizedRCNN`` for it, at the size of the image file.
    """
    instances = instances.to("cpu")
    rles = [encode_mask(mask) for mask in instances.pred_masks.numpy()] if instances.has("pred_masks") else []
    boxes, scores = instances.pred_boxes.tensor.float(), instances.scores.float()
    classes = instances.pred_classes.numpy() if instances.has("pred_classes") else np.zeros(0, np.int64)
    return Prediction(record, instances.image_size, boxes.numpy(), scores.numpy(), rles, classes)


class ClassAgnosticEvaluator(DatasetEvaluator):
    """AP and AR with all classes merged into one, or the metrics of other evaluators of this project.

    Detectron2's ``COCOEvaluator`` compares classes, so that a class-agnostic detector needs a rewritten ground truth.

    Args:
        dataset: name of a data set, registered or known to `load_dataset`; or its records, Detectron2's standard
            dataset dicts, which have their categories if `dataset_records` read them.
        cfg: configuration, whose ``TEST.EVALUATORS`` compute the metrics; without ``MODEL.MASK_ON`` or with
            ``TEST.NO_SEGM``, boxes alone are compared. ``None`` computes class-agnostic AP and AR.
        distributed: collect the results of all processes; otherwise each evaluates its own.
        output_dir: folder for ``coco_instances_results.json``, the detections, and ``figures.json``.
        with_masks: evaluate masks as well as boxes, if all annotations have masks.

    Raises:
        UnsegError: the data set is unknown, or has no annotations; or an evaluator cannot be used.
    """

    def __init__(
        self,
        dataset: str | Sequence[dict[str, Any]],
        cfg: CfgNode | None = None,
        distributed: bool = True,
        output_dir: str | None = None,
        *,
        with_masks: bool = True,
    ) -> None:
        if cfg is not None:
            require_keys(cfg)
        if isinstance(dataset, str):
            records = dataset_records(dataset, cfg, 1 if cfg is None else classes_told_apart(cfg))
            check_annotations([item for record in records for item in record.get("annotations", ())], dataset)
        else:
            given = [standard_record(record, number) for number, record in enumerate(dataset)]
            known = as_records(dataset)
            records = Records(given, known.categories, are_others=known.are_others)
        self.name = dataset if isinstance(dataset, str) else "the data set"
        self.records = {record["image_id"]: record for record in records}
        self.categories, self.category_ids = records.categories, records.category_ids()
        self.distributed = distributed
        self.output_dir = output_dir
        self.with_masks = with_masks and (cfg is None or compares_masks(cfg))
        self.evaluators: Mapping[str, Evaluator] | None = None if cfg is None else detector_evaluators(cfg)
        self.found: list[tuple[Any, bytes]] = []  # image id and its results as JSON, a third of their size as objects

    def reset(self) -> None:
        """Discard the results so far."""
        self.found = []

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Add the detections of a batch.

        Args:
            inputs: of the network, with ``image_id``.
            outputs: of the network, with ``instances``.

        Raises:
            UnsegError: the data set has no such image.
        """
        for data, output in zip(inputs, outputs):
            record = self.records.get(data["image_id"])
            if record is None:
                raise UnsegError(
                    f"The network was run on image {data['image_id']}, which is not in {self.name}; the loader must be "
                    "one of the data set that is evaluated."
                )
            results = to_prediction(record, output["instances"]).to_coco(self.category_ids)
            self.found.append((record["image_id"], msgspec.json.encode(results)))

    def collect(self) -> Iterator[Chunk]:
        """Return the ground truth with the detections of all processes, some images at a time, in the main process."""
        found = self._gathered()
        return iter(()) if found is None else self._chunks(found)

    def evaluate(self) -> dict[str, dict[str, float]] | None:
        """Return the metrics in percent in the main process, ``None`` in the others."""
        found = self._gathered()
        if found is None:
            return None
        scores = score_stream(self._chunks(found), self.evaluators, with_masks=self.with_masks)
        if self.output_dir:
            _write_results(Path(self.output_dir) / "coco_instances_results.json", found)
            write_json(Path(self.output_dir) / "figures.json", scores.to_json(), indent=1)
        return scores.metrics

    def _gathered(self) -> list[tuple[Any, bytes]] | None:
        """Return the results of all processes, ``None`` where this is not the main one of several."""
        if not self.distributed:
            return self.found
        shares = comm.gather(self.found)
        return [part for share in shares for part in share] if comm.is_main_process() else None

    def _chunks(self, found: list[tuple[Any, bytes]]) -> Iterator[Chunk]:
        """Yield the ground truth with the detections, some images at a time."""
        texts: dict[Any, list[bytes]] = defaultdict(list)
        for key, text in found:
            texts[key].append(text)
        about = {"categories": list(self.categories)} if self.categories else {}
        return chunks_of_images((self._part(record, texts) for record in self.records.values()), about)

    def _part(self, record: dict[str, Any], texts: Mapping[Any, list[bytes]]) -> tuple[Any, Any, list[dict[str, Any]]]:
        truth = ground_truth([record], self.categories)
        found = [result for text in texts.get(record["image_id"], ()) for result in msgspec.json.decode(text)]
        return truth["images"][0], truth["annotations"], found


def _write_results(path: Path, found: list[tuple[Any, bytes]]) -> None:
    """Write results as a JSON list, the images of a process one after another."""
    with atomic_write(path) as file:
        file.write(b"[" + b",\n".join(text[1:-1] for _, text in found if text != b"[]") + b"]\n")
