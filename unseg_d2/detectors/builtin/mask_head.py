"""The mask branch (He et al., Mask R-CNN, section 3).

Shape legend
    R      foreground RoIs of all images of the batch
    K      mask channels: classes, or 1 if class-agnostic
    M      side of a predicted mask
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision.ops.misc import Conv2dNormActivation

from unseg_d2.detectors.builtin.backbone import get_norm


class MaskHead(nn.Sequential):
    """3x3 convolutions, upsampling by 2 and one logit per mask and cell.

    Args:
        in_channels: channels of the pooled features.
        num_masks: K.
        num_conv: number of 3x3 convolutions.
        conv_dim: channels of each convolution.
        norm: normalisation after each 3x3 convolution, "" or "GN".
    """

    def __init__(self, in_channels: int, num_masks: int, num_conv: int, conv_dim: int, norm: str) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number in range(1, num_conv + 1):
            layers[f"mask_fcn{number}"] = Conv2dNormActivation(
                in_channels, conv_dim, kernel_size=3, norm_layer=get_norm(norm), inplace=True
            )
            in_channels = conv_dim
        layers["deconv"] = nn.ConvTranspose2d(in_channels, conv_dim, kernel_size=2, stride=2)
        layers["deconv_relu"] = nn.ReLU(inplace=True)
        predictor = nn.Conv2d(conv_dim, num_masks, kernel_size=1)
        layers["predictor"] = predictor
        super().__init__(layers)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(predictor.weight, std=0.001)


def select_masks(logits: Tensor, classes: Tensor) -> Tensor:
    """Return ``(R, M, M)``: from ``(R, K, M, M)``, the channel of each RoI's class, or the only channel."""
    if logits.shape[1] == 1:
        return logits[:, 0]
    return logits[torch.arange(len(logits), device=logits.device), classes]
