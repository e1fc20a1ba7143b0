"""The configuration keys of semantic segmentation, PriMaPs-EM, with the paper's values."""

from __future__ import annotations

from fvcore.common.config import CfgNode as CN


def add_semantic_defaults(cfg: CN) -> None:
    """Add the section ``SEMANTIC``; the batch size and the learning rate are those of ``SOLVER``."""
    cfg.SEMANTIC = CN()
    cfg.SEMANTIC.NUM_CLASSES = 0  # K: prototypes; 0: as many as the labels have classes, which a folder does not know
    cfg.SEMANTIC.NUM_LABELS = 0  # classes in the label files of a folder; 0: NUM_CLASSES
    cfg.SEMANTIC.IMAGE_SIZE = 320  # shorter side, and side of the middle square that is trained and scored on, px
    cfg.SEMANTIC.ANTIALIAS = True  # smooth images that shrink; published figures were made without
    cfg.SEMANTIC.FLIP = 0.5  # probability of a horizontal flip
    cfg.SEMANTIC.PROPOSALS = ""  # folder that keeps the mask proposals; empty: OUTPUT_DIR/proposals
    cfg.SEMANTIC.CACHE_GB = 2.0  # memory for features of views that come again; 0 computes them every time
    cfg.SEMANTIC.PROBE = False  # learn a linear probe beside, for evaluation only; needs labels of the training images
    cfg.SEMANTIC.SELECT = "last"  # checkpoint that is taken: last | best_miou (published; looks at the test labels)

    cfg.SEMANTIC.INIT = CN()  # theta before EM
    cfg.SEMANTIC.INIT.WEIGHTS = ""  # STEGO or HP checkpoint whose head and clusters are boosted; empty: from features
    cfg.SEMANTIC.INIT.NUM_BATCHES = 93  # batches whose principal directions are the first prototypes
    cfg.SEMANTIC.INIT.EPOCHS = 2  # of cosine k-means by gradient after that
    cfg.SEMANTIC.INIT.BASELINE_EPOCHS = 0  # k-means in all for the baseline; 0: what EM starts from is the baseline

    cfg.SEMANTIC.EM = CN()
    cfg.SEMANTIC.EM.EPOCHS = 50  # of expectation maximisation
    cfg.SEMANTIC.EM.GAMMA = 2.0  # gamma: power of the class-level focal weight
    cfg.SEMANTIC.EM.DECAY = 0.98  # largest decay of the momentum prototypes theta_M
    cfg.SEMANTIC.EM.PERIOD = 10  # steps between their updates

    cfg.SEMANTIC.VIEWS = CN()  # I': what the running prototypes theta_R learn from
    cfg.SEMANTIC.VIEWS.ORDER = "before"  # colours are changed before normalisation | after (published; loses the dark)
    cfg.SEMANTIC.VIEWS.NUMBER = 0  # different views of an image, kept in CACHE_GB; 0 draws a new one in each step

    cfg.SEMANTIC.TEST = CN()
    cfg.SEMANTIC.TEST.WHOLE = False  # score whole images at their own size, not the middle square
    cfg.SEMANTIC.TEST.FLIP = True  # average the features of an image and its mirror image
    cfg.SEMANTIC.TEST.CRF = False  # score also after a CRF with the settings of REFINE.CRF_LABELS
    cfg.SEMANTIC.TEST.MATCHING = "hungarian"  # of clusters with classes: hungarian | majority (many to one)
