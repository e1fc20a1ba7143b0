"""Whom an error is blamed on while an image is worked on: the image's data, or the device, the memory or the program.

Only what an image's data cause is recorded as its failure: a run that goes on after an error of the program would end
with results that lack images for no reason of theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError

from unseg_d2.data.pictures.reading import ImageProblem
from unseg_d2.devices import device_failure, is_gpu_memory_full
from unseg_d2.errors import UnsegError, Unusable

OF_DATA = (Unusable, np.linalg.LinAlgError, torch.linalg.LinAlgError, ArpackError)
"""What an image's data may cause besides `ImageProblem`: they are unusable, or a decomposition does not converge."""
MOST_CHARACTERS = 200
"""Length of a message of the program that is shown."""


class GPUMemoryFull(UnsegError):
    """The memory of a GPU is full; fewer images at once may fit."""


class ProgramError(UnsegError):
    """An error of the program while an image was worked on."""


@contextmanager
def at_work(*names: str, needed: bool = False) -> Iterator[None]:
    """Name the images in what goes wrong while the block works on them.

    Args:
        names: of the images; one, or those of a batch.
        needed: whether the work cannot go on without them.

    Raises:
        ImageProblem: the data of an image cannot be used; may be recorded where the image is not needed.
        GPUMemoryFull: fewer images at once may fit.
        UnsegError: the device or the memory failed, or a file is missing; ends the work.
        ProgramError: anything else; ends the work.
    """
    which = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    try:
        yield
    except (ImageProblem, *OF_DATA) as error:
        text = _text(error)
        raise (UnsegError(f"{which} cannot be used: {text}.") if needed else ImageProblem(text)) from error
    except UnsegError:
        raise
    except Exception as error:
        if reason := device_failure(error):
            raise (GPUMemoryFull if is_gpu_memory_full(error) else UnsegError)(reason) from error
        raise ProgramError(
            f"The program failed on {which}: {type(error).__name__}: {_text(error)}. Finished work is kept; --verbose "
            "shows where it happened, please report that."
        ) from error


def _text(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".") or "no message"
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"
