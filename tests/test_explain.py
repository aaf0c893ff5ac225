"""Heat-maps: they point where the evidence is, follow the weights, and leave nothing behind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mdcsd.checkpoint import Checkpoint
from mdcsd.config import NetworkConfig
from mdcsd.explain import explain_crops
from mdcsd.judging_nouns import Calibration
from mdcsd.network import Network
from mdcsd.nouns import FaceCrop
from mdcsd.preprocess import PreprocessSpec

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
    from mdcsd.network import build_network

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
