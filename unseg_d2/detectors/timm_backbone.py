"""Networks of timm as backbones of a feature pyramid, the same module for both engines.

Convolutional networks and hierarchical transformers have maps of stride 4, 8, 16 and 32. A plain ViT has one map, which
is enlarged and reduced to these strides (Li et al., ViTDet, section 3: simple feature pyramid).

Shape legend
    N      images
    C      channels of a map
    H, W   height and width of the images, multiples of 32
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fvcore.common.config import CfgNode
from torch import Tensor, nn

from unseg_d2.config.sections.timm import TIMM_FPN, TimmSettings
from unseg_d2.detectors.norms import available_norms
from unseg_d2.devices import resolve_device
from unseg_d2.errors import UnsegError
from unseg_d2.timm_networks import make_network, network_names
from unseg_d2.zoo.registry import find
from unseg_d2.zoo.store import PREFIX

STRIDES = {"res2": 4, "res3": 8, "res4": 16, "res5": 32}
"""Names of the maps, Detectron2's for a ResNet, and their strides."""

logger = logging.getLogger(__name__)


class TimmFeatures(nn.Module):
    """A network of timm that returns maps of stride 4 to 32.

    Args:
        base_name: name in timm.
        norm: see `TimmSettings`.
        pretrained: download timm's weights.

    Attributes:
        channels: of each map.
        mean, std: of the channels R, G, B in [0, 1] that timm's weights were trained with.

    Raises:
        UnsegError: timm has no such network, it has other strides, or the weights cannot be downloaded.
    """

    getter: Any

    def __init__(
        self, base_name: str, norm: str = TimmSettings.norm, *, pretrained: bool = TimmSettings.pretrained
    ) -> None:
        super().__init__()
        getter = _create(base_name, pretrained)
        strides, channels = list(getter.feature_info.reduction()), list(getter.feature_info.channels())
        self.mean, self.std = (tuple(getter.model.pretrained_cfg[key]) for key in ("mean", "std"))
        self.model: nn.Module = _with_norm(getter.model, norm)
        # Not registered: its network is `model` already, under the names that timm's own files have.
        object.__setattr__(self, "getter", getter)
        getter.model = self.model
        if strides[-4:] == list(STRIDES.values()):
            self.chosen, self.channels, self.scales = slice(-4, None), channels[-4:], None
        elif set(strides) <= {8, 16}:
            self.chosen, self.channels = slice(-1, None), _pyramid_channels(channels[-1], strides[-1])
            self.scales = nn.ModuleList(_scale(channels[-1], strides[-1], stride) for stride in STRIDES.values())
        else:
            raise UnsegError(
                f"MODEL.TIMM.BASE_NAME {base_name} has maps of stride {', '.join(map(str, strides))}, but a pyramid "
                "needs 4, 8, 16 and 32, or one map of 8 or 16."
            )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return res2 ... res5, ``(N, C, H / stride, W / stride)``, of images ``(N, 3, H, W)``."""
        maps = list(self.getter(images))[self.chosen]
        if self.scales is not None:
            maps = [scale(maps[-1]) for scale in self.scales]
        return dict(zip(STRIDES, maps))


def build_timm_features(cfg: CfgNode, kind: type[TimmFeatures] = TimmFeatures) -> TimmFeatures:
    """Build the network that ``MODEL.TIMM`` describes.

    Args:
        cfg: recipe.
        kind: class to make.

    Raises:
        UnsegError: see :class:`TimmFeatures`; or a key does not go with such a network.
    """
    settings = TimmSettings.from_config(cfg)
    if cfg.INPUT.FORMAT != "RGB":
        raise UnsegError(f"INPUT.FORMAT is {cfg.INPUT.FORMAT}, but networks of timm take RGB; set it, and PIXEL_MEAN.")
    if cfg.MODEL.BACKBONE.FREEZE_AT:
        raise UnsegError(
            f"MODEL.BACKBONE.FREEZE_AT is {cfg.MODEL.BACKBONE.FREEZE_AT}, but {TIMM_FPN} freezes nothing; set it to 0."
        )
    (norm,) = available_norms(resolve_device(cfg.MODEL.DEVICE, "MODEL.DEVICE"), settings.norm)
    download = settings.pretrained and not cfg.MODEL.WEIGHTS
    if settings.pretrained and cfg.MODEL.WEIGHTS:
        logger.info("MODEL.TIMM.PRETRAINED has no effect, since MODEL.WEIGHTS names a file.")
    network = kind(settings.base_name, norm, pretrained=download)
    if settings.pretrained or _is_timms(cfg.MODEL.WEIGHTS):
        _check_input(cfg, network)
    return network


def timm_names(given: Mapping[str, Tensor], detector: nn.Module, prefix: str) -> dict[str, Tensor]:
    """Return the weights of a bare network under the names that they have in a detector.

    Args:
        given: weights of a file, see :func:`~unseg_d2.timm_networks.network_names`, or of a whole detector.
        detector: that holds the network.
        prefix: of the network within the detector.
    """
    if any(name.startswith(prefix) for name in given):
        return dict(given)
    bare = network_names(given, detector.get_submodule(prefix.rstrip(".")))
    return {prefix + name: tensor for name, tensor in bare.items()}


def _create(name: str, pretrained: bool) -> Any:
    try:
        return make_network(name, "MODEL.TIMM.BASE_NAME", pretrained=pretrained)
    except (OSError, RuntimeError, ValueError) as error:
        if not pretrained:
            raise
        raise UnsegError(
            f"timm's weights of {name} cannot be downloaded ({type(error).__name__}); without a network, set "
            "MODEL.TIMM.PRETRAINED False and name a file of them as MODEL.WEIGHTS."
        ) from error


def _with_norm(network: nn.Module, norm: str) -> nn.Module:
    from timm.layers import convert_sync_batchnorm, freeze_batch_norm_2d

    if norm not in ("", "BN") and not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        raise UnsegError(f"MODEL.TIMM.NORM is {norm}, but the network has no BatchNorm; leave it empty.")
    if norm == "FrozenBN":
        frozen: nn.Module = freeze_batch_norm_2d(network)
        return frozen
    if norm == "SyncBN":
        shared: nn.Module = convert_sync_batchnorm(network)
        return shared
    return network


def _is_timms(weights: str) -> bool:
    """Whether weights are of one network of timm, whose pixel statistics are known; of most files nobody knows."""
    return weights.startswith(PREFIX) and bool(find(weights).package)


def _check_input(cfg: CfgNode, network: TimmFeatures) -> None:
    """Refuse pixel statistics that are not those of timm's weights."""
    for key, wanted in (("PIXEL_MEAN", network.mean), ("PIXEL_STD", network.std)):
        expected = [round(255 * value, 3) for value in wanted]
        if any(abs(one - other) > 0.5 for one, other in zip(cfg.MODEL[key], expected)):
            raise UnsegError(
                f"MODEL.{key} is {list(cfg.MODEL[key])}, but the weights of {cfg.MODEL.TIMM.BASE_NAME} were trained "
                f"with {expected}; set it to that."
            )


def _pyramid_channels(channels: int, stride: int) -> list[int]:
    return [channels // max(stride // wanted, 1) for wanted in STRIDES.values()]


def _scale(channels: int, stride: int, wanted: int) -> nn.Module:
    """Return layers from a map of one stride to one of another: transposed convolutions, nothing, or max pooling."""
    if wanted >= stride:
        return nn.MaxPool2d(wanted // stride) if wanted > stride else nn.Identity()
    layers: list[nn.Module] = []
    for step in range(round(math.log2(stride / wanted))):
        width = channels >> step
        layers += [nn.GroupNorm(1, width), nn.GELU()] if step else []
        layers.append(nn.ConvTranspose2d(width, width // 2, kernel_size=2, stride=2))
    return nn.Sequential(*layers)


def level_shapes(network: TimmFeatures) -> Sequence[tuple[str, int, int]]:
    """Return name, channels and stride of each map."""
    return [(name, width, STRIDES[name]) for name, width in zip(STRIDES, network.channels)]
