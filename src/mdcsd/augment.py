"""Training-time degradations of faces, the same for a real face and the fake made of it.

`degrade` draws every parameter once and applies it to all the faces it is given, so that a
degradation never says which of them is fake. Each degradation is a pure function of pixels.
The order is that of a file's life: framing, colour, optics, size, sensor, compression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np

from mdcsd.augment_config import AugmentConfig
from mdcsd.nouns import FloatArray, FloatImage, IntArray, RgbArray, require

_Step = Callable[[RgbArray], RgbArray]
Box = tuple[int, int, int, int]
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def degrade(
    faces: Sequence[RgbArray], config: AugmentConfig, rng: np.random.Generator
) -> list[RgbArray]:
    """Degrade faces all alike, and leave those given as they are.

    Args:
        faces: uint8 (S, S, 3) RGB each, all of one size: a real face, say, and its fake.
        config: Chances and ranges; with `enabled` false the faces come back as they are.
        rng: Where the parameters come from, drawn once for all faces.

    Returns: uint8 (S, S, 3) RGB each, in the order given.
    """
    if not config.enabled or not faces:
        return list(faces)
    shape = faces[0].shape
    require(all(face.shape == shape for face in faces), "degrade: faces of several sizes")
    degraded = list(faces)
    for step in _draw_steps(shape, config, rng):
        degraded = [step(face) for face in degraded]
    return degraded


def _draw_steps(
    shape: tuple[int, ...], config: AugmentConfig, rng: np.random.Generator
) -> Iterator[_Step]:
    """Draw the steps of one degradation with their parameters."""
    if rng.random() < config.flip:
        yield flip
    if rng.random() < config.crop:
        shift = rng.uniform(-config.crop_shift, config.crop_shift, 2) * shape[0]
        zoom = 1.0 + rng.uniform(0.0, config.crop_zoom)
        turn_deg = rng.uniform(-config.crop_turn_deg, config.crop_turn_deg)
        yield lambda face: recrop(face, zoom, (float(shift[0]), float(shift[1])), turn_deg)
    if rng.random() < config.colour:
        yield _draw_colour(config, rng)
    if rng.random() < config.blur:
        sigma = rng.uniform(0.3, max(config.blur_px, 0.3))
        yield lambda face: blur(face, sigma)
    yield from _draw_capture(shape, config, rng)
    if rng.random() < config.jpeg:
        quality = int(rng.integers(config.jpeg_lowest, config.jpeg_highest + 1))
        yield lambda face: jpeg(face, quality)
    if rng.random() < config.cutout:
        sides = rng.uniform(0.1, max(config.cutout_largest, 0.1), 2)
        corner, colour = rng.random(2) * (1.0 - sides), rng.integers(0, 256, 3)
        yield lambda face: paint_over(face, corner, sides, colour)


def _draw_capture(
    shape: tuple[int, ...], config: AugmentConfig, rng: np.random.Generator
) -> Iterator[_Step]:
    """Draw what a video does to a face: fewer pixels, noise, compression; then enlarged again.

    The codec sees the face as small as it stood in the video, so that its blocks grow with it.
    """
    side = shape[0]
    rescaled = rng.random() < config.rescale
    small_px = max(round(side * rng.uniform(config.rescale_smallest, 1.0)), 2) if rescaled else side
    if rescaled:
        yield lambda face: to_side(face, small_px, cv2.INTER_AREA)
    if rng.random() < config.noise:
        sigma = rng.uniform(0.0, config.noise_sigma)
        field = rng.standard_normal((small_px, small_px, 3), np.float32) * np.float32(sigma)
        yield lambda face: add_noise(face, field)
    if rng.random() < config.h264:
        quantiser = int(rng.integers(config.h264_lowest, config.h264_highest + 1))
        block_px = 8 if rng.random() < 0.5 else 4
        yield lambda face: block_transform_codec(face, quantiser, block_px)
    if rescaled:
        way = cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC
        yield lambda face: to_side(face, side, way)


def _draw_colour(config: AugmentConfig, rng: np.random.Generator) -> _Step:
    brightness, contrast, saturation, hue_deg = (
        float(rng.uniform(-most, most))
        for most in (config.brightness, config.contrast, config.saturation, config.hue_deg)
    )
    return lambda face: recolour(face, brightness, contrast, saturation, hue_deg)


def flip(rgb: RgbArray) -> RgbArray:
    """Mirror a face, left to right."""
    return np.asarray(cv2.flip(rgb, 1), np.uint8)


def recrop(
    rgb: RgbArray, zoom: float, shift_xy_px: tuple[float, float], turn_deg: float = 0.0
) -> RgbArray:
    """Enlarge a face around its centre, turn it anticlockwise and move it.

    What comes in from outside is mirrored.
    """
    side = rgb.shape[0]
    centre = (side - 1) / 2
    matrix = cv2.getRotationMatrix2D((centre, centre), turn_deg, zoom)
    matrix[:, 2] += np.array(shift_xy_px)
    moved = cv2.warpAffine(
        rgb, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(moved, np.uint8)


def paint_over(rgb: RgbArray, corner: FloatArray, sides: FloatArray, colour: IntArray) -> RgbArray:
    """Paint a rectangle over a face, so that no single part of it decides alone.

    Source: DeVries & Taylor, Improved Regularization of Convolutional Neural Networks with
    Cutout, 2017.

    Args:
        corner: top left one, (row, column) as shares of the side.
        sides: (height, width), likewise.
        colour: RGB, 0 to 255.
    """
    top, left = np.floor(corner * rgb.shape[0]).astype(int)
    bottom, right = np.ceil((corner + sides) * rgb.shape[0]).astype(int)
    painted = rgb.copy()
    painted[top:bottom, left:right] = colour
    return painted


def recolour(
    rgb: RgbArray, brightness: float, contrast: float, saturation: float, hue_deg: float
) -> RgbArray:
    """Change colours by one 3x4 matrix on RGB; all zeros change nothing.

    Args:
        brightness: added, as a share of 255.
        contrast: relative change of the distance from mid grey.
        saturation: relative change of the distance from grey of the same luma.
        hue_deg: turn around the grey axis.
    """
    angle = np.deg2rad(hue_deg)
    third, cosine, sine = 1.0 / 3.0, np.cos(angle), np.sin(angle)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3.0)
    turn = cosine * np.eye(3) + (1 - cosine) * third + sine * cross
    grey = np.tile(_LUMA, (3, 1))
    matrix = (1 + contrast) * (grey + (1 + saturation) * (np.eye(3) - grey)) @ turn
    offset = 255.0 * brightness - 127.5 * contrast
    full = np.hstack([matrix, np.full((3, 1), offset)]).astype(np.float32)
    return np.asarray(cv2.transform(rgb, full), np.uint8)


def blur(rgb: RgbArray, sigma_px: float) -> RgbArray:
    """Blur by a Gaussian."""
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigmaX=sigma_px), np.uint8)


def down_up(rgb: RgbArray, share: float, enlarging: int) -> RgbArray:
    """Shrink a picture to a share of its sides and enlarge it again by an OpenCV interpolation."""
    height, width, _ = rgb.shape
    small_wh = (max(round(width * share), 2), max(round(height * share), 2))
    small = cv2.resize(rgb, small_wh, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=enlarging), np.uint8)


def to_side(rgb: RgbArray, side_px: int, interpolation: int) -> RgbArray:
    """Resize a square picture by an OpenCV interpolation."""
    return np.asarray(cv2.resize(rgb, (side_px, side_px), interpolation=interpolation), np.uint8)


def warp_box(rgb: RgbArray, matrix: FloatImage, box: Box) -> RgbArray:
    """Resample that box of a picture moved by a 2x3 matrix: (left, top, width, height)."""
    left, top, width, height = box
    into_box = matrix - np.array([[0, 0, left], [0, 0, top]], np.float32)
    warped = cv2.warpAffine(
        rgb,
        into_box,
        (width, height),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return np.asarray(warped, np.uint8)


def add_noise(rgb: RgbArray, noise: FloatImage) -> RgbArray:
    """Add noise, float32 of the face's shape in steps of 0 to 255."""
    return np.asarray(cv2.add(rgb, noise, dtype=cv2.CV_8U), np.uint8)


def jpeg(rgb: RgbArray, quality: int) -> RgbArray:
    """Encode as JPEG, colour at half size as nearly all files have it, and decode."""
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    content = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, quality, *sampling))[1]
    decoded = np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB, dst=decoded), np.uint8)


def block_transform_codec(rgb: RgbArray, quantiser: int, block_px: int) -> RgbArray:
    """Compress in the manner of an H.264 intra frame; an approximation, no codec.

    What it has of H.264: colour at half size, DCT blocks of 4 or 8 px, one quantiser step for
    all frequencies (.625 x 2^(QP / 6)) with a dead zone of a third, edges of blocks softened by
    less than the step. What it has not: prediction, motion, choice of modes.

    Args:
        rgb: uint8 (H, W, 3), RGB.
        quantiser: H.264's QP, 0 to 51.
        block_px: 4 or 8.
    """
    height, width, _ = rgb.shape
    below, right = -height % (2 * block_px), -width % (2 * block_px)
    padded = cv2.copyMakeBorder(rgb, 0, below, 0, right, cv2.BORDER_REPLICATE)
    luma, *colours = cv2.split(cv2.cvtColor(padded, cv2.COLOR_RGB2YCrCb))
    step = 0.625 * 2.0 ** (quantiser / 6.0)
    half = (padded.shape[1] // 2, padded.shape[0] // 2)
    full = (padded.shape[1], padded.shape[0])
    smaller = [cv2.resize(plane, half, interpolation=cv2.INTER_AREA) for plane in colours]
    planes = [_quantise(np.asarray(plane, np.uint8), step, block_px) for plane in (luma, *smaller)]
    enlarged = [cv2.resize(plane, full) for plane in planes[1:]]
    decoded = cv2.cvtColor(cv2.merge([planes[0], *enlarged]), cv2.COLOR_YCrCb2RGB)
    return np.ascontiguousarray(decoded[:height, :width], np.uint8)


def _quantise(plane: RgbArray, step: float, block_px: int) -> RgbArray:
    """Quantise a plane (H, W), uint8, in DCT blocks, and soften their edges."""
    basis = _dct_matrix(block_px)
    rows, columns = (length // block_px for length in plane.shape)
    pixels = plane.astype(np.float32).reshape(rows, block_px, columns, block_px)
    blocks = np.ascontiguousarray(pixels.transpose(0, 2, 1, 3))
    levels = (basis @ blocks @ basis.T) * np.float32(1.0 / step)
    kept = np.trunc(levels + np.copysign(np.float32(1.0 / 3.0), levels)) * np.float32(step)
    rebuilt = (basis.T @ kept @ basis).transpose(0, 2, 1, 3)
    decoded: FloatImage = np.asarray(rebuilt, np.float32).reshape(plane.shape)
    limit = np.float32(min(step / 4, 8.0))
    _soften(decoded, limit, block_px)
    _soften(decoded.T, limit, block_px)
    return np.asarray(cv2.convertScaleAbs(np.maximum(decoded, 0)), np.uint8)


def _soften(plane: FloatImage, limit: np.float32, block_px: int) -> None:
    """Bring the rows on both sides of each edge of blocks closer, by the limit at most."""
    above, below = plane[block_px - 1 : -1 : block_px], plane[block_px::block_px]
    change = np.clip((below - above) * np.float32(0.25), -limit, limit)
    above += change
    below -= change


def _dct_matrix(size: int) -> FloatImage:
    """Orthonormal DCT-II as a matrix (frequencies, pixels)."""
    ticks = np.arange(size)
    waves = np.cos(np.pi * np.outer(ticks, ticks + 0.5) / size) * np.sqrt(2.0 / size)
    waves[0] = np.sqrt(1.0 / size)
    return np.asarray(waves, np.float32)
