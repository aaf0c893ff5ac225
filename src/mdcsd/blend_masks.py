"""Where a pseudo-fake is one: a region's landmarks -> a soft mask.

Source: Shiohara & Yamasaki, "Detecting Deepfakes with Self-Blended Images", CVPR 2022: the
convex hull of landmarks, deformed and blurred; the regions and the bounded area are ours.
"""

from __future__ import annotations

import cv2
import numpy as np

from mdcsd.nouns import FloatImage, RgbArray

_MASK_PX = 128  # masks are smooth: made at this side, then enlarged

# FaceMesh's indices of what bounds each region.
_OVAL_BELOW = (361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132)
_BROWS = (70, 63, 105, 66, 107, 46, 300, 293, 334, 296, 336, 276)
_EYES = (33, 133, 159, 145, 153, 144, 263, 362, 386, 374, 380, 373)
_MOUTH = (61, 291, 37, 0, 267, 39, 269, 84, 17, 314, 181, 405, 91, 321, 146, 375)
_NOSE = (168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 129, 358, 48, 278, 115, 344, 131, 360)
_FEATURES = (*_BROWS, *_EYES, *_MOUTH, *_NOSE)
_REGION_POINTS = {
    "lower_face": (*_OVAL_BELOW, 98, 327, 2),
    "mouth": _MOUTH,
    "eyes": (*_BROWS, *_EYES),
    "nose": _NOSE,
}


def draw_mask(
    points: FloatImage, region: str, side: int, largest: float, rng: np.random.Generator
) -> FloatImage:
    """Draw the mask of a blend: the hull of a region's points, moved, bent and blurred.

    Args:
        points: float32 (468, 2), FaceMesh's, in the crop's pixels; some may lie outside.
        region: one of `augment_config.REGIONS`.
        side: of the crop, in pixels.
        largest: share of the crop that may be above 0.

    Returns: float32 (side, side), 0..1; never all 0.
    """
    hull = _draw_hull(points, region, rng) * (_MASK_PX / side)
    hull = _shrink_to(hull, 0.85 * largest * _MASK_PX**2)
    mask = np.zeros((_MASK_PX, _MASK_PX), np.uint8)
    cv2.fillConvexPoly(mask, np.rint(hull * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
    mask = _bend(mask, rng)
    mask = np.asarray(
        cv2.GaussianBlur(mask, (0, 0), _MASK_PX * rng.uniform(0.008, 0.045)), np.uint8
    )
    if not mask.any():  # the region lies outside the crop: the crop's middle instead
        cv2.circle(mask, (_MASK_PX // 2, _MASK_PX // 2), _MASK_PX // 6, 255, -1, cv2.LINE_AA)
    soft = _bound_share(mask.astype(np.float32) / 255.0, 0.96 * largest)
    enlarged = cv2.resize(soft, (side, side))  # which spreads it a little
    return _bound_share(np.asarray(enlarged, np.float32), largest)


def _draw_hull(points: FloatImage, region: str, rng: np.random.Generator) -> FloatImage:
    """A convex hull (N, 2) around a region, or around a random part of the face."""
    if region == "face":
        chosen = points if rng.random() < 0.7 else points[list(_FEATURES)]
        angle = rng.uniform(0.0, 2 * np.pi)
        along = chosen @ np.array([np.cos(angle), np.sin(angle)])
        chosen = chosen[along <= np.quantile(along, rng.uniform(0.7, 1.0))]
        enlarging = rng.uniform(0.9, 1.05, 2)
    else:
        chosen = points[list(_REGION_POINTS[region])]
        enlarging = rng.uniform(0.95, 1.3, 2)
    hull = cv2.convexHull(chosen.astype(np.float32))[:, 0]
    centre = hull.mean(axis=0)
    moved = centre + np.ptp(hull, axis=0) * rng.uniform(-0.04, 0.04, 2)
    return np.asarray((hull - centre) * enlarging + moved, np.float32)


def _shrink_to(hull: FloatImage, area: float) -> FloatImage:
    """Shrink a hull around its centre until it has at most an area."""
    found = cv2.contourArea(hull)
    if found <= area:
        return hull
    centre = hull.mean(axis=0)
    return np.asarray(centre + (hull - centre) * np.sqrt(area / found), np.float32)


def _bend(mask: RgbArray, rng: np.random.Generator) -> RgbArray:
    """Deform a mask by a smooth random field, drawn on a coarse grid."""
    cells = int(rng.integers(4, 9))
    coarse = rng.standard_normal((cells, cells, 2), np.float32)
    coarse *= np.float32(rng.uniform(0.005, 0.025) * _MASK_PX)
    field = cv2.resize(coarse, (_MASK_PX, _MASK_PX), interpolation=cv2.INTER_CUBIC)
    ticks = np.arange(_MASK_PX, dtype=np.float32)
    bent = cv2.remap(mask, field[..., 0] + ticks, field[..., 1] + ticks[:, None], cv2.INTER_LINEAR)
    return np.asarray(bent, np.uint8)


def _bound_share(mask: FloatImage, largest: float) -> FloatImage:
    """Take the weakest part of a mask away where more than a share of the crop is above 0."""
    most = int(largest * mask.size)
    if np.count_nonzero(mask) <= most:
        return mask
    edge = np.partition(mask.ravel(), mask.size - most - 1)[mask.size - most - 1]
    return np.asarray(np.clip((mask - edge) / max(1.0 - edge, 1e-3), 0.0, 1.0), np.float32)
