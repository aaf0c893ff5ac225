"""Persons: who is who over a whole video, across cuts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mdcsd.config import FrameSelection
from mdcsd.face_crops import iter_crops
from mdcsd.nouns import FaceCrop
from mdcsd.persons import Persons, Sighting, sight, tell_apart

RED, BLUE, GREEN = (190, 110, 90), (70, 90, 170), (90, 160, 80)


def crop(frame, colour, track=0, noise=9.0):
    """A crop of one colour with noise, seconds apart; no two are of one shape."""
    rng = np.random.default_rng(frame)
    rgb = (np.array(colour) + rng.normal(0, noise, (64, 64, 3))).clip(0, 255).astype(np.uint8)
    box = (0.0, 0.0, 64.0, 64.0)
    return FaceCrop("v", frame, float(frame), track, box, 1.0, None, 1.05, rgb)


def who(crops, n_enough=5):
    return tell_apart([sight(each) for each in crops], n_enough)


def test_shot_and_reverse_shot_are_two_people_on_one_track():
    told = who([crop(i, BLUE if i // 3 % 2 else RED) for i in range(24)])
    assert told.ids == tuple(i // 3 % 2 for i in range(24))
    assert told.is_cut and told.changes == {0: [], 1: []}


def test_without_cuts_place_tells():
    told = who([crop(i, RED, track) for i in range(8) for track in (0, 1)])
    assert told.ids == (0, 1) * 8  # two people in one light, in one frame
    assert not told.is_cut


def test_somebody_who_is_seen_elsewhere_later_is_one_person():
    told = who([crop(i, RED, track=i // 6) for i in range(12)])
    assert told.ids == (0,) * 12
    assert not told.is_cut


def test_light_that_changes_slowly_makes_nobody_else():
    """The first and the last are further apart than red and green are."""
    path = np.linspace(RED, BLUE, 60)
    assert set(who([crop(i, colour) for i, colour in enumerate(path)]).ids) == {0}
    assert who([crop(i, path[0 if i < 8 else 59]) for i in range(16)]).ids == (0,) * 8 + (1,) * 8


def test_another_light_makes_nobody_else(portrait):
    """Lights switched on, a flash, warmer colours: the look is another, and the shape is not."""

    def lit(frame, *gains):
        rgb = (portrait * np.array(gains)).clip(0, 255).astype(np.uint8)
        return replace(crop(frame, RED), rgb=rgb)

    dim, bright, warm = (0.4, 0.4, 0.4), (0.8, 0.8, 0.8), (0.5, 0.4, 0.3)
    for others in (bright, warm):
        step = [lit(i, *(others if i >= 8 else dim)) for i in range(16)]
        flash = [lit(i, *(others if i % 3 == 0 else dim)) for i in range(16)]
        assert set(who(step).ids) == set(who(flash).ids) == {0}
    mirrored = [replace(each, rgb=each.rgb[:, ::-1]) for each in step[8:]]
    assert who([*step[:8], *mirrored]).ids == (0,) * 8 + (1,) * 8  # another shape and light


def test_what_counts_as_alike_goes_by_how_still_a_video_is():
    """A distance that parts two people in one studio is an ordinary one where all moves."""

    def seen(own):
        """Eight looks about one, eight about another at a distance of .08; `own` of each."""
        looks = np.zeros((16, 2048), np.float32)
        looks[:8, 0], looks[8:, 0], looks[8:, 1] = 1, 0.92, np.sqrt(1 - 0.92**2)
        looks[np.arange(16), np.arange(2, 18)] = own
        looks /= np.linalg.norm(looks, axis=1, keepdims=True)
        shape = np.zeros(768, np.float32)
        return [Sighting(i, float(i), 0, look, shape) for i, look in enumerate(looks)]

    assert tell_apart(seen(0.05), 5).ids == (0,) * 8 + (1,) * 8
    assert tell_apart(seen(0.2), 5).ids == (0,) * 16


def test_somebody_beside_a_person_is_never_that_person():
    """The nearest look on the track stands beside it in that frame, so the next one takes it."""
    pink = (190, 125, 105)
    crops = [crop(i, RED, track=i % 2) for i in range(10)]
    crops += [crop(i, BLUE, track=i % 2) for i in range(10, 20)]
    crops += [crop(20, RED, track=0), crop(20, pink, track=1)]
    told = who(crops)
    assert told.ids[-2] == 0 and told.ids[-1] == told.ids[10] == 1


def test_the_rarest_goes_first():
    """Two looks of three and four frames, nearest each other, are enough for one person."""
    pink, rose = (190, 125, 105), (190, 140, 120)
    crops = [crop(i, BLUE) for i in range(10)]
    crops += [crop(i, pink) for i in range(10, 13)] + [crop(i, rose) for i in range(13, 17)]
    assert who(crops).ids == (0,) * 10 + (1,) * 7


def test_a_crowd_takes_no_time_worth_a_limit():
    """900 sightings of 225 people, each of a look of its own: seconds, which were minutes."""
    rng = np.random.default_rng(0)
    looks = np.sqrt(rng.dirichlet(np.full(2048, 0.02), 900)).astype(np.float32)
    shape = np.zeros(768, np.float32)
    seen = [
        Sighting(i // 30, float(i // 30), i % 30 * 100 + i // 120, looks[i], shape)
        for i in range(900)
    ]
    told = tell_apart(seen, 5)
    for frame in range(30):
        assert len(set(told.ids[frame * 30 : frame * 30 + 30])) == 30


def test_who_is_seen_too_rarely_counts_with_the_nearest_and_it_is_told():
    pink = (190, 125, 105)
    crops = [crop(i, BLUE if i < 10 else RED if i < 20 else pink) for i in range(23)]
    told = who(crops)
    assert told.ids == (0,) * 10 + (1,) * 13
    assert told.changes == {0: [], 1: [20.0]}
    assert who(crops, n_enough=3).ids == (0,) * 10 + (1,) * 10 + (2,) * 3


def test_who_is_seen_rarely_in_another_place_stays_somebody():
    """A false detection beside a face must not count with it."""
    crops = [crop(i, RED) for i in range(10)] + [crop(10, RED), crop(10, GREEN, track=1)]
    assert who(crops).ids == (0,) * 11 + (1,)


def test_without_colour_it_is_said():
    """Black and white, with the trace of colour that compression leaves."""
    tint = [crop(i, (120 + i % 2, 120, 120 - i % 3), noise=0) for i in range(8)]
    assert who(tint).is_grey and not who(tint[:1]).is_grey  # nothing to tell apart
    assert not who([crop(i, RED) for i in range(8)]).is_grey


def test_nobody_is_nobody_and_one_face_one():
    assert who([]) == Persons((), {}, False, False)
    assert who([crop(0, RED)]).ids == (0,)
    assert sight(crop(0, (255, 0, 255), noise=0)).look.max() == pytest.approx(1)  # out of range


def test_speakers_of_one_studio_are_told_apart(media):
    """Six clips of the GRID corpus, alone and two of them one after another."""
    crops = {}
    for path in sorted((media / "grid").glob("*.mpg"))[:6]:
        found = iter_crops(path, "", FrameSelection(n_evenly=10), "largest", 160, 1.05)
        crops[path] = [each for _, (each,) in found]
        assert set(who(crops[path]).ids) == {0}
    speakers = list(crops.values())
    for first, second in zip(speakers, speakers[1:] + speakers[:1], strict=True):
        told = who([*first, *second])
        assert told.ids == (0,) * 10 + (1,) * 10
