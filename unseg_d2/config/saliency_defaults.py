"""The configuration keys of saliency: Sempart's head and losses, and the two tricks, with the paper's values."""

from __future__ import annotations

from fvcore.common.config import CfgNode as CN


def add_saliency_defaults(cfg: CN) -> None:
    """Add the section ``SALIENCY``; the optimiser's length and rate are those of ``SOLVER``."""
    cfg.SALIENCY = CN()
    cfg.SALIENCY.IMAGE_SIZE = 320  # side of the square that the head is trained and, by the paper, scored on, px
    cfg.SALIENCY.SHORTER_SIDE = 335  # what the shorter side is scaled to before the crop, px (the paper's text: 355)
    cfg.SALIENCY.PREDICT_SIZE = 0  # what the shorter side is scaled to for a prediction, px; 0 keeps the image's size
    cfg.SALIENCY.FLIP = 0.5  # probability of a horizontal flip
    cfg.SALIENCY.JITTER = [0.4, 0.4, 0.2, 0.1]  # greatest change of brightness, contrast, saturation and hue
    cfg.SALIENCY.JITTER_PROBABILITY = 0.8  # of changing them
    cfg.SALIENCY.GRAYSCALE = 0.2  # probability of dropping the colours
    cfg.SALIENCY.TAU = 0.4  # tau: cosine above which two patches are connected (equation 4)
    cfg.SALIENCY.EPS = 1e-6  # epsilon: weight of an edge between patches that are not (equation 4)
    cfg.SALIENCY.SIGMA = 1.0  # sigma: squared difference of normalised colours at which a neighbour counts 1 / e
    cfg.SALIENCY.BETAS = [0.9, 0.99]  # of AdamW
    cfg.SALIENCY.DECAY = 0.0  # share of the steps, at the end, over which the learning rate falls to 0 (paper: none)
    cfg.SALIENCY.TARGETS = ""  # folder of masks to train on instead of the graph losses (SelfMask): a second round
    cfg.SALIENCY.INVERT = "image"  # a mask that is mostly foreground is inverted: per image | batch (published) | none

    cfg.SALIENCY.HEAD = CN()
    cfg.SALIENCY.HEAD.WIDTH = 64  # channels of the tokens
    cfg.SALIENCY.HEAD.DEPTH = 2  # transformer layers
    cfg.SALIENCY.HEAD.HEADS = 2  # attention heads
    cfg.SALIENCY.HEAD.HEAD_WIDTH = 64  # channels of a head
    cfg.SALIENCY.HEAD.CHANNELS = [192, 128]  # of the upsampling blocks; the last is repeated

    cfg.SALIENCY.LOSS = CN()
    cfg.SALIENCY.LOSS.NCUT = 1.0  # lambda_ncut, equation 5
    cfg.SALIENCY.LOSS.GTV_COARSE = 1.0  # lambda_c, equations 7 to 9 on the patch grid
    cfg.SALIENCY.LOSS.GTV_FINE = 1.0  # lambda_f, equations 7 to 9 on pixels
    cfg.SALIENCY.LOSS.SUBRESOLUTION = 1.0  # lambda_SR, equation 6
    cfg.SALIENCY.LOSS.CROP_NCUT = 0.01  # lambda_ncut,s: normalised cut of the enlarged crop
    cfg.SALIENCY.LOSS.MULTI_SCALE = 0.01  # lambda_ms: the mask's crop against the mask of the crop

    cfg.SALIENCY.MULTI_SCALE = CN({"ENABLED": False})  # trick 2, multi-scale consistency
    cfg.SALIENCY.MULTI_SCALE.CROP = "uniform"  # uniform | released: where the published code in effect crops
    cfg.SALIENCY.MULTI_SCALE.FRACTION = 0.5  # of either side that a crop has
    cfg.SALIENCY.MULTI_SCALE.GUIDED_TARGET = True  # the crop's mask is filtered before it becomes the target

    cfg.SALIENCY.GUIDED = CN({"ENABLED": False})  # trick 1, guided filter of the predicted mask
    cfg.SALIENCY.GUIDED.RADIUS = 9  # r: half width of the window, px
    cfg.SALIENCY.GUIDED.EPS = 1e-3  # epsilon: variance (image in [0, 1]) below which the filter averages
