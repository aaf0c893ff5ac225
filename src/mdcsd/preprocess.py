"""Face crop -> network input: ONE path shared by training, test and detect; export is held to it.

`PreprocessSpec` travels inside the checkpoint, so that a crop judged next year is treated
as the crops the network was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from mdcsd.config import Representation
from mdcsd.errors import DataError, InternalError
from mdcsd.faces import resize
from mdcsd.nouns import RgbArray
from mdcsd.records import PixelArray
from mdcsd.representation import represent, shrink_coefficients, to_luma

SPEC_VERSION = 1


@dataclass(frozen=True)
class PreprocessSpec:
    """What the network's input is.

    `image_size_px` S and `channels` C (1 luma, 3 RGB) give (C, S, S); `crop_scale` is the
    crop's side over the detector's box; `source_size_px` is the side of the crops the data
    set was made of, at which new crops are cut too, None if they were of several sizes.
    """

    image_size_px: int
    channels: int
    representation: Representation
    crop_scale: float
    source_size_px: int | None = None
    version: int = SPEC_VERSION

    def __post_init__(self) -> None:
        """Coefficients need to know which size of crop they describe."""
        if self.representation != "raw" and self.source_size_px is None:
            raise InternalError(f"coefficients of crops of unknown size: {self}")

    @property
    def cut_size_px(self) -> int:
        """Side at which to cut new crops."""
        return self.source_size_px or self.image_size_px


def to_tensor(image: PixelArray, crop_scale: float, spec: PreprocessSpec) -> torch.Tensor:
    """Turn what a record holds into the network's input.

    Pixels of a larger crop scale are centre-cropped to the spec's and resized; coefficients
    keep their lowest frequencies.

    Args:
        image: uint8 (H, W, C) pixels, or float32 (N, N, C) coefficients, as
            `spec.representation` says.
        crop_scale: of this crop.

    Returns: float32 (C, S, S); pixels keep their range 0..255, the network rescales.

    Raises: DataError if the crop shows less than the network expects, or coefficients are
        of another scale, or fewer than the network's input.
    """
    if spec.representation != "raw":
        return _coefficients_to_tensor(cast(npt.NDArray[np.float32], image), crop_scale, spec)
    pixels = _centre_crop(cast(RgbArray, image), crop_scale, spec.crop_scale)
    if spec.channels == 1 and pixels.shape[2] == 3:
        pixels = to_luma(pixels)
    _check_channels(pixels, spec)
    size = (spec.image_size_px, spec.image_size_px)
    resized = resize(pixels, size).reshape(*size, spec.channels)
    return _channels_first(resized)


def crop_to_tensor(rgb: RgbArray, crop_scale: float, spec: PreprocessSpec) -> torch.Tensor:
    """Turn a face crop (uint8 (H, W, 3), RGB) into the network's input, as `to_tensor`.

    For a network trained on coefficients the crop goes through what prepare_dataset does.
    """
    if spec.representation == "raw":
        return to_tensor(rgb, crop_scale, spec)
    pixels = _centre_crop(rgb, crop_scale, spec.crop_scale)
    pixels = resize(pixels, (spec.cut_size_px, spec.cut_size_px))
    if spec.channels == 1:
        pixels = to_luma(pixels)
    return to_tensor(represent(pixels, spec.representation), spec.crop_scale, spec)


def middle_square(height: int, width: int) -> tuple[int, int, int]:
    """Say which square of an oblong crop is judged, and learned from: (left, top, side)."""
    side = min(height, width)
    return (width - side) // 2, (height - side) // 2, side


def kept_part(side: int, crop_scale: float, wanted_scale: float) -> slice:
    """Say which rows, or columns, of a crop the network sees: the middle ones."""
    kept = round(side * min(wanted_scale / crop_scale, 1.0))
    first = (side - kept) // 2
    return slice(first, first + kept)


def _centre_crop(pixels: RgbArray, crop_scale: float, wanted_scale: float) -> RgbArray:
    if crop_scale < wanted_scale - 1e-3:
        raise DataError(
            f"crops of scale {crop_scale:g} show less than the network expects "
            f"({wanted_scale:g}). Cut them again with --scale {wanted_scale:g}; a data set's own "
            "crops are judged as they are by: mdcsd evaluate --data."
        )
    height, width = pixels.shape[:2]
    return pixels[kept_part(height, crop_scale, wanted_scale),
                  kept_part(width, crop_scale, wanted_scale)]  # fmt: skip


def _coefficients_to_tensor(
    image: npt.NDArray[np.float32], crop_scale: float, spec: PreprocessSpec
) -> torch.Tensor:
    if abs(crop_scale - spec.crop_scale) > 1e-3:
        raise DataError(
            f"DCT coefficients of crops of scale {crop_scale:g}, the network expects "
            f"{spec.crop_scale:g}. Cut the crops again with --scale {spec.crop_scale:g}."
        )
    if image.shape[0] < spec.image_size_px or image.shape[0] != spec.source_size_px:
        raise DataError(
            f"DCT coefficients of {image.shape[0]} px crops, the network expects those of "
            f"{spec.source_size_px} px. Cut the crops again with --size {spec.source_size_px}."
        )
    _check_channels(image, spec)
    return _channels_first(shrink_coefficients(image, spec.image_size_px, spec.representation))


def _check_channels(image: PixelArray, spec: PreprocessSpec) -> None:
    if image.shape[2] != spec.channels:
        raise DataError(
            f"images of {image.shape[2]} channel(s), the network expects {spec.channels}. Prepare "
            f"the data set {'with' if spec.channels == 3 else 'without'} --color."
        )


def _channels_first(image: npt.NDArray[Any]) -> torch.Tensor:
    contiguous = np.ascontiguousarray(image.transpose(2, 0, 1))
    return torch.from_numpy(contiguous).to(torch.float32)
