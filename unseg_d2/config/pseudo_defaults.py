"""The configuration keys of features, depth, mask generators, refiners and label sets, with their defaults."""

from __future__ import annotations

from fvcore.common.config import CfgNode as CN


def add_pseudo_label_defaults(cfg: CN) -> None:
    """Add the sections that nothing of Detectron2 has."""
    _add_features(cfg)
    _add_depth(cfg)
    cfg.MASKS = CN()
    cfg.MASKS.GENERATOR = "maskcut"  # name in the registry of generators
    cfg.MASKS.MODE = "default"  # default: what the paper means | parity: what the published code does
    cfg.MASKS.MAX_PROPOSALS = 300  # an image with more proposals keeps the best; 0 keeps all
    _add_spectral_generators(cfg)
    _add_refiners(cfg)
    cfg.PSEUDO = CN()
    cfg.PSEUDO.SHARD_SIZE = 64  # images per shard, the unit of resuming
    cfg.PSEUDO.MAX_PIXELS = 178956970  # images with more pixels are recorded as failures (decompression bombs)


def _add_features(cfg: CN) -> None:
    """Image to patch features."""
    cfg.FEATURES = CN()
    cfg.FEATURES.NAME = "vit"  # vit (timm, pretrained) | descriptors (no weights; for trying things out)
    cfg.FEATURES.IMAGE_SIZE = 480  # side of the square that every image is resized to (MaskCut: fixed_size)
    cfg.FEATURES.WEIGHTS = ""  # local .pth or .safetensors of the ViT; empty downloads the timm weights
    cfg.FEATURES.BATCH_SIZE = 1  # images per forward pass of the backbone and of the generator
    cfg.FEATURES.DEVICE = "auto"  # auto | cpu | cuda | cuda:1 ...
    cfg.FEATURES.PRECISION = "float32"  # float32 | float16 | bfloat16 of the ViT's forward pass
    cfg.FEATURES.MEMBERS = []  # sections like this one, each with what differs from it: an ensemble (VoteCut)
    cfg.FEATURES.VIT = CN()
    cfg.FEATURES.VIT.ARCH = "dino_vitb8"  # dino_vit{s,b}{8,16}, dinov2_vit{s,b,l}14, dinov3_vit{s,b,l}16
    cfg.FEATURES.VIT.FACET = "key"  # key | query | value | kqv | token, of the last block
    cfg.FEATURES.VIT.POS_EMBED = "offset"  # offset: sampling ratio 28/60.1 (DINO, MaskCut) | exact: 28/60 (CuVLER)
    cfg.FEATURES.DESCRIPTORS = CN()
    cfg.FEATURES.DESCRIPTORS.PATCH_SIZE = 8  # side of a patch in pixels of the resized image


def _add_depth(cfg: CN) -> None:
    """Image to depth."""
    cfg.DEPTH = CN()
    cfg.DEPTH.SOURCE = "none"  # none | files | synthetic | hub (extra 'depth') | marigold (extra 'marigold')
    cfg.DEPTH.KIND = ""  # metric (metres) | relative (far is large) | inverse (near is large); files must say which
    cfg.DEPTH.CACHE = ""  # folder that keeps predicted depth at patch resolution; empty predicts it every time
    cfg.DEPTH.FILES = CN()
    cfg.DEPTH.FILES.ROOT = ""  # folder of .npy, .npz or .png named as the images; empty: 'depth' beside the images
    cfg.DEPTH.FILES.SCALE = 1.0  # factor to metres: 0.001 for millimetres, 1 / 256 for KITTI
    cfg.DEPTH.FILES.ZERO = "hole"  # 0 in metric files: hole (no reading) | far (nothing within reach, e.g. the sky)
    cfg.DEPTH.FILES.SUFFIX = ""  # between the image's name and the extension, e.g. _zoedepth
    cfg.DEPTH.HUB = CN()
    cfg.DEPTH.HUB.MODEL = "Intel/zoedepth-nyu-kitti"  # id on the Hugging Face hub (CutS3D: ZoeDepth), or local folder
    cfg.DEPTH.MARIGOLD = CN()
    cfg.DEPTH.MARIGOLD.MODEL = "prs-eth/marigold-depth-v1-1"  # id on the Hugging Face hub, or local folder
    cfg.DEPTH.MARIGOLD.STEPS = 4  # denoising steps


def _add_spectral_generators(cfg: CN) -> None:
    """Generators that cut a graph of patches by its eigenvectors."""
    cfg.MASKS.MASKCUT = CN()
    cfg.MASKS.MASKCUT.TAU = 0.15  # tau^ncut: cosine above which two patches are connected
    cfg.MASKS.MASKCUT.EPS = 1e-5  # weight of an edge between patches that are not connected
    cfg.MASKS.MASKCUT.NUM_MASKS = 3  # N: bipartitions per image
    cfg.MASKS.MASKCUT.MAX_OVERLAP = 0.5  # a mask with more IoU than this with the previous one is a repetition
    cfg.MASKS.MASKCUT.MIN_AREA = 0.01  # smallest share of the grid a mask after the first may have
    cfg.MASKS.TOKENCUT = CN()
    cfg.MASKS.TOKENCUT.TAU = 0.2  # tau of TokenCut
    cfg.MASKS.TOKENCUT.EPS = 1e-5  # weight of an edge between patches that are not connected
    cfg.MASKS.VOTECUT = CN()
    cfg.MASKS.VOTECUT.TAU = 0.15  # tau^ncut: cosine above which two patches are connected
    cfg.MASKS.VOTECUT.EPS = 1e-5  # weight of an edge between patches that are not connected
    cfg.MASKS.VOTECUT.NUM_CLUSTERS = [2, 3]  # K: numbers of clusters into which k-means cuts each eigenvector
    cfg.MASKS.VOTECUT.MIN_IOU = 0.6  # pieces with an IoU above this may be one object
    cfg.MASKS.VOTECUT.MIN_VOTES = 0.2  # tau_m: share of a group's pieces that a patch of its mask must exceed
    cfg.MASKS.VOTECUT.MAX_MASKS = 10  # objects per image
    cfg.MASKS.VOTECUT.GRID = 0  # side of the square grid of votes (60 in the published code); 0: the finest member's


def _add_refiners(cfg: CN) -> None:
    """Masks that follow the edges of the image."""
    cfg.REFINE = CN()
    cfg.REFINE.NAME = "guided"  # guided (OpenCV) | crf (pydensecrf, extra 'crf') | none
    cfg.REFINE.MIN_IOU = 0.5  # a mask whose IoU with its refined self is lower is dropped
    cfg.REFINE.CRF = CN()
    cfg.REFINE.CRF.ITERATIONS = 10  # mean-field steps
    cfg.REFINE.CRF.GAUSSIAN_SXY = 3.0  # sigma of the smoothness kernel, px
    cfg.REFINE.CRF.GAUSSIAN_WEIGHT = 7.0  # Potts weight of the smoothness kernel
    cfg.REFINE.CRF.BILATERAL_SXY = 50.0  # sigma of the appearance kernel, px
    cfg.REFINE.CRF.BILATERAL_SRGB = 5.0  # sigma of the appearance kernel, grey levels
    cfg.REFINE.CRF.BILATERAL_WEIGHT = 10.0  # Potts weight of the appearance kernel
    cfg.REFINE.GUIDED = CN()
    cfg.REFINE.GUIDED.RADIUS = 6  # r: half width of the window, px of the resized image
    cfg.REFINE.GUIDED.EPS = 1e-3  # epsilon: variance (image in [0, 1]) below which the filter averages
