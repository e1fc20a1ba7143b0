"""The protocol of mask generators, their registry, and how one is built from a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from fvcore.common.config import CfgNode

from unseg_d2.registry import Entry, Registry
from unseg_d2.settings import Settings, own_settings, section, setting
from unseg_d2.structures import PatchFeatures, Proposals

Mode = Literal["default", "parity"]


@runtime_checkable
class ProposalGenerator(Protocol):
    """Finds objects in the patch features of images.

    A generator must cope with any grid down to one patch, with features that are all equal or all zero (it may find
    nothing, and returns no empty mask) and with any float type; it raises ``ValueError`` for NaN or infinite features.
    The result depends on the features alone: not on the batch, the run or the device. One that needs depth declares
    it with an attribute ``needs_depth = True``.
    """

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        """Return the proposals of each image, in order and on the CPU.

        They lie on the image's patch grid; a generator that uses the members of an ensemble returns them on the finest
        of the members' grids.
        """
        ...


MASK_GENERATORS: Registry[ProposalGenerator] = Registry("MASKS.GENERATOR", "MASKS")
"""Classes that are made from their settings; ``MASKS.GENERATOR`` is the class name, in any case."""


@section("MASKS")
@dataclass(frozen=True)
class MaskSettings(Settings):
    """The mask generator, and what all of them share."""

    generator: str = setting("maskcut", "name of the mask generator; docs/generators.md lists them")
    mode: str = setting(
        "default",
        "variant of the method: default (what the paper means) | parity (what the published code does)",
        choices=get_args(Mode),
    )
    max_proposals: int = setting(300, "largest number of proposals per image, the best are kept; 0 keeps all", low=0)


def mode_setting() -> Any:
    """Return the field ``mode`` of a generator's settings, whose value is that of ``MASKS.MODE``."""
    return setting(
        "default",
        "variant of the method: default (what the paper means) | parity (what the published code does)",
        choices=get_args(Mode),
        key="MASKS.MODE",
    )


def build_generator(cfg: CfgNode) -> ProposalGenerator:
    """Return the mask generator that ``cfg.MASKS`` describes.

    Raises:
        UnsegError: if ``MASKS.GENERATOR`` is not registered, or one of its settings is out of range.
    """
    return MASK_GENERATORS.build(cfg)


@runtime_checkable
class Advises(Protocol):
    """Settings of a generator that know what to change where it finds nothing in many images."""

    def when_empty(self) -> str:
        """Return one sentence that names the keys to change."""
        ...


def when_empty(settings: Mapping[str, Any]) -> str:
    """Return what the settings of a generator advise where it finds nothing, empty where they have no advice.

    Args:
        settings: with the section ``MASKS``, as a configuration or the ``info`` of a label set holds it.
    """
    entry = _named(settings)
    if entry is None or entry.settings is None:
        return ""
    own = entry.settings.from_config(settings, entry.section)
    return own.when_empty() if isinstance(own, Advises) else ""


def filter_key(settings: Mapping[str, Any], name: str) -> str:
    """Return the key of the generator's setting that turned candidates down; empty where ``name`` is none of its own.

    Args:
        settings: as for :func:`when_empty`.
        name: a key of ``Proposals.rejected``.
    """
    entry = _named(settings)
    if entry is None or entry.settings is None or name not in own_settings(entry.settings):
        return ""
    return f"{entry.section}.{name.upper()}"


def _named(settings: Mapping[str, Any]) -> Entry[ProposalGenerator] | None:
    """Return the generator that settings name; ``None`` for a plug-in that is not imported here."""
    name = str(settings.get("MASKS", {}).get("GENERATOR", "")).lower()
    return MASK_GENERATORS.entry(name) if name in MASK_GENERATORS.names() else None
