"""Tracks: who is who from frame to frame."""

from __future__ import annotations

import numpy as np

from mdcsd.config import FrameSelection
from mdcsd.face_crops import iter_crops
from mdcsd.faces import FaceFinder
from mdcsd.tracks import Tracker, find_changes, take_look
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


def test_somebody_else_in_the_same_place_is_a_change(portrait):
    one = take_look(portrait)
    other = take_look(np.ascontiguousarray(255 - portrait))
    moved = take_look(np.roll(portrait, portrait.shape[0] // 40, axis=1))
    seen = [(0.0, one), (0.5, moved), (1.0, one), (1.5, other), (2.0, other), (2.5, one)]
    assert find_changes(seen) == [1.5, 2.5]
    assert find_changes(seen[:1]) == find_changes([]) == []


def test_real_people_do_not_change_and_others_after_a_cut_do(media):
    looks = {}
    for path in sorted((media / "grid").glob("*.mpg"))[:4]:
        looks[path] = [
            (frame.time_s, take_look(crops[0].rgb))
            for frame, crops in iter_crops(
                path, "", FrameSelection(n_evenly=8), "largest", 99, 1.05
            )
        ]
        assert len(looks[path]) == 8 and not find_changes(looks[path])
    people = [seen[0] for seen in looks.values()]
    assert len(find_changes(people)) == 3
