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
    _add_prompting_generators(cfg)
    _add_cuts3d(cfg)
    _add_refiners(cfg)
    cfg.PSEUDO = CN()
    cfg.PSEUDO.SHARD_SIZE = 64  # images per shard, the unit of resuming
    cfg.PSEUDO.MAX_PIXELS = 178956970  # images with more pixels are recorded as failures (decompression bombs)


def _add_features(cfg: CN) -> None:
    """Image to patch features."""
    cfg.FEATURES = CN()
    cfg.FEATURES.NAME = "vit"  # vit (timm, pretrained) | descriptors, palette (no weights; for trying things out)
    cfg.FEATURES.IMAGE_SIZE = 480  # side of the square that every image is resized to (MaskCut: fixed_size)
    cfg.FEATURES.RESIZE = "square"  # square (MaskCut) | nearest_multiple (TokenCut saliency) | pad (LOST, TokenCut)
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
    cfg.FEATURES.DESCRIPTORS.PATCH_SIZE = 8  # side of a patch in pixels of the resized image; also that of palette


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
    """Generators that cut a graph of patches by its eigenvectors, or (LOST) grow a mask on it by its degrees."""
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
    cfg.MASKS.LOST = CN()
    cfg.MASKS.LOST.MAX_SEEDS = 100  # k: patches of lowest degree that may join the seed
    cfg.MASKS.LOST.CENTER = False  # subtract the image's mean feature first (not published; descriptors need it)


def _add_cuts3d(cfg: CN) -> None:
    """CutS3D. No code is published; each comment says where the default comes from.

    [paper]: stated in its text; [notes]: stated by readers of its last version; [MaskCut]: of the method that it builds
    on; [inferred]: what the equations leave, or what works; benchmarks/cuts3d.py measures those that matter.
    """
    cfg.MASKS.CUTS3D = CN()
    cfg.MASKS.CUTS3D.TAU = 0.15  # tau^ncut: cosine above which two patches are connected [MaskCut]
    cfg.MASKS.CUTS3D.EPS = 1e-5  # weight of an edge between patches that are not connected [MaskCut]
    cfg.MASKS.CUTS3D.NUM_MASKS = 3  # N: normalised cuts per image [MaskCut; the number is lost in the text]
    cfg.MASKS.CUTS3D.MIN_AREA = 0.01  # smallest share of the grid a mask after the first may have [MaskCut]
    cfg.MASKS.CUTS3D.REMOVAL = "remove"  # patches of a mask: remove (from the graph) [paper] | zero [MaskCut]
    cfg.MASKS.CUTS3D.MAX_REST = 0.9  # a semantic mask with more IoU than this with all that is left ends the image
    # [paper; the number is inferred]
    cfg.MASKS.CUTS3D.MIN_REST = 0.01  # share of the grid that must be left for another cut [inferred]
    cfg.MASKS.CUTS3D.CONNECTED = True  # semantic masks: only the part in 2D around the peak [MaskCut] | all [paper?]
    cfg.MASKS.CUTS3D.IMPORTANCE = True  # sharpen the affinity by Spatial Importance [paper]
    cfg.MASKS.CUTS3D.SIGMA = 3.0  # sigma of G, patches [inferred]
    cfg.MASKS.CUTS3D.BETA = 0.45  # beta: lowest Spatial Importance [notes]
    cfg.MASKS.CUTS3D.PAIRING = "mean"  # mean | product | max | row: Spatial Importance of a pair [inferred]
    cfg.MASKS.CUTS3D.COMPENSATE = True  # tau^(1 - beta), so that flat regions connect as in MaskCut [inferred]
    cfg.MASKS.CUTS3D.LOCAL_CUT = True  # cut the semantic masks in 3D [paper]
    cfg.MASKS.CUTS3D.LOCALCUT = CN()
    cfg.MASKS.CUTS3D.LOCALCUT.TAU_KNN = 0.115  # tau^knn: longest edge [paper; the unit is inferred: image sides]
    cfg.MASKS.CUTS3D.LOCALCUT.K = 10  # k: neighbours of a point [inferred]
    cfg.MASKS.CUTS3D.LOCALCUT.DEPTH_AXIS = "disparity"  # z is linear in: disparity | depth | metres [inferred]
    cfg.MASKS.CUTS3D.LOCALCUT.PERCENTILE = 1.0  # clipped at both ends of the depths before they become z [inferred]
    cfg.MASKS.CUTS3D.LOCALCUT.Z_SCALE = 3.0  # length of the z axis in image sides; a factor of metres [inferred]
    cfg.MASKS.CUTS3D.LOCALCUT.POINT_SET = "v3"  # v3: points outside the mask are far away [notes] | v1: dropped [paper]
    cfg.MASKS.CUTS3D.LOCALCUT.CAPACITY = "gaussian"  # gaussian | linear | binary [inferred] | distance [paper]
    cfg.MASKS.CUTS3D.LOCALCUT.SINK = "signed"  # smallest entry of x: signed [inferred] | absolute [paper]
    cfg.MASKS.CUTS3D.LOCALCUT.SEEDS = 1  # points that join source and sink [paper: 1]
    cfg.MASKS.CUTS3D.LOCALCUT.GATE = 0.3  # with more seeds: most that cut edges may weigh against all [inferred]
    cfg.MASKS.CUTS3D.LOCALCUT.MIN_AREA = 0.01  # share of the grid below which a minimum cut is degenerate [inferred]
    cfg.MASKS.CUTS3D.LOCALCUT.NUM_THRESHOLDS = 6  # T of Spatial Confidence [inferred: its lower bounds are sixths]
    cfg.MASKS.CUTS3D.LOCALCUT.T_MIN = 0.5  # lowest threshold as a share of tau^knn [inferred]
    cfg.MASKS.CUTS3D.LOCALCUT.MIN_CONFIDENCE = 0.5  # lowest Spatial Confidence within a mask [paper]


def _add_prompting_generators(cfg: CN) -> None:
    """Generators that compare patches with prompts or anchors and need no eigenproblem of the graph."""
    cfg.MASKS.PROMERGE = CN()
    cfg.MASKS.PROMERGE.STRIDE = 4  # every STRIDE-th patch of every STRIDE-th row is a prompt
    cfg.MASKS.PROMERGE.TAU = 0.2  # bipartition_tau: affinity to a prompt above which a patch belongs to its mask
    cfg.MASKS.PROMERGE.MIN_COMPONENT = 0.5  # cc_maskarea_tau: smallest component relative to the prompt's own
    cfg.MASKS.PROMERGE.MAX_BACKGROUND = 0.8  # iou_filter_tau: share of new patches in the background that rejects
    cfg.MASKS.PROMERGE.MAX_LIKENESS = 0.1  # foreground_include_tau: mean feature times the background's that rejects
    cfg.MASKS.PROMERGE.MERGE_ABOVE = 0.5  # intersection_merge_tau: covered share above which a mask joins a cluster
    cfg.MASKS.PROMERGE.COMPARE_ABOVE = 0.1  # merge_ioa_tau: covered share above which it joins one that looks alike
    cfg.MASKS.PROMERGE.MIN_SIMILARITY = 0.1  # dino_merge_tau: product of mean features from which both look alike
    cfg.MASKS.PROMERGE.MIN_BACKGROUND = 0.1  # smallest share of the grid that counts as a background
    cfg.MASKS.PROMERGE.MIN_ATTENTION = 0.0  # foreground probability by [CLS] attention below which to drop; 0 is off
    cfg.MASKS.PRIMAPS = CN()
    cfg.MASKS.PRIMAPS.PSI = 0.4  # psi: share of the largest cosine to the anchor from which on a patch is taken
    cfg.MASKS.PRIMAPS.COVERAGE = 0.95  # share of the grid from which on no further mask is looked for
    cfg.MASKS.PRIMAPS.MAX_MASKS = 100  # most proposals of an image; 0 is no limit (parity has none)
    cfg.MASKS.PRIMAPS.SIGN = "canonical"  # of the principal direction: canonical | random (published)


def _add_refiners(cfg: CN) -> None:
    """Masks that follow the edges of the image."""
    cfg.REFINE = CN()
    cfg.REFINE.NAME = "guided"  # guided | crf | crf_labels (disjoint masks) | bilateral | pydensecrf (extra) | none
    cfg.REFINE.WHERE = "input"  # input (at the network's input size) | image (at the image's own) | crops (VoteCut)
    cfg.REFINE.MIN_IOU = 0.5  # a mask whose IoU with its refined self is lower is dropped; crops: stays unrefined
    cfg.REFINE.UPSAMPLE = "nearest"  # nearest | bilinear: how patches become pixels before they are refined
    cfg.REFINE.CRF = CN()  # the constants of MaskCut, ProMerge and VoteCut
    cfg.REFINE.CRF.ITERATIONS = 10  # mean-field steps
    cfg.REFINE.CRF.GAUSSIAN_SXY = 3.0  # sigma of the smoothness kernel, px
    cfg.REFINE.CRF.GAUSSIAN_WEIGHT = 7.0  # Potts weight of the smoothness kernel
    cfg.REFINE.CRF.BILATERAL_SXY = 50.0  # sigma of the appearance kernel, px
    cfg.REFINE.CRF.BILATERAL_SRGB = 5.0  # sigma of the appearance kernel, grey levels
    cfg.REFINE.CRF.BILATERAL_WEIGHT = 10.0  # Potts weight of the appearance kernel
    cfg.REFINE.PYDENSECRF = cfg.REFINE.CRF.clone()  # the same, run by the library pydensecrf
    cfg.REFINE.CRF.DEVICE = "auto"  # auto (that of the features) | cpu | cuda | cuda:1 ...
    cfg.REFINE.CRF_LABELS = cfg.REFINE.CRF.clone()  # one CRF over all masks and the background; PriMaPs' constants
    cfg.REFINE.CRF_LABELS.GAUSSIAN_SXY = 1.0  # sigma of the smoothness kernel, px
    cfg.REFINE.CRF_LABELS.GAUSSIAN_WEIGHT = 3.0  # Potts weight of the smoothness kernel
    cfg.REFINE.CRF_LABELS.BILATERAL_SXY = 67.0  # sigma of the appearance kernel, px
    cfg.REFINE.CRF_LABELS.BILATERAL_SRGB = 3.0  # sigma of the appearance kernel, grey levels
    cfg.REFINE.CRF_LABELS.BILATERAL_WEIGHT = 4.0  # Potts weight of the appearance kernel
    cfg.REFINE.BILATERAL = CN()  # the bilateral solver with TokenCut's constants; Two Tricks has 24, 4, 4
    cfg.REFINE.BILATERAL.SIGMA_SPATIAL = 16.0  # side of a cell of the bilateral grid, px
    cfg.REFINE.BILATERAL.SIGMA_LUMA = 16.0  # height of a cell in Y, grey levels
    cfg.REFINE.BILATERAL.SIGMA_CHROMA = 8.0  # side of a cell in U and V, grey levels
    cfg.REFINE.BILATERAL.SMOOTHNESS = 256.0  # lambda
    cfg.REFINE.BILATERAL.CONFIDENCE = 0.999  # c: of the mask, everywhere
    cfg.REFINE.BILATERAL.MAX_ITERATIONS = 25  # conjugate gradient steps
    cfg.REFINE.BILATERAL.PARITY = False  # keep the second most frequent region, as TokenCut's code does
    cfg.REFINE.GUIDED = CN()
    cfg.REFINE.GUIDED.RADIUS = 6  # r: half width of the window, px of the resized image
    cfg.REFINE.GUIDED.EPS = 1e-3  # epsilon: variance (image in [0, 1]) below which the filter averages
