"""One path from crop to tensor."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch

from mdcsd import detector, loader
from mdcsd.errors import DataError, InternalError
from mdcsd.preprocess import PreprocessSpec, crop_to_tensor, to_tensor
from mdcsd.representation import represent, to_luma

RGB = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
COLOUR = PreprocessSpec(64, 3, "raw", 1.3, 64)


def test_pixels_keep_value_order_and_range():
    tensor = to_tensor(RGB, 1.3, COLOUR)
    assert tensor.dtype == torch.float32 and tensor.shape == (3, 64, 64)
    np.testing.assert_array_equal(tensor.numpy().transpose(1, 2, 0), RGB)


def test_a_larger_crop_is_cut_down_to_the_expected_scale():
    tensor = to_tensor(RGB, 2.6, PreprocessSpec(32, 3, "raw", 1.3))
    np.testing.assert_array_equal(tensor.numpy().transpose(1, 2, 0), RGB[16:48, 16:48])


def test_a_smaller_crop_is_refused():
    with pytest.raises(DataError, match=r"scale 1\.05 show less .* --scale 1\.3"):
        to_tensor(RGB, 1.05, COLOUR)


def test_luma_at_load():
    tensor = to_tensor(RGB, 1.3, PreprocessSpec(64, 1, "raw", 1.3))
    np.testing.assert_array_equal(tensor.numpy()[0], to_luma(RGB)[..., 0])


def test_missing_colour_is_refused():
    with pytest.raises(DataError, match="1 channel"):
        to_tensor(to_luma(RGB), 1.3, COLOUR)


@pytest.mark.parametrize("representation", ["dct", "dct_log_scaled"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_live_crop_gives_what_the_data_set_gives(representation, channels):
    spec = PreprocessSpec(48, channels, representation, 1.3, 64)
    stored = represent(RGB if channels == 3 else to_luma(RGB), representation)
    torch.testing.assert_close(crop_to_tensor(RGB, 1.3, spec), to_tensor(stored, 1.3, spec))


def test_coefficients_of_another_size_or_scale_are_refused():
    spec = PreprocessSpec(48, 3, "dct", 1.3, 64)
    with pytest.raises(DataError, match="64 px"):
        to_tensor(represent(RGB[:50, :50], "dct"), 1.3, spec)
    with pytest.raises(DataError, match="scale"):
        to_tensor(represent(RGB, "dct"), 1.5, spec)
    with pytest.raises(InternalError):
        PreprocessSpec(48, 3, "dct", 1.3)


def test_training_and_detect_share_the_path():
    assert "to_tensor(" in inspect.getsource(loader.FaceDataset.sample)
    assert loader.to_tensor is to_tensor
    assert detector.crop_to_tensor is crop_to_tensor
    assert "to_tensor(" in inspect.getsource(crop_to_tensor)
