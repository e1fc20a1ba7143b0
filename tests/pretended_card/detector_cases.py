"""The detector on the pretended card: a training step without its backward pass, and prediction to run lengths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from card import pretended_card
from record import Record

from unseg_d2.config import load_cfg
from unseg_d2.data.sample import Sample
from unseg_d2.detectors.builtin.model import GeneralizedRCNN, build_model
from unseg_d2.detectors.postprocess import to_prediction
from unseg_d2.detectors.prediction import Prediction

RECIPE = Path(__file__).resolve().parents[2] / "configs" / "base_cascade_mask_rcnn_R_50_FPN.yaml"
SMALL = {  # what is counted does not depend on widths
    "MODEL.RESNETS.DEPTH": 18,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 64,
    "MODEL.FPN.OUT_CHANNELS": 16,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 32,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0,
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 200,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 100,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 50,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 50,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 16,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 16,
    "TEST.DETECTIONS_PER_IMAGE": 10,
}
HEIGHT, WIDTH, OBJECTS = 128, 192, 6


def model() -> GeneralizedRCNN:
    torch.manual_seed(0)
    return build_model(load_cfg(RECIPE, [text for key, value in SMALL.items() for text in (key, str(value))]))


def sample(seed: int) -> Sample:
    """An image of noise with six rectangles."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(256, (3, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)
    corners = (torch.rand(OBJECTS, 2, generator=generator) * torch.tensor([WIDTH / 2, HEIGHT / 2])).floor()
    boxes = torch.cat([corners, corners + torch.tensor([WIDTH // 4, HEIGHT // 4])], dim=1)
    masks = torch.zeros(OBJECTS, HEIGHT, WIDTH, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist()):
        mask[y0:y1, x0:x1] = True
    return Sample(image, boxes, masks, torch.ones(OBJECTS), None, f"{seed}.jpg", seed, HEIGHT, WIDTH)


def train_step(images: int) -> tuple[Record, dict[str, float]]:
    """Return what the losses of a training step ask of the card, and their values."""
    network, samples = model().train(), [sample(seed) for seed in range(images)]
    with pretended_card() as record:
        network.to("cuda")
        record.clear()
        losses = network(samples)
        values = torch.stack([loss.detach().float() for loss in losses.values()]).tolist()
    return record, dict(zip(losses, values))


def predict(images: int) -> tuple[Record, list[Prediction], list[Prediction]]:
    """Return what the predictions of images ask of the card, and the same predictions of the CPU."""
    network, samples = model().eval(), [sample(seed) for seed in range(images)]
    expected = _predictions(network, samples)
    with pretended_card() as record:
        network.to("cuda")
        record.clear()
        found = _predictions(network, samples)
    return record, found, expected


@torch.no_grad()
def _predictions(network: GeneralizedRCNN, samples: Sequence[Sample]) -> list[Prediction]:
    return [to_prediction({"image_id": k}, one, found) for k, (one, found) in enumerate(zip(samples, network(samples)))]
