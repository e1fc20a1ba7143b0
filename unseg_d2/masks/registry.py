"""The protocol of mask generators, their registry, and how one is built from a configuration."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from fvcore.common.config import CfgNode

from unseg_d2.errors import UnsegError
from unseg_d2.registry import Entry, Registry
from unseg_d2.settings import Settings, all_settings, known_settings, look_up, own_settings, section, setting
from unseg_d2.structures import PatchFeatures, Proposals

Mode = Literal["default", "parity"]
Stop = Literal["count", "prior"]
STOP_KEY = "MASKS.STOP"
STOP_MEANING = "when repeated cuts end: count (at NUM_MASKS) | prior (earlier, by the foreground union of MASKS.PRIOR)"


@runtime_checkable
class ProposalGenerator(Protocol):
    """Finds objects in the patch features of images.

    A generator must cope with any grid down to one patch, with features that are all equal or all zero (it may find
    nothing, and returns no empty mask) and with any float type; it raises ``ValueError`` for NaN or infinite features.
    The result depends on the features alone: not on the batch, the run or the device. One that needs depth declares
    it with an attribute ``needs_depth = True``. One whose masks contain one another gives them ``levels`` and
    ``parents``, and says so by ``has_levels = True``.
    """

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        """Return the proposals of each image, in order and on the CPU.

        They lie on the image's patch grid; a generator that uses the members of an ensemble returns them on the finest
        of the members' grids, and one that uses the pixels on these.
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
    stop: str = setting("count", STOP_MEANING, choices=get_args(Stop))
    max_proposals: int = setting(300, "largest number of proposals per image, the best are kept; 0 keeps all", low=0)

    def check(self) -> None:
        """Raise ValueError where the end of the cuts contradicts the mode."""
        check_stop(self.stop, self.mode)


def mode_setting() -> Any:
    """Return the field ``mode`` of a generator's settings, whose value is that of ``MASKS.MODE``."""
    return setting(
        "default",
        "variant of the method: default (what the paper means) | parity (what the published code does)",
        choices=get_args(Mode),
        key="MASKS.MODE",
    )


def stop_setting() -> Any:
    """Return the field ``stop`` of a generator's settings, whose value is that of ``MASKS.STOP``."""
    return setting("count", STOP_MEANING, choices=get_args(Stop), key=STOP_KEY)


def check_stop(stop: str, mode: str) -> None:
    """Raise ValueError where the end of the cuts contradicts the mode."""
    if stop != "count" and mode != "default":
        raise ValueError(f"MASKS.STOP {stop} needs MASKS.MODE default: the published codes count their cuts")


@runtime_checkable
class Guided(Protocol):
    """Settings of a generator that can be guided by a foreground union."""

    def asks_for_union(self) -> bool:
        """Return whether these settings make use of ``MASKS.PRIOR``."""
        ...


def build_generator(cfg: CfgNode) -> ProposalGenerator:
    """Return the mask generator that ``cfg.MASKS`` describes.

    Raises:
        UnsegError: if ``MASKS.GENERATOR`` is not registered, one of its settings is out of range, or it has no use for
            ``MASKS.STOP``.
    """
    entry = _named(cfg)
    if cfg.MASKS.STOP != "count" and entry is not None and not _takes_stop(entry):
        able = [name for name, known in MASK_GENERATORS if _takes_stop(known)]
        raise UnsegError(
            f"{STOP_KEY} {cfg.MASKS.STOP} has no effect on MASKS.GENERATOR {cfg.MASKS.GENERATOR}, which does not "
            f"repeat cuts; name one of {', '.join(able)}, or leave it out."
        )
    return MASK_GENERATORS.build(cfg)


def idle_prior(cfg: CfgNode) -> Iterator[str]:
    """Yield a sentence for each setting of ``MASKS.PRIOR`` that somebody has set and nothing reads."""
    entry = _named(cfg)
    own = entry.settings.from_config(cfg, entry.section) if entry and entry.settings else None
    idle: dict[str, str] = {}
    if entry is None or not (isinstance(own, Guided) and own.asks_for_union()):
        idle["MASKS.PRIOR."] = f"without {STOP_KEY} prior or MASKS.TOKENCUT.SIDE union"
    else:
        if cfg.MASKS.PRIOR.SOURCE != "unioncut":
            idle["MASKS.PRIOR.UNIONCUT."] = f"with MASKS.PRIOR.SOURCE {cfg.MASKS.PRIOR.SOURCE}"
        if not _takes_stop(entry):
            once = f"on MASKS.GENERATOR {cfg.MASKS.GENERATOR}, which does not repeat cuts"
            idle |= {"MASKS.PRIOR.MIN_PRECISION": once, "MASKS.PRIOR.COVERAGE": once}
    for key, known in all_settings():
        why = next((why for beginning, why in idle.items() if key.startswith(beginning)), "")
        if why and (value := look_up(cfg, key)) != known.default:
            yield f"{key} is {value!r}, which has no effect {why}."


def _takes_stop(entry: Entry[ProposalGenerator]) -> bool:
    known = known_settings(entry.settings).values() if entry.settings else ()
    return any(one.key == STOP_KEY for one in known)


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
    own = entry.settings.from_config(_completed(settings), entry.section)
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


def _completed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the default of each key of ``MASKS`` that a label set, made before there was it, lacks."""
    whole = copy.deepcopy(dict(settings))
    for key, known in all_settings():
        *sections, name = key.split(".")
        if sections[:1] == ["MASKS"]:
            node = whole
            for part in sections:
                node = node.setdefault(part, {})
            node.setdefault(name, known.default)
    return whole


def _named(settings: Mapping[str, Any]) -> Entry[ProposalGenerator] | None:
    """Return the generator that settings name; ``None`` for a plug-in that is not imported here."""
    name = str(settings.get("MASKS", {}).get("GENERATOR", "")).lower()
    return MASK_GENERATORS.entry(name) if name in MASK_GENERATORS.names() else None
