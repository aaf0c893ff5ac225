"""Picture files -> RGB, RGB -> picture bytes. The only file that touches a picture decoder."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mdcsd.errors import InputError, MediaError
from mdcsd.nouns import RgbArray

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})


def check_file(path: Path) -> None:
    """Refuse a path where there is no file, or an empty one."""
    if path.is_dir():
        raise InputError(f"{path}: a folder with no picture or video in it. Check the path.")
    if not path.is_file():
        raise InputError(f"{path}: no such file. Check the path.")
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: the file is empty (0 bytes). Copy it again.")


def read_image(path: Path) -> RgbArray:
    """Read a picture as uint8 (H, W, 3) RGB, turned upright by its EXIF orientation.

    CMYK is converted, 16 bit is scaled to 8, transparency is laid on white as viewers do.

    Raises: MediaError if the file is empty, no picture, cut off or absurdly large.
    """
    check_file(path)
    try:
        with Image.open(path) as opened:
            picture: Image.Image = ImageOps.exif_transpose(opened)
            return np.asarray(_eight_bit_rgb(picture))
    except UnidentifiedImageError:
        raise MediaError(
            f"{path}: not a picture, whatever its name says. Expected JPEG, PNG or the like."
        ) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise MediaError(
            f"{path}: the picture cannot be decoded ({error}). Save it again and retry."
        ) from None


def encode_png(pixels: RgbArray) -> bytes:
    """Encode uint8 (H, W, 3) RGB, or (H, W, 1) grey, as PNG, without loss."""
    bgr = pixels[..., ::-1] if pixels.shape[2] == 3 else pixels
    return cv2.imencode(".png", bgr)[1].tobytes()


def decode_png(content: bytes, channels: int) -> RgbArray:
    """Decode PNG bytes to uint8 (H, W, 3) RGB or (H, W, 1) grey.

    Raises: ValueError if the bytes are no picture.
    """
    flag = cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_GRAYSCALE
    bgr = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
    if bgr is None:
        raise ValueError("no PNG")
    pixels = bgr[..., ::-1] if channels == 3 else bgr[..., None]
    return np.ascontiguousarray(pixels, np.uint8)


def _eight_bit_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow would clip at 255
        scaled = np.asarray(picture, dtype=np.uint32) >> 8
        picture = Image.fromarray(scaled.clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        picture = Image.alpha_composite(white, rgba)
    return picture.convert("RGB")
