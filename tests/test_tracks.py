"""Tracks: who is who from frame to frame."""

from __future__ import annotations

from mdcsd.config import FrameSelection
from mdcsd.faces import FaceFinder
from mdcsd.tracks import Tracker
from mdcsd.video import iter_frames


def box(x, y, side=100):
    return (float(x), float(y), float(x + side), float(y + side))


def test_two_people_keep_their_ids_whatever_the_order():
    tracker = Tracker()
    assert tracker.update([box(0, 0), box(400, 0)]) == [0, 1]
    assert tracker.update([box(410, 5), box(10, 5)]) == [1, 0]
    assert tracker.update([box(20, 5)]) == [0]
    assert tracker.update([box(420, 5), box(30, 5)]) == [1, 0]


def test_a_far_jump_or_another_size_is_somebody_else():
    tracker = Tracker()
    tracker.update([box(0, 0)])
    assert tracker.update([box(300, 0)]) == [1]
    assert tracker.update([box(280, -20, side=400)]) == [2]


def test_a_short_absence_is_forgiven_a_long_one_is_not():
    tracker = Tracker()
    tracker.update([box(0, 0)])
    for _ in range(9):
        tracker.update([])
    assert tracker.update([box(5, 5)]) == [0]
    for _ in range(11):
        tracker.update([])
    assert tracker.update([box(5, 5)]) == [1]


def test_two_real_people_are_two_tracks(media):
    finder, tracker = FaceFinder(), Tracker()
    ids = []
    for frame in iter_frames(
        media / "intel" / "head-pose-face-detection-female-and-male.gif", FrameSelection()
    ):
        ids.append(set(tracker.update([face.box_xyxy_px for face in finder.find(frame.rgb)])))
    assert sum({0, 1} <= each for each in ids) >= 0.8 * len(ids)
    assert set.union(*ids) == {0, 1}
