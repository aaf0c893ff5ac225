"""Which of several people was manipulated: face boxes against a data set's mask videos.

FaceForensics++ and DFD come with a video for each fake that is bright where it was altered.
In a scene of two people only the one under the mask is a fake.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mdcsd.config import FrameSelection
from mdcsd.nouns import BoxXyxy, Frame
from mdcsd.video import iter_frames

MIN_MASK_SHARE = 0.02  # a mouth alone covers a twentieth of a crop of scale 1.3
_BRIGHT = 128


class MaskReader:
    """Reads a mask video beside its video, front to back."""

    def __init__(self, path: Path) -> None:
        """Open nothing yet."""
        self._frames: Iterator[Frame] = iter_frames(path, FrameSelection())
        self._frame: Frame | None = None

    def share(self, frame_index: int, box: BoxXyxy) -> float | None:
        """Share of a box's pixels under the mask, 0..1; None where the mask has no such frame.

        Args:
            frame_index: must not fall from call to call.
            box: in the frame's pixels; what lies outside the picture counts as unmasked.
        """
        while self._frame is None or self._frame.index < frame_index:
            self._frame = next(self._frames, None)
            if self._frame is None:
                return None
        if self._frame.index != frame_index:
            return None
        left, top, right, bottom = (round(edge) for edge in box)
        inside = self._frame.rgb[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        n_bright = int((inside.max(axis=2) >= _BRIGHT).sum()) if inside.size else 0
        return n_bright / max((right - left) * (bottom - top), 1)


def tracks_under_mask(shares: Mapping[int, Sequence[float | None]]) -> set[int] | None:
    """The people whom the mask covers: track ids whose mean share is at least 2 %.

    Returns: None if no mask was there, or it covers nobody: then nothing tells people apart.
    """
    means = {}
    for track, rows in shares.items():
        known = [share for share in rows if share is not None]
        if known:
            means[track] = float(np.mean(known))
    return {track for track, mean in means.items() if mean >= MIN_MASK_SHARE} or None
