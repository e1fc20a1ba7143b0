"""Class-agnostic evaluation during a training with Detectron2, with the loader of this project or of a user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.evaluation import DatasetEvaluator
from detectron2.structures import Instances
from detectron2.utils import comm

from unseg_d2.detectors.prediction import Prediction
from unseg_d2.evaluation.records import ground_truth
from unseg_d2.evaluation.registry import Evaluator
from unseg_d2.evaluation.scores import score
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
    return Prediction(record=record, size=instances.image_size, boxes=boxes.numpy(), scores=scores.numpy(), rles=rles)


class ClassAgnosticEvaluator(DatasetEvaluator):
    """AP and AR with all classes merged into one, or the metrics of other evaluators of this project.

    Detectron2's ``COCOEvaluator`` compares classes, so that a class-agnostic detector needs a rewritten ground truth.

    Args:
        records: the data set, as Detectron2's standard dataset dicts with annotations in XYWH boxes.
        with_masks: evaluate masks as well as boxes, if all annotations have masks.
        evaluators: by name, see `unseg_d2.evaluation.registry.build_evaluators`; by default class-agnostic AP and AR.
    """

    def __init__(
        self,
        records: Sequence[dict[str, Any]],
        *,
        with_masks: bool = True,
        evaluators: Mapping[str, Evaluator] | None = None,
    ) -> None:
        self.records = {record["image_id"]: record for record in records}
        self.with_masks, self.evaluators = with_masks, evaluators
        self.results: list[dict[str, Any]] = []

    def reset(self) -> None:
        """Discard the results so far."""
        self.results = []

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Add the detections of a batch."""
        for data, output in zip(inputs, outputs):
            prediction = to_prediction(self.records[data["image_id"]], output["instances"])
            self.results.extend(prediction.to_coco())

    def evaluate(self) -> dict[str, dict[str, float]] | None:
        """Return the metrics in percent in the main process, ``None`` in the others."""
        results = [result for share in comm.gather(self.results) for result in share]
        if not comm.is_main_process():
            return None
        truth = ground_truth(list(self.records.values()))
        return score(truth, results, self.evaluators, with_masks=self.with_masks).metrics
