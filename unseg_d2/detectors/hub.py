"""A detector in a folder and on the Hugging Face hub, by the hub's own mixin.

The folder holds ``model.safetensors``, which carries the description with the recipe, and the card, ``README.md``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode
from huggingface_hub import ModelCard, ModelCardData, ModelHubMixin, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from msgspec.structs import replace

from unseg_d2.description import Description
from unseg_d2.detectors.about import portable_recipe
from unseg_d2.detectors.card import TAGS, card_text
from unseg_d2.detectors.checkpoints import in_detectron2_names
from unseg_d2.detectors.convert import Conversion, write
from unseg_d2.detectors.figures import measured_beside
from unseg_d2.errors import UnsegError
from unseg_d2.loop.checkpoint import load_checkpoint
from unseg_d2.weight_kinds import kind_of
from unseg_d2.zoo.registry import find
from unseg_d2.zoo.store import PREFIX, learnt_from, resolve

FILE = "model.safetensors"
"""Name of the weights, as the hub expects them."""


class Published(ModelHubMixin, library_name="unseg_d2", pipeline_tag="image-segmentation"):
    """The weights of a detector as a folder of the hub.

    Args:
        title: of the folder or repository, for the card.
        conversion: weights and description; ``None`` for what is only loaded.
        licence: of the weights, for the card.
        file: of the weights that were loaded.
    """

    def __init__(
        self, title: str = "", conversion: Conversion | None = None, licence: str = "", file: str = ""
    ) -> None:
        self.title, self.conversion, self.licence, self.file = title, conversion, licence, file
        self._hub_mixin_config = None  # the mixin would write the arguments into a config.json

    def _save_pretrained(self, save_directory: Path) -> None:
        assert self.conversion is not None
        write(self.conversion, save_directory / FILE)

    def generate_model_card(self, *_: Any, **__: Any) -> ModelCard:
        """Return the card; see :func:`~unseg_d2.detectors.card.card_text`."""
        assert self.conversion is not None
        header = ModelCardData(
            library_name="unseg_d2",
            pipeline_tag="image-segmentation",
            tags=list(TAGS),
            license=self.licence.lower() or None,
        )
        text = card_text(
            self.conversion.about, kind_of(self.conversion.state).text, name=self.title, licence=self.licence
        )
        return ModelCard(f"---\n{header.to_yaml()}\n---\n\n{text}")

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> Published:
        if os.path.isdir(model_id):
            path = Path(model_id) / FILE
            if not path.is_file():
                raise UnsegError(f"{model_id} holds no {FILE}; name a folder that save_pretrained has written.")
            return cls(file=str(path))
        known = ("revision", "cache_dir", "force_download", "token", "local_files_only")
        return cls(file=hf_hub_download(model_id, FILE, **{key: options[key] for key in known if key in options}))


def save(weights: str, cfg: CfgNode, folder: str | os.PathLike[str], *, licence: str = "") -> Path:
    """Write a detector into a folder; see `Detector.save_pretrained`."""
    path = Path(folder)
    with _as_one_line(f"{path} cannot be written", "choose another folder"):
        _published(weights, cfg, path.resolve().name, licence).save_pretrained(path)
    return path


def push(weights: str, cfg: CfgNode, repository: str, *, licence: str = "", **options: Any) -> str:
    """Upload a detector; see `Detector.push_to_hub`."""
    published = _published(weights, cfg, repository, licence)
    with _as_one_line(
        f"{repository} cannot be written on the Hugging Face hub",
        "nothing was uploaded and the checkpoint is as it was: log in with `hf auth login` as somebody who may write "
        "there, or use save_pretrained(folder) and upload that",
    ):
        return str(published.push_to_hub(repository, **options))


def fetch(name: str | os.PathLike[str], **options: Any) -> str:
    """Return the file of weights of a folder or a repository; see `Detector.from_pretrained`."""
    with _as_one_line(
        f"{os.fspath(name)} cannot be loaded",
        "name a folder that save_pretrained has written, or a repository of the Hugging Face hub",
    ):
        return Published.from_pretrained(os.fspath(name), **options).file


def _published(weights: str, cfg: CfgNode, name: str, licence: str) -> Published:
    """Return the weights of a checkpoint with its description, completed by what is known beside it."""
    path = Path(resolve(weights))
    checkpoint = load_checkpoint(path, trust=cfg.MODEL.TRUST_CHECKPOINT)
    state, source = in_detectron2_names(checkpoint["model"])
    about = Description.of(checkpoint)
    about = replace(
        about,
        task=about.task or ("classes" if cfg.MODEL.ROI_HEADS.NUM_CLASSES > 1 else "instances"),
        recipe=portable_recipe(cfg),
        supervision=about.supervision or tuple(learnt_from(weights)),
        measured=[*about.measured, *measured_beside(path)],
    )
    if not licence and weights.startswith(PREFIX):
        licence = str(find(weights).licence["name"])
    return Published(name, Conversion(state, source, "detector", 0, [], about), licence)


@contextmanager
def _as_one_line(what: str, remedy: str) -> Iterator[None]:
    """Turn what the hub's client and the disk raise into one sentence."""
    try:
        yield
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UnsegError(f"{what} ({reason.rstrip('.')[:200]}); {remedy}.") from None
