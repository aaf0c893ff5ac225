"""Faster gradients of depthwise convolutions: the same numbers, under the same names."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mdcsd.backbones import StagedBackbone
from mdcsd.depthwise import FastDepthwise, hasten_depthwise, is_slow


@pytest.fixture(scope="module")
def backbone() -> StagedBackbone:
    torch.manual_seed(0)
    return StagedBackbone("efficientnet_lite0", 3)


@pytest.mark.parametrize("size, stride", [(5, 1), (5, 2), (3, 2)])
@pytest.mark.parametrize("height, width", [(10, 13), (12, 8), (5, 5)])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_gradients_are_those_of_torch(size, stride, height, width, padding):
    padding = min(padding, size - 1)
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 4, size, stride, padding, groups=4, bias=False).double()
    x = torch.randn(2, 4, height, width, dtype=torch.double, requires_grad=True)
    assert is_slow(conv)
    wanted, found = conv(x), FastDepthwise(conv)(x)
    assert torch.equal(wanted, found)
    gradient = torch.randn_like(wanted)
    for one, other in zip(
        torch.autograd.grad(wanted, (x, conv.weight), gradient),
        torch.autograd.grad(found, (x, conv.weight), gradient),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("side", [64, 75])
def test_a_hastened_backbone_learns_the_same(backbone, side):
    plain, fast = (copy.deepcopy(backbone).train() for _ in range(2))
    hasten_depthwise(fast)
    assert sum(isinstance(each, FastDepthwise) for each in fast.modules()) == 11
    assert list(plain.state_dict()) == list(fast.state_dict())
    assert not any(is_slow(each) for each in fast.modules())
    x = torch.randn(4, 3, side, side)
    for network in (plain, fast):
        network(x).square().mean().backward()
    slow = dict(plain.named_parameters())
    for name, weight in fast.named_parameters():
        torch.testing.assert_close(weight.grad, slow[name].grad, rtol=1e-3, atol=1e-5)


def test_under_autocast_gradients_are_of_the_weights_precision():
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 8, 5, 2, 2, groups=8, bias=False)
    fast, x = FastDepthwise(conv), torch.randn(2, 8, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        made = fast(x)
    made.float().square().mean().backward()
    assert made.dtype == torch.bfloat16 and conv.weight.grad.dtype == torch.float32
    rough = conv.weight.grad.clone()
    conv.weight.grad = None
    conv(x).square().mean().backward()
    torch.testing.assert_close(rough, conv.weight.grad, rtol=0.05, atol=0.02)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False),
        nn.Conv2d(8, 8, 5, groups=4, bias=False),
        nn.Conv2d(8, 16, 5, groups=8, bias=False),
        nn.Conv2d(8, 8, 5, groups=8),
        nn.Conv2d(8, 8, 5, groups=8, bias=False, dilation=2),
        nn.Conv2d(8, 8, 7, groups=8, bias=False),
        nn.Conv2d(8, 8, (5, 3), groups=8, bias=False),
        nn.Conv2d(8, 8, 5, (2, 1), groups=8, bias=False),
        nn.Linear(8, 8),
    ],
)
def test_what_is_fast_or_another_thing_stays(conv):
    assert not is_slow(conv)
