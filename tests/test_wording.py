"""The sentences of a verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdcsd.damage import Damage
from mdcsd.judging_nouns import Calibration, FrameScore, MediaFacts
from mdcsd.nouns import VideoInfo
from mdcsd.persons import Persons
from mdcsd.wording import (
    damage_warnings,
    face_warnings,
    length_s,
    person_warnings,
    rare_warnings,
    sampling_warnings,
    say_reason,
    stretch_warnings,
    tell_span,
    tell_time,
)

FITTED = Calibration(0.6998122, 0.8759952, 0.96, 1.0, "made up")


def person(*scores: float, track: int = 0) -> dict[int, list[FrameScore]]:
    box = (0, 0, 99, 99)
    return {track: [FrameScore(i, i / 2, track, each, box) for i, each in enumerate(scores)]}


@pytest.mark.parametrize(
    ("score", "reason"),
    [
        (0.5, "score 0.5 is below 0.7"),
        (0.6995, "score 0.6995 is below 0.6998"),
        (0.69981, "score 0.69981 is below 0.699812"),
        (0.87598, "score 0.87598 is between 0.69981 and 0.876"),
        (0.8759952, "score 0.876 is at or above 0.876"),
        (0.9, "score 0.9 is at or above 0.876"),
    ],
)
def test_a_score_is_not_told_as_the_limit_that_it_missed(score, reason):
    assert say_reason(score, 8, person(score), (), FITTED) == reason


def test_a_short_manipulation_is_told_although_the_whole_is_likely_real():
    (warning,) = stretch_warnings(0.4, person(*[0.3] * 20, *[0.95] * 5, *[0.3] * 7), 0.8759952, 16)
    assert "higher than the whole: 0.95 from 10.0 to 12.0 s" in warning and "0.876" in warning
    assert list(stretch_warnings(0.4, person(*[0.3] * 20, *[0.95] * 5), 0.876, 16))  # the last five
    assert not list(stretch_warnings(0.4, person(*[0.3] * 20, *[0.95] * 3, *[0.3] * 9), 0.876, 16))
    assert not list(stretch_warnings(0.95, person(*[0.95] * 32), 0.876, 16))  # the verdict says it
    assert not list(stretch_warnings(None, person(*[0.95] * 3), 0.876, 16))


def test_of_a_cut_video_parts_that_score_high_are_told_although_never_five_in_a_row():
    """Shot and reverse shot: two people in one place, one of them manipulated."""
    (warning,) = stretch_warnings(0.65, person(*[0.4, 0.4, 0.9, 0.9] * 8), 0.868, 32)
    assert "16 of 32 judged frames of person 0 reach 0.868" in warning
    assert not list(stretch_warnings(0.4, person(*[0.4, 0.4, 0.4, 0.9] * 4), 0.868, 16))  # four
    rare = person(*[*[0.4] * 9, 0.9] * 30)  # one in ten, as real ones have by chance
    assert not list(stretch_warnings(0.45, rare, 0.868, 300))
    (warning,) = stretch_warnings(0.65, person(*[0.4, 0.9] * 20) | person(0.3, track=1), 0.868, 40)
    assert "20 of 40 judged frames of person 0" in warning


def test_of_a_picture_of_several_faces_it_is_told_that_the_highest_decides():
    several = person(0.2) | person(0.9, track=1)
    assert any(
        "the highest of 2 faces decides" in each for each in face_warnings(1, several, (), None)
    )
    assert any("a single face decides" in each for each in face_warnings(1, person(0.2), (), None))


def people(*ids, changes=None, is_cut=False, is_grey=False):
    return Persons(ids, changes or {}, is_cut, is_grey)


def test_a_person_whose_picture_changes_abruptly_may_be_two():
    changed = people(1, changes={0: [], 1: [2.0, 3.25, 4.0, 5.0]})
    (warning,) = person_warnings(changed, 32, 9)
    assert "the picture of person 1 changes abruptly at 2.0, 3.2, 4.0, ... s, in too" in warning
    assert warning.endswith("detect --frames 64 looks at more")
    (warning,) = person_warnings(changed, 0, 9)  # every frame was looked at
    assert warning.endswith("whether it is somebody else's")
    (warning,) = person_warnings(people(1, changes={1: [2.0, 3661.25]}), 32, 4000)
    assert "changes abruptly at 0:00:02.0, 1:01:01.2, in too few frames" in warning
    assert not list(person_warnings(people(0, changes={0: []}), 32, 9))


def test_how_far_it_is_known_who_is_who_is_told():
    assert list(person_warnings(people(0, 1, 0), 32, 9)) == ["several people: 2"]
    (warning,) = person_warnings(people(0, 1, 2, is_cut=True), 32, 9)
    assert "several people, or one before several cameras or in several lights: 3" in warning
    (warning,) = person_warnings(people(0, 0, is_grey=True), 32, 9)
    assert warning.startswith("hardly any colour")


def test_who_is_seen_too_rarely_to_count_is_told_where_the_score_is_that_of_a_manipulation():
    faces = person(*[0.2] * 28) | person(0.9, 0.95, 0.9, 0.91, track=2) | person(0.9, track=3)
    (warning,) = rare_warnings(faces, 5, 0.868)
    assert "person 2 scores 0.915" in warning and "in 4 judged frames only" in warning
    assert not list(rare_warnings(faces, 4, 0.868))  # it counts


def test_few_frames_of_the_person_who_decides_are_told():
    faces = person(*[0.2] * 28) | person(*[0.9] * 6, track=1)
    assert any("person 1, who decides, is judged in 6 of 34" in w
               for w in face_warnings(34, faces, (), 1))  # fmt: skip
    assert not any("few frames" in w for w in face_warnings(34, faces, (), 0))


@pytest.mark.parametrize(
    ("time_s", "whole_s", "decimals", "said"),
    [
        (7.5, 59.9, 2, "7.50 s"),
        (7.5, 59.9, 0, "8 s"),
        (7.5, 60, 2, "0:07.50"),
        (119.996, 120, 2, "2:00.00"),  # never 1:60.00
        (599.6, 600, 0, "10:00"),
        (3599.96, 3600, 1, "1:00:00.0"),
        (3599.6, 3599.7, 0, "1:00:00"),
        (36125.25, 40000, 2, "10:02:05.25"),
    ],
)
def test_times_of_long_videos_are_told_as_players_show_them(time_s, whole_s, decimals, said):
    assert tell_time(time_s, whole_s, decimals) == said


def test_a_span_names_its_unit_once():
    assert tell_span(1, 2.5, 9, 1) == "1.0 to 2.5 s"
    assert tell_span(1, 62.5, 90, 1) == "0:01.0 to 1:02.5"


@pytest.mark.parametrize(("duration_s", "length"), [(20.0, 20.0), (9.0, 15.5), (None, 15.5)])
def test_a_video_is_as_long_as_its_file_says_or_longer(duration_s, length):
    (rows,) = person(*[0.3] * 32).values()
    media = MediaFacts("video", "mp4", "MP4", "h264", "H.264", 64, 64, 9, duration_s=duration_s)
    assert length_s(rows, media) == length
    assert length_s(rows[:1], media) == 0  # a picture, or of a video the first frame alone


def test_frames_far_apart_in_a_long_video_are_told():
    film = MediaFacts("video", "mov", "", "h264", "", 1920, 1080, 1, duration_s=600.0)
    (warning,) = sampling_warnings(film, 32)
    assert "one every 19 s" in warning and "detect --frames 300 takes one every 2 s" in warning
    assert not list(sampling_warnings(film, 300))
    assert not list(sampling_warnings(MediaFacts("picture", "png", "", "", "", 9, 9, 1), 1))


def test_of_a_file_that_lacks_its_end_it_is_told_how_much():
    damage = Damage(VideoInfo(Path("a.mp4"), 96, 64, 25.0, 20.0, 0.0))
    for index in range(475):
        damage.count(index / 25, 0.04)
    assert list(damage_warnings([damage])) == [
        "its end is missing: the picture ends at 19.0 of 20.0 s; copy the file again"
    ]
    damage.count(19.0, 0.04, is_corrupt=True)
    assert [each.partition(":")[0] for each in damage_warnings([damage])] == [
        "damaged frames", "its end is missing"
    ]  # fmt: skip
    for index in range(476, 495):
        damage.count(index / 25, 0.04)
    assert not damage.lacks_its_end
