"""Boxes of successive frames -> tracks.

A face belongs to the track whose last box is nearest in place and size. Nothing looks at
who it is: two people who take the same place across a cut share a track, and one person who
jumps across the picture gets a new one. `persons.py` mends that where a whole video is judged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from mdcsd.nouns import BoxXyxy

# Centres further apart than this many face sides are two persons; in a second between two
# sampled frames somebody may move by as much again, up to the limit.
_MAX_JUMP, _JUMP_PER_S, _JUMP_LIMIT = 1.0, 2.0, 4.0
_MAX_MISSED = 10  # frames a track may go unseen


class Tracker:
    """Gives each face of a video a track id, counted from 0 in order of appearance."""

    def __init__(self) -> None:
        """Start with nobody."""
        self._last_box: dict[int, BoxXyxy] = {}
        self._last_s: dict[int, float] = {}
        self._missed: dict[int, int] = {}
        self._n_tracks = 0

    def update(self, boxes: Sequence[BoxXyxy], time_s: float) -> list[int]:
        """Assign the boxes of the next frame to tracks, jointly nearest (Hungarian method).

        Args:
            boxes: faces of the frame.
            time_s: when it is shown; frames seconds apart allow for more movement.

        Returns: one track id a box, in the order given.
        """
        self._forget()
        known = list(self._last_box)
        ids = [-1] * len(boxes)
        if known and boxes:
            cost = np.array([[_jump(box, self._last_box[t]) for t in known] for box in boxes])
            for row, column in zip(*linear_sum_assignment(cost), strict=True):
                if cost[row, column] <= self._allowed_jump(known[column], time_s):
                    ids[row] = known[column]
        for row, box in enumerate(boxes):
            if ids[row] < 0:
                ids[row] = self._n_tracks
                self._n_tracks += 1
            self._last_box[ids[row]] = box
            self._last_s[ids[row]] = time_s
            self._missed[ids[row]] = 0
        return ids

    def _forget(self) -> None:
        for track in list(self._missed):
            self._missed[track] += 1
            if self._missed[track] > _MAX_MISSED:
                del self._missed[track], self._last_box[track], self._last_s[track]

    def _allowed_jump(self, track: int, time_s: float) -> float:
        elapsed_s = time_s - self._last_s[track]
        return min(_MAX_JUMP + _JUMP_PER_S * elapsed_s, _JUMP_LIMIT)


def _jump(a: BoxXyxy, b: BoxXyxy) -> float:
    """Distance of two boxes' centres in sides of the mean box, plus the log of their ratio."""
    side_a, side_b = max(a[2] - a[0], 1e-6), max(b[2] - b[0], 1e-6)
    dx, dy = (a[0] + a[2] - b[0] - b[2]) / 2, (a[1] + a[3] - b[1] - b[3]) / 2
    distance = float(np.hypot(dx, dy)) / ((side_a + side_b) / 2)
    return distance + abs(float(np.log(side_a / side_b)))
