"""Faces of other people, laid over a face: what a face swap does, without a generator.

Source: Li et al., "Face X-ray for More General Face Forgery Detection", CVPR 2020: of many real
faces the one whose landmarks are nearest is taken, and its colours are brought to those of the
face below. Written anew from the paper. Where ours differs, and why: the face is laid on by an
affine map of all its landmarks, and afterwards mostly blurred, as the decoders that paint swapped
faces in videos do it; colours are brought near by a part of the way only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mdcsd.augment import Box, down_up, to_side, warp_box
from mdcsd.nouns import FloatImage, IntArray, RgbArray, require

_CANDIDATES = 400


@dataclass(frozen=True)
class Donor:
    """A real face of somebody else: uint8 (S, S, 3) RGB, landmarks float32 (468, 2) in pixels."""

    rgb: RgbArray
    landmarks_xy_px: FloatImage

    def __post_init__(self) -> None:
        """Check that it is a square crop with landmarks."""
        height, width, _ = self.rgb.shape
        shape = self.landmarks_xy_px.shape
        require(height == width and shape == (468, 2), f"Donor: {self.rgb.shape}, {shape}")

    def resized(self, side_px: int) -> Donor:
        """Shrink or enlarge it to another side."""
        share = np.float32(side_px / self.rgb.shape[0])
        way = cv2.INTER_AREA if share < 1 else cv2.INTER_LINEAR
        return Donor(to_side(self.rgb, side_px, way), self.landmarks_xy_px * share)


def lay_over(
    donor: Donor,
    landmarks_xy_px: FloatImage,
    box: Box,
    below: RgbArray,
    mask: FloatImage,
    rng: np.random.Generator,
) -> tuple[RgbArray, FloatImage]:
    """Move a donor's face onto another face, with colours and sharpness as a swap leaves them.

    Args:
        donor: of the same side as the crop.
        landmarks_xy_px: float32 (468, 2), of the face below, in its crop's pixels.
        box: the part of the crop wanted, (left, top, width, height).
        below: uint8 (height, width, 3) RGB, that part of the crop.
        mask: float32 (height, width), what of it will be replaced.
        rng: the only source of chance.

    Returns: uint8 (height, width, 3) RGB; and float32 (height, width), 0..1, 0 where the donor's
        crop ends, where chins and brows would be mirrored, and outside the face below, where the
        donor's background would come along.
    """
    known = np.hstack([donor.landmarks_xy_px, np.ones((len(landmarks_xy_px), 1), np.float32)])
    matrix = np.linalg.lstsq(known, landmarks_xy_px, rcond=None)[0].T.astype(np.float32)
    laid, side = warp_box(donor.rgb, matrix, box), donor.rgb.shape[0]
    covered = _covered(side, matrix, box) * _face_shape(landmarks_xy_px, side, box)
    laid = _match_colours(laid, below, mask, rng.uniform(0.4, 1.0))
    if rng.random() < 0.7:
        laid = down_up(laid, 1.0 / rng.uniform(1.3, 2.5), cv2.INTER_CUBIC)
    return laid, covered


def _covered(side: int, matrix: FloatImage, box: Box) -> FloatImage:
    """Where a picture moved by a 2x3 matrix has pixels of its own, softly, as float32 0..1."""
    left, top, width, height = box
    into_box = matrix - np.array([[0, 0, left], [0, 0, top]], np.float32)
    soft_px = max(side // 16, 2)
    whole = np.zeros((side, side), np.float32)
    whole[soft_px:-soft_px, soft_px:-soft_px] = 1.0
    soft = cv2.blur(whole, (2 * soft_px - 1, 2 * soft_px - 1), borderType=cv2.BORDER_CONSTANT)
    return np.asarray(cv2.warpAffine(soft, into_box, (width, height)), np.float32)


def _face_shape(points: FloatImage, side: int, box: Box) -> FloatImage:
    """The hull of all landmarks, softly, as float32 (height, width), 0..1."""
    left, top, width, height = box
    shape = np.zeros((height, width), np.float32)
    hull = cv2.convexHull(np.rint(points - np.array([left, top])).astype(np.int32))
    cv2.fillConvexPoly(shape, hull, 1.0)
    return np.asarray(cv2.GaussianBlur(shape, (0, 0), max(side / 64, 0.5)), np.float32)


def _match_colours(rgb: RgbArray, to: RgbArray, mask: FloatImage, strength: float) -> RgbArray:
    """Bring mean and deviation of each channel, inside a mask, a part of the way to another's.

    Source: Reinhard et al., Color Transfer between Images, 2001; in RGB, as Lab costs more.
    """
    inside = (mask > 0.5 * mask.max()).astype(np.uint8)
    (mean, deviation), (wanted_mean, wanted_deviation) = (
        cv2.meanStdDev(each, mask=inside) for each in (rgb, to)
    )
    gain = 1.0 + strength * (np.clip(wanted_deviation / np.maximum(deviation, 1.0), 0.5, 2.0) - 1.0)
    offset = (1.0 - strength) * mean + strength * wanted_mean - gain * mean
    matrix = np.hstack([np.diag(gain[:, 0]), offset]).astype(np.float32)
    return np.asarray(cv2.transform(rgb, matrix), np.uint8)


class Donors:
    """Who lends a face to whom, among the real faces of a data set."""

    def __init__(
        self, numbers: IntArray, landmarks_xy: Sequence[FloatImage], people: Sequence[str]
    ) -> None:
        """Keep the shape of each face: its landmarks, centred and of one size.

        Args:
            numbers: of n real records with landmarks, int64 (n,).
            landmarks_xy: of each, float32 (468, 2).
            people: who each is.
        """
        self._numbers = numbers
        self._people = np.array(people)
        self._shapes = np.stack([_shape_of(each) for each in landmarks_xy])

    def choose(self, landmarks_xy: FloatImage, person: str, rng: np.random.Generator) -> int | None:
        """Of 400 faces drawn at random, less the person's own, take the one of the nearest shape.

        Returns: its number among those given; None where only the person's own were drawn.
        """
        drawn = rng.integers(len(self._numbers), size=_CANDIDATES)
        drawn = drawn[self._people[drawn] != person]
        if not len(drawn):
            return None
        apart = np.linalg.norm(self._shapes[drawn] - _shape_of(landmarks_xy), axis=1)
        return int(self._numbers[drawn[np.argmin(apart)]])


def _shape_of(landmarks_xy: FloatImage) -> FloatImage:
    """Every eighth landmark, centred, of unit size, float32 (118,)."""
    some = landmarks_xy[::8] - landmarks_xy[::8].mean(axis=0)
    return np.asarray((some / max(float(np.linalg.norm(some)), 1e-6)).ravel(), np.float32)
