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
from mdcsd.encoding import code_h264
from mdcsd.nouns import FloatArray, FloatImage, IntArray, RgbArray, require

_Step = Callable[[RgbArray], RgbArray]
Box = tuple[int, int, int, int]
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_MOST_FRAMES = 3
"""A face is the last of up to so many frames of a clip when a codec sees it."""
_STEP_PX = 1.0
"""Standard deviation of its way from frame to frame, across and down, pixels of the video."""


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
    return frame_and_degrade(faces, config, rng)[1]


def frame_and_degrade(
    faces: Sequence[RgbArray], config: AugmentConfig, rng: np.random.Generator
) -> tuple[list[RgbArray], list[RgbArray]]:
    """Degrade faces as `degrade` does, and tell them from what they were just before.

    Returns: the faces framed and coloured, of full quality; and the same degraded.
    """
    if not config.enabled or not faces:
        return list(faces), list(faces)
    shape = faces[0].shape
    require(all(face.shape == shape for face in faces), "degrade: faces of several sizes")
    framed = list(faces)
    for step in _draw_framing(shape, config, rng):
        framed = [step(face) for face in framed]
    degraded = framed
    for step in _draw_losses(shape, config, rng):
        degraded = [step(face) for face in degraded]
    return framed, degraded


def _draw_framing(
    shape: tuple[int, ...], config: AugmentConfig, rng: np.random.Generator
) -> Iterator[_Step]:
    """Draw what takes nothing of a face's quality away: where it stands, and its colours."""
    if rng.random() < config.flip:
        yield flip
    if rng.random() < config.crop:
        shift = rng.uniform(-config.crop_shift, config.crop_shift, 2) * shape[0]
        zoom = 1.0 + rng.uniform(0.0, config.crop_zoom)
        turn_deg = rng.uniform(-config.crop_turn_deg, config.crop_turn_deg)
        yield lambda face: recrop(face, zoom, (float(shift[0]), float(shift[1])), turn_deg)
    if rng.random() < config.colour:
        yield _draw_colour(config, rng)


def _draw_losses(
    shape: tuple[int, ...], config: AugmentConfig, rng: np.random.Generator
) -> Iterator[_Step]:
    """Draw what does: optics, capture, compression, something in front of the face."""
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
        crf = int(rng.integers(config.h264_lowest, config.h264_highest + 1))
        ways = rng.normal(0.0, _STEP_PX, (int(rng.integers(_MOST_FRAMES)), 2)).cumsum(axis=0)
        yield lambda face: code_h264([*(move(face, way) for way in ways[::-1]), face], crf)
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


def move(rgb: RgbArray, way_xy_px: FloatArray) -> RgbArray:
    """Move a picture by (2,) pixels or parts of them; what comes in from outside is mirrored."""
    matrix = np.array([[1.0, 0.0, way_xy_px[0]], [0.0, 1.0, way_xy_px[1]]])
    size_wh = (rgb.shape[1], rgb.shape[0])
    moved = cv2.warpAffine(rgb, matrix, size_wh, borderMode=cv2.BORDER_REFLECT_101)
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
