"""Which settings a command reads; one that is given to a command that does not read it is named in a warning.

Each constant lists keys, and sections, which end in a dot; a minus before one says that it is not read, though the
section around it is, unless it is listed as well. Which parts of a section are used is another question, which the
names of parts in the recipe answer (`unseg_d2.registry.check_unused`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

ALWAYS = ("PLUGINS", "VERSION")
PICTURES = ("INPUT.WINDOW", "INPUT.BANDS", "INPUT.EXIF", "INPUT.MAX_PIXELS")
FEATURES = ("FEATURES.", "MODEL.TRUST_CHECKPOINT", *PICTURES)
MASKS = (*FEATURES, "DEPTH.", "MASKS.", "-MASKS.SPLIT.", "REFINE.", "PSEUDO.", "SYNTHETIC.")
TRACKS = ("TRACKS.", *FEATURES)
CUTS = ("DEPTH.", "MASKS.CUTS3D.LOCALCUT.", "PSEUDO.", "FEATURES.BATCH_SIZE", "FEATURES.DEVICE", *PICTURES)
SPLITS = ("DEPTH.", "MASKS.SPLIT.", "PSEUDO.", "FEATURES.BATCH_SIZE", "FEATURES.DEVICE", *PICTURES)
GROUPS = ("GROUPS.", *FEATURES)
SPREAD = ("RAY.",)
"""Of a command that has ``--engine``."""
SCORES = (
    *("TEST.", "-TEST.BEST", "-TEST.EVAL_PERIOD", "-TEST.EXPECTED_RESULTS", "-TEST.PRECISE_BN.", "-TEST.AUG."),
    *("-TEST.DETECTIONS_PER_IMAGE", "-TEST.IMS_PER_BATCH", "-TEST.PRECISION"),
    *("SYNTHETIC.", "MODEL.MASK_ON", "MODEL.ROI_HEADS.NUM_CLASSES"),
)
DETECTOR = (
    *("ENGINE", "MODEL.", "DATALOADER.NUM_WORKERS", "DATALOADER.PIN_MEMORY", *PICTURES),
    *("CUDNN_BENCHMARK", "FLOAT32_PRECISION"),
    *("INPUT.FORMAT", "INPUT.MIN_SIZE_TEST", "INPUT.MAX_SIZE_TEST"),
    *("TEST.DETECTIONS_PER_IMAGE", "TEST.IMS_PER_BATCH", "TEST.PRECISION"),
)
TRAINING = (
    *("ENGINE", "OUTPUT_DIR", "SEED", "CUDNN_BENCHMARK", "DETERMINISTIC", "FLOAT32_PRECISION"),
    *("TRACKER", "VIS_PERIOD"),
    *("DATALOADER.", "DATASETS.", "INPUT.", "LOSSES.", "MODEL.", "SOLVER.", "SYNTHETIC.", "TEST."),
)
SMALL_TRAINING = (  # of a small network on frozen features
    *("OUTPUT_DIR", "SEED", "TRACKER", "DATALOADER.NUM_WORKERS", "DATASETS.", "SYNTHETIC."),
    *("MODEL.DEVICE", "SOLVER.", "TEST.EVAL_PERIOD", *FEATURES),
)


def unread(opts: Sequence[str], reads: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each setting of a command line that the command does not read.

    Args:
        opts: alternating keys and values; unknown keys are left to the recipe's own check.
        reads: keys that the command reads, see above.

    >>> list(unread(["SOLVER.MAX_ITER", "9", "MASKS.GENERATOR", "lost"], ("SEED", "MASKS.")))
    ['SOLVER.MAX_ITER has no effect on this command, which reads only SEED, MASKS.']
    """
    from unseg_d2.config import get_cfg
    from unseg_d2.settings import all_settings

    get_cfg()  # all sections are known from now on
    known = {key for key, _ in all_settings()}
    for key in dict.fromkeys(opts[::2]):
        if key in known and not is_read(key, (*ALWAYS, *reads)):
            yield f"{key} has no effect on this command, which reads only {', '.join(_listed(reads))}."


def is_read(key: str, reads: Sequence[str]) -> bool:
    """Whether a key is among those that a command reads: the longest entry that it is, or lies in, decides."""
    fitting = [name for name in reads if key == (bare := name.removeprefix("-")) or _is_section_of(bare, key)]
    longest = max(fitting, key=lambda name: (len(name.removeprefix("-")), not name.startswith("-")), default="-")
    return not longest.startswith("-")


def _is_section_of(name: str, key: str) -> bool:
    return name.endswith(".") and key.startswith(name)


def _listed(reads: Sequence[str]) -> Iterator[str]:
    """Yield what is read, in words: ``MASKS (without MASKS.SPLIT)``."""
    for name in reads:
        if not name.startswith("-"):
            below = [one[1:] for one in reads if one.startswith(f"-{name}") and not is_read(one[1:], reads)]
            without = ", ".join(one.rstrip(".") for one in below)
            yield name.rstrip(".") + (f" (without {without})" if without else "")
