"""The network is the paper's: counted, stitched by hand, and Keras' Xception inside."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from mdcsd.backbones import _CUTS, StagedBackbone, fold_batch_norms, fold_padding
from mdcsd.config import NetworkConfig
from mdcsd.errors import CheckpointError, InputError
from mdcsd.network import CrossStitch, Standardise, build_network, load_imagenet, to_score
from mdcsd.preprocess import PreprocessSpec

DATA = Path(__file__).parent / "data"
sys.path.insert(0, str(DATA))
from xception_keras_features import seeded_pixels, seeded_tensor  # noqa: E402

XCEPTION = 20_806_952  # trainable weights without the top; Keras counts 54,528 statistics more
SPEC = PreprocessSpec(96, 3, "raw", 1.3)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def mdcsd(**settings):
    return build_network(NetworkConfig(**settings), SPEC, 2)


@pytest.mark.parametrize(("stitch", "per_unit"), [("scalar", 4), ("none", 2)])
def test_parameters_are_two_xceptions_the_stitches_and_the_head(stitch, per_unit):
    network = mdcsd(stitch=stitch)
    assert count(network.rgb) == count(network.frequency) == XCEPTION
    assert [count(unit) for unit in network.stitches] == [per_unit] * 4
    head = 2 * (2048 * 256 + 256) + (512 + 1)
    assert count(network) == 2 * XCEPTION + 4 * per_unit + head


def test_channel_stitches_have_four_weights_a_channel():
    network = mdcsd(stitch="channel")
    assert [count(unit) for unit in network.stitches] == [4 * c for c in (128, 256, 728, 1024)]


def test_stitching_by_hand():
    unit = CrossStitch("scalar", 2)
    with torch.no_grad():
        unit.weight.copy_(torch.tensor([[0.5, 2.0], [-1.0, 3.0]]))
    x, y = torch.full((1, 2, 1, 1), 10.0), torch.full((1, 2, 1, 1), 7.0)
    mixed_x, mixed_y = unit(x, y)
    assert mixed_x.unique().item() == 0.5 * 10 + 2 * 7
    assert mixed_y.unique().item() == -1 * 10 + 3 * 7


def test_channel_stitching_by_hand():
    unit = CrossStitch("channel", 2)
    with torch.no_grad():
        unit.weight.copy_(torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]))
    x, y = torch.ones(1, 2, 1, 1), torch.full((1, 2, 1, 1), 10.0)
    mixed_x, mixed_y = unit(x, y)
    assert mixed_x.flatten().tolist() == [31.0, 42.0]
    assert mixed_y.flatten().tolist() == [75.0, 86.0]


def test_stitches_start_at_nine_tenths_and_none_never_mixes():
    x, y = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    mixed_x, mixed_y = CrossStitch("scalar", 4)(x, y)
    torch.testing.assert_close(mixed_x, 0.9 * x + 0.1 * y)
    torch.testing.assert_close(mixed_y, 0.1 * x + 0.9 * y)
    own_x, own_y = CrossStitch("none", 4)(x, y)
    torch.testing.assert_close(own_x, 0.9 * x)
    torch.testing.assert_close(own_y, 0.9 * y)


@pytest.mark.parametrize("stitch", ["scalar", "none"])
def test_information_crosses_only_where_the_stitch_mixes(stitch):
    network = mdcsd(backbone="efficientnet_lite0", stitch=stitch).eval()
    image = torch.rand(1, 3, 96, 96) * 255
    seen = {}
    network.frequency_neck.register_forward_hook(lambda _, inputs, __: seen.update(y=inputs[0]))
    network(image)
    before = seen["y"]
    with torch.no_grad():
        network.rgb.stages[0][0].weight.mul_(-1)  # disturb the RGB branch alone
    network(image)
    assert torch.equal(before, seen["y"]) == (stitch == "none")


def test_xception_equals_keras():
    """Numbers stored once from Keras on seeded weights, see tests/data."""
    backbone = StagedBackbone("xception", 3).eval()
    for stage, parts in zip(backbone.stages, _CUTS["xception"].stages, strict=True):
        for module, part in zip(stage, parts, strict=True):
            drawn = {
                name: torch.from_numpy(seeded_tensor(f"{part}.{name}", tuple(tensor.shape)))
                for name, tensor in module.state_dict().items()
                if tensor.ndim
            }
            module.load_state_dict(drawn, strict=False)
    stored = json.loads((DATA / "xception_keras_features.json").read_text())["stages"]
    features = torch.from_numpy(seeded_pixels()).permute(0, 3, 1, 2)
    for stage, expected in zip(backbone.stages, stored, strict=True):
        with torch.no_grad():
            features = stage(features)
        ours = features[0].contiguous().numpy()
        assert list(ours.shape) == expected["shape"]
        scale = expected["std"]
        assert abs(ours.mean() - expected["mean"]) < 1e-4 * scale
        assert abs(ours.std() - scale) < 1e-4 * scale
        picked = ours.ravel()[expected["picked"]]
        np.testing.assert_allclose(picked, expected["values"], atol=1e-4 * scale)


@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "efficientnet_lite2"])
@pytest.mark.parametrize("frequency", ["dct", "fft", "dwt", "block_dct", "residual"])
def test_every_variant_runs_and_learns(backbone, frequency):
    network = mdcsd(backbone=backbone, frequency=frequency)
    logits = network(torch.rand(2, 3, 96, 96) * 255)
    assert logits.shape == (2, 1)
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("side", [32, 71, 96, 128])
def test_any_side_from_32_fits(side):
    network = build_network(
        NetworkConfig(backbone="efficientnet_lite0", frequency="dwt"),
        PreprocessSpec(side, 3, "raw", 1.3),
        5,
    ).eval()
    assert network(torch.rand(1, 3, side, side)).shape == (1, 5)


@pytest.mark.parametrize("name", ["cnn", "xception"])
@pytest.mark.parametrize(("representation", "channels"), [("raw", 3), ("raw", 1), ("dct", 1),
                                                         ("dct_log_scaled", 3)])  # fmt: skip
def test_baselines_take_any_representation(name, representation, channels):
    source = None if representation == "raw" else 64
    spec = PreprocessSpec(64, channels, representation, 1.3, source)
    network = build_network(NetworkConfig(name=name), spec, 5).eval()
    assert network(torch.rand(2, channels, 64, 64)).shape == (2, 5)
    assert (network.standardise is None) == (representation == "raw")


def test_cnn_has_the_papers_layers():
    network = build_network(NetworkConfig(name="cnn"), PreprocessSpec(128, 3, "raw", 1.3), 5)
    kernels = (3 * 3 * 3 * 9 // 3 + 3) + (8 * 3 * 9 + 8) + (16 * 8 * 9 + 16) + (32 * 16 * 9 + 32)
    assert count(network) == kernels + 32 * 32 * 32 * 5 + 5


def test_mdcsd_wants_raw_colour_and_says_the_command():
    for spec in (PreprocessSpec(64, 1, "raw", 1.3), PreprocessSpec(64, 3, "dct", 1.3, 64)):
        with pytest.raises(InputError, match=r"prepare_dataset\.py --raw --color"):
            build_network(NetworkConfig(), spec, 2)


def test_scores_rise_with_fakeness():
    torch.testing.assert_close(to_score(torch.tensor([[0.0], [100.0]])), torch.tensor([0.5, 1.0]))
    logits = torch.tensor([[5.0, 0.0, 0.0], [0.0, 5.0, 0.0]])
    real, fake = to_score(logits).tolist()
    assert real < 0.05 and fake > 0.95


def test_standardise_by_hand_and_a_constant_channel():
    module = Standardise(2)
    module.set(torch.tensor([10.0, 3.0]), torch.tensor([4.0, 0.0]))
    out = module(torch.tensor([[[[14.0]], [[3.0]]]]))
    assert out.flatten().tolist() == [2.0, 0.0]


def test_dropout_can_be_switched_off():
    network = mdcsd(backbone="efficientnet_lite0", dropout=0.0)
    assert {m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)} == {0.0}
    default = mdcsd(backbone="efficientnet_lite0")
    rates = [m.p for m in default.modules() if isinstance(m, torch.nn.Dropout) and m.p]
    assert rates == [0.5, 0.5, 0.2]


def test_imagenet_weights_reach_the_named_branches(tmp_path):
    from safetensors.torch import save_file

    source = StagedBackbone("efficientnet_lite0", 3)
    weights = {}
    for stage, parts in zip(source.stages, _CUTS["efficientnet_lite0"].stages, strict=True):
        for module, part in zip(stage, parts, strict=True):
            weights |= {f"{part}.{k}": v.clone() for k, v in module.state_dict().items()}
    save_file(weights, tmp_path / "imagenet.safetensors")
    for pretrained, frequency in (("rgb", "dct"), ("both", "dct"), ("both", "dwt")):
        config = NetworkConfig(
            backbone="efficientnet_lite0", frequency=frequency, pretrained=pretrained,
            pretrained_file=str(tmp_path / "imagenet.safetensors"),
        )  # fmt: skip
        network = build_network(config, SPEC, 2)
        load_imagenet(network, config)
        deep = "stages.3.0.0.conv_pw.weight"
        expected = source.state_dict()[deep]
        assert torch.equal(network.rgb.state_dict()[deep], expected)
        assert torch.equal(network.frequency.state_dict()[deep], expected) == (pretrained == "both")
    damaged = dict(list(weights.items())[:10])
    save_file(damaged, tmp_path / "damaged.safetensors")
    config = NetworkConfig(backbone="efficientnet_lite0", pretrained="rgb",
                           pretrained_file=str(tmp_path / "damaged.safetensors"))  # fmt: skip
    with pytest.raises(CheckpointError, match="does not fit"):
        load_imagenet(build_network(config, SPEC, 2), config)


@pytest.mark.parametrize("name", ["cnn", "xception", "mdcsd"])
def test_a_mirrored_judge_answers_alike_to_a_face_and_its_mirror_image(name):
    spec = PreprocessSpec(64, 3, "raw", 1.3)
    config = NetworkConfig(name=name, backbone="efficientnet_lite0")
    plain = build_network(config, spec, 2).eval()
    network = build_network(replace(config, mirror=True), spec, 2).eval()
    image = torch.rand(3, 3, 64, 64) * 255
    with torch.no_grad():
        for weights in plain.head.parameters():
            weights *= 10  # an Xception of random weights answers nearly alike to all pictures
        network.load_state_dict(plain.state_dict())
        features, logits = network.judge(image)
        expected = (plain(image) + plain(image.flip(-1))) / 2
        torch.testing.assert_close(logits, expected)
        torch.testing.assert_close(network.judge(image.flip(-1))[0], features)
        torch.testing.assert_close(plain.judge(image)[1], plain(image))
    assert not torch.allclose(logits, plain(image), atol=1e-6)
    with pytest.raises(InputError, match="mirror needs pixels"):
        build_network(replace(config, name="cnn", mirror=True), replace(spec, representation="dct",
                      source_size_px=64), 2)  # fmt: skip


@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "efficientnet_lite2", "xception"])
def test_folded_batch_norms_change_no_answer(backbone):
    spec = PreprocessSpec(64, 3, "raw", 1.3)
    network = build_network(NetworkConfig(backbone=backbone, frequency="residual"), spec, 2)
    image = torch.rand(4, 3, 64, 64) * 255
    with torch.no_grad():
        for _ in range(3):
            network.train()(image)  # statistics that are not those of a new network
        before = network.eval()(image)
        n_before = sum(isinstance(each, nn.BatchNorm2d) for each in network.modules())
        folded = fold_batch_norms(network)
        torch.testing.assert_close(folded(image), before, rtol=1e-4, atol=1e-4)
    assert sum(isinstance(each, nn.BatchNorm2d) for each in folded.modules()) < n_before


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("side", [64, 65, 98])  # 98 becomes 49 on the way
@pytest.mark.parametrize(("kernel", "groups"), [(3, 1), (3, 6), (5, 6)])
def test_padding_in_the_kernel_changes_no_answer(kernel, groups, side, memory):
    layers = [
        Conv2dSame(6 if i else 3, 6, kernel, stride=2, groups=groups if i else 1) for i in range(2)
    ]
    network = nn.Sequential(*layers).eval().requires_grad_(False).to(memory_format=memory)
    image = torch.randn(2, 3, side, side).to(memory_format=memory).requires_grad_()
    before = network(image)
    (slope,) = torch.autograd.grad(before.square().sum(), image)
    folded = fold_padding(fold_padding(network).to(memory_format=memory))  # twice is once
    assert not any(isinstance(each, Conv2dSame) for each in folded.modules())
    after = folded(image)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    (same,) = torch.autograd.grad(after.square().sum(), image)  # what heat-maps are made of
    torch.testing.assert_close(same, slope, rtol=1e-4, atol=1e-4)


def test_padding_goes_into_every_strided_kernel_of_the_embedded_backbone():
    network = StagedBackbone("efficientnet_lite0", 3).eval()
    image = torch.rand(2, 3, 96, 96)
    strided = sum(isinstance(each, Conv2dSame) for each in network.modules())
    assert strided == 5
    with torch.no_grad():
        before = network(image)
        torch.testing.assert_close(fold_padding(network)(image), before, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(each, Conv2dSame) for each in network.modules())
