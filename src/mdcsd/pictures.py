"""Picture files -> RGB, RGB -> picture bytes. The only file that touches a picture decoder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from mdcsd.errors import MediaError
from mdcsd.inputs import check_file, is_iso_picture
from mdcsd.judging_nouns import MediaFacts
from mdcsd.nouns import HDR, RgbArray

# Sum of the luma quantisation table of ITU-T T.81, annex K.1, which the IJG's quality scales.
_IJG_LUMA_SUM = 3688
_ROTATIONS = {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}  # EXIF orientation -> clockwise
# What Pillow and its decoders raise for damaged files, beside its own errors.
_DECODING_FAILED = (EOFError, OSError, RuntimeError, SyntaxError, TypeError, ValueError)
_EXIF_WORDS = (
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.LensModel,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.DateTimeOriginal,
    ExifTags.Base.DateTimeDigitized,
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
)


def read_image(path: Path) -> RgbArray:
    """Read a picture as uint8 (H, W, 3) RGB, turned upright by its EXIF orientation.

    CMYK is converted, 16 bit is scaled to 8, transparency is laid on white as viewers do.

    Raises: MediaError if the file is empty, no picture, cut off or absurdly large, holds several
        pictures, or pixels whose range nothing says.
    """
    with _opened(path) as opened:
        _check_is_one(path, opened)
        opened.getexif()  # which the picture remembers
        opened.info.pop("exif", None)  # turning it would write these anew, damaged ones never
        picture: Image.Image = ImageOps.exif_transpose(opened)
        return np.asarray(_eight_bit_rgb(picture))


def read_picture_size(path: Path) -> tuple[int, int]:
    """Read a picture's (width, height) in pixels from its first bytes, decoding nothing.

    Raises: MediaError if the file is no picture, or absurdly large.
    """
    with _opened(path) as picture:
        return picture.size


def read_picture_facts(path: Path) -> MediaFacts:
    """Read what a picture file says of itself.

    Raises: MediaError if the file is no picture.
    """
    with _opened(path) as picture:
        exif = picture.getexif()
        return MediaFacts(
            kind="picture",
            container=(picture.format or "").lower(),
            container_description=picture.format_description or "",
            codec=(picture.format or "").lower(),
            codec_description=f"{picture.mode}, {picture.format_description}",
            width_px=picture.width,
            height_px=picture.height,
            size_bytes=path.stat().st_size,
            rotation_deg=_ROTATIONS.get(exif.get(ExifTags.Base.Orientation, 1), 0),
            jpeg_quality=_jpeg_quality(picture),
            tags=dict(_words_of(picture, exif)),
            has_gps=_exif_has_place(exif) or _xmp_has_place(picture),
            hints=tuple(_hints(picture)),
        )


def encode_png(pixels: RgbArray) -> bytes:
    """Encode uint8 (H, W, 3) RGB, or (H, W, 1) grey, as PNG, without loss."""
    bgr = pixels[..., ::-1] if pixels.shape[2] == 3 else pixels
    return cv2.imencode(".png", bgr)[1].tobytes()


def encode_jpeg(pixels: RgbArray, quality: int = 85) -> bytes:
    """Encode uint8 (H, W, 3) RGB as JPEG."""
    options = (cv2.IMWRITE_JPEG_QUALITY, quality)
    return cv2.imencode(".jpg", pixels[..., ::-1], options)[1].tobytes()


def decode_png(content: bytes, channels: int) -> RgbArray:
    """Decode PNG bytes to uint8 (H, W, 3) RGB or (H, W, 1) grey.

    Raises: ValueError if the bytes are no picture.
    """
    flag = cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_GRAYSCALE
    bgr = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
    if bgr is None:
        raise ValueError("no PNG")
    pixels = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr) if channels == 3 else bgr[..., None]
    return np.asarray(pixels, np.uint8)


_PLACES = frozenset(
    {ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLongitude, ExifTags.GPS.GPSAreaInformation}
    | {ExifTags.GPS.GPSDestLatitude, ExifTags.GPS.GPSDestLongitude}
)
_PACKETS = ("XML:com.adobe.xmp", "Raw profile type")
"""PNG texts that hold other metadata whole, places among it."""


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    is_iso = is_iso_picture(check_file(path))
    if is_iso:
        _learn_heic()
    try:
        with warnings.catch_warnings():
            # of damaged EXIF, the picture is whole; and of size, below the bound of the error
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                yield opened
    except UnidentifiedImageError:
        told = "not a picture, whatever its name says. Expected JPEG, PNG or the like."
        if is_iso:
            told = "a HEIC or AVIF picture that is cut off or damaged. Copy it again."
        raise MediaError(f"{path}: {told}") from None
    except (*_DECODING_FAILED, Image.DecompressionBombError) as error:
        raise MediaError(
            f"{path}: the picture cannot be decoded ({error}). Save it again and retry."
        ) from None


@cache
def _learn_heic() -> None:
    """Have Pillow open HEIC; AVIF it opens by itself."""
    import pillow_heif

    pillow_heif.register_heif_opener()


def _check_is_one(path: Path, picture: Image.Image) -> None:
    """Refuse what a verdict on one picture of 8 or 16 bits would not be about."""
    n_pictures = getattr(picture, "n_frames", 1)
    if n_pictures > 1 and picture.format != "MPO":  # a camera's JPEG with a preview behind it
        raise MediaError(
            f"{path}: {n_pictures} pictures in one file, expected one. Save an animation as mp4 or "
            "gif, pages as a picture each."
        )
    if picture.mode == "F":
        raise MediaError(
            f"{path}: pixels are floating-point numbers of unknown range. Save it with 8 or 16 "
            "bits a channel."
        )


def _hints(picture: Image.Image) -> Iterator[str]:
    """Yield what about a picture makes it other than those that a network learned from."""
    transfer = picture.info.get("nclx_profile", {}).get("transfer_characteristics")
    if transfer in HDR:
        yield (
            f"{HDR[transfer]}: colours were judged as they are stored, duller than on a screen, "
            "which may change a score; save it as an ordinary picture and judge that too"
        )


def _words_of(picture: Image.Image, exif: Image.Exif) -> Iterator[tuple[str, str]]:
    """Yield EXIF's and PNG's words by name; places are left out."""
    for tags in (exif, exif.get_ifd(ExifTags.IFD.Exif)):
        for tag in _EXIF_WORDS:
            if tag in tags:
                yield tag.name, str(tags[tag]).strip("\0 ")
    for name, value in getattr(picture, "text", {}).items():
        if not str(name).startswith(_PACKETS):
            yield str(name), str(value)


def _exif_has_place(exif: Image.Exif) -> bool:
    """Whether EXIF's GPS block says a place: without a fix a camera writes a version alone."""
    return not exif.get_ifd(ExifTags.IFD.GPSInfo).keys().isdisjoint(_PLACES)


def _xmp_has_place(picture: Image.Image) -> bool:
    """Whether an XMP packet, plain or as the hexadecimal digits of a raw profile, has a place."""
    xmp = picture.info.get("xmp", b"")
    texts = [xmp.decode("utf-8", "replace") if isinstance(xmp, bytes) else str(xmp)]
    for name, value in getattr(picture, "text", {}).items():
        if str(name).startswith(_PACKETS):
            texts += [str(value), "".join(str(value).split())]
    places = ("GPSL", b"GPSL".hex())
    return any(place in text for text in texts for place in places)


def _jpeg_quality(picture: Image.Image) -> int | None:
    """Estimate the IJG quality 1..100 from how coarse the luma table is; None without one."""
    luma = (getattr(picture, "quantization", None) or {}).get(0)
    if not luma:  # no JPEG, or one whose table is damaged
        return None
    scale = 100.0 * sum(luma) / _IJG_LUMA_SUM
    quality = (200.0 - scale) / 2.0 if scale <= 100.0 else 5000.0 / scale
    return int(np.clip(round(quality), 1, 100))


def _eight_bit_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow would clip at 255
        scaled = np.asarray(picture, dtype=np.uint32) >> 8
        picture = Image.fromarray(scaled.clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        picture = Image.alpha_composite(white, rgba)
    return picture.convert("RGB")
