"""Detectron2's checkpointer, made safe: files are written and loaded completely, and run no pickled code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detectron2.checkpoint import DetectionCheckpointer
from torch import nn

from unseg_d2.description import Description
from unseg_d2.detectors.checkpoints import check_resumable, load_weights, save_checkpoint
from unseg_d2.loop.checkpoint import last_checkpoint
from unseg_d2.zoo.store import resolve

ENGINE = "detectron2"  # recorded in checkpoints, because the state of an optimiser fits one engine only


class SafeCheckpointer(DetectionCheckpointer):
    """Write and read checkpoints in Detectron2's format.

    Args:
        model: network, which may be wrapped for distributed training.
        save_dir: folder of the checkpoints.
        trust: allow files with pickled objects, which can run arbitrary code.
        **parts: optimiser, schedule and anything else with a ``state_dict``.

    Attributes:
        about: what checkpoints say of the network.
    """

    def __init__(self, model: nn.Module, save_dir: str = "", *, trust: bool = False, **parts: Any) -> None:
        super().__init__(model, save_dir, **parts)
        self.trust = trust
        self.about = Description(engine=ENGINE)

    def get_checkpoint_file(self) -> str:
        """Return the file to resume from, empty where there is none; see `unseg_d2.loop.checkpoint.last_checkpoint`."""
        return str(last_checkpoint(self.save_dir) or "")

    def save(self, name: str, **extra: Any) -> None:
        """Write ``<save_dir>/<name>.pth``, then point ``last_checkpoint`` to it; each completely or not at all.

        Args:
            name: of the file, without suffix.
            **extra: further content, such as ``iteration``.

        Raises:
            UnsegError: the disk is full or the folder cannot be written to.
        """
        if self.save_dir and self.save_to_disk:
            states = {key: part.state_dict() for key, part in self.checkpointables.items()}
            more = {**states, **self.about.entries(), **extra}
            save_checkpoint(Path(self.save_dir) / f"{name}.pth", self.model, **more)

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Read weights and, to resume a training, the other parts.

        Args:
            path: file, URL or ``zoo:NAME``; empty loads nothing.
            checkpointables: names of the parts to load, ``None`` for all of them. If no part is to be loaded, the file
                may hold the backbone alone, or a detector of other classes.

        Returns:
            The remaining content of the file.

        Raises:
            UnsegError: the file does not fit the network, needs ``trust``, or holds no parts of this engine.
        """
        if not path:
            return {}
        wanted = list(self.checkpointables) if checkpointables is None else checkpointables
        file = self.path_manager.get_local_path(resolve(path))
        checkpoint = load_weights(self.model, file, trust=self.trust, to_start=not wanted)
        if wanted:
            check_resumable(checkpoint, path, ENGINE, wanted)
        for key in wanted:
            self.checkpointables[key].load_state_dict(checkpoint.pop(key))
        return checkpoint
