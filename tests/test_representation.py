"""Representations on disk against scipy and hand computation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft

from mdcsd.representation import represent, shrink_coefficients, to_luma


def smooth(side: int, channels: int = 1) -> np.ndarray:
    """A picture that holds no frequency above a few cycles, so that shrinking loses nothing."""
    place = (np.arange(side) + 0.5) / side
    wave = 120 + 60 * np.cos(np.pi * 2 * place)[:, None] + 40 * np.cos(np.pi * 3 * place)[None, :]
    return np.repeat(wave.round().astype(np.uint8)[..., None], channels, axis=2)


def test_luma_is_bt601():
    rgb = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]]], np.uint8)
    assert to_luma(rgb)[0, :, 0].tolist() == [76, 150, 29, 18]


def test_dct_of_a_flat_picture_is_one_number():
    flat = np.full((16, 16, 1), 100, np.uint8)
    coefficients = represent(flat, "dct")
    assert coefficients[0, 0, 0] == pytest.approx(100 * 16)
    assert np.abs(coefficients).sum() == pytest.approx(1600)


def test_log_scaled_is_the_logarithm_of_the_magnitude():
    pixels = np.random.default_rng(0).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    expected = np.log(np.abs(fft.dctn(pixels.astype(float), axes=(0, 1), norm="ortho")) + 1e-12)
    np.testing.assert_allclose(represent(pixels, "dct_log_scaled"), expected, atol=1e-5)


def test_shrunk_coefficients_are_those_of_the_shrunk_picture():
    large, small = represent(smooth(128), "dct"), represent(smooth(64), "dct")
    shrunk = shrink_coefficients(large, 64, "dct")
    assert np.abs(shrunk[:8, :8] - small[:8, :8]).max() < 0.01 * np.abs(small).max()
    logs = shrink_coefficients(represent(smooth(128), "dct_log_scaled"), 64, "dct_log_scaled")
    assert logs[0, 0, 0] == pytest.approx(np.log(np.abs(small[0, 0, 0])), abs=0.01)
