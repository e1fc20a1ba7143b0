"""Find out whether Detectron2 can be used here and, if not, what is missing and how to fix it."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
from pathlib import Path

import torch

TESTED_COMMIT = "02b5c4e2"
INSTALL = f"pip install --no-build-isolation git+https://github.com/facebookresearch/detectron2@{TESTED_COMMIT}"
"""Without build isolation, because Detectron2's build imports the torch that it is for."""

INSTALLATION_GUIDE = "https://detectron2.readthedocs.io/en/latest/tutorials/install.html"


@functools.cache
def availability() -> tuple[bool, str]:
    """Check that Detectron2 is installed, compiled for the installed torch, and imports.

    Returns:
        ``(usable, reason)``. The reason is one sentence: which Detectron2 is used, or what is missing or does not
        match and how to fix it.
    """
    # A mere folder "detectron2" on the path is found as a namespace package, which has no origin.
    spec = importlib.util.find_spec("detectron2")
    if spec is None or spec.origin is None:
        return False, f"Detectron2 is not installed; build it with '{INSTALL}', see {INSTALLATION_GUIDE}"
    folder = Path(spec.origin).parent
    try:
        importlib.import_module("detectron2._C")
    except ImportError as error:
        return False, _broken_extension(folder, error)
    try:
        version = importlib.import_module("detectron2").__version__
        for module in ("detectron2.engine", "detectron2.modeling", "detectron2.checkpoint"):
            importlib.import_module(module)
    except Exception as error:  # an unknown version of a dependency may raise anything
        return False, (
            f"Detectron2 in {folder} cannot be imported ({type(error).__name__}: {error}); "
            f"install the commit that this project is tested with, '{INSTALL}', see {INSTALLATION_GUIDE}"
        )
    return True, f"Detectron2 {version} in {folder} with torch {torch.__version__}"


def _broken_extension(folder: Path, error: ImportError) -> str:
    """Explain why ``detectron2._C`` cannot be imported: never compiled, or compiled for another torch or Python."""
    rebuild = (
        f"rebuild it against the installed torch with '{INSTALL} --force-reinstall --no-deps', see {INSTALLATION_GUIDE}"
    )
    compiled = sorted(folder.glob("_C*.so")) + sorted(folder.glob("_C*.pyd"))
    if not compiled:
        return (
            f"Detectron2 in {folder} has no compiled part (detectron2._C): it is only a source folder, "
            f"perhaps the current directory; run from another directory or {rebuild}"
        )
    return (
        f"Detectron2 {_installed_version()} in {folder} was compiled for another torch or Python than the installed "
        f"torch {torch.__version__} ({compiled[0].name}: {error}); {rebuild}"
    )


def _installed_version() -> str:
    """Return the version of the installed Detectron2 according to its package metadata."""
    try:
        return importlib.metadata.version("detectron2")
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"
