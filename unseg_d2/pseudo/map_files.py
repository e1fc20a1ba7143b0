"""Files beside images that say how masks are split: one per image and named like it, such as edge maps."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import ClassVar

from unseg_d2.data.beside import file_beside
from unseg_d2.data.images import ImageFile, ImageProblem
from unseg_d2.structures import DepthKind

MOST_STRETCH = 1.05  # a map whose aspect ratio differs by more than this factor belongs to another image


class MapFiles:
    """Maps in a folder; to label sets they are what depth files are.

    Args:
        root: folder of the files: the name of the image with one of the extensions.
    """

    what: ClassVar[str]
    """What a file is called in messages."""
    extensions: ClassVar[tuple[str, ...]]
    predicts = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kind: DepthKind = "relative"  # to the manifest, which records maps in the place of depth

    def file(self, image: ImageFile) -> Path | None:
        """Return the file of an image, ``None`` where there is none.

        Raises:
            ImageProblem: there are several.
        """
        return file_beside(self._stem(image), self.extensions, self.what)

    def existing_file(self, image: ImageFile) -> Path:
        """Return the file of an image.

        Raises:
            ImageProblem: there is none, or there are several.
        """
        path = self.file(image)
        if path is None:
            names = f"{self._stem(image)}{{{','.join(self.extensions)}}}"
            raise ImageProblem(f"it has no {self.what}: there is no {names}")
        return path

    def unreadable(self, path: Path, error: Exception) -> ImageProblem:
        """Return what is said of a file that cannot be read."""
        reason = " ".join(str(error).split()) or type(error).__name__
        return ImageProblem(f"the {self.what} {path} cannot be read: {reason}")

    def check_size(self, path: Path, size: tuple[int, int], image: tuple[int, int]) -> None:
        """Raise ImageProblem where a map of height and width cannot be that of an image of height and width."""
        stretch = (size[0] / size[1]) / (image[0] / image[1])
        slack = MOST_STRETCH * (1 + 1 / min(size))  # sides are whole numbers
        if not 1 / slack <= stretch <= slack:
            raise ImageProblem(
                f"the {self.what} {path} has {size[1]}x{size[0]} pixels, another aspect ratio than the image's "
                f"{image[1]}x{image[0]}"
            )

    def _stem(self, image: ImageFile) -> Path:
        relative = PurePosixPath(image.file_name)
        return self.root / relative.parent / relative.stem
