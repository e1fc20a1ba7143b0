"""The Detectron2 engine: launch, train and predict with Detectron2."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.modeling import build_model
from detectron2.structures import Instances
from detectron2.utils import comm
from fvcore.common.config import CfgNode

from unseg_d2.config import edited
from unseg_d2.data.sample import Sample
from unseg_d2.detectors.checkpoints import load_weights
from unseg_d2.detectors.detectron2.config import to_detectron2
from unseg_d2.detectors.detectron2.inputs import to_input
from unseg_d2.detectors.detectron2.trainer import EngineTrainer
from unseg_d2.detectors.postprocess import Detections
from unseg_d2.detectors.prediction import Prediction
from unseg_d2.detectors.predictor import Predictor
from unseg_d2.devices import resolve_device
from unseg_d2.loop.best import OF_BUILTIN_NETWORKS, refuse_keys
from unseg_d2.loop.checkpoint import FINAL
from unseg_d2.loop.distributed import launch
from unseg_d2.loop.machines import ONE_MACHINE, Machines
from unseg_d2.loop.precision import set_precision


class Detectron2Engine:
    """`unseg_d2.detectors.protocol.Engine` on Detectron2."""

    name = "detectron2"

    def launch(
        self, main: Callable[..., None], num_processes: int, args: Sequence[Any], machines: Machines = ONE_MACHINE
    ) -> None:
        """Call ``main(*args)`` in connected processes, and tell Detectron2 about them; see `Engine.launch`."""
        configurations = [argument for argument in args if isinstance(argument, CfgNode)]
        device = configurations[0].MODEL.DEVICE if configurations else "auto"
        launch(_in_local_group, num_processes, (main, num_processes, args), device=device, machines=machines)

    def train(self, cfg: CfgNode, *, resume: bool) -> Path:
        """Train the detector of a recipe and return ``OUTPUT_DIR/model_final.pth``; see `Engine.train`."""
        untested: dict[str, Any] = {"TEST.EXPECTED_RESULTS": []} | (
            {} if cfg.TEST.EVAL_PERIOD else {"DATASETS.TEST": ()}
        )
        trainer = EngineTrainer(edited(cfg, untested))
        trainer.resume_or_load(resume)
        trainer.train()
        return Path(cfg.OUTPUT_DIR) / FINAL

    def build_predictor(self, cfg: CfgNode, *, weights: str) -> Predictor:
        """Build the network and load a checkpoint into it; see `Engine.build_predictor`."""
        resolve_device(cfg.MODEL.DEVICE, "MODEL.DEVICE")  # raises if there is no such device
        refuse_keys(cfg, OF_BUILTIN_NETWORKS, "Detectron2's engine")
        cfg = edited(cfg, {"MODEL.TIMM.PRETRAINED": False})  # all weights come from the checkpoint
        set_precision(cfg)
        model = build_model(to_detectron2(cfg))
        load_weights(model, weights, trust=cfg.MODEL.TRUST_CHECKPOINT)
        model.eval()

        def network(samples: Sequence[Sample]) -> list[Detections]:
            data = [to_input(sample, channel_order=cfg.INPUT.FORMAT, with_instances=False) for sample in samples]
            with torch.inference_mode():
                outputs = model.inference(data, do_postprocess=False)
            return [to_detections(output) for output in outputs]

        return Predictor(network, cfg)

    def predict(self, cfg: CfgNode, records: Sequence[dict[str, Any]], *, weights: str) -> Iterator[Prediction]:
        """Yield the predictions of the records, in their order; see `Engine.predict`."""
        yield from self.build_predictor(cfg, weights=weights).on_records(records)


def to_detections(instances: Instances) -> Detections:
    """Return the detections of Detectron2's heads, still in pixels of the network's input."""
    masks = instances.pred_masks[:, 0] if instances.has("pred_masks") else None
    return Detections(instances.pred_boxes.tensor, instances.scores, instances.pred_classes, masks)


def _in_local_group(main: Callable[..., None], num_processes: int, args: Sequence[Any]) -> None:
    """Tell Detectron2 which processes run on this machine, then call ``main``."""
    if comm.get_world_size() > 1 and comm._LOCAL_PROCESS_GROUP is None:
        comm.create_local_process_group(int(os.environ.get("LOCAL_WORLD_SIZE", num_processes)))
    main(*args)
