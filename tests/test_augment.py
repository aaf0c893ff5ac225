"""Degradations: drawn once, the same for every face, each what its name says."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mdcsd import augment
from mdcsd.augment_config import AugmentConfig
from mdcsd.errors import InternalError, SettingError
from mdcsd.recipe import load_settings

STEPS = ("flip", "crop", "colour", "blur", "rescale", "noise", "h264", "jpeg", "cutout")
ON = AugmentConfig(enabled=True)


def only(*names: str, **values: float) -> AugmentConfig:
    return AugmentConfig(enabled=True, **{name: float(name in names) for name in STEPS}, **values)


@pytest.fixture(scope="module")
def face(portrait) -> np.ndarray:
    return np.ascontiguousarray(cv2.resize(portrait, (120, 120), interpolation=cv2.INTER_AREA))


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


def test_the_papers_recipe_has_none(face):
    assert not load_settings(Path("paper"), [], {}).augment.enabled
    (same,) = augment.degrade([face], AugmentConfig(), np.random.default_rng(0))
    assert np.array_equal(same, face)


@pytest.mark.parametrize("step", STEPS)
def test_a_face_given_twice_comes_back_twice_the_same(face, step):
    changed = 0
    for seed in range(5):
        one, two = augment.degrade([face, face.copy()], only(step), np.random.default_rng(seed))
        assert np.array_equal(one, two)
        assert one.shape == face.shape and one.dtype == np.uint8
        changed += not np.array_equal(one, face)
    assert changed >= 4


def test_framing_takes_no_quality_and_is_what_the_losses_begin_from(face):
    kept = ("flip", "crop", "colour")
    for seed in range(10):
        rngs = [np.random.default_rng(seed) for _ in range(4)]
        (framed,), (degraded,) = augment.frame_and_degrade([face], ON, rngs[0])
        assert np.array_equal(degraded, augment.degrade([face], ON, rngs[1])[0])
        (framed,), (degraded,) = augment.frame_and_degrade([face], only(*kept), rngs[2])
        assert np.array_equal(framed, degraded) and not np.array_equal(framed, face)
        lossy = only(*set(STEPS) - set(kept))
        (framed,), (degraded,) = augment.frame_and_degrade([face], lossy, rngs[3])
        assert np.array_equal(framed, face) and not np.array_equal(degraded, face)


def test_what_is_given_stays(face):
    before = face.copy()
    for seed in range(20):
        augment.degrade([face], ON, np.random.default_rng(seed))
    assert np.array_equal(face, before)


def test_the_seed_decides_and_nothing_else(face):
    def of(seed: int) -> np.ndarray:
        return augment.degrade([face], ON, np.random.default_rng(seed))[0]

    np.random.seed(1)
    cv2.setRNGSeed(1)
    first = [of(seed) for seed in range(10)]
    np.random.seed(2)
    cv2.setRNGSeed(2)
    assert all(np.array_equal(of(seed), then) for seed, then in enumerate(first))
    assert not np.array_equal(first[0], first[1])


def test_a_fake_differs_from_its_real_face_only_where_it_did(face):
    """Without compression and resampling every step is local: a change stays where it was."""
    fake = face.copy()
    fake[40:60, 40:60] //= 2
    config = only("flip", "colour", "noise")
    for seed in range(5):
        real, altered = augment.degrade([face, fake], config, np.random.default_rng(seed))
        apart = np.abs(real.astype(int) - altered).max(axis=2) > 0
        assert apart.any() and not apart[:, :40].any() and not apart[:40].any()


def test_the_codec_sees_the_face_as_small_as_it_was(face, monkeypatch):
    clips, codec = [], augment.code_h264

    def seen(frames: list[np.ndarray], crf: int) -> np.ndarray:
        clips.append(frames)
        return codec(frames, crf)

    monkeypatch.setattr(augment, "code_h264", seen)
    for seed in range(20):
        config = only("rescale", "h264", "noise", rescale_smallest=0.4)
        (out,) = augment.degrade([face], config, np.random.default_rng(seed))
        assert out.shape == face.shape
    sides = [frames[-1].shape[0] for frames in clips]
    assert 48 <= min(sides) < 60 and 100 < max(sides) <= 120
    assert {len(frames) for frames in clips} == {1, 2, 3}


def test_the_codec_sees_a_clip_that_ends_with_the_face(face, monkeypatch):
    clips = []
    monkeypatch.setattr(augment, "code_h264", lambda frames, _: clips.append(frames) or frames[-1])
    for seed in range(20):
        altered = 255 - face
        augment.degrade([face, altered], only("h264"), np.random.default_rng(seed))
        of_real, of_fake = clips[-2:]
        assert np.array_equal(of_real[-1], face) and len(of_real) == len(of_fake)
        for real, fake in zip(of_real, of_fake, strict=True):  # which move alike
            assert np.abs(real - (255.0 - fake)).max() <= 1
    moved = next(frames for frames in clips if len(frames) > 1)
    assert 0 < difference(moved[0], face) < 40


def test_no_faces_and_faces_of_two_sizes(face):
    assert augment.degrade([], ON, np.random.default_rng(0)) == []
    with pytest.raises(InternalError, match="sizes"):
        augment.degrade([face, face[:64, :64]], ON, np.random.default_rng(0))


@pytest.mark.parametrize("side", [64, 99, 120])
def test_every_side_of_a_crop_goes(portrait, side):
    face = cv2.resize(portrait, (side, side))
    for seed in range(10):
        (out,) = augment.degrade([face], ON, np.random.default_rng(seed))
        assert out.shape == face.shape


def test_colours_at_zero_are_the_colours(face):
    assert np.array_equal(augment.recolour(face, 0, 0, 0, 0), face)
    grey = augment.recolour(face, 0, 0, -1, 0).astype(int)
    assert np.ptp(grey, axis=2).max() <= 1
    assert augment.recolour(face, 0.1, 0, 0, 0).mean() > face.mean() + 15


def test_a_crop_of_the_whole_is_the_whole(face):
    assert np.array_equal(augment.recrop(face, 1.0, (0.0, 0.0)), face)
    moved = augment.recrop(face, 1.0, (3.0, 0.0))
    assert np.array_equal(moved[:, 3:], face[:, :-3])


def test_a_turned_crop_comes_back_turned_the_other_way(face):
    turned = augment.recrop(face, 1.0, (0.0, 0.0), 90.0)
    assert difference(turned, np.rot90(face)) < 0.5  # anticlockwise


def test_a_rectangle_is_painted_over_and_the_rest_stays(face):
    painted = augment.paint_over(
        face, np.array([0.25, 0.5]), np.array([0.5, 0.25]), np.array([9, 8, 7])
    )
    assert (painted[30:90, 60:90] == [9, 8, 7]).all()
    painted[30:90, 60:90] = face[30:90, 60:90]
    assert np.array_equal(painted, face)
    sizes = []
    for seed in range(50):
        config = only("cutout", cutout_largest=0.4)
        (out,) = augment.degrade([np.full_like(face, 255)], config, np.random.default_rng(seed))
        rows, columns = np.nonzero((out < 255).any(2))
        sizes.append((np.ptp(rows) + 1, np.ptp(columns) + 1))
    assert np.max(sizes) <= 0.4 * 120 + 1 < np.max(sizes) + 8
    assert np.min(sizes) >= 12


def test_a_lower_quality_costs_more(face):
    lost = [difference(augment.jpeg(face, quality), face) for quality in (95, 70, 40)]
    assert lost == sorted(lost) and lost[0] < lost[2]


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("augment.jpg=0.5", "Did you mean 'jpeg'"),
        ("agument.jpeg=0.5", "Did you mean 'augment'"),
        ("augment.jpeg=1.5", "augment.jpeg 1.5: expected 0 to 1."),
        ("augment.jpeg_lowest=0", "augment.jpeg_lowest 0: expected 1 to 100."),
        ("augment.jpeg_highest=30", "augment.jpeg_highest 30: expected 40 to 100."),
        ("augment.h264_highest=60", "augment.h264_highest 60: expected 22 to 51."),
        ("augment.rescale_smallest=0", "augment.rescale_smallest 0: expected 0.05 to 1."),
        ("augment.cutout=2", "augment.cutout 2: expected 0 to 1."),
        ("augment.crop_turn_deg=200", "augment.crop_turn_deg 200: expected 0 to 180."),
        ("augment.noise_sigma=-1", "augment.noise_sigma -1: expected 0 to 255."),
    ],
)
def test_settings_out_of_range_are_refused(assignment, words):
    with pytest.raises(SettingError) as refused:
        load_settings(None, [assignment], {})
    assert words in str(refused.value)
