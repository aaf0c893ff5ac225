"""Pseudo-fakes made of real faces: no fake video is needed to learn from them.

Source: Shiohara & Yamasaki, "Detecting Deepfakes with Self-Blended Images", CVPR 2022: a face is
blended with a recoloured, resharpened, moved copy of itself, under a deformed, blurred mask of
its landmarks. Written anew from the paper. Where ours differs, and why:

- The face is resampled first, real and fake alike, so that the grid of 8 x 8 px that JPEG left
  in the original tells nothing; the copy comes from the original in one resampling too.
- The blend is made smaller, if asked for (`smallest`), and enlarged after it, as faces in videos
  are small: a seam made at full size is one that they have not.
- Regions: beside the face also the lower face, mouth, eyes and nose, for reenactment and
  talking faces, which change only these.
- Kinds: beside the copy also one that replaces only the middle frequencies, and five that put
  what a generator, decoder or codec would make of the face there, at no seam of colour: one of
  them is a decoder's own (`autoencoder.py`).
- Nothing outside the mask changes, and the mask leaves part of a tight crop alone.
- A blend that would hardly be seen in the pixels is drawn again: its label would be a lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import cv2
import numpy as np
from scipy import fft

from mdcsd.augment import (
    add_noise,
    blur,
    down_up,
    jpeg,
    recolour,
    to_side,
    warp_box,
)
from mdcsd.augment_config import AUTOENCODER, LEAST_MASK, OTHER_PERSON, BlendConfig
from mdcsd.blend_masks import draw_mask
from mdcsd.donors import Donor, lay_over
from mdcsd.encoding import code_h264
from mdcsd.nouns import FloatArray, FloatImage, RgbArray, require

_RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
_LEAST_DIFFERENCE = 1.0  # of 255, mean over the mask
_DRAWS = 6
_PATCH_PX = 4
_SPREAD = 0.9  # a mask drawn small is spread by enlarging it
_LEAST_PX = 24  # a face smaller than that has no features to blend

Repaint = Callable[[RgbArray, FloatImage, np.random.Generator], RgbArray]
"""A crop, uint8 (S, S, 3) RGB, and its landmarks, float32 (468, 2) in its pixels -> the crop with
its face painted by a decoder, see `autoencoder.py`."""


@dataclass(frozen=True)
class Blend:
    """A pair: `real` and the `fake` made of it, both uint8 (S, S, 3) RGB, resampled alike.

    `mask` float32 (S, S), 0..1: how much of each pixel was replaced; where it is 0 the two
    are equal. `kind` is one of `augment_config.KINDS`, `AUTOENCODER` or `OTHER_PERSON`; `region`
    of `REGIONS`.
    """

    real: RgbArray
    fake: RgbArray
    mask: FloatImage
    kind: str
    region: str

    def __post_init__(self) -> None:
        """Check that the three are of one size."""
        require(
            self.real.shape == self.fake.shape == (*self.mask.shape, 3),
            f"Blend: {self.real.shape}, {self.fake.shape}, {self.mask.shape} do not fit",
        )


def blend_face(
    rgb: RgbArray,
    landmarks_xy_px: FloatImage,
    config: BlendConfig,
    rng: np.random.Generator,
    donor: Donor | None = None,
    repaint: Repaint | None = None,
) -> Blend:
    """Make a pseudo-fake of a real face.

    Args:
        rgb: uint8 (S, S, 3), RGB, a face crop.
        landmarks_xy_px: float32 (468, 2), FaceMesh's points in the crop's pixels; some may lie
            outside.
        config: Weights of kinds and regions.
        rng: The only source of chance.
        donor: Another person's face, which takes the place of a copy of this one.
        repaint: What paints the kind `autoencoder`, and a share of the donors.

    Returns: the pair; after six draws that changed hardly anything, the one that changed most.
    """
    require(landmarks_xy_px.shape == (468, 2), f"landmarks {landmarks_xy_px.shape}: not (468, 2)")
    side = rgb.shape[0]
    if config.smallest == 1.0:
        donor = _prepared(donor, side, config, repaint, rng)
        return _first_seen(partial(_draw_blend, rgb, landmarks_xy_px, config, rng, donor, repaint))
    small_px = max(round(side * rng.uniform(config.smallest, 1.0)), _LEAST_PX)
    small = to_side(rgb, small_px, cv2.INTER_AREA)
    points = landmarks_xy_px * np.float32(small_px / side)
    bounded = replace(config, largest_mask=max(_SPREAD * config.largest_mask, LEAST_MASK))
    donor = _prepared(donor, small_px, config, repaint, rng)
    blend = _first_seen(partial(_draw_blend, small, points, bounded, rng, donor, repaint))
    real, fake = (to_side(face, side, cv2.INTER_LINEAR) for face in (blend.real, blend.fake))
    mask = np.asarray(cv2.resize(blend.mask, (side, side)), np.float32)
    return replace(blend, real=real, fake=fake, mask=mask)


def _prepared(
    donor: Donor | None,
    side_px: int,
    config: BlendConfig,
    repaint: Repaint | None,
    rng: np.random.Generator,
) -> Donor | None:
    """Bring a donor to the size of the blend; some are painted, if there is what paints."""
    if donor is None:
        return None
    donor = donor.resized(side_px)
    if repaint is None or rng.random() >= config.painted_donors:
        return donor
    return replace(donor, rgb=repaint(donor.rgb, donor.landmarks_xy_px, rng))


def _first_seen(draw: Callable[[], Blend]) -> Blend:
    """Draw until a blend is seen in the pixels, six times at most: then the one seen most."""
    drawn: list[Blend] = []
    while len(drawn) < _DRAWS:
        drawn.append(draw())
        if mean_difference(drawn[-1]) >= _LEAST_DIFFERENCE:
            return drawn[-1]
    return max(drawn, key=mean_difference)


def mean_difference(blend: Blend) -> float:
    """Mean absolute difference between real and fake inside the mask, in steps of 0 to 255."""
    inside = int(np.count_nonzero(blend.mask))
    return float(cv2.norm(blend.real, blend.fake, cv2.NORM_L1)) / max(3 * inside, 1)


def _draw_blend(
    rgb: RgbArray,
    points: FloatImage,
    config: BlendConfig,
    rng: np.random.Generator,
    donor: Donor | None,
    repaint: Repaint | None,
) -> Blend:
    side = rgb.shape[0]
    kind, region = _draw(_kind_weights(config), rng), _draw(_region_weights(config), rng)
    kind = OTHER_PERSON if donor else kind
    resampling = _draw_resampling(side, rng)
    real = warp_box(rgb, resampling, (0, 0, side, side))
    moved_points = points @ resampling[:, :2].T + resampling[:, 2]
    mask = draw_mask(moved_points, region, side, config.largest_mask, rng)
    if kind == "self_blend":  # of the others a quarter would hardly be any
        mask = mask * np.float32(_RATIOS[int(rng.integers(len(_RATIOS)))])
    paints = kind == AUTOENCODER or kind in _RECONSTRUCTIONS
    looks_of_real = not paints and rng.random() < 0.5
    if looks_of_real:
        real = _other_looks(real, rng)
    left, top, width, height = box = _box_around(mask)
    inside = (slice(top, top + height), slice(left, left + width))
    if donor:
        source, covered = lay_over(donor, moved_points, box, real[inside], mask[inside], rng)
        mask[inside] *= covered
    elif kind == AUTOENCODER:
        require(repaint is not None, "blend.autoencoder without an autoencoder")
        source = cast(Repaint, repaint)(real, moved_points, rng)[inside]
    elif kind in _RECONSTRUCTIONS:
        source = _RECONSTRUCTIONS[kind](real[inside], rng)
    else:
        source = warp_box(rgb, _draw_move(side, rng) @ np.vstack([resampling, [0, 0, 1]]), box)
        source = source if looks_of_real else _other_looks(source, rng)
    if kind == "frequency":
        source = _swap_middle_frequencies(real[inside], source, rng)
    fake = real.copy()
    fake[inside] = cv2.blendLinear(source, real[inside], mask[inside], 1.0 - mask[inside])
    return Blend(real, fake, mask, kind, region)


def _box_around(mask: FloatImage) -> tuple[int, int, int, int]:
    """Where a mask is above 0, with a margin: (left, top, width, height)."""
    side, margin = mask.shape[0], 8
    left, top, width, height = cv2.boundingRect((mask > 0).astype(np.uint8))
    start_x, start_y = max(left - margin, 0), max(top - margin, 0)
    end_x, end_y = min(left + width + margin, side), min(top + height + margin, side)
    return start_x, start_y, end_x - start_x, end_y - start_y


def _kind_weights(config: BlendConfig) -> dict[str, float]:
    return {
        "self_blend": config.self_blend,
        "frequency": config.frequency,
        "down_up": config.down_up,
        "codec": config.codec,
        "low_rank": config.low_rank,
        "smooth": config.smooth,
        AUTOENCODER: config.autoencoder,
    }


def _region_weights(config: BlendConfig) -> dict[str, float]:
    return {
        "face": config.face,
        "lower_face": config.lower_face,
        "mouth": config.mouth,
        "eyes": config.eyes,
        "nose": config.nose,
    }


def _draw(weights: dict[str, float], rng: np.random.Generator) -> str:
    names, values = list(weights), np.array(list(weights.values()))
    return names[int(np.searchsorted(np.cumsum(values), rng.random() * values.sum(), "right"))]


def _draw_resampling(side: int, rng: np.random.Generator) -> FloatImage:
    """A slight enlargement around the centre and a shift by a part of a pixel, as 2x3."""
    zoom = rng.uniform(1.0, 1.06)
    shift = rng.uniform(-1.5, 1.5, 2)
    return _around_centre(side, zoom, zoom, shift)


def _draw_move(side: int, rng: np.random.Generator) -> FloatImage:
    """Where the copy lies beside the face: a few per cent of its size off, as 2x3."""
    shift = rng.uniform(-1.0, 1.0, 2) * (0.02 * side, 0.012 * side)
    return _around_centre(side, rng.uniform(0.96, 1.04), rng.uniform(0.97, 1.03), shift)


def _around_centre(side: int, zoom_x: float, zoom_y: float, shift: FloatArray) -> FloatImage:
    zoom = np.array([zoom_x, zoom_y])
    offset = (1 - zoom) * (side - 1) / 2 + shift
    return np.hstack([np.diag(zoom), offset[:, None]]).astype(np.float32)


def _other_looks(rgb: RgbArray, rng: np.random.Generator) -> RgbArray:
    """Other colours, and blurrier, sharper or as it was, as another camera would have it."""
    brightness, contrast, saturation = rng.uniform(-1, 1, 3) * (0.06, 0.1, 0.18)
    changed = recolour(rgb, brightness, contrast, saturation, rng.uniform(-6.0, 6.0))
    if rng.random() < 0.4:
        tint = np.append(rng.uniform(-14.0, 14.0, 3), 0.0)
        changed = np.asarray(cv2.add(changed, tint), np.uint8)
    choice = rng.random()
    if choice < 0.4:
        return down_up(changed, 1.0 / rng.uniform(1.3, 3.0), cv2.INTER_CUBIC)
    if choice < 0.8:
        soft, gain = blur(changed, 1.2), rng.uniform(0.3, 1.0)
        return np.asarray(cv2.addWeighted(changed, 1 + gain, soft, -gain, 0.0), np.uint8)
    return changed


def _swap_middle_frequencies(
    real: RgbArray, source: RgbArray, rng: np.random.Generator
) -> RgbArray:
    """Put the source's luma into the real face between two frequencies of the box's DCT."""
    low, high = rng.uniform(0.03, 0.08), rng.uniform(0.25, 0.6)  # 1 is a wave of two pixels
    down, across = (np.arange(length, dtype=np.float32) / length for length in real.shape[:2])
    radius = np.hypot(down[:, None], across)
    band = ((radius >= low) & (radius < high)).astype(np.float32)
    lumas = [cv2.cvtColor(each, cv2.COLOR_RGB2GRAY).astype(np.float32) for each in (source, real)]
    spectrum = fft.dctn(lumas[0] - lumas[1], norm="ortho") * band
    return add_noise(real, np.repeat(fft.idctn(spectrum, norm="ortho")[..., None], 3, axis=2))


def _shrunk(rgb: RgbArray, rng: np.random.Generator) -> RgbArray:
    """As a generator of lower resolution paints it; by nearest points with its chequers."""
    ways = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4, cv2.INTER_NEAREST)
    way = int(rng.integers(len(ways)))
    least = 2.0 if way < 3 else 1.5
    enlarged = down_up(rgb, 1.0 / rng.uniform(least, 1.6 * least), ways[way])
    return blur(enlarged, 0.7) if way == 3 else enlarged


def _coded(rgb: RgbArray, rng: np.random.Generator) -> RgbArray:
    """As a face comes out of a stronger compression than the rest of the picture."""
    if rng.random() < 0.5:
        return jpeg(rgb, int(rng.integers(18, 50)))
    return code_h264([rgb], int(rng.integers(29, 37)))


def _low_rank(rgb: RgbArray, rng: np.random.Generator) -> RgbArray:
    """Rebuild patches of 4 x 4 px from their first principal components, as an encoder does."""
    height, width, _ = rgb.shape
    below, right = -height % _PATCH_PX, -width % _PATCH_PX
    padded = cv2.copyMakeBorder(rgb, 0, below, 0, right, cv2.BORDER_REPLICATE)
    rows, columns = (length // _PATCH_PX for length in padded.shape[:2])
    blocks = padded.reshape(rows, _PATCH_PX, columns, _PATCH_PX, 3).transpose(0, 2, 1, 3, 4)
    patches = blocks.reshape(rows * columns, -1).astype(np.float32)
    mean = patches.mean(axis=0)
    centred = patches - mean
    kept = np.linalg.eigh(centred.T @ centred)[1][:, -int(rng.integers(3, 9)) :]
    rebuilt = ((centred @ kept) @ kept.T + mean).reshape(rows, columns, _PATCH_PX, _PATCH_PX, 3)
    pixels = rebuilt.transpose(0, 2, 1, 3, 4).reshape(padded.shape)[:height, :width]
    return np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8)


def _smoothed(rgb: RgbArray, rng: np.random.Generator) -> RgbArray:
    """As skin is painted by a generator or a beauty filter: pores go, edges stay."""
    return np.asarray(cv2.bilateralFilter(rgb, 5, rng.uniform(40.0, 90.0), 3.0), np.uint8)


_RECONSTRUCTIONS: dict[str, Callable[[RgbArray, np.random.Generator], RgbArray]] = {
    "down_up": _shrunk,
    "codec": _coded,
    "low_rank": _low_rank,
    "smooth": _smoothed,
}
