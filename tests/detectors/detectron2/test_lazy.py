"""The LazyConfig example is the YAML recipe: the same network, losses and schedule; and Detectron2 trains it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
from detectron2.config import LazyCall, LazyConfig, instantiate
from detectron2.engine import SimpleTrainer
from detectron2.evaluation import inference_on_dataset
from detectron2.modeling import build_model
from detectron2.solver import build_lr_scheduler
from detectron2.utils.events import EventStorage

from unseg_d2.config import load_cfg
from unseg_d2.detectors.detectron2.config import to_detectron2
from unseg_d2.detectors.detectron2.trainer import build_optimizer
from unseg_d2.errors import UnsegError
from unseg_d2.files import write_json
from unseg_d2.rle import encode_confidence

pytestmark = pytest.mark.detectron2

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
NAME = "cuts3d_cascade_mask_rcnn_R_50_FPN"
SMALL = {"MODEL.DEVICE": "cpu", "DATALOADER.NUM_WORKERS": "0", "INPUT.MIN_SIZE_TRAIN": "(72,)"}
OPTS = [word for pair in SMALL.items() for word in pair]


@pytest.fixture(scope="module")
def confident_labels(labels: Path) -> Path:
    """The labels with a spatial confidence per mask."""
    content = json.loads(labels.read_text())
    for annotation in content["annotations"]:
        annotation["confidence"] = encode_confidence(torch.rand(6, 8).numpy())
    path = labels.with_name("confident.json")
    write_json(path, content)
    return path


@pytest.fixture
def lazy(confident_labels: Path) -> Any:
    """The example on the CPU, with few regions and the rectangles as data."""
    cfg = LazyConfig.load(str(CONFIGS / "lazy" / f"{NAME}.py"))
    backbone = cfg.model.backbone
    backbone.norm = backbone.bottom_up.stem.norm = backbone.bottom_up.stages.norm = "BN"
    cfg.model.roi_heads.batch_size_per_image = 16
    cfg.model.proposal_generator.update(post_nms_topk=(50, 20))
    cfg.dataloader.train.update(datasets=[str(confident_labels)], batch_size=2, opts=OPTS)
    cfg.dataloader.test.update(dataset=f"{confident_labels}", opts=OPTS)
    return cfg


def test_the_losses_are_those_of_the_recipe(lazy: Any) -> None:
    opts = [*OPTS, "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "16", "MODEL.RPN.POST_NMS_TOPK_TRAIN", "50"]
    recipe = load_cfg(CONFIGS / "cuts3d" / "cascade_mask_rcnn_R_50_FPN.yaml", opts)
    model, expected = instantiate(lazy.model).train(), build_model(to_detectron2(recipe)).train()
    model.load_state_dict(expected.state_dict())
    batch = next(iter(instantiate(lazy.dataloader.train)))
    losses = []
    for network in (model, expected):
        torch.manual_seed(0)
        with EventStorage():
            losses.append(network(batch))
    assert losses[0].keys() == losses[1].keys() and len(losses[0]) == 9
    for name, value in losses[0].items():
        torch.testing.assert_close(value, losses[1][name], msg=name)


class Nearest:
    """Squared distance of the masks, weighted; the classes count nothing."""

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
        distances = (logits.sigmoid() - targets.float()).square()
        return (distances if weights is None else distances * weights).mean()


def no_classes(logits: torch.Tensor, labels: torch.Tensor, scores: object, weights: object) -> torch.Tensor:
    return logits.sum() * 0.0


def test_losses_are_arguments(lazy: Any) -> None:
    heads = lazy.model.roi_heads
    heads.mask_head.update(confidence="none", mask_loss=LazyCall(Nearest)())
    for predictor in heads.box_predictors:
        predictor.update(classification_loss=no_classes)
    model = instantiate(lazy.model).train()
    batch = next(iter(instantiate(lazy.dataloader.train)))
    with EventStorage():
        losses = model(batch)
    assert all(losses[f"loss_cls_stage{stage}"] == 0 for stage in range(3))
    assert losses["loss_mask"].item() == pytest.approx(0.25, abs=0.02)  # undecided: (1 / 2)^2


def test_optimiser_and_schedule_are_those_of_the_recipe(lazy: Any) -> None:
    recipe = to_detectron2(load_cfg(CONFIGS / "cuts3d" / "cascade_mask_rcnn_R_50_FPN.yaml", OPTS))
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    lazy.optimizer.params.model = model
    optimizer, expected = instantiate(lazy.optimizer), build_optimizer(recipe, model)
    weight, gradient = model[0].weight.detach().clone(), torch.full((3, 3), 7.0)
    moved = []
    for each in (optimizer, expected):
        with torch.no_grad():
            model[0].weight.copy_(weight)
        model[0].weight.grad = gradient.clone()
        for group in each.param_groups:
            group["lr"] = 0.01
        each.step()
        moved.append(model[0].weight.detach().clone())
    torch.testing.assert_close(moved[0], moved[1])
    multiplier, schedule = instantiate(lazy.lr_multiplier), build_lr_scheduler(recipe, expected)
    for schedule.last_epoch in (0, 10, 999, 1000, 79999, 80000, 159999):
        rate = 0.01 * multiplier(schedule.last_epoch / lazy.train.max_iter)
        assert schedule.get_lr()[0] == pytest.approx(rate, rel=1e-6)


def test_it_trains_and_is_evaluated(lazy: Any) -> None:
    model = instantiate(lazy.model)
    lazy.optimizer.params.model = model
    before = model.roi_heads.mask_head.predictor.weight.detach().clone()
    trainer = SimpleTrainer(model.train(), instantiate(lazy.dataloader.train), instantiate(lazy.optimizer))
    trainer.train(0, 1)
    assert not torch.equal(model.roi_heads.mask_head.predictor.weight, before)
    lazy.dataloader.test.opts = [*OPTS, "INPUT.MIN_SIZE_TEST", "72"]
    figures = inference_on_dataset(model, instantiate(lazy.dataloader.test), instantiate(lazy.dataloader.evaluator))
    assert figures.keys() == {"bbox", "segm"} and 0 <= figures["segm"]["AP"] <= 100


def test_a_test_set_that_is_not_there_is_noticed_before_the_training(lazy: Any) -> None:
    lazy.dataloader.test.dataset = "cls_agnostic_coco"
    with pytest.raises(UnsegError, match=r"The data set cls_agnostic_coco needs the file .*, which is not there"):
        instantiate(lazy.dataloader.train)
