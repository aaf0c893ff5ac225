"""Can a face be judged at all? Its size, light and sharpness, before any network sees it.

A network answers to a black square as well as to a face. Its answer means something only
where the picture holds what it was taught to look at, so such faces are left out, and said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from mdcsd.nouns import FaceCrop, RgbArray

MIN_FACE_PX = 40.0
"""Longer side of the detector's box, pixels of the file: below it no pore, tooth or lash is left,
and codecs spend two or three blocks on a face. Landmarks get loose at about the same size."""
MIN_LUMA = 16.0
"""Mean luma of a crop, 0..255: video calls 16 black; below it are a few grey levels and noise."""
MIN_DETAIL = 0.05
"""Share of a crop's luma contrast that is finer than 1/32 of its side. Portraits have .16 and more,
talking heads of 360 x 288 pixels .19, upscaled DFDC crops .05 to .25; a Gaussian blur whose
sigma is 3 % of the face's side leaves .03 to .05."""

MIN_FINE = 1.0
"""Standard deviation of that fine contrast itself, in grey levels of 255: below one level eight
bits leave little of it, as of a bystander out of focus in the dark. Of 3,112 DFDC crops 17 have so
little and enough of the share."""

_DETAIL_PX, _COARSE_PX = 128, 32

FlawKind = Literal["small", "dark", "blurred", "faint"]
_TOLD: dict[FlawKind, str] = {
    "small": "too small (largest {} px, {} needed)",
    "dark": "too dark (brightest {} of 255, {} needed)",
    "blurred": "too blurred (sharpest: {} % of its contrast is fine detail, {} needed)",
    "faint": "too faint (at best its fine detail spans {} grey levels of 255, {} needed)",
}
_SCALE: dict[FlawKind, float] = {"small": 1.0, "dark": 1.0, "blurred": 100.0, "faint": 1.0}


@dataclass(frozen=True)
class Flaw:
    """Why one face cannot be judged: what is too low, how low, and what is needed."""

    kind: FlawKind
    value: float
    needed: float


@dataclass(frozen=True)
class LeftOut:
    """A face that was found and cannot be judged: in which frame, and why."""

    frame_index: int
    flaw: Flaw


def judge_quality(rgb: RgbArray, face_px: float) -> Flaw | None:
    """Say why a face cannot be judged, or None if it can.

    Args:
        rgb: the crop, uint8 (S, S, 3), RGB, of any side S.
        face_px: longer side of the face's box in the pixels of the file.
    """
    if face_px < MIN_FACE_PX:
        return Flaw("small", face_px, MIN_FACE_PX)
    luma = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    if luma.mean() < MIN_LUMA:
        return Flaw("dark", float(luma.mean()), MIN_LUMA)
    fine, contrast = _measure_detail(rgb)
    if fine < MIN_DETAIL * contrast or contrast == 0:
        return Flaw("blurred", share_of_detail(rgb), MIN_DETAIL)
    return Flaw("faint", fine, MIN_FINE) if fine < MIN_FINE else None


def leave_out(crops: list[FaceCrop], left_out: list[LeftOut]) -> list[FaceCrop]:
    """Part the faces that can be judged, which are returned, from those that join `left_out`."""
    kept = []
    for crop in crops:
        flaw = judge_quality(
            crop.rgb, (crop.box_xyxy_px[2] - crop.box_xyxy_px[0]) / crop.crop_scale
        )
        if flaw is None:
            kept.append(crop)
        else:
            left_out.append(LeftOut(crop.frame_index, flaw))
    return kept


def share_of_detail(rgb: RgbArray) -> float:
    """How much of a crop's luma contrast is finer than 1/32 of its side, 0..1.

    Contrast is the standard deviation; fine is what is lost by shrinking the crop, taken at
    128 pixels, to 32 and enlarging it again. The same for every side, so an enlarged small
    face counts as what it was. A crop of one colour has 0.
    """
    fine, contrast = _measure_detail(rgb)
    return fine / contrast if contrast > 0 else 0.0


def _measure_detail(rgb: RgbArray) -> tuple[float, float]:
    """Measure the standard deviation of the fine contrast, and of all, in grey levels."""
    side, coarse = (_DETAIL_PX, _DETAIL_PX), (_COARSE_PX, _COARSE_PX)
    luma = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    shown = cv2.resize(luma, side, interpolation=cv2.INTER_AREA)
    shrunk = cv2.resize(shown, coarse, interpolation=cv2.INTER_AREA)
    lost = shown - cv2.resize(shrunk, side, interpolation=cv2.INTER_CUBIC)
    return float(np.sqrt(np.mean(np.square(lost)))), float(shown.std())


def describe_flaws(flaws: Sequence[Flaw]) -> str:
    """Say in words what is wrong with faces: "3 too small (largest 31 px, 40 needed), ..."."""
    parts = []
    for kind in _TOLD:
        some = [flaw for flaw in flaws if flaw.kind == kind]
        if some:
            parts.append(f"{len(some)} {_worded(kind, some)}")
    return ", ".join(parts)


def explain_refusal(flaws: Sequence[Flaw]) -> str:
    """Say why nothing of a file can be judged where every face in it has a flaw."""
    kinds = {flaw.kind for flaw in flaws}
    if len(kinds) == 1:
        return f"every face found is {_worded(kinds.pop(), flaws)}"
    return f"no face found can be judged: {describe_flaws(flaws)}"


def _worded(kind: FlawKind, flaws: Sequence[Flaw]) -> str:
    best, needed = max(flaw.value for flaw in flaws) * _SCALE[kind], flaws[0].needed * _SCALE[kind]
    told = f"{best:.0f}" if round(best) < needed else f"{best:.1f}"  # never the limit it misses
    return _TOLD[kind].format(told, f"{needed:.0f}")
