"""Faces that nobody could judge are left out, with the reason; real media as they are pass."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mdcsd import Detector
from mdcsd.encoding import write_video
from mdcsd.face_crops import crop_faces
from mdcsd.faces import FaceFinder, resize
from mdcsd.nouns import Frame
from mdcsd.pictures import read_image
from mdcsd.quality import Flaw, describe_flaws, explain_refusal, judge_quality, share_of_detail
from mdcsd.tracks import Tracker


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder()


@pytest.fixture(scope="module")
def detector(demo) -> Detector:
    return Detector(demo[0].checkpoint)


def flaws(finder: FaceFinder, rgb: np.ndarray, scale: float = 1.3) -> list[Flaw | None]:
    crops = crop_faces(Frame(0, 0.0, rgb), "a", finder, Tracker(), "all", 299, scale)
    return [
        judge_quality(crop.rgb, (crop.box_xyxy_px[2] - crop.box_xyxy_px[0]) / scale)
        for crop in crops
    ]


def shrunk(finder: FaceFinder, rgb: np.ndarray, face_px: float) -> np.ndarray:
    left, top, right, bottom = finder.find(rgb)[0].box_xyxy_px
    factor = face_px / max(right - left, bottom - top)
    return resize(rgb, (round(rgb.shape[1] * factor), round(rgb.shape[0] * factor)))


def blurred(finder: FaceFinder, rgb: np.ndarray, share: float) -> np.ndarray:
    left, _, right, _ = finder.find(rgb)[0].box_xyxy_px
    return cv2.GaussianBlur(rgb, (0, 0), share * (right - left))


def darkened(rgb: np.ndarray, luma: float) -> np.ndarray:
    return (rgb * (luma / cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).mean())).astype(np.uint8)


def test_what_is_too_low_is_named_with_its_limit(portrait):
    assert judge_quality(portrait, 40.0) is None
    assert judge_quality(portrait, 39.9) == Flaw("small", 39.9, 40.0)
    black = judge_quality(portrait // 16, 200.0)
    assert black.kind == "dark" and black.value < 16.0 == black.needed
    grey = judge_quality(np.full((64, 64, 3), 90, np.uint8), 200.0)
    assert grey == Flaw("blurred", 0.0, 0.05)


def test_fine_detail_below_a_grey_level_is_too_faint(portrait):
    """Of little contrast, as in the dark or in fog: the same share of detail, and less of it."""
    faint = (portrait * 0.03 + 60).astype(np.uint8)
    flaw = judge_quality(faint, 200.0)
    assert flaw.kind == "faint" and flaw.value < 1.0 == flaw.needed
    assert share_of_detail(faint) > 0.05
    assert judge_quality((portrait * 0.3 + 60).astype(np.uint8), 200.0) is None
    assert "1 too faint (at best its fine detail spans" in describe_flaws([flaw])


def test_detail_is_that_of_the_scene_and_not_of_the_file(portrait):
    """Enlarging adds no detail, contrast adds none, and blur takes it away."""
    sharp = share_of_detail(portrait)
    assert share_of_detail(resize(portrait, (1200, 1200))) == pytest.approx(sharp, rel=0.1)
    assert share_of_detail(portrait // 2) == pytest.approx(sharp, rel=0.05)
    shares = [share_of_detail(cv2.GaussianBlur(portrait, (0, 0), s)) for s in (1, 3, 6, 12)]
    assert [sharp, *shares] == sorted([sharp, *shares], reverse=True)


def test_the_packaged_portrait(finder, portrait):
    assert flaws(finder, portrait) == [None]
    for spoilt, kind in (
        (shrunk(finder, portrait, 36), "small"),
        (darkened(portrait, 8), "dark"),
        (blurred(finder, portrait, 0.04), "blurred"),
    ):
        (flaw,) = flaws(finder, spoilt)
        assert flaw.kind == kind


def test_words():
    small = [Flaw("small", 31.4, 40.0), Flaw("small", 22.0, 40.0)]
    assert explain_refusal(small) == "every face found is too small (largest 31 px, 40 needed)"
    assert explain_refusal([Flaw("small", 39.8, 40.0)]).endswith("(largest 39.8 px, 40 needed)")
    mixed = [*small, Flaw("blurred", 0.021, 0.05), Flaw("dark", 9.2, 16.0)]
    told = (
        "2 too small (largest 31 px, 40 needed), 1 too dark (brightest 9 of 255, 16 needed), "
        "1 too blurred (sharpest: 2 % of its contrast is fine detail, 5 needed)"
    )
    assert describe_flaws(mixed) == told
    assert explain_refusal(mixed) == f"no face found can be judged: {told}"


def test_verdicts_say_why(detector, finder, portrait, tmp_path):
    path = tmp_path / "small.png"
    Image.fromarray(shrunk(finder, portrait, 34)).save(path)
    verdict = detector.judge(path)
    assert (verdict.verdict, verdict.score, verdict.tracks) == ("cannot_judge", None, ())
    assert verdict.reason.startswith("every face found is too small (largest 3")


def test_faces_left_out_do_not_count_as_judged(detector, portrait, tmp_path):
    dark = darkened(portrait, 8)
    write_video(tmp_path / "light.mp4", [portrait] * 40 + [dark] * 24, 25)
    verdict = detector.judge(tmp_path / "light.mp4")
    assert verdict.verdict != "cannot_judge" and verdict.tracks[0].n_frames in range(18, 22)
    (warning,) = [text for text in verdict.warnings if text.startswith("faces left out of ")]
    assert "too dark (brightest" in warning
    write_video(tmp_path / "glimpse.mp4", [portrait] * 4 + [dark] * 60, 25)
    verdict = detector.judge(tmp_path / "glimpse.mp4")
    assert verdict.verdict == "cannot_judge"
    assert "seen well enough in more than 2 of 32" in verdict.reason


def test_real_media_as_they_are_are_judged(finder, media):
    for path in sorted((media / "portraits").glob("*.jpg"))[::4]:
        assert flaws(finder, read_image(path)) == [None], path.name


@pytest.mark.parametrize("name", ["grid/bbaf2n.mpg", "intel/head-pose-face-detection-male.gif"])
def test_real_clips_lose_no_face(detector, media, name):
    verdict = detector.judge(media / name, n_frames=8)
    assert len(verdict.frames) == 8 and not any("left out" in each for each in verdict.warnings)


def test_far_faces_cannot_be_judged(detector, media):
    verdict = detector.judge(media / "intel" / "face-demographics-walking.gif")
    assert verdict.verdict == "cannot_judge"
    assert "too small (largest" in verdict.reason


def test_spoilt_portraits_are_refused(finder, media):
    for path in sorted((media / "portraits").glob("*.jpg"))[::10]:
        rgb = read_image(path)
        for spoilt, kind in (
            (shrunk(finder, rgb, 24), "small"),
            (darkened(rgb, 8), "dark"),
            (blurred(finder, rgb, 0.04), "blurred"),
        ):
            assert [flaw.kind for flaw in flaws(finder, spoilt)] == [kind], Path(path).name
