"""Other people's faces: chosen by shape, never one's own, laid where the features are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mdcsd.augment import warp_box
from mdcsd.augment_config import BlendConfig
from mdcsd.blend import blend_face
from mdcsd.blend_preview import find_faces
from mdcsd.donors import Donor, Donors, lay_over
from mdcsd.errors import InternalError
from mdcsd.pictures import encode_png

RNG = np.random.default_rng


@pytest.fixture(scope="module")
def face(portrait, tmp_path_factory) -> tuple[np.ndarray, np.ndarray]:
    path = tmp_path_factory.mktemp("donors") / "portrait.png"
    path.write_bytes(encode_png(portrait))
    (found,) = find_faces([path], 1)
    return found.rgb, found.landmarks_xy_px


def shapes(*wide: float) -> list[np.ndarray]:
    """Faces whose landmarks are the same but for their width."""
    points = RNG(0).random((468, 2)).astype(np.float32)
    return [points * np.float32([width, 1]) for width in wide]


def test_the_nearest_shape_of_somebody_else_is_taken():
    faces = shapes(1.0, 1.1, 1.5, 2.0)
    donors = Donors(np.array([7, 8, 9, 10]), faces, ["a", "b", "c", "d"])
    assert {donors.choose(faces[0], "a", RNG(seed)) for seed in range(20)} == {8}
    assert {donors.choose(faces[3], "d", RNG(seed)) for seed in range(20)} == {9}
    moved = faces[0] * np.float32(0.5) + np.float32(0.2)  # where and how large is no shape
    assert donors.choose(moved, "a", RNG(0)) == 8


def test_who_is_alone_gets_nobodys_face():
    assert (
        Donors(np.arange(2), shapes(1.0, 1.1), ["a", "a"]).choose(shapes(1.0)[0], "a", RNG(0))
        is None
    )


def test_a_moved_copy_of_a_face_is_laid_back_where_it_was(face):
    rgb, points = face
    matrix = np.array([[0.9, 0.1, 12], [-0.1, 0.85, 20]], np.float32)
    moved = Donor(warp_box(rgb, matrix, (0, 0, 256, 256)), points @ matrix[:, :2].T + matrix[:, 2])
    mask = np.zeros((256, 256), np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(points.astype(np.int32)), 1.0)
    apart, strayed = [], []
    for seed in range(8):
        laid, _ = lay_over(moved, points, (0, 0, 256, 256), rgb, mask, RNG(seed))
        assert laid.dtype == np.uint8 and laid.shape == rgb.shape
        apart.append(np.abs(laid.astype(int) - rgb)[mask > 0].mean())
        strayed.append(np.abs(np.roll(laid, 6, axis=1).astype(int) - rgb)[mask > 0].mean())
    assert np.mean(apart) < 6 and np.mean(apart) < 0.6 * np.mean(strayed)


def test_colours_come_near_those_of_the_face_below(face):
    rgb, points = face
    red = np.clip(rgb + np.array([60, -20, -20]), 0, 255).astype(np.uint8)
    mask = np.ones((256, 256), np.float32)
    for seed in range(8):
        laid, _ = lay_over(Donor(red, points), points, (0, 0, 256, 256), rgb, mask, RNG(seed))
        off = np.abs(laid.reshape(-1, 3).mean(axis=0) - rgb.reshape(-1, 3).mean(axis=0)).max()
        assert (
            off
            < 0.7 * np.abs(red.reshape(-1, 3).mean(axis=0) - rgb.reshape(-1, 3).mean(axis=0)).max()
        )


def test_a_donor_of_another_size_is_the_same_face(face):
    donor = Donor(*face).resized(128)
    assert donor.rgb.shape == (128, 128, 3)
    np.testing.assert_allclose(donor.landmarks_xy_px * 2, face[1], rtol=1e-5)


def test_where_a_donors_crop_ends_nothing_is_laid(face):
    rgb, points = face
    tight = Donor(np.ascontiguousarray(rgb[64:192, 64:192]), points - 64).resized(256)
    whole = (0, 0, 256, 256)
    _, covered = lay_over(tight, points, whole, rgb, np.ones((256, 256), np.float32), RNG(0))
    assert covered.dtype == np.float32 and covered.min() >= 0 and covered.max() < 1.001
    assert covered[128, 128] > 0.99 and not covered[:60].any() and not covered[:, 200:].any()
    blend = blend_face(
        rgb, points, BlendConfig(lower_face=0, mouth=0, eyes=0, nose=0), RNG(0), tight
    )
    changed = np.flatnonzero((blend.mask > 0).any(axis=1))
    assert changed.min() > 50 and changed.max() < 206  # crop and a slight enlargement
    assert np.array_equal(blend.real[blend.mask == 0], blend.fake[blend.mask == 0])


def test_a_donor_without_468_landmarks_is_our_bug(face):
    with pytest.raises(InternalError, match="Donor"):
        Donor(face[0], face[1][:68])
