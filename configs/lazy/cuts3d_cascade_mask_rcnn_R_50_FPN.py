"""CutS3D's first training as a LazyConfig, for Detectron2's own tools/lazyconfig_train_net.py.

The network and schedule of configs/cuts3d/cascade_mask_rcnn_R_50_FPN.yaml on 8 GPUs, whose blocks INPUT and DATALOADER
are read for the data. Different data: dataloader.train.datasets='["masks/labels.json"]'.
"""

from pathlib import Path

from detectron2.config import LazyCall as L
from detectron2.solver import WarmupParamScheduler
from detectron2.solver.build import get_default_optimizer_params
from fvcore.common.param_scheduler import MultiStepParamScheduler

from unseg_d2.detectors.detectron2.lazy import clipped_sgd, common_config, evaluator, test_inputs, train_inputs
from unseg_d2.detectors.detectron2.roi_heads import DropLossCascadeROIHeads, PseudoLabelOutputLayers
from unseg_d2.detectors.detectron2.uncertain import ConfidenceMaskHead

_recipe = str(Path(__file__).resolve().parents[1] / "cuts3d" / "cascade_mask_rcnn_R_50_FPN.yaml")
_norm = "SyncBN"

model = common_config("common/models/cascade_rcnn.py").model
model.pixel_mean, model.pixel_std = [123.675, 116.280, 103.530], [58.395, 57.120, 57.375]
model.input_format = "RGB"
model.backbone.norm = model.backbone.bottom_up.stem.norm = model.backbone.bottom_up.stages.norm = _norm
model.backbone.bottom_up.stages.stride_in_1x1 = False  # DINO's ResNet-50
model.proposal_generator.update(post_nms_topk=(4000, 1000), nms_thresh=0.65)  # CutLER's configuration
model.roi_heads.update(_target_=DropLossCascadeROIHeads, num_classes=1)
for _predictor in model.roi_heads.box_predictors:
    _predictor.update(_target_=PseudoLabelOutputLayers, droploss_iou_thresh=0.01, test_score_thresh=0.0)
model.roi_heads.mask_head.update(_target_=ConfidenceMaskHead, confidence="spatial")  # CutS3D, equation 6

dataloader = {
    "train": L(train_inputs)(
        recipe=_recipe, datasets=["imagenet_train"], batch_size=16, opts=[], evaluated="${..test.dataset}"
    ),
    "test": L(test_inputs)(recipe=_recipe, dataset="cls_agnostic_coco", opts=[]),
    "evaluator": L(evaluator)(recipe="${..test.recipe}", dataset="${..test.dataset}", opts="${..test.opts}"),
}

optimizer = L(clipped_sgd)(
    params=L(get_default_optimizer_params)(weight_decay_norm=0.0),
    clip_norm=1.0,
    lr=0.01,
    momentum=0.9,
    weight_decay=5e-5,
)
lr_multiplier = L(WarmupParamScheduler)(
    scheduler=L(MultiStepParamScheduler)(values=[1.0, 0.02], milestones=[80000], num_updates=160000),
    warmup_length=1000 / 160000,
    warmup_factor=0.001,
)
train = common_config("common/train.py").train
train.update(max_iter=160000, init_checkpoint="", eval_period=160000)  # a DINO ResNet-50 to start from
train.amp.enabled = True
