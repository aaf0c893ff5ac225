"""Faces: found where they are, and cropped square, never squashed."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdcsd.faces import FaceFinder, crop_square, cut_crop, resize
from mdcsd.pictures import read_image


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder()


def test_the_face_of_the_portrait_is_found_where_it_is(finder, portrait):
    (face,) = finder.find(portrait)
    x0, y0, x1, y1 = face.box_xyxy_px
    assert 120 < x0 < 145 and 55 < y0 < 80 and 225 < x1 < 250 and 160 < y1 < 185
    inside = (face.landmarks_xy_px > (x0 - 30, y0 - 40)) & (
        face.landmarks_xy_px < (x1 + 30, y1 + 40)
    )
    assert inside.all()
    chin, forehead = face.landmarks_xy_px[152], face.landmarks_xy_px[10]
    assert chin[1] > forehead[1]


def test_a_moved_picture_moves_the_box(finder, portrait):
    moved = np.full((600, 700, 3), 128, np.uint8)
    moved[150:550, 200:600] = portrait
    (here,), (there,) = finder.find(portrait), finder.find(moved)
    shift = np.array(there.box_xyxy_px) - np.array(here.box_xyxy_px)
    assert np.abs(shift - (200, 150, 200, 150)).max() < 12


def test_finders_made_at_once_leave_standard_error_open():
    """Each silences its library for a moment; the second would keep the first one's silence."""
    before = os.fstat(2)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: FaceFinder(), range(8)))
    assert os.path.samestat(os.fstat(2), before)


def test_no_face_in_noise_or_black(finder):
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    assert finder.find(noise) == []
    assert finder.find(np.zeros((240, 320, 3), np.uint8)) == []


def test_every_real_portrait_has_its_one_face(finder, media):
    found = [len(finder.find(read_image(path))) for path in sorted(media.glob("portraits/*.jpg"))]
    assert len(found) == 100
    assert found == [1] * 100


@given(
    st.tuples(st.floats(-50, 300), st.floats(-50, 300), st.floats(10, 200)),
    st.floats(1.0, 2.5),
    st.integers(60, 400),
    st.integers(60, 400),
)
def test_crop_square_stays_inside_where_it_fits(box, scale, height, width):
    x, y, side = box
    left, top, length = crop_square((x, y, x + side, y + side), scale, height, width)
    assert length == pytest.approx(side * scale, abs=0.51)
    if length <= width:
        assert 0 <= left and left + length <= width
    if length <= height:
        assert 0 <= top and top + length <= height


def test_a_crop_inside_the_picture_is_its_pixels():
    rgb = np.random.default_rng(0).integers(0, 255, (100, 120, 3), dtype=np.uint8)
    np.testing.assert_array_equal(cut_crop(rgb, (10, 20, 50), 50), rgb[20:70, 10:60])


def test_what_lies_outside_is_mirrored():
    rgb = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    crop = cut_crop(rgb, (-10, -5, 60), 60)
    np.testing.assert_array_equal(crop[5:45, 10:50], rgb)
    np.testing.assert_array_equal(crop[5:45, 9], rgb[:, 1])
    np.testing.assert_array_equal(crop[4, 10:50], rgb[1])


def test_a_circle_stays_a_circle():
    yy, xx = np.mgrid[:90, :160]
    disc = ((yy - 45) ** 2 + (xx - 80) ** 2 < 30**2).astype(np.uint8) * 255
    crop = cut_crop(np.dstack([disc] * 3), (40, 5, 80), 160)
    rows, columns = np.nonzero(crop[..., 0] > 127)
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 1


def test_resize_to_the_same_size_changes_nothing():
    rgb = np.random.default_rng(0).integers(0, 255, (30, 30, 3), dtype=np.uint8)
    assert resize(rgb, (30, 30)) is rgb
