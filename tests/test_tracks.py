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
    assert tracker.update([box(0, 0), box(400, 0)], 0.0) == [0, 1]
    assert tracker.update([box(410, 5), box(10, 5)], 0.0) == [1, 0]
    assert tracker.update([box(20, 5)], 0.0) == [0]
    assert tracker.update([box(420, 5), box(30, 5)], 0.0) == [1, 0]


def test_a_far_jump_or_another_size_is_somebody_else():
    tracker = Tracker()
    tracker.update([box(0, 0)], 0.0)
    assert tracker.update([box(300, 0)], 0.0) == [1]
    assert tracker.update([box(280, -20, side=400)], 0.0) == [2]


def test_a_short_absence_is_forgiven_a_long_one_is_not():
    tracker = Tracker()
    tracker.update([box(0, 0)], 0.0)
    for _ in range(9):
        tracker.update([], 0.0)
    assert tracker.update([box(5, 5)], 0.0) == [0]
    for _ in range(11):
        tracker.update([], 0.0)
    assert tracker.update([box(5, 5)], 0.0) == [1]


def test_somebody_who_moves_between_frames_seconds_apart_stays_one_person():
    tracker = Tracker()
    places = [box(100 + 220 * (i % 2), 0) for i in range(32)]
    ids = [tracker.update([place], 0.75 * i) for i, place in enumerate(places)]
    assert ids == [[0]] * 32
    tracker = Tracker()
    quick = [tracker.update([place], 0.04 * i) for i, place in enumerate(places)]
    assert quick[1] == [1]  # the same jump within a twenty-fifth of a second is another face


def test_two_real_people_are_two_tracks(media):
    finder, tracker = FaceFinder(), Tracker()
    ids = []
    for frame in iter_frames(
        media / "intel" / "head-pose-face-detection-female-and-male.gif", FrameSelection()
    ):
        boxes = [face.box_xyxy_px for face in finder.find(frame.rgb)]
        ids.append(set(tracker.update(boxes, frame.time_s)))
    assert sum({0, 1} <= each for each in ids) >= 0.8 * len(ids)
    assert set.union(*ids) == {0, 1}
