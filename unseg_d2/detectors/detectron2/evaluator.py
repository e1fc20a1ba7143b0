"""Class-agnostic evaluation during a Detectron2 training, on this project's or on a user's own data loader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from detectron2.evaluation import DatasetEvaluator
from detectron2.structures import Instances
from detectron2.utils import comm

from unseg_d2.detectors.prediction import Prediction
from unseg_d2.evaluation.records import ground_truth
from unseg_d2.evaluation.scores import score
from unseg_d2.rle import encode_mask


def to_prediction(record: dict[str, Any], instances: Instances) -> Prediction:
    """Return detections in the form that both engines share.

    Args:
        record: the image, as Detectron2's standard dataset dict.
        instances: what ``GeneralizedRCNN`` returns for it, at the size of the image file.
    """
    instances = instances.to("cpu")
    rles = [encode_mask(mask) for mask in instances.pred_masks.numpy()] if instances.has("pred_masks") else []
    boxes, scores = instances.pred_boxes.tensor.float(), instances.scores.float()
    return Prediction(record=record, size=instances.image_size, boxes=boxes.numpy(), scores=scores.numpy(), rles=rles)


class ClassAgnosticEvaluator(DatasetEvaluator):
    """AP and AR with all classes taken as one, as `unseg_d2.evaluation.class_agnostic.evaluate` computes them.

    Detectron2's ``COCOEvaluator`` compares classes; for a detector without labels it needs a rewritten ground truth.

    Args:
        records: the data set, as Detectron2's standard dataset dicts with annotations in XYWH boxes.
        with_masks: evaluate masks as well as boxes, where all annotations have one.
    """

    def __init__(self, records: Sequence[dict[str, Any]], *, with_masks: bool = True) -> None:
        self.records = {record["image_id"]: record for record in records}
        self.with_masks = with_masks
        self.results: list[dict[str, Any]] = []

    def reset(self) -> None:
        """Forget what has been processed."""
        self.results = []

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Take in the detections of a batch."""
        for data, output in zip(inputs, outputs):
            prediction = to_prediction(self.records[data["image_id"]], output["instances"])
            self.results.extend(prediction.to_coco())

    def evaluate(self) -> dict[str, dict[str, float]] | None:
        """Return the figures in percent, in the main process only."""
        results = [result for share in comm.gather(self.results) for result in share]
        if not comm.is_main_process():
            return None
        truth = ground_truth(list(self.records.values()))
        return score(truth, results, with_masks=self.with_masks).metrics
