"""The robustness suite: pixels in, pixels out; and recoding of whole videos.

The seven distortions at five levels are those of DeeperForensics-1.0 (Jiang et al. 2020,
github.com/EndlessSora/DeeperForensics-1.0, `perturbation/`); JPEG is added. Written anew from
what that code computes. Where ours differs, and why:

- Values are rounded and clipped; there they are cut off, and may wrap around.
- Blocks: there the number is multiplied by `min(H, W) // 256`, which is 0 for small pictures and
  leaves them untouched. Here the factor is at least 1: a picture of less than 256 px gets the
  plain number. Blocks may lie on the last row and column too.
- H.264: x264's macroblock tree and adaptive quantisation are off (see `encoding`), so that
  the same pixels give the same bytes. A picture by itself is coded as a clip of one frame, with
  nothing predicted from frames before it.

Nothing here knows a label: real and manipulated pictures go through the same lines, and the
random numbers are the caller's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mdcsd import storage
from mdcsd.config import FrameSelection
from mdcsd.encoding import code_h264, pad_to_even, write_video
from mdcsd.errors import InternalError, SettingError, nearest
from mdcsd.nouns import FloatArray, RgbArray
from mdcsd.video import iter_frames, probe

# The parameter at levels 1..5 of each distortion.
_LEVELS: dict[str, tuple[float, ...]] = {
    "saturation": (0.4, 0.3, 0.2, 0.1, 0.0),  # share of the colour that is left
    "contrast": (0.85, 0.725, 0.6, 0.475, 0.35),  # factor on every value
    "blocks": (16, 32, 48, 64, 80),  # number of grey squares, times min(H, W) // 256
    "noise": (0.001, 0.002, 0.005, 0.01, 0.05),  # variance in YCbCr, 0..1
    "blur": (7, 9, 13, 17, 21),  # side of the kernel in px; sigma is a sixth of it
    "pixelation": (2, 3, 4, 5, 6),  # factor by which the picture is shrunk
    "h264": (30, 32, 35, 38, 40),  # constant rate factor
    "jpeg": (90, 75, 60, 45, 30),  # quality
}
_RECODE_DEFAULTS = {"jpeg": 75, "h264": 28}
_RECODE_RANGES = {"jpeg": (1, 100), "h264": (0, 51)}
_BLOCK_PX = 8
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601, as JPEG and DeeperForensics use it
# Rows Y, Cb, Cr -> columns R, G, B; luma spans 219 and chroma 224 of 255 steps in YCbCr.
_YCBCR_TO_RGB = np.array(
    [[1.0, 1.0, 1.0], [0.0, -0.344136, 1.772], [1.402, -0.714136, 0.0]], np.float32
) / (np.array([[219.0], [224.0], [224.0]], np.float32) / 255.0)


@dataclass(frozen=True)
class Perturbation:
    """One distortion at one strength.

    `level` rises from 1, mild, to 5, strong; 0 is one that is not of the suite. What
    `parameter` means is up to the distortion: see `_LEVELS`.
    """

    distortion: str
    level: int
    parameter: float

    def __post_init__(self) -> None:
        """Refuse a distortion that nobody can apply."""
        if self.distortion not in _LEVELS or not 0 <= self.level <= 5:
            raise InternalError(f"no such perturbation: {self}")

    @property
    def name(self) -> str:
        """Distortion and parameter in words, such as "jpeg 90"."""
        return f"{self.distortion} {self.parameter:g}"


SUITE: tuple[Perturbation, ...] = tuple(
    Perturbation(distortion, level, parameter)
    for distortion, parameters in _LEVELS.items()
    for level, parameter in enumerate(parameters, start=1)
)


def parse_recode(text: str) -> Perturbation:
    """Read a setting such as "jpeg", "jpeg=60", "h264" or "h264=28".

    Raises: SettingError if it is neither, or the number is out of range.
    """
    codec, _, number = text.partition("=")
    if codec not in _RECODE_DEFAULTS:
        raise SettingError(f"--recode {text}: unknown.{nearest(codec, _RECODE_DEFAULTS)}")
    if "=" not in text:
        return Perturbation(codec, 0, _RECODE_DEFAULTS[codec])
    low, high = _RECODE_RANGES[codec]
    if not (number.isascii() and number.isdigit() and low <= int(number) <= high):
        raise SettingError(
            f"--recode {text}: expected {codec}=N with a whole N from {low} to {high}, such as "
            f"{codec}={_RECODE_DEFAULTS[codec]}."
        )
    return Perturbation(codec, 0, int(number))


def distort(rgb: RgbArray, perturbation: Perturbation, rng: np.random.Generator) -> RgbArray:
    """Distort one picture, and leave the one given as it is.

    Args:
        rgb: uint8 (H, W, 3), RGB, of any size.
        perturbation: What to do to it.
        rng: Where noise and the places of blocks come from; the others draw nothing from it.

    Returns: a new uint8 (H, W, 3), RGB.
    """
    return _DISTORTIONS[perturbation.distortion](rgb, perturbation.parameter, rng)


def recode_video(path: Path, output: Path, crf: int) -> None:
    """Decode a video and encode it as H.264 of constant quality, frame after frame.

    Every frame keeps its index; one that cannot be decoded shows the next one that can. A
    variable frame rate becomes the mean one. H.264 stores colour for squares of 2 px, so an odd
    side gets one more row or column, mirrored. `output` appears when it is whole.

    Args:
        path: The video; it may be the same as `output`.
        output: A name that ends in .mp4, .mkv, .mov or .avi.
        crf: Constant rate factor, 0 (no loss) to 51 (worst).

    Raises: MediaError if the video cannot be decoded; nothing is written then.
    """
    # A Fraction, because PyAV takes no float, and 30000/1001 frames a second should stay that.
    fps: Any = Fraction(probe(path).fps).limit_denominator(1_000_000)
    storage.make_folder(output.parent)
    partial = output.with_name(f".{output.stem}.{os.getpid()}.tmp{output.suffix}")
    try:
        write_video(partial, _even_frames(path), fps, crf)
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


def _even_frames(path: Path) -> Iterator[RgbArray]:
    """All frames; one that cannot be decoded gives way to the next, so that indices stay."""
    n_written = 0
    for frame in iter_frames(path, FrameSelection()):
        rgb = pad_to_even(frame.rgb)
        for _ in range(n_written, frame.index + 1):
            yield rgb
        n_written = frame.index + 1


def _to_uint8(values: FloatArray) -> RgbArray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _saturation(rgb: RgbArray, share: float, _: np.random.Generator) -> RgbArray:
    """Multiply Cb and Cr; the conversion being linear, that is a mix with the luma."""
    pixels = rgb.astype(np.float32)
    luma = (pixels @ _LUMA)[..., None]
    return _to_uint8(luma + share * (pixels - luma))


def _contrast(rgb: RgbArray, factor: float, _: np.random.Generator) -> RgbArray:
    return _to_uint8(rgb.astype(np.float32) * factor)


def _blocks(rgb: RgbArray, number: float, rng: np.random.Generator) -> RgbArray:
    """Lay grey squares at random places; they may overlap."""
    height, width, _ = rgb.shape
    covered = rgb.copy()
    for _ in range(int(number) * max(min(height, width) // 256, 1)):
        top = rng.integers(max(height - _BLOCK_PX, 0) + 1)
        left = rng.integers(max(width - _BLOCK_PX, 0) + 1)
        covered[top : top + _BLOCK_PX, left : left + _BLOCK_PX] = 128
    return covered


def _noise(rgb: RgbArray, variance: float, rng: np.random.Generator) -> RgbArray:
    """Add Gaussian noise to Y, Cb and Cr, each of the variance given on a scale of 0..1."""
    noise = rng.standard_normal(rgb.shape, np.float32) * np.float32(255.0 * variance**0.5)
    return _to_uint8(rgb + noise @ _YCBCR_TO_RGB)


def _blur(rgb: RgbArray, side: float, _: np.random.Generator) -> RgbArray:
    kernel = (int(side), int(side))
    return np.asarray(cv2.GaussianBlur(rgb, kernel, sigmaX=side / 6.0), np.uint8)


def _pixelation(rgb: RgbArray, factor: float, _: np.random.Generator) -> RgbArray:
    """Shrink and enlarge again, both bilinear (OpenCV's, which does not smooth beforehand)."""
    height, width, _channels = rgb.shape
    small = cv2.resize(rgb, (max(width // int(factor), 1), max(height // int(factor), 1)))
    return np.asarray(cv2.resize(small, (width, height)), np.uint8)


def _h264(rgb: RgbArray, crf: float, _: np.random.Generator) -> RgbArray:
    return code_h264([rgb], int(crf))


def _jpeg(rgb: RgbArray, quality: float, _: np.random.Generator) -> RgbArray:
    """Encode and decode, with a colour value for 2 x 2 px as nearly all files have it."""
    flags = (cv2.IMWRITE_JPEG_QUALITY, int(quality))
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)
    content = cv2.imencode(".jpg", rgb[..., ::-1], (*flags, *sampling))[1]
    decoded = np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])


_DISTORTIONS: dict[str, Callable[[RgbArray, float, np.random.Generator], RgbArray]] = {
    "saturation": _saturation,
    "contrast": _contrast,
    "blocks": _blocks,
    "noise": _noise,
    "blur": _blur,
    "pixelation": _pixelation,
    "h264": _h264,
    "jpeg": _jpeg,
}
