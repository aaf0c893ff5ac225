"""Frames behind H.264: repeatable, of any size, and worse at a higher constant rate factor."""

from __future__ import annotations

import numpy as np
import pytest

from mdcsd.config import FrameSelection
from mdcsd.encoding import code_h264, pad_to_even, write_video
from mdcsd.video import iter_frames


def difference(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(int) - second).mean())


@pytest.mark.parametrize("shape", [(64, 64), (99, 120), (101, 33)])
def test_a_higher_factor_costs_more(portrait, shape):
    face = portrait[: shape[0], : shape[1]]
    coded = [code_h264([face], crf) for crf in (10, 24, 35, 45)]
    assert all(rgb.shape == face.shape and rgb.dtype == np.uint8 for rgb in coded)
    lost = [difference(rgb, face) for rgb in coded]
    assert lost == sorted(lost) and lost[-1] > 2 * lost[0]


def test_the_last_frame_leans_on_those_before_it(portrait):
    clip = [np.roll(portrait, 2 * i, axis=1) for i in (2, 1, 0)]
    alone, behind = code_h264(clip[-1:], 38), code_h264(clip, 38)
    assert np.array_equal(behind, code_h264(clip, 38))
    assert difference(alone, behind) > 0
    assert difference(behind, clip[-1]) < difference(behind, clip[0])


def test_in_memory_as_in_a_file(portrait, tmp_path):
    """The same encoder with the same settings: what training sees is what a file holds."""
    even = pad_to_even(portrait)
    write_video(tmp_path / "picture.mp4", [even], fps=25, crf=35)
    (frame,) = iter_frames(tmp_path / "picture.mp4", FrameSelection())
    assert np.array_equal(code_h264([even], 35), frame.rgb)
