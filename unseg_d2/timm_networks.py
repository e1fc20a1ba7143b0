"""Networks of timm that return their maps: how they are made, and the names that files give to their weights."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from unseg_d2.errors import UnsegError, nearest
from unseg_d2.weight_files import unwrapped

HEADS = ("classifier.", "conv_head.", "bn2.", "head.", "fc.", "fc_norm.", "norm.", "pre_logits.")
"""Beginnings of the names of what follows the last map: the classifier, and the layers before it."""

# EfficientNet-PyTorch: layers of a block with and without an expansion, in timm's names.
_FRAME = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_EFFICIENTNET_BLOCK = re.compile(r"^_blocks\.(\d+)\.(\w+)\.(\w+)$")

# What timm's tags of weights say: "a1_in1k", "clip_laion2b_ft_in12k", "dinov3_lvd1689m".
_TAGS = (
    (r"(^|_)in(1|12|21|22)k(_|$)", "imagenet-labels"),
    (r"(^|_)(clip|openai|laion\w*|datacomp\w*|siglip\w*)(_|$)", "text-image"),
)
_WITHOUT_LABELS = re.compile(r"^(dino|mae|(dinov3_)?lvd\d+m)$")


def make_network(name: str, key: str, *, pretrained: bool = False) -> Any:
    """Return timm's network of a name as a function from images to the list of its maps, finest first.

    Args:
        name: in timm, with or without the tag of its weights.
        key: of the configuration that holds the name, for the messages.
        pretrained: download timm's weights.

    Returns:
        timm's getter: ``feature_info`` describes the maps, ``model`` is the network under timm's own names.

    Raises:
        UnsegError: timm has no such network, or it cannot return maps.
        OSError, RuntimeError, ValueError: the weights cannot be downloaded.
    """
    import timm  # takes seconds

    if not timm.is_model(name):
        raise UnsegError(f"{key} is {name}, which timm does not have.{nearest(name, timm.list_models())}")
    # A ViT and a Swin transformer take images of any size only if they are asked to.
    ways: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})
    for options in ways:
        try:
            return timm.create_model(name, pretrained=pretrained, features_only=True, feature_cls="getter", **options)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
    raise UnsegError(f"timm's {name} cannot return its maps; choose another {key}.")


def network_names(given: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a file under the names of a network of timm, without heads.

    Args:
        given: weights in timm's or torchvision's names, those of EfficientNet-PyTorch, or those that timm itself
            renames (ConvNeXt's authors'); bare, or as DINO, MoCo v2 and v3, or Lightning wrap them.
        network: of timm, without its head.
    """
    wanted = network.state_dict()
    state = dict(unwrapped(given, lambda names: not wanted.keys().isdisjoint(names)))
    if "_conv_stem.weight" in state:
        state = _efficientnet_names(state, wanted)
    elif next(iter(wanted)) not in state:
        state = _timm_renames(state, network)
    return {name: tensor for name, tensor in state.items() if name in wanted or not name.startswith(HEADS)}


def supervision_of_tag(tag: str) -> tuple[str, ...]:
    """Return what timm's weights of a tag have learnt from, in words of `unseg_d2.supervision`; empty if not known.

    >>> supervision_of_tag("clip_laion2b_ft_in12k"), supervision_of_tag("dino"), supervision_of_tag("jft")
    (('imagenet-labels', 'text-image'), ('none',), ())
    """
    words = tuple(word for pattern, word in _TAGS if re.search(pattern, tag))
    return words or (("none",) if _WITHOUT_LABELS.match(tag) else ())


def _efficientnet_names(state: Mapping[str, Tensor], wanted: Iterable[str]) -> dict[str, Tensor]:
    """EfficientNet-PyTorch's names to timm's: its blocks are numbered through, timm's within their stage."""
    blocks = list(dict.fromkeys(".".join(name.split(".")[:3]) for name in wanted if name.startswith("blocks.")))
    expanded = {match[1] for name in state if (match := _EFFICIENTNET_BLOCK.match(name)) and match[2] == "_expand_conv"}
    renamed = {}
    for name, tensor in state.items():
        block = _EFFICIENTNET_BLOCK.match(name)
        if block is None:
            layer, _, rest = name.partition(".")
            renamed[f"{_FRAME.get(layer, layer)}.{rest}"] = tensor
        elif int(block[1]) < len(blocks):
            layer = (_EXPANDED if block[1] in expanded else _PLAIN).get(block[2], block[2])
            renamed[f"{blocks[int(block[1])]}.{layer}.{block[3]}"] = tensor
        else:
            renamed[name] = tensor
    return renamed


def _timm_renames(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Names that timm itself knows how to translate; unchanged where it does not."""
    translate = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if translate is None:
        return state
    try:
        return dict(translate(state, network))
    except (KeyError, RuntimeError, AttributeError, TypeError):  # of weights that are none of this network
        return state
