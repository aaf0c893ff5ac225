"""Which frames of a video to take: spread evenly, one a period, or a stretch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mdcsd.config import FrameSelection


def spread_indices(n_frames: int, n_wanted: int) -> list[int]:
    """Choose frames spaced evenly over a whole video.

    They are the middles of `n_wanted` equal stretches, with fewer than ten moved outwards so
    that the first and the last tenth are always covered. One frame is the middle one.

    Returns: at most `n_wanted` rising indices in 0..n_frames - 1.
    """
    if n_wanted == 1:
        return [n_frames // 2]
    margin = min(0.5 / n_wanted, 0.05)
    places = np.linspace(margin, 1.0 - margin, n_wanted) * n_frames
    return sorted({min(int(place), n_frames - 1) for place in places})


def choose_evenly(selection: FrameSelection, n_all: int) -> set[int]:
    """Indices that a selection of `n_evenly` frames takes of a video of `n_all`."""
    assert selection.n_evenly is not None
    n_frames = max(min(n_all, selection.end or n_all) - selection.start, 1)
    return {selection.start + i for i in spread_indices(n_frames, selection.n_evenly)}


def choose_in_order(selection: FrameSelection) -> Callable[[int, float], bool]:
    """Turn another selection into a test of (index, time in seconds) that is asked in order."""
    if selection.every_s is not None:
        return _Ticks(selection.start, selection.every_s)
    return lambda index, _: index >= selection.start


class _Ticks:
    """Says yes to the first frame at or after each multiple of a period."""

    def __init__(self, start: int, every_s: float) -> None:
        self.start = start
        self.every_s = every_s
        self.first_s: float | None = None
        self.n_periods = -1

    def __call__(self, index: int, time_s: float) -> bool:
        if index < self.start:
            return False
        if self.first_s is None:
            self.first_s = time_s
        n_periods = int((time_s - self.first_s) / self.every_s + 1e-6)
        is_due = n_periods > self.n_periods
        self.n_periods = n_periods
        return is_due
