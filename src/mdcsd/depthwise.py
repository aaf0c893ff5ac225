"""Depthwise convolutions whose gradients a CPU finds quickly in bfloat16.

oneDNN (measured with torch 2.14) is fast at the gradients of 3x3 ones of stride 1, and slow at the
others. Here the gradient of a strided one by its input is found at stride 1 with zeros between, and
the one of a 5x5 one by its kernel is put together from four of 3x3 on shifted pictures. The numbers
are the same, to rounding. Two EfficientNet-Lite0 at 160 px learned 35 to 38 images/s, not 20, in
one run on two cores.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

_Gradients = tuple[torch.Tensor | None, torch.Tensor | None, None, None]
_SMALL, _LARGE = 3, 5
_LAST = torch.channels_last


class FastDepthwise(nn.Module):
    """A depthwise convolution's weights, under the same name, with faster gradients."""

    def __init__(self, conv: nn.Conv2d) -> None:
        """Take over the weights of `conv`, see `is_slow`."""
        super().__init__()
        self.weight = conv.weight
        self._stride = conv.stride
        self._kernel_size = cast(tuple[int, int], conv.kernel_size)
        self._padding = int(conv.padding[0])
        self._pads_itself = type(conv) is not nn.Conv2d  # a backbone's, as TensorFlow's "same"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C, H', W'), of autocast's dtype."""
        if self._pads_itself:
            x = _pad_same(x, self._kernel_size[0], self._stride[0])
        weight = self.weight
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            x, weight = x.to(dtype), weight.to(dtype)
        padding = 0 if self._pads_itself else self._padding
        convolved: torch.Tensor = _Convolution.apply(x, weight, self._stride[0], padding)
        return convolved


def _pad_same(x: torch.Tensor, size: int, stride: int) -> torch.Tensor:
    """Pad (B, C, H, W) with zeros as TensorFlow's "same" does: what is odd, below and right."""
    height, width = (
        max((-(-side // stride) - 1) * stride + size - side, 0) for side in x.shape[2:]
    )
    top, left = height // 2, width // 2
    return functional.pad(x, [left, width - left, top, height - top])


class _Convolution(torch.autograd.Function):
    """x (B, C, H, W) with kernels (C, 1, k, k)."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, stride: int, padding: int
    ) -> torch.Tensor:
        """Convolve, as torch does."""
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv2d(x, weight, None, stride, padding, 1, x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> _Gradients:
        """Gradients of what `forward` was given, None for its numbers."""
        x, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=_LAST)
        of_x, of_weight = ctx.needs_input_grad[:2]
        return (
            _input_gradient(gradient, x, weight, ctx.stride, ctx.padding) if of_x else None,
            _kernel_gradient(gradient, x, weight, ctx.stride, ctx.padding) if of_weight else None,
            None,
            None,
        )


def _input_gradient(
    gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, stride: int, padding: int
) -> torch.Tensor:
    size, channels = weight.shape[-1], x.shape[1]
    if stride > 1:
        height, width = (side + 2 * padding - size + 1 for side in x.shape[2:])
        spread = gradient.new_zeros((x.shape[0], height, width, channels)).permute(0, 3, 1, 2)
        spread[..., ::stride, ::stride] = gradient
        gradient = spread
    return functional.conv2d(gradient, weight.flip(2, 3), None, 1, size - 1 - padding, 1, channels)


def _kernel_gradient(
    gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, stride: int, padding: int
) -> torch.Tensor:
    if weight.shape[-1] == _SMALL:
        return _small_kernel_gradient(gradient, x, weight, stride, padding)
    padded = functional.pad(x, [padding] * 4) if padding else x
    height, width = (stride * (side - 1) + _SMALL for side in gradient.shape[2:])
    whole, part = torch.empty_like(weight), weight[..., :_SMALL, :_SMALL].contiguous()
    for top in (0, _LARGE - _SMALL):
        for left in (0, _LARGE - _SMALL):
            seen = padded[..., top : top + height, left : left + width]
            seen = seen.contiguous(memory_format=_LAST)
            found = _small_kernel_gradient(gradient, seen, part, stride, 0)
            whole[..., top : top + _SMALL, left : left + _SMALL] = found
    return whole


def _small_kernel_gradient(
    gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, stride: int, padding: int
) -> torch.Tensor:
    found: torch.Tensor = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0],
        x.shape[1], [False, True, False],
    )[1]  # fmt: skip
    return found


def is_slow(module: nn.Module) -> bool:
    """Whether this is a depthwise convolution whose gradients `FastDepthwise` finds faster."""
    if not isinstance(module, nn.Conv2d) or module.bias is not None:
        return False
    size, stride = module.kernel_size, module.stride
    return (
        1 < module.groups == module.in_channels == module.out_channels
        and module.dilation == (1, 1)
        and size[0] == size[1]
        and stride[0] == stride[1]
        and (size[0] == _LARGE or (size[0] == _SMALL and stride[0] > 1))
    )


def hasten_depthwise(network: nn.Module) -> None:
    """Put `FastDepthwise` in place of what is slow, with the same parameters under their names."""
    for module in list(network.modules()):
        for name, layer in list(module.named_children()):
            if is_slow(layer):
                setattr(module, name, FastDepthwise(cast(nn.Conv2d, layer)))
