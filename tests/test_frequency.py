"""The transforms inside the network against scipy, numpy and hand computation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import fft

from mdcsd.frequency import FrequencyTransform, dct_matrix, log_dct_bands
from mdcsd.representation import represent

SIDE = 299


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 3, SIDE, SIDE)).astype(np.float64)


def transform(kind: str, pixels: np.ndarray) -> np.ndarray:
    return FrequencyTransform(kind, pixels.shape[-1])(torch.from_numpy(pixels)).numpy()


def test_dct_matrix_is_orthonormal_and_scipys():
    basis = dct_matrix(SIDE).numpy()
    np.testing.assert_allclose(basis @ basis.T, np.eye(SIDE), atol=1e-12)
    np.testing.assert_allclose(basis, fft.dct(np.eye(SIDE), axis=0, norm="ortho"), atol=1e-13)


def test_dct_equals_scipy_in_float64(pixels):
    expected = fft.dctn(pixels, axes=(2, 3), norm="ortho")
    basis = dct_matrix(SIDE)
    ours = (basis @ torch.from_numpy(pixels) @ basis.T).numpy()
    assert np.abs(ours - expected).max() / np.abs(expected).max() < 1e-12
    logs = transform("dct", pixels)
    np.testing.assert_allclose(np.exp(logs), np.abs(expected), rtol=1e-6, atol=1e-9)


def test_float32_is_as_exact_as_float32_can_be(pixels):
    expected = fft.dctn(pixels, axes=(2, 3), norm="ortho")
    module = FrequencyTransform("dct", SIDE)
    ours = np.exp(module(torch.from_numpy(pixels).float()).double().numpy())
    assert np.abs(ours - np.abs(expected)).max() / np.abs(expected).max() < 1e-6


def test_network_and_data_set_transform_alike(pixels):
    picture = pixels[0].transpose(1, 2, 0).astype(np.uint8)
    stored = represent(picture, "dct_log_scaled")
    inside = transform("dct", pixels[:1])[0].transpose(1, 2, 0)
    np.testing.assert_allclose(np.exp(inside), np.exp(stored), rtol=1e-4, atol=1e-4)


def test_fft_is_the_magnitude(pixels):
    np.testing.assert_allclose(transform("fft", pixels), np.abs(np.fft.fft2(pixels)), atol=1e-6)


def test_haar_by_hand():
    square = np.array([[1.0, 2.0], [5.0, 10.0]])
    bands = transform("dwt", np.broadcast_to(square, (1, 3, 2, 2)).copy())
    assert bands.shape == (1, 12, 1, 1)
    ll, lh, hl, hh = bands.reshape(4, 3)[:, 0]
    assert (ll, lh, hl, hh) == (9.0, -3.0, -6.0, 2.0)


def test_haar_of_an_odd_side_is_half_rounded_up(pixels):
    assert transform("dwt", pixels).shape == (2, 12, 150, 150)


def test_block_dct_by_block(pixels):
    ours = transform("block_dct", pixels)
    block = fft.dctn(pixels[:, :, 8:16, 24:32], axes=(2, 3), norm="ortho")
    np.testing.assert_allclose(ours[:, :, 8:16, 24:32], np.log(np.abs(block) + 1), atol=1e-9)
    assert ours.shape == pixels.shape


def test_residual_keeps_only_high_frequencies(pixels):
    ours = transform("residual", pixels)
    before = fft.dctn(pixels, axes=(2, 3), norm="ortho")
    after = fft.dctn(ours, axes=(2, 3), norm="ortho")
    low = np.add.outer(np.arange(SIDE), np.arange(SIDE)) <= SIDE / 4
    assert np.abs(after[..., low]).max() < 1e-8
    np.testing.assert_allclose(after[..., ~low], before[..., ~low], atol=1e-8)


def test_bases_are_no_weights():
    module = FrequencyTransform("dct", 32)
    assert not module.state_dict() and not list(module.parameters())


@pytest.mark.parametrize("kind", ["dct", "fft", "dwt", "block_dct", "residual"])
def test_autocast_does_not_lower_the_precision(kind):
    pixels = torch.rand(1, 3, 32, 32) * 255
    module = FrequencyTransform(kind, 32)
    with torch.autocast("cpu", torch.bfloat16):
        inside = module(pixels)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, module(pixels))


@pytest.mark.parametrize("side", [64, 96, 112, 224, 299])
def test_bands_of_any_side_by_hand(side):
    picture = np.random.default_rng(1).integers(0, 256, (1, 2, side, side)).astype(np.float32)
    logs = np.log(np.abs(fft.dctn(picture.astype(np.float64), axes=(2, 3), norm="ortho")) + 1)
    starts = [i * side // 64 for i in range(64)]
    ends = [-(-(i + 1) * side // 64) for i in range(64)]
    expected = [
        [logs[..., a:b, c:d].mean((2, 3)) for c, d in zip(starts, ends, strict=True)]
        for a, b in zip(starts, ends, strict=True)
    ]
    bands = log_dct_bands(torch.from_numpy(picture), "raw").numpy()
    np.testing.assert_allclose(bands, np.array(expected).transpose(2, 3, 0, 1), atol=1e-3)


def test_bands_of_pixels_and_of_their_coefficients_are_alike():
    picture = np.random.default_rng(1).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    bands = [
        log_dct_bands(
            torch.from_numpy(represent(picture, kind).transpose(2, 0, 1).copy())[None].float(), kind
        )
        for kind in ("raw", "dct", "dct_log_scaled")
    ]
    assert torch.allclose(bands[0], bands[1], atol=1e-3) and torch.allclose(
        bands[0], bands[2], atol=1e-3
    )
