"""Heat-maps: they point where the evidence is, follow the weights, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from mdcsd.checkpoint import Checkpoint, save_checkpoint
from mdcsd.cli import main
from mdcsd.config import NetworkConfig
from mdcsd.explain import colour_difference, colour_heat, explain_crops
from mdcsd.frequency import log_dct_bands
from mdcsd.judging_nouns import Calibration
from mdcsd.network import Network, build_network
from mdcsd.nouns import FaceCrop
from mdcsd.pictures import encode_png, read_image
from mdcsd.preprocess import PreprocessSpec, crop_to_tensor

CPU = torch.device("cpu")


def crop_of(rgb: np.ndarray, scale: float = 1.3) -> FaceCrop:
    side = float(rgb.shape[0])
    return FaceCrop("video", 0, 0.0, 0, (0.0, 0.0, side, side), 1.0, None, scale, rgb)


def crops_of(n: int, side: int = 80, seed: int = 0) -> list[FaceCrop]:
    rng = np.random.default_rng(seed)
    return [crop_of(rng.integers(0, 256, (side, side, 3)).astype(np.uint8)) for _ in range(n)]


def untrained(
    name: str = "mdcsd", n_classes: int = 2, side: int = 64, representation="raw", **settings
) -> tuple[Network, Checkpoint]:
    config = NetworkConfig(name=name, backbone="efficientnet_lite0", **settings)
    spec = PreprocessSpec(side, 3, representation, 1.3, side)
    names = ("original", *(f"fake{i}" for i in range(1, n_classes)))
    empty = Checkpoint(config, spec, names, Calibration(0.5, 0.5, 0.5, 1.0, "nothing"), {}, {})
    torch.manual_seed(0)
    network = build_network(config, spec, n_classes).eval()
    return network, replace(empty, state_dict=dict(network.state_dict()))


@pytest.mark.parametrize("frequency", ["dct", "fft", "dwt", "block_dct", "residual"])
def test_both_branches_have_their_map_of_the_crops_own_side(frequency):
    network, checkpoint = untrained(frequency=frequency)
    for heat in explain_crops(network, checkpoint, crops_of(2, side=80), CPU):
        for part in (heat.rgb, heat.frequency):
            assert part.shape == (80, 80) and part.dtype == np.float32
            assert np.isfinite(part).all() and part.min() >= 0 and part.max() in (0, 1)
        assert heat.log_dct_difference is None


@pytest.mark.parametrize(
    ("name", "settings", "there"),
    [("cnn", {}, "rgb"), ("xception", {}, "rgb"), ("mdcsd", {"branches": "rgb"}, "rgb"),
     ("mdcsd", {"branches": "frequency"}, "frequency"),
     ("cnn", {"representation": "dct"}, "frequency"),
     ("cnn", {"representation": "dct_log_scaled"}, "frequency")],
)  # fmt: skip
def test_a_branch_that_is_not_there_has_no_map(name, settings, there):
    network, checkpoint = untrained(name, n_classes=3, **settings)
    (heat,) = explain_crops(network, checkpoint, crops_of(1, side=64), CPU)
    assert getattr(heat, there).shape == (64, 64)
    assert getattr(heat, {"rgb": "frequency", "frequency": "rgb"}[there]) is None


@pytest.mark.parametrize("frequency", ["residual", "dct"])
def test_a_mirroring_network_is_explained_by_both_views(frequency):
    """The score is the same of a face and of its mirror image: so is the heat, mirrored."""
    plain, _ = untrained(frequency=frequency)
    network, checkpoint = untrained(frequency=frequency, mirror=True)
    (crop,) = crops_of(1, side=64)
    mirrored = replace(crop, rgb=np.ascontiguousarray(crop.rgb[:, ::-1]))
    (heat,), (of_mirrored,) = (
        explain_crops(network, checkpoint, [each], CPU) for each in (crop, mirrored)
    )
    (one_view,) = explain_crops(plain, checkpoint, [crop], CPU)
    assert np.abs(heat.rgb - one_view.rgb).max() > 0.05
    for name in ("rgb", "frequency"):
        turned_back = getattr(of_mirrored, name)[:, ::-1]
        np.testing.assert_allclose(getattr(heat, name), turned_back, atol=1e-3)


Painter = Callable[[np.ndarray, np.ndarray, np.random.Generator], None]


def paint(rng: np.random.Generator, painters: list[Painter]) -> tuple[np.ndarray, list[np.ndarray]]:
    """A dull picture of side 64 with a patch of side 20 in its own half for each painter."""
    picture = 127 + rng.normal(0, 1, (64, 64, 3))
    corners = [rng.integers(0, 44, 2) * (1, 0) + (0, left) for left in rng.permutation([4, 40])]
    for painter, (top, left) in zip(painters, corners, strict=False):
        painter(picture, np.s_[top : top + 20, left : left + 20], rng)
    return picture.clip(0, 255).round().astype(np.uint8), corners


def red(picture, patch, _):
    picture[patch] += (100, -50, -50)


def green(picture, patch, _):
    picture[patch] += (-50, 100, -50)


def fine_rows(picture, patch, rng):
    picture[patch] += rng.normal(0, 25, (20, 1, 1))


def fine_columns(picture, patch, rng):
    picture[patch] += rng.normal(0, 25, (1, 20, 1))


def trained(representation: str, decoy: Painter, decisive: Painter) -> tuple[Network, Checkpoint]:
    """The smallest network, taught that one kind of patch is fake and the other is not."""
    network, checkpoint = untrained("cnn", representation=representation)
    rng = np.random.default_rng(0)
    crops = [
        crop_of(paint(rng, [decoy, decisive] if fake else [decoy])[0])
        for _ in range(32)
        for fake in (False, True)
    ]
    spec = checkpoint.preprocess
    image = torch.stack([crop_to_tensor(crop.rgb, crop.crop_scale, spec) for crop in crops])
    if network.standardise:
        network.standardise.set(image.mean((0, 2, 3)), image.var((0, 2, 3)))
    label = torch.tensor([0.0, 1.0] * 32)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(60):
        loss = functional.binary_cross_entropy_with_logits(network(image)[:, 0], label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    optimizer.zero_grad()
    assert loss.item() < 0.05
    return network, replace(checkpoint, state_dict=dict(network.state_dict()))


def shares(heat: np.ndarray, corners: list[np.ndarray]) -> list[float]:
    """Share of the heat in each patch of side 20; its share of the area is .098."""
    inside = [heat[top : top + 20, left : left + 20].sum() for top, left in corners]
    return [float(each / heat.sum()) for each in inside]


@pytest.mark.parametrize(
    ("representation", "decoy", "decisive", "branch"),
    [("raw", green, red, "rgb"), ("dct_log_scaled", fine_columns, fine_rows, "frequency"),
     ("dct_log_scaled", fine_rows, fine_columns, "frequency")],
)  # fmt: skip
def test_heat_lies_on_what_decides_and_not_on_what_is_merely_there(
    representation, decoy, decisive, branch
):
    network, checkpoint = trained(representation, decoy, decisive)
    rng = np.random.default_rng(1)
    painted = [paint(rng, [decoy, decisive]) for _ in range(6)]
    crops = [crop_of(picture) for picture, _ in painted]

    def mean_shares(of: Network) -> np.ndarray:
        found = [getattr(heat, branch) for heat in explain_crops(of, checkpoint, crops, CPU)]
        pairs = zip(found, painted, strict=True)
        return np.mean([shares(heat, corners) for heat, (_, corners) in pairs], axis=0)

    on_decoy, on_decisive = mean_shares(network)
    assert on_decisive > 4 * 0.098 and on_decisive > 3 * on_decoy
    # Adebayo et al., NeurIPS 2018: what survives random weights does not explain the network.
    torch.manual_seed(5)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    on_decoy, on_decisive = mean_shares(network)
    assert on_decisive < 1.5 * on_decoy


def test_grad_cam_is_the_papers_formula():
    """Alpha a channel is the mean gradient; heat the positive part of the weighted sum."""
    network, checkpoint = untrained("xception", n_classes=3)
    (crop,) = crops_of(1, side=64)
    image = crop_to_tensor(crop.rgb, crop.crop_scale, checkpoint.preprocess)[None]
    maps = network.backbone(network.scale_input(image)).detach().requires_grad_()
    logits = network.head(maps.mean((2, 3)))
    evidence = torch.log(logits[0, 1].exp() + logits[0, 2].exp()) - logits[0, 0]
    (gradient,) = torch.autograd.grad(evidence, maps)
    expected = (gradient.mean((2, 3), keepdim=True) * maps).sum(1).clamp(min=0)[0].detach().numpy()
    expected = cv2.resize(expected, (64, 64), interpolation=cv2.INTER_LINEAR)
    (heat,) = explain_crops(network, checkpoint, [crop], CPU)
    np.testing.assert_allclose(heat.rgb, expected / expected.max(), atol=1e-5)


def test_explaining_leaves_nothing_behind_and_repeats_itself():
    network, checkpoint = untrained()
    network.train()
    network.rgb.eval()  # a mode of one's own
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    crops = crops_of(3)
    with torch.inference_mode():  # as the detector scores
        first = explain_crops(network, checkpoint, crops, CPU)
    again = explain_crops(network, checkpoint, crops, CPU)
    alone = explain_crops(network, checkpoint, crops[1:2], CPU)
    for name in ("rgb", "frequency"):
        assert np.array_equal(getattr(first[1], name), getattr(again[1], name))
        np.testing.assert_allclose(getattr(first[1], name), getattr(alone[0], name), atol=1e-4)
    assert [module.training for module in network.modules()] == modes
    assert all(weight.grad is None and weight.requires_grad for weight in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_hooks_are_gone_after_an_error():
    network, checkpoint = untrained()
    network.head = torch.nn.Identity()
    network.head.forward = lambda _: 1 / 0
    with pytest.raises(ZeroDivisionError):
        explain_crops(network, checkpoint, crops_of(1), CPU)
    assert not any(module._forward_hooks for module in network.modules())


def test_where_nothing_speaks_for_manipulated_the_map_is_zero():
    network, checkpoint = untrained()
    for weight in network.head.parameters():
        torch.nn.init.zeros_(weight)
    (heat,) = explain_crops(network, checkpoint, crops_of(1), CPU)
    assert not heat.rgb.any() and not heat.frequency.any()
    assert np.array_equal(colour_heat(crops_of(1)[0].rgb, heat.rgb), crops_of(1)[0].rgb)


def test_what_the_network_does_not_see_of_a_larger_crop_has_no_heat():
    network, checkpoint = untrained()
    rgb = crops_of(1, side=100)[0].rgb
    larger, exact = crop_of(rgb, scale=2.6), crop_of(rgb[25:75, 25:75])
    outer, inner = explain_crops(network, checkpoint, [larger, exact], CPU)
    for name in ("rgb", "frequency"):
        whole = getattr(outer, name).copy()
        np.testing.assert_allclose(whole[25:75, 25:75], getattr(inner, name), atol=1e-4)
        whole[25:75, 25:75] = 0
        assert not whole.any()


@pytest.mark.parametrize("representation", ["raw", "dct", "dct_log_scaled"])
def test_the_spectrums_difference_is_from_the_checkpoints_mean(representation):
    network, checkpoint = untrained("cnn", side=96, representation=representation)
    crops = crops_of(2, side=96)
    spec = replace(checkpoint.preprocess, representation="raw")
    bands = [log_dct_bands(crop_to_tensor(crop.rgb, 1.3, spec)[None], "raw")[0] for crop in crops]
    checkpoint = replace(checkpoint, real_log_dct_mean=bands[0])
    same, other = explain_crops(network, checkpoint, crops, CPU)
    assert same.log_dct_difference.shape == (64, 64)
    np.testing.assert_allclose(same.log_dct_difference, 0, atol=1e-3)
    expected = (bands[1] - bands[0]).mean(0).numpy()
    np.testing.assert_allclose(other.log_dct_difference, expected, atol=1e-3)


def test_colours():
    black = np.zeros((1, 3, 3), np.uint8)
    cold, warm, hot = colour_heat(black, np.array([[0, 0.5, 1]], np.float32))[0].astype(int)
    assert not cold.any() and warm.sum() < hot.sum()
    values = np.array([[-9, -2, 0, 2, 9]], np.float32)
    less_yet, less, alike, more, more_yet = colour_difference(values)[0].tolist()
    assert less == less_yet and more == more_yet  # one scale for all pictures
    assert less[2] > less[0] and more[0] > more[2] and min(alike) > 240


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    _, checkpoint = untrained()
    path = tmp_path_factory.mktemp("weights") / "best.safetensors"
    save_checkpoint(replace(checkpoint, real_log_dct_mean=torch.zeros(3, 64, 64)), path)
    return path


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as leaving:
        main([str(word) for word in words])
    return leaving.value.code or 0


def test_the_command_writes_a_strip_a_face_and_passes_over_what_it_cannot_read(
    portrait, weights, tmp_path, capsys
):
    inputs = tmp_path / "in"
    long = "x" * 250 + ".png"
    for name, picture in (("a/face.png", portrait), ("b/face.png", portrait[:, ::-1]),
                          (long, portrait[::2, ::2])):  # fmt: skip
        (inputs / name).parent.mkdir(parents=True, exist_ok=True)
        (inputs / name).write_bytes(encode_png(picture))
    (inputs / "broken.png").write_bytes(b"no picture")
    output = tmp_path / "out"
    assert run("explain", inputs, "--weights", weights, "--output", output) == 2
    said = capsys.readouterr()
    assert "1 of 4 file(s) could not be read" in said.err and "broken.png" in said.err
    assert said.out.count("1 face(s) in") == 3
    strips = sorted(output.rglob("*.png"))  # of one name, in two folders: both are kept
    assert len(strips) == 3 and {path.name for path in strips} == {"frame_000000_person_0.png"}
    assert [path.parent.name[:9] for path in strips] == ["face.png-", "face.png-", "xxxxxxxxx"]
    strip = read_image(strips[0])
    assert strip.shape == (308, 4 * 256 + 5 * 8, 3)
    (strips[0].parent / "frame_000007_person_1.png").write_bytes(b"of an earlier run")
    run("explain", inputs / "a", "--weights", weights, "--output", output)
    assert [path.name for path in strips[0].parent.iterdir()] == ["frame_000000_person_0.png"]


def test_the_command_takes_crops_as_they_are(weights, tmp_path, capsys):
    path = tmp_path / "crop.png"
    path.write_bytes(encode_png(crops_of(1)[0].rgb))
    output = tmp_path / "out"
    assert run("explain", path, "--weights", weights, "--output", output, "--cropped") == 0
    assert len(list(output.rglob("*.png"))) == 1
    assert run("explain", path, "--weights", weights, "--output", tmp_path / "no") == 0
    assert "no face found" in capsys.readouterr().out
    assert run("explain", path, "--weights", weights, "--output", output, "--frames", 0) == 2
    assert "--frames 0" in capsys.readouterr().err
