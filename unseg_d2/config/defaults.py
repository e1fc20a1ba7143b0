"""Every configuration key with its default; those of features, generators and label sets are in pseudo_defaults.py.

Keys under ``MODEL``, ``INPUT``, ``DATALOADER``, ``SOLVER`` and ``TEST`` carry Detectron2's names, defaults and
meaning, and those that CutLER added carry CutLER's, so that a published YAML file loads unchanged. The rest is ours.
Values of Detectron2's keys that nothing would come of are refused: "must stay" when the recipe is read (limits.py),
"built-in:" by the built-in engine (detectors/builtin/limits.py), while the other one leaves them to Detectron2.
"""

from __future__ import annotations

from fvcore.common.config import CfgNode as CN

from unseg_d2.config.pseudo_defaults import add_pseudo_label_defaults
from unseg_d2.config.saliency_defaults import add_saliency_defaults
from unseg_d2.config.semantic_defaults import add_semantic_defaults


def get_cfg() -> CN:
    """Return a fresh copy of the default configuration."""
    cfg = CN()
    cfg.VERSION = 2  # Detectron2's configuration version
    cfg.ENGINE = "auto"  # auto (Detectron2 if it imports, else builtin) | detectron2 | builtin
    cfg.OUTPUT_DIR = "./output"  # everything a run writes goes below this folder
    cfg.SEED = 0  # seed of data order, augmentation, initialisation and RoI sampling; < 0 draws one
    cfg.CUDNN_BENCHMARK = False  # let cuDNN search for the fastest convolution (pays off for fixed image sizes only)
    cfg.FLOAT32_PRECISION = ""  # torch.set_float32_matmul_precision, empty leaves it alone
    cfg.VIS_PERIOD = 0  # iterations between pictures of training samples in TensorBoard, 0 = never
    add_pseudo_label_defaults(cfg)
    _add_data(cfg)
    _add_model(cfg)
    _add_heads(cfg)
    _add_solver(cfg)
    _add_rounds(cfg)
    add_saliency_defaults(cfg)
    add_semantic_defaults(cfg)
    return cfg


def _add_data(cfg: CN) -> None:
    """Datasets, augmentation and copy-paste."""
    cfg.DATASETS = CN()
    # A data set is a built-in name, a COCO json ("labels.json" or "labels.json::image/root") or a folder of images.
    cfg.DATASETS.TRAIN = ()  # data sets to train on
    cfg.DATASETS.TEST = ()  # data sets to evaluate on
    cfg.DATASETS.PROPOSAL_FILES_TRAIN = ()  # Detectron2's precomputed proposals; must stay empty
    cfg.DATASETS.PROPOSAL_FILES_TEST = ()  # Detectron2's precomputed proposals; must stay empty

    cfg.DATALOADER = CN()
    cfg.DATALOADER.NUM_WORKERS = 4  # loader processes; the samples do not depend on it
    cfg.DATALOADER.ASPECT_RATIO_GROUPING = True  # batches of images of one orientation
    cfg.DATALOADER.SAMPLER_TRAIN = "TrainingSampler"  # a fresh permutation per epoch; must stay
    cfg.DATALOADER.REPEAT_THRESHOLD = 0.0  # Detectron2's RepeatFactorTrainingSampler; must stay 0
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = True  # leave images without annotations out of training
    cfg.DATALOADER.COPY_PASTE = False  # paste objects of another image of the batch
    cfg.DATALOADER.COPY_PASTE_RATE = 0.0  # probability of pasting, per image
    cfg.DATALOADER.COPY_PASTE_RANDOM_NUM = True  # paste a random number of objects instead of all
    cfg.DATALOADER.COPY_PASTE_MIN_RATIO = 0.5  # smallest scale of the source, relative to the target image
    cfg.DATALOADER.COPY_PASTE_MAX_RATIO = 1.0  # largest scale of the source, relative to the target image
    cfg.DATALOADER.COPY_PASTE_MODE = "default"  # default: boxes as meant, any number of objects | parity: as published
    cfg.DATALOADER.COPY_PASTE_SELECTION = "random"  # random | confident: those of highest mean SC (CutS3D, 3.4)
    cfg.DATALOADER.COPY_PASTE_BLEND = "hard"  # hard | confidence: alpha is SC (CutS3D, equation 5)
    cfg.DATALOADER.COPY_PASTE_SOURCE = "sample"  # sample: a second random image | batch: the reversed batch (published)
    cfg.DATALOADER.COPY_PASTE_DEVICE = "workers"  # where pixels are pasted: workers | model: on MODEL.DEVICE
    cfg.DATALOADER.VISUALIZE_COPY_PASTE = False  # write the first pasted batches to OUTPUT_DIR/copy_paste

    cfg.INPUT = CN()
    cfg.INPUT.MIN_SIZE_TRAIN = (800,)  # shortest edge, px
    cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING = "choice"  # choice of the listed sizes | range between two
    cfg.INPUT.MAX_SIZE_TRAIN = 1333  # longest edge, px
    cfg.INPUT.MIN_SIZE_TEST = 800  # shortest edge at test time, px; 0 keeps the size
    cfg.INPUT.MAX_SIZE_TEST = 1333  # longest edge at test time, px
    cfg.INPUT.RANDOM_FLIP = "horizontal"  # horizontal | vertical | none
    cfg.INPUT.FORMAT = "BGR"  # channel order of PIXEL_MEAN and of the network's input
    cfg.INPUT.MASK_FORMAT = "polygon"  # kept for published files; masks are always bit masks here
    cfg.INPUT.MIN_CONFIDENCE = 0.5  # SC_min: spatial confidence within a mask is at least this
    cfg.INPUT.CROP = CN({"ENABLED": False})  # Detectron2's random crop; must stay off
    cfg.INPUT.CROP.TYPE = "relative_range"  # kept for published files
    cfg.INPUT.CROP.SIZE = [0.9, 0.9]  # kept for published files

    cfg.SYNTHETIC = CN()
    cfg.SYNTHETIC.ROOT = "./datasets/synthetic"  # where scenes are generated on first use
    cfg.SYNTHETIC.SIZE = (240, 320)  # height and width of a scene, px
    cfg.SYNTHETIC.NUM_TRAIN = 200  # scenes of synthetic_train
    cfg.SYNTHETIC.NUM_VAL = 48  # scenes of synthetic_val
    cfg.SYNTHETIC.MAX_OBJECTS = 7  # most solids in a scene; the fewest is 2
    cfg.SYNTHETIC.ONE_COLOUR = 0.5  # share of scenes whose solids all have one colour
    cfg.SYNTHETIC.PITCH = (
        14.0,
        38.0,
    )  # range of the angle the camera looks down at, degrees; from 35 on no sky is seen
    cfg.SYNTHETIC.FLOOR_CONTRAST = 0.12  # how much the two colours of the floor's pattern differ at most, in [0, 1]
    cfg.SYNTHETIC.SURFACES = "any"  # any | by_class: each shape, floor and sky with colours and patterns of its own
    cfg.SYNTHETIC.SEED = 0  # seed of the first scene


def _add_model(cfg: CN) -> None:
    """Backbone, FPN, anchors and RPN; Detectron2's keys and defaults."""
    cfg.MODEL = CN()
    cfg.MODEL.DEVICE = "auto"  # auto | cpu | cuda
    cfg.MODEL.META_ARCHITECTURE = "GeneralizedRCNN"  # built-in: the only one
    cfg.MODEL.WEIGHTS = ""  # checkpoint to start from, or zoo:NAME; empty is a random initialisation
    cfg.MODEL.TRUST_CHECKPOINT = False  # allow unpickling arbitrary objects from WEIGHTS, FEATURES.WEIGHTS too
    cfg.MODEL.MASK_ON = False  # predict masks as well as boxes
    cfg.MODEL.KEYPOINT_ON = False  # must stay off
    cfg.MODEL.LOAD_PROPOSALS = False  # must stay off
    cfg.MODEL.PIXEL_MEAN = [103.530, 116.280, 123.675]  # in the channel order of INPUT.FORMAT
    cfg.MODEL.PIXEL_STD = [1.0, 1.0, 1.0]  # in the channel order of INPUT.FORMAT

    cfg.MODEL.BACKBONE = CN()
    cfg.MODEL.BACKBONE.NAME = "build_resnet_backbone"  # built-in: build_resnet_fpn_backbone, which recipes have to name
    cfg.MODEL.BACKBONE.FREEZE_AT = 2  # stages up to this one are frozen; 0 trains all
    cfg.MODEL.RESNETS = CN()
    cfg.MODEL.RESNETS.DEPTH = 50  # 18 | 34 | 50 | 101 | 152
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res4"]  # stages handed to the FPN
    cfg.MODEL.RESNETS.NORM = "FrozenBN"  # FrozenBN | BN | SyncBN | GN
    cfg.MODEL.RESNETS.NUM_GROUPS = 1  # groups of the 3x3 convolutions
    cfg.MODEL.RESNETS.WIDTH_PER_GROUP = 64  # bottleneck width
    cfg.MODEL.RESNETS.STRIDE_IN_1X1 = True  # stride in the first 1x1 (MSRA), else in the 3x3 (torchvision, DINO)
    cfg.MODEL.RESNETS.RES5_DILATION = 1  # built-in: 1
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 256  # 64 for depth 18 and 34
    cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = 64  # channels of the stem; built-in: 64
    cfg.MODEL.FPN = CN()
    cfg.MODEL.FPN.IN_FEATURES = []  # backbone stages that enter the pyramid; built-in: res2 to res5
    cfg.MODEL.FPN.OUT_CHANNELS = 256  # channels of each pyramid level
    cfg.MODEL.FPN.NORM = ""  # "" | BN | SyncBN | GN
    cfg.MODEL.FPN.FUSE_TYPE = "sum"  # built-in: sum

    cfg.MODEL.ANCHOR_GENERATOR = CN()
    cfg.MODEL.ANCHOR_GENERATOR.NAME = "DefaultAnchorGenerator"  # built-in: the only one
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[32, 64, 128, 256, 512]]  # side of the square anchor per level, px
    cfg.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS = [[0.5, 1.0, 2.0]]  # height / width
    cfg.MODEL.ANCHOR_GENERATOR.OFFSET = 0.0  # offset of the first anchor, in strides
    cfg.MODEL.PROPOSAL_GENERATOR = CN()
    cfg.MODEL.PROPOSAL_GENERATOR.NAME = "RPN"  # built-in: the only one
    cfg.MODEL.PROPOSAL_GENERATOR.MIN_SIZE = 0  # smallest side of a proposal, px
    cfg.MODEL.RPN = CN()
    cfg.MODEL.RPN.HEAD_NAME = "StandardRPNHead"  # built-in: the only one
    cfg.MODEL.RPN.IN_FEATURES = ["res4"]  # pyramid levels with anchors
    cfg.MODEL.RPN.BOUNDARY_THRESH = -1  # built-in: -1, anchors across the border are kept
    cfg.MODEL.RPN.IOU_THRESHOLDS = [0.3, 0.7]  # below the first background, from the second on foreground
    cfg.MODEL.RPN.IOU_LABELS = [0, -1, 1]  # labels of the three intervals
    cfg.MODEL.RPN.BATCH_SIZE_PER_IMAGE = 256  # anchors per image in the loss
    cfg.MODEL.RPN.POSITIVE_FRACTION = 0.5  # largest share of foreground among them
    cfg.MODEL.RPN.BBOX_REG_LOSS_TYPE = "smooth_l1"  # built-in: the only one
    cfg.MODEL.RPN.BBOX_REG_LOSS_WEIGHT = 1.0  # weight of the box loss
    cfg.MODEL.RPN.BBOX_REG_WEIGHTS = (1.0, 1.0, 1.0, 1.0)  # scale of (dx, dy, dw, dh)
    cfg.MODEL.RPN.SMOOTH_L1_BETA = 0.0  # 0 is the L1 loss
    cfg.MODEL.RPN.LOSS_WEIGHT = 1.0  # weight of the objectness loss
    cfg.MODEL.RPN.PRE_NMS_TOPK_TRAIN = 12000  # proposals per level before NMS, training
    cfg.MODEL.RPN.PRE_NMS_TOPK_TEST = 6000  # proposals per level before NMS, test
    cfg.MODEL.RPN.POST_NMS_TOPK_TRAIN = 2000  # proposals per image after NMS, training
    cfg.MODEL.RPN.POST_NMS_TOPK_TEST = 1000  # proposals per image after NMS, test
    cfg.MODEL.RPN.NMS_THRESH = 0.7  # IoU of the NMS
    cfg.MODEL.RPN.CONV_DIMS = [-1]  # built-in: [-1], one 3x3 convolution


def _add_heads(cfg: CN) -> None:
    """RoI heads; Detectron2's keys and defaults, and DropLoss."""
    cfg.MODEL.ROI_HEADS = CN()
    cfg.MODEL.ROI_HEADS.NAME = "Res5ROIHeads"  # CascadeROIHeads | StandardROIHeads (or CutLER's Custom* names)
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 80  # 1 for class-agnostic detection
    cfg.MODEL.ROI_HEADS.IN_FEATURES = ["res4"]  # pyramid levels RoIs are pooled from
    cfg.MODEL.ROI_HEADS.IOU_THRESHOLDS = [0.5]  # IoU from which a proposal is foreground
    cfg.MODEL.ROI_HEADS.IOU_LABELS = [0, 1]  # labels of the two intervals; built-in: these
    cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 512  # RoIs per image in the loss
    cfg.MODEL.ROI_HEADS.POSITIVE_FRACTION = 0.25  # largest share of foreground among them
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.05  # detections below are dropped
    cfg.MODEL.ROI_HEADS.NMS_THRESH_TEST = 0.5  # IoU of the NMS at test time
    cfg.MODEL.ROI_HEADS.PROPOSAL_APPEND_GT = True  # add the ground-truth boxes to the proposals
    cfg.MODEL.ROI_HEADS.USE_SOFT_TARGETS = False  # an instance counts as much as its score s (CuVLER, section 3.3)
    cfg.MODEL.ROI_HEADS.USE_DROPLOSS = False  # ignore RoIs whose box overlaps no pseudo-mask (CutLER, section 3.3)
    cfg.MODEL.ROI_HEADS.DROPLOSS_IOU_THRESH = 0.0  # tau^IoU of DropLoss
    cfg.MODEL.ROI_HEADS.DROPLOSS_REFERENCE = "all"  # all: every box of the image | published: CutLER's partial set
    cfg.MODEL.ROI_BOX_HEAD = CN()
    cfg.MODEL.ROI_BOX_HEAD.NAME = ""  # built-in: FastRCNNConvFCHead is the only one
    cfg.MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE = "smooth_l1"  # built-in: the only one
    cfg.MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_WEIGHT = 1.0  # weight of the box loss
    cfg.MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # scale of (dx, dy, dw, dh)
    cfg.MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA = 0.0  # 0 is the L1 loss
    cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION = 14  # cells per side of a pooled RoI
    cfg.MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO = 0  # samples per cell, 0 = adaptive
    cfg.MODEL.ROI_BOX_HEAD.POOLER_TYPE = "ROIAlignV2"  # built-in: the only one
    cfg.MODEL.ROI_BOX_HEAD.NUM_FC = 0  # fully connected layers
    cfg.MODEL.ROI_BOX_HEAD.FC_DIM = 1024  # their width
    cfg.MODEL.ROI_BOX_HEAD.NUM_CONV = 0  # built-in: 0
    cfg.MODEL.ROI_BOX_HEAD.CONV_DIM = 256  # unused while NUM_CONV is 0
    cfg.MODEL.ROI_BOX_HEAD.NORM = ""  # unused while NUM_CONV is 0
    cfg.MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG = False  # one box for all classes
    cfg.MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES = False  # built-in: off
    cfg.MODEL.ROI_BOX_CASCADE_HEAD = CN()
    cfg.MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS = (
        (10.0, 10.0, 5.0, 5.0),
        (20.0, 20.0, 10.0, 10.0),
        (30.0, 30.0, 15.0, 15.0),
    )  # scale of (dx, dy, dw, dh) per stage
    cfg.MODEL.ROI_BOX_CASCADE_HEAD.IOUS = (0.5, 0.6, 0.7)  # foreground threshold per stage
    cfg.MODEL.ROI_MASK_HEAD = CN()
    cfg.MODEL.ROI_MASK_HEAD.NAME = "MaskRCNNConvUpsampleHead"  # or CuVLER's name CustomMaskRCNNConvUpsampleHead
    cfg.MODEL.ROI_MASK_HEAD.CONFIDENCE = "none"  # none | spatial: per cell SC (CutS3D, equation 6) | scalar: mean SC
    cfg.MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION = 14  # cells per side of a pooled RoI; the mask has twice as many
    cfg.MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO = 0  # samples per cell, 0 = adaptive
    cfg.MODEL.ROI_MASK_HEAD.NUM_CONV = 0  # 3x3 convolutions
    cfg.MODEL.ROI_MASK_HEAD.CONV_DIM = 256  # their width
    cfg.MODEL.ROI_MASK_HEAD.NORM = ""  # "" | GN
    cfg.MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK = False  # one mask for all classes
    cfg.MODEL.ROI_MASK_HEAD.POOLER_TYPE = "ROIAlignV2"  # built-in: the only one


def _add_solver(cfg: CN) -> None:
    """Optimiser, schedule and test; Detectron2's keys and defaults."""
    cfg.SOLVER = CN()
    cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupMultiStepLR"  # built-in: the only one
    cfg.SOLVER.MAX_ITER = 40000  # iterations
    cfg.SOLVER.BASE_LR = 0.001  # learning rate after warm-up
    cfg.SOLVER.BASE_LR_MULTIPLIER = 1  # CutLER: factor on the learning rate of BASE_LR_MULTIPLIER_NAMES
    cfg.SOLVER.BASE_LR_MULTIPLIER_NAMES = []  # CutLER: modules with that factor
    cfg.SOLVER.MOMENTUM = 0.9  # of SGD
    cfg.SOLVER.NESTEROV = False  # of SGD
    cfg.SOLVER.WEIGHT_DECAY = 0.0001  # L2 penalty
    cfg.SOLVER.WEIGHT_DECAY_NORM = 0.0  # L2 penalty of normalisation layers
    cfg.SOLVER.WEIGHT_DECAY_BIAS = None  # L2 penalty of biases; None is WEIGHT_DECAY
    cfg.SOLVER.BIAS_LR_FACTOR = 1.0  # factor on the learning rate of biases
    cfg.SOLVER.GAMMA = 0.1  # factor on the learning rate at each step
    cfg.SOLVER.STEPS = (30000,)  # iterations at which it is applied
    cfg.SOLVER.WARMUP_FACTOR = 1.0 / 1000  # learning rate at iteration 0, relative
    cfg.SOLVER.WARMUP_ITERS = 1000  # length of the warm-up
    cfg.SOLVER.WARMUP_METHOD = "linear"  # linear | constant
    cfg.SOLVER.CHECKPOINT_PERIOD = 5000  # iterations between checkpoints
    cfg.SOLVER.IMS_PER_BATCH = 16  # images per batch over all processes
    cfg.SOLVER.REFERENCE_WORLD_SIZE = 0  # GPUs the recipe is written for; > 0 rescales it to --num-gpus
    cfg.SOLVER.CLIP_GRADIENTS = CN({"ENABLED": False})  # clip gradients
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "value"  # value | norm (per parameter tensor) | full_model
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 1.0  # largest value or norm
    cfg.SOLVER.CLIP_GRADIENTS.NORM_TYPE = 2.0  # order of the norm
    cfg.SOLVER.AMP = CN({"ENABLED": False})  # mixed precision (CUDA only; switched off elsewhere)

    cfg.TEST = CN()
    cfg.TEST.EVAL_PERIOD = 0  # iterations between evaluations, 0 = at the end only
    cfg.TEST.IMS_PER_BATCH = 1  # images of one size that the network sees at once when it predicts
    cfg.TEST.DETECTIONS_PER_IMAGE = 100  # most detections per image
    cfg.TEST.EXPECTED_RESULTS = []  # [[iou_type, metric, value, tolerance], ...] checked after the last evaluation
    cfg.TEST.NO_SEGM = False  # CutLER: evaluate boxes only
    cfg.TEST.PRECISE_BN = CN({"ENABLED": False})  # recompute BatchNorm statistics before the final checkpoint
    cfg.TEST.PRECISE_BN.NUM_ITER = 200  # batches used for that
    cfg.TEST.AUG = CN({"ENABLED": False})  # test-time augmentation; must stay off


def _add_rounds(cfg: CN) -> None:
    """Self-training rounds (CutLER, section 3.4)."""
    cfg.ROUNDS = CN()
    cfg.ROUNDS.RECIPE = ""  # YAML (relative to this file) that rounds after the first training use; empty: the same
    cfg.ROUNDS.SCORE_THRESHOLDS = (0.70, 0.65, 0.60)  # detections kept as pseudo-masks, per round; the last one repeats
    cfg.ROUNDS.MATCH_IOU = 0.5  # a previous mask with less IoU with every kept detection survives
    cfg.ROUNDS.DETECTIONS_PER_IMAGE = 30  # most detections per image when predicting pseudo-masks
