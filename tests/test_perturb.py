"""The robustness suite: strength rises by level, and each distortion is what it says."""

from __future__ import annotations

import inspect
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mdcsd.config import FrameSelection
from mdcsd.encoding import write_video
from mdcsd.errors import InternalError, MediaError, SettingError
from mdcsd.perturb import SUITE, Perturbation, distort, parse_recode, recode_video
from mdcsd.video import iter_frames, probe

DISTORTIONS = tuple(dict.fromkeys(each.distortion for each in SUITE))


def apply(rgb: np.ndarray, distortion: str, parameter: float, seed: int = 0) -> np.ndarray:
    return distort(rgb, Perturbation(distortion, 0, parameter), np.random.default_rng(seed))


def grey(side: int, value: int = 128) -> np.ndarray:
    return np.full((side, side, 3), value, np.uint8)


@pytest.fixture(scope="module")
def face(portrait: np.ndarray) -> np.ndarray:
    """The portrait at the size of a crop, with odd sides that differ."""
    return np.ascontiguousarray(cv2.resize(portrait, (299, 301), interpolation=cv2.INTER_AREA))


def test_suite_is_eight_distortions_at_five_levels():
    assert len(DISTORTIONS) == 8
    for distortion in DISTORTIONS:
        assert [p.level for p in SUITE if p.distortion == distortion] == [1, 2, 3, 4, 5]
    names = [each.name for each in SUITE]
    assert len(set(names)) == 40
    assert {"jpeg 90", "saturation 0.4", "noise 0.001", "h264 30"} < set(names)


@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_picture_changes_more_with_each_level(face: np.ndarray, distortion: str):
    before = face.copy()
    changes = []
    for perturbation in (each for each in SUITE if each.distortion == distortion):
        result = distort(face, perturbation, np.random.default_rng(0))
        assert result.shape == face.shape and result.dtype == np.uint8
        changes.append(np.abs(result.astype(float) - face).mean())
    assert changes[0] > 0.1
    assert changes == sorted(set(changes))
    np.testing.assert_array_equal(face, before)


@pytest.mark.parametrize("distortion", DISTORTIONS)
@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (33, 16)])
def test_small_pictures_keep_their_shape(distortion: str, shape: tuple[int, int]):
    picture = np.random.default_rng(3).integers(0, 256, (*shape, 3), dtype=np.uint8)
    strongest = next(p for p in SUITE if p.distortion == distortion and p.level == 5)
    result = distort(picture, strongest, np.random.default_rng(0))
    assert result.shape == picture.shape and result.dtype == np.uint8


@pytest.mark.parametrize("perturbation", SUITE[4::5], ids=lambda each: each.distortion)
def test_the_same_seed_gives_the_same_pixels(face: np.ndarray, perturbation: Perturbation):
    first, again = (distort(face, perturbation, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = distort(face, perturbation, np.random.default_rng(8))
    assert (other != first).any() == (perturbation.distortion in ("noise", "blocks"))


def test_no_label_comes_in():
    assert list(inspect.signature(distort).parameters) == ["rgb", "perturbation", "rng"]


def test_saturation_scales_colour_and_keeps_luma(face: np.ndarray):
    without = apply(face, "saturation", 0.0)
    assert (without == without[..., :1]).all()
    half = cv2.cvtColor(apply(face, "saturation", 0.5), cv2.COLOR_RGB2YCrCb).astype(float)
    whole = cv2.cvtColor(face, cv2.COLOR_RGB2YCrCb).astype(float)
    np.testing.assert_allclose(half[..., 0], whole[..., 0], atol=1)
    np.testing.assert_allclose(half[..., 1:] - 128, (whole[..., 1:] - 128) / 2, atol=1.5)


def test_contrast_scales_every_value(face: np.ndarray):
    np.testing.assert_allclose(apply(face, "contrast", 0.6), face * 0.6, atol=0.5)


@pytest.mark.parametrize(("side", "factor"), [(100, 1), (255, 1), (511, 1), (512, 2), (1024, 4)])
def test_blocks_are_counted_by_the_size(side: int, factor: int):
    """On white, every pixel that is not white is grey 128, in whole blocks."""
    covered = apply(grey(side, 255), "blocks", 1)
    n_pixels = int((covered != 255).any(axis=2).sum())
    assert set(np.unique(covered)) == {128, 255}
    assert 64 <= n_pixels <= 64 * factor
    if factor == 1:
        assert n_pixels == 64


def test_blocks_reach_every_border():
    covered = apply(grey(64, 255), "blocks", 400)[..., 0]
    for line in (covered[0], covered[-1], covered[:, 0], covered[:, -1]):
        assert (line == 128).any()


@pytest.mark.parametrize("variance", [0.001, 0.005])
def test_noise_has_its_variance_in_ycbcr(variance: float):
    """By BT.601's definition of studio-range YCbCr, not by our matrix."""
    noisy = apply(grey(512), "noise", variance).astype(float) - 128
    red, green, blue = np.moveaxis(noisy, 2, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    steps = (luma * 219, (blue - luma) / 1.772 * 224, (red - luma) / 1.402 * 224)
    for step in steps:
        assert np.var(step / 255 / 255) == pytest.approx(variance, rel=0.03)


def test_blur_has_its_sigma():
    """A point spreads to a Gaussian of a sixth of the kernel's side."""
    point = np.zeros((63, 63, 3), np.uint8)
    point[31, 31] = 255
    spread = cv2.GaussianBlur(point.astype(np.float64), (13, 13), 13 / 6)
    np.testing.assert_allclose(apply(point, "blur", 13), spread, atol=1)


def test_pixelation_leaves_as_many_values_as_the_small_picture(face: np.ndarray):
    small = cv2.resize(face, (299 // 6, 301 // 6), interpolation=cv2.INTER_LINEAR)
    back = cv2.resize(small, (299, 301), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(apply(face, "pixelation", 6), back)


def test_jpeg_is_what_decoding_such_a_file_gives(face: np.ndarray, tmp_path: Path):
    file = tmp_path / "face.jpg"
    cv2.imwrite(str(file), face[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 60])
    np.testing.assert_array_equal(apply(face, "jpeg", 60), cv2.imread(str(file))[..., ::-1])


def test_h264_of_an_odd_picture_is_near_and_in_place(face: np.ndarray):
    near = apply(face, "h264", 10)
    assert near.shape == face.shape
    luma_error = (near.astype(float) - face) @ [0.299, 0.587, 0.114]
    assert np.abs(luma_error).mean() < 2
    assert np.abs(luma_error[-1]).mean() < 4 and np.abs(luma_error[:, -1]).mean() < 4


@pytest.mark.parametrize(
    ("text", "expected", "name"),
    [
        ("jpeg", Perturbation("jpeg", 0, 75), "jpeg 75"),
        ("jpeg=60", Perturbation("jpeg", 0, 60), "jpeg 60"),
        ("h264", Perturbation("h264", 0, 28), "h264 28"),
        ("h264=0", Perturbation("h264", 0, 0), "h264 0"),
    ],
)
def test_recode_settings(text: str, expected: Perturbation, name: str):
    assert parse_recode(text) == expected
    assert parse_recode(text).name == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Known: h264, jpeg"),
        ("jpg", "Did you mean 'jpeg'"),
        ("blur=3", "Known: h264, jpeg"),
        ("jpeg=0", "from 1 to 100"),
        ("jpeg=", "jpeg=N"),
        ("jpeg=7.5", "whole N"),
        ("h264=52", "from 0 to 51"),
        ("h264=-1", "from 0 to 51"),
    ],
)
def test_wrong_recode_settings_are_named(text: str, message: str):
    with pytest.raises(SettingError, match=message):
        parse_recode(text)


def test_unknown_perturbations_cannot_be_made():
    for distortion, level in (("jpg", 1), ("jpeg", 6)):
        with pytest.raises(InternalError, match="no such perturbation"):
            Perturbation(distortion, level, 1)


def brightening(height: int, width: int, n_frames: int) -> list[np.ndarray]:
    """Frames told apart by their brightness."""
    return [np.full((height, width, 3), 40 + 6 * (i % 32), np.uint8) for i in range(n_frames)]


def test_recoded_video_keeps_frames_and_order(tmp_path: Path):
    source, output = tmp_path / "clip.mp4", tmp_path / "new" / "recoded.mp4"
    write_video(source, brightening(48, 64, 30), fps=30)
    recode_video(source, output, crf=28)
    frames = list(iter_frames(output, FrameSelection()))
    assert [frame.index for frame in frames] == list(range(30))
    means = [frame.rgb.mean() for frame in frames]
    np.testing.assert_allclose(means, [40 + 6 * i for i in range(30)], atol=4)
    assert probe(output).fps == probe(source).fps
    assert [path.name for path in output.parent.iterdir()] == ["recoded.mp4"]


def test_frames_keep_their_index_where_one_cannot_be_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source, output = tmp_path / "clip.mp4", tmp_path / "recoded.mp4"
    write_video(source, brightening(48, 64, 10), fps=25, crf=10)
    readable = [frame for frame in iter_frames(source, FrameSelection()) if frame.index != 4]
    with monkeypatch.context() as patch:
        patch.setattr("mdcsd.perturb.iter_frames", lambda *_: iter(readable))
        recode_video(source, output, crf=10)
    means = [frame.rgb.mean() for frame in iter_frames(output, FrameSelection())]
    expected = [40 + 6 * (i + (i == 4)) for i in range(10)]
    np.testing.assert_allclose(means, expected, atol=4)


def test_recoded_video_is_smaller_the_higher_the_crf(face: np.ndarray, tmp_path: Path):
    clip, sizes = tmp_path / "clip.mp4", []
    write_video(clip, [np.roll(face, 2 * i, axis=1)[:256, :256] for i in range(10)], fps=25, crf=10)
    for crf in (18, 28, 40):
        recode_video(clip, tmp_path / f"{crf}.mp4", crf)
        sizes.append((tmp_path / f"{crf}.mp4").stat().st_size)
    assert sizes == sorted(sizes, reverse=True)


def test_recoding_a_video_of_odd_size_and_fractional_rate_in_place(tmp_path: Path):
    """30000/1001 frames a second is what television has, and no float holds it."""
    odd = tmp_path / "odd.avi"
    with av.open(str(odd), "w") as container:
        stream = container.add_stream("mjpeg", rate=Fraction(30000, 1001))
        stream.height, stream.width, stream.pix_fmt = 31, 45, "yuvj444p"
        for rgb in brightening(31, 45, 8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    recode_video(odd, odd, crf=20)
    decoded = list(iter_frames(odd, FrameSelection()))
    assert len(decoded) == 8 and decoded[0].rgb.shape == (32, 46, 3)
    assert probe(odd).fps == pytest.approx(30000 / 1001)


def test_garbage_leaves_no_output(tmp_path: Path):
    broken, cut = tmp_path / "broken.mp4", tmp_path / "cut.avi"
    broken.write_bytes(b"no video at all" * 100)
    write_video(cut, brightening(480, 640, 60), fps=30, crf=0)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 3])
    for path in (broken, cut):
        with pytest.raises(MediaError, match=path.name):
            recode_video(path, tmp_path / "out" / "output.mp4", crf=28)
    assert not list(tmp_path.glob("out/*"))
    assert not list(tmp_path.glob(".*"))
