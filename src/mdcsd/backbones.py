"""A backbone as five stages with known channels, cut out of timm's networks.

The cuts of Xception are the paper's: stitches stand behind Keras' blocks 2, 3, 4 and 13,
which timm counts as block 1, 2, 3 and 12.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.pool2d_same import create_pool2d
from timm.models import adapt_input_conv
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mdcsd.config import Backbone
from mdcsd.errors import CheckpointError, InputError

_TIMM_NAMES = {
    "xception": "legacy_xception",
    "efficientnet_lite0": "tf_efficientnet_lite0",
    "efficientnet_lite2": "tf_efficientnet_lite2",
}
Module = TypeVar("Module", bound=nn.Module)
_KERAS_BATCH_NORM_EPS = 1e-3  # timm's Xception has 1e-5, the weights were trained with this


@dataclass(frozen=True)
class _Cuts:
    """Names of a timm network's modules, stage by stage, and the channels each ends with."""

    stages: tuple[tuple[str, ...], ...]
    channels: tuple[int, ...]
    first_conv: str


_XCEPTION = _Cuts(
    stages=(
        ("conv1", "bn1", "act1", "conv2", "bn2", "act2", "block1"),
        ("block2",),
        ("block3",),
        tuple(f"block{i}" for i in range(4, 13)),
        ("conv3", "bn3", "act3", "conv4", "bn4", "act4"),
    ),
    channels=(128, 256, 728, 1024, 2048),
    first_conv="conv1.weight",
)


def _efficientnet(channels: tuple[int, ...]) -> _Cuts:
    return _Cuts(
        stages=(
            ("conv_stem", "bn1", "blocks.0", "blocks.1"),
            ("blocks.2",),
            ("blocks.3", "blocks.4"),
            ("blocks.5", "blocks.6"),
            ("conv_head", "bn2"),
        ),
        channels=channels,
        first_conv="conv_stem.weight",
    )


_CUTS = {
    "xception": _XCEPTION,
    "efficientnet_lite0": _efficientnet((24, 40, 112, 320, 1280)),
    "efficientnet_lite2": _efficientnet((24, 48, 120, 352, 1280)),
}


class StagedBackbone(nn.Module):
    """Five stages; `channels[i]` is what stage i ends with."""

    def __init__(self, name: Backbone, in_channels: int) -> None:
        """Build with random weights."""
        super().__init__()
        self.name = name
        self.in_channels = in_channels
        self.channels = _CUTS[name].channels
        model = _timm_model(name, in_channels, pretrained=False)
        self.stages = nn.ModuleList(
            nn.Sequential(*(model.get_submodule(part) for part in stage))
            for stage in _CUTS[name].stages
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, S, S) -> (B, channels[4], S / 32, S / 32)."""
        for stage in self.stages:
            x = stage(x)
        return x

    def load_imagenet(self, path: Path | None) -> None:
        """Load ImageNet weights: a safetensors file with timm's names, or timm's download.

        With other than three input channels the first layer's kernels are summed or repeated
        as timm does.

        Raises: InputError if timm cannot download; CheckpointError if names do not fit.
        """
        cuts = _CUTS[self.name]
        weights = _imagenet_weights(self.name, path)
        if cuts.first_conv not in weights:
            raise CheckpointError(
                f"{path}: no {cuts.first_conv} in it. Expected {self.name} of timm."
            )
        first = weights[cuts.first_conv]
        weights[cuts.first_conv] = adapt_input_conv(self.in_channels, first)
        for stage, parts in zip(self.stages, cuts.stages, strict=True):
            assert isinstance(stage, nn.Sequential)
            for module, part in zip(stage, parts, strict=True):
                _load_part(module, part, weights, path)


def fold_batch_norms(network: Module) -> Module:
    """Fold batch normalisation into the convolution before it: the same answers in less time.

    For judging alone, in evaluation mode; the network is changed and returned. Layers that
    stand behind each other in a module are taken to run behind each other, as in all
    networks here.
    """
    for module in list(network.modules()):
        children = list(module.named_children())
        for (name, layer), (next_name, norm) in pairwise(children):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(layer, norm))
                setattr(module, next_name, getattr(norm, "act", nn.Identity()))  # timm's has one
    return network


def fold_padding(network: Module) -> Module:
    """Put the padding of strided convolutions into their kernels: the same answers in less time.

    For judging alone, behind `fold_batch_norms`, and on a CPU, where copying a picture costs
    more than a larger kernel; the network is changed and returned.
    """
    for module in list(network.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, Conv2dSame) and _PaddedKernel.fits(layer):
                setattr(module, name, _PaddedKernel(layer))
    return network


class _PaddedKernel(nn.Module):
    """A convolution of stride two with TensorFlow's "same" padding, which copies no picture.

    Of an even side that padding puts one more row and column below and right than above and
    left. Torch's convolution pads both sides alike, so that timm copies the picture into a
    larger one; with a row and a column of zeros before the kernel, equal padding does the same.
    """

    def __init__(self, layer: Conv2dSame) -> None:
        super().__init__()
        self.odd_sides = (layer,)  # a tuple, which hides it from modules(): folded once
        kernel = functional.pad(layer.weight.detach(), (1, 0, 1, 0))
        self.register_buffer("kernel", kernel, persistent=False)

    @staticmethod
    def fits(layer: Conv2dSame) -> bool:
        """Whether it is one that this can replace: 3 or 5 px wide, of stride two."""
        odd = layer.kernel_size in {(3, 3), (5, 5)}
        return odd and layer.stride == (2, 2) and layer.dilation == (1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C', H / 2, W / 2), rounded up."""
        (layer,) = self.odd_sides
        if x.shape[-1] % 2 or x.shape[-2] % 2:
            answer: torch.Tensor = layer(x)
            return answer
        padding = layer.kernel_size[0] // 2
        return functional.conv2d(
            x, self.get_buffer("kernel"), layer.bias, 2, padding, groups=layer.groups
        )


def _imagenet_weights(name: Backbone, path: Path | None) -> dict[str, torch.Tensor]:
    if path is None:
        model = _timm_model(name, 3, pretrained=True)
        return dict(model.state_dict())
    if not path.is_file():
        raise InputError(f"{path}: no such file. Expected ImageNet weights of {name}.")
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a safetensors file ({error}).") from None


def _timm_model(name: Backbone, in_channels: int, pretrained: bool) -> Any:
    try:
        model = timm.create_model(
            _TIMM_NAMES[name], pretrained=pretrained, in_chans=in_channels, num_classes=0
        )
    except Exception as error:  # a hub that is out of reach raises one of a dozen types
        if not pretrained:
            raise
        raise InputError(
            f"timm cannot load ImageNet weights of {name} ({type(error).__name__}). Connect to the "
            "internet, or give --set network.pretrained_file=FILE.safetensors."
        ) from None
    if name == "xception":
        _as_in_keras(model)
    return model


def _as_in_keras(model: Any) -> None:
    """Undo two differences between timm's Xception and the one its weights were trained in.

    Keras pads a pooled picture of even side on the right and below only; timm pads all
    around, which shifts the grid by a pixel from the second block on (299 px: side 74).
    """
    pool: Any = create_pool2d
    for module in list(model.modules()):
        if isinstance(module, nn.BatchNorm2d):
            module.eps = _KERAS_BATCH_NORM_EPS
        for name, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool2d):
                setattr(module, name, pool("max", 3, 2, padding="same"))


def _load_part(
    module: nn.Module, part: str, weights: dict[str, torch.Tensor], path: Path | None
) -> None:
    prefix = part + "."
    own = {key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)}
    missing, unexpected = module.load_state_dict(own, strict=False)
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise CheckpointError(
            f"{path}: {part} does not fit (missing {missing[:3]}, unexpected {unexpected[:3]})."
        )
