"""Pixels -> what a record holds: luma, DCT coefficients, their logarithm.

Used where a data set is written and where a single crop is judged, so that both see the
same numbers. The transform inside the network (`frequency.py`) is tested against this one.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
from scipy import fft

from mdcsd.config import Representation
from mdcsd.nouns import RgbArray

LOG_FLOOR = 1e-12  # the paper's code adds it to the magnitude before the logarithm


def to_luma(rgb: RgbArray) -> RgbArray:
    """Turn uint8 (H, W, 3) RGB into luma (H, W, 1) by ITU-R BT.601."""
    return cast(RgbArray, cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None])


def represent(
    pixels: RgbArray, representation: Representation
) -> npt.NDArray[np.uint8] | npt.NDArray[np.float32]:
    """Turn pixels into the representation that a record holds.

    Args:
        pixels: uint8 (H, W, C), RGB or luma.
        representation: `raw` returns the pixels; `dct` the 2-D type-II orthonormal DCT of
            each channel of the 0..255 values over the whole picture; `dct_log_scaled`
            log(|coefficient| + 1e-12).

    Returns: uint8 (H, W, C), or float32 (H, W, C) with frequency rising downwards and to
        the right.
    """
    if representation == "raw":
        return pixels
    coefficients = fft.dctn(pixels.astype(np.float64), axes=(0, 1), norm="ortho")
    if representation == "dct_log_scaled":
        coefficients = np.log(np.abs(coefficients) + LOG_FLOOR)
    return cast(npt.NDArray[np.float32], coefficients.astype(np.float32))


def shrink_coefficients(
    coefficients: npt.NDArray[np.float32], side: int, representation: Representation
) -> npt.NDArray[np.float32]:
    """Resize in the frequency domain: keep the `side` lowest frequencies each way.

    The orthonormal DCT of a picture shrunk from N to `side` pixels is the corner of its
    coefficients times side / N; for the logarithm the factor is a term.

    Args:
        coefficients: float32 (N, N, C), N >= side.
    """
    ratio = side / coefficients.shape[0]
    corner = coefficients[:side, :side]
    scaled = corner * ratio if representation == "dct" else corner + np.log(ratio)
    return cast(npt.NDArray[np.float32], scaled.astype(np.float32))
