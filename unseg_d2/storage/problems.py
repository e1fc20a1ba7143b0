"""What is wrong with an archive or an address, in one sentence that says what to do."""

from __future__ import annotations

from unseg_d2.errors import UnsegError


class BadArchive(UnsegError):
    """An archive that cannot be read to its end: images in it would be lost in silence."""


class NoImageColumn(UnsegError):
    """A parquet file without a column of images: a table of something else."""


class Unreachable(UnsegError):
    """A store that does not answer, or refuses: no fault of an image, so work ends here and can resume."""
